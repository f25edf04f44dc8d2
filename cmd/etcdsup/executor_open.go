package main

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/flow"
	"github.com/etcdsup/etcdsup/supervisor/journal"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// openExecutor reads what is under way. Nothing is done yet. With journals that cannot be gone by no etcd is started; one
// that lives is looked after all the same, and only its mode is not changed.
func (d *daemon) openExecutor(lives bool) error {
	x := &executor{d: d, news: make(chan struct{}, 1)}
	err := x.open()
	switch {
	case err == nil:
		d.modes = x
	case lives:
		d.log.Error("changes of mode are refused", zap.Error(err), zap.String("remedy", remedyOf(err)))
		x.fault, d.modes = err, unusable{x}
	default:
		return err
	}
	d.exec = x
	return nil
}

// open reads the journals. What can be opened is open then, also with an error.
func (x *executor) open() error {
	d := x.d
	audit, err := journal.OpenAudit(auditPath(d.cfg.StateDir()))
	if err != nil {
		return err
	}
	x.audit = audit
	d.onClose(func() { _ = audit.Close() })
	store, err := journal.Open(transitionsDir(d.cfg.StateDir()))
	if err != nil {
		return journalFault(err)
	}
	x.store = store
	d.onClose(func() { _ = store.Close() })
	for _, r := range store.Repairs() {
		d.log.Warn("journal repaired", zap.String("file", r.File), zap.String("kept", r.Kept), zap.String("what", r.What))
	}
	if j := store.Current(); j != nil {
		s := j.State()
		if differ, _ := siteOf(d.next()).Edited(&s.Plan); differ == nil { // else that member is not to begin where the configuration now says
			d.machine.Join(s.Data[flow.DataBootstrap]) // before anything starts etcd
		}
		x.now = s.Transition()
	}
	return nil
}

func journalFault(err error) error {
	if f, ok := errors.AsType[*journal.FileError](err); ok {
		return failf(exitFailure, f.Remedy, "%w", err)
	}
	return err
}

// unusable stands in for an executor whose journals cannot be gone by, beside an etcd that lives. What had begun is not
// known then, so no change of mode is begun, taken up or cancelled. Starts are decided by the data as ever.
type unusable struct {
	*executor
}

func (u unusable) refusal() error {
	return &control.Error{Code: control.CodeRefused, Message: "cannot change the mode: " + u.fault.Error(), Remedy: remedyOf(u.fault)}
}

// notices are what the status is to show of it.
func (x *executor) notices() []status.Fault {
	if x.fault == nil {
		return nil
	}
	return []status.Fault{{What: "changes of mode are refused: " + x.fault.Error(), Remedy: remedyOf(x.fault)}}
}

// Modes is not known.
func (u unusable) Modes(context.Context) (*status.Modes, error) { return nil, u.refusal() }

// PlanMode refuses.
func (u unusable) PlanMode(context.Context, status.ModeRequest) (*status.Plan, error) {
	return nil, u.refusal()
}

// ChangeMode refuses.
func (u unusable) ChangeMode(context.Context, status.ModeRequest, string, status.Actor) (*status.Transition, error) {
	return nil, u.refusal()
}

// Audit is the end of the audit log, where that could be opened.
func (u unusable) Audit(ctx context.Context, n int) (*status.AuditReport, error) {
	if u.audit == nil {
		return nil, u.refusal()
	}
	return u.executor.Audit(ctx, n)
}

// CancelMode refuses.
func (u unusable) CancelMode(context.Context, status.Actor) (*status.Transition, error) {
	return nil, u.refusal()
}

// remedyOf is what a person can do about an error, where it says so.
func remedyOf(err error) string {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.remedy
	}
	return ""
}
