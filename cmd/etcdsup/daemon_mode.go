package main

import (
	"context"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// modeRunner carries changes of mode out; what each method promises stands at control.Modes.
type modeRunner interface{ control.Modes }

// runner is who changes modes here, or says that nobody does.
func (d *daemon) runner() (modeRunner, error) {
	if d.modes == nil {
		return nil, &control.Error{Code: control.CodeUnsupported, Message: "this etcdsup cannot change modes yet",
			Remedy: "compare it with the command line: etcdsup version"}
	}
	return d.modes, nil
}

// Modes is the present mode and the transitions.
func (d *daemon) Modes(ctx context.Context) (*status.Modes, error) {
	r, err := d.runner()
	if err != nil {
		return nil, err
	}
	return r.Modes(ctx)
}

// PlanMode says what a transition would do.
func (d *daemon) PlanMode(ctx context.Context, request status.ModeRequest) (*status.Plan, error) {
	r, err := d.runner()
	if err != nil {
		return nil, err
	}
	return r.PlanMode(ctx, request)
}

// ChangeMode begins a transition.
func (d *daemon) ChangeMode(ctx context.Context, request status.ModeRequest, confirm string, who status.Actor) (*status.Transition, error) {
	r, err := d.runner()
	if err != nil {
		return nil, err
	}
	return r.ChangeMode(ctx, request, confirm, who)
}

// CancelMode has the transition that is under way rolled back.
func (d *daemon) CancelMode(ctx context.Context, who status.Actor) (*status.Transition, error) {
	r, err := d.runner()
	if err != nil {
		return nil, err
	}
	return r.CancelMode(ctx, who)
}

// AcceptData takes the data directory for the one that is meant.
func (d *daemon) AcceptData(ctx context.Context, who status.Actor) error {
	r, err := d.runner()
	if err != nil {
		return err
	}
	return r.AcceptData(ctx, who)
}

// Audit is the end of the audit log.
func (d *daemon) Audit(ctx context.Context, n int) (*status.AuditReport, error) {
	r, err := d.runner()
	if err != nil {
		return nil, err
	}
	return r.Audit(ctx, n)
}
