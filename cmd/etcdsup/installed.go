package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/etcdsup/etcdsup/packaging/install"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// foreground finds an etcdsup or an etcd of the instance that runs outside of the service: the service could not have the
// data directory, or could not take that etcd over.
func (g *globals) foreground(ctx context.Context, p *install.Plan, now bool) {
	if p.Config == nil {
		return
	}
	what := g.runsOutside(ctx, p)
	if what == "" {
		return
	}
	f := status.Fault{What: what, Remedy: "end it in order: Ctrl-C where it runs, or SIGTERM"}
	if now {
		p.Faults = append(p.Faults, f)
	} else {
		p.Warnings = append(p.Warnings, f)
	}
}

func (g *globals) runsOutside(ctx context.Context, p *install.Plan) string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	st, err := control.NewClient(p.Config.Control.Socket).Status(ctx, false)
	if err == nil {
		if p.Owns(st.Supervisor.PID) {
			return ""
		}
		return fmt.Sprintf("etcdsup runs for instance %q already, and not as the service: process %d", p.Config.Instance, st.Supervisor.PID)
	}
	rec, ok := supervisor.PeekRecord(p.Config.StateDir())
	if !ok || rec.Run == nil || p.Owns(rec.Run.ID.PID) {
		return ""
	}
	proc, err := process.Adopt(rec.Run.ID)
	if err != nil {
		return ""
	}
	proc.Close()
	return fmt.Sprintf("etcd of instance %q lives without etcdsup, outside of the service: process %d", p.Config.Instance, rec.Run.ID.PID)
}

// startService starts it and waits until etcd is ready.
func (g *globals) startService(ctx context.Context, p *install.Plan, timeout time.Duration) (*status.Status, error) {
	began := time.Now()
	err := g.whileTelling("starting "+p.Service, func() error { return p.Start(ctx) })
	if errors.Is(err, context.Canceled) {
		return nil, failf(exitInterrupted, g.commandLine("status"), "interrupted; the service goes on starting")
	}
	if err != nil {
		return nil, failf(exitFailure, "mend that, then: "+g.commandLine("install --now"), "cannot start %s: %w", p.Service, err)
	}
	o := startOrder()
	o.timeout = timeout - time.Since(began)
	t := &target{g: g, cfg: p.Config, client: control.NewClient(p.Config.Control.Socket)}
	before, err := t.client.Status(ctx, false)
	if err != nil {
		return nil, t.explain(err)
	}
	if _, ready := o.already(before); ready {
		return before, nil
	}
	st, err := o.send(t.client, ctx)
	if err != nil {
		return nil, t.explain(err)
	}
	if o.done(st, before) {
		return st, nil
	}
	return t.await(ctx, o, before, st)
}
