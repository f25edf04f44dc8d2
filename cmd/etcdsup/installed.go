package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"syscall"
	"time"

	"github.com/etcdsup/etcdsup/config"
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
	f := status.Fault{What: what, Remedy: "end it in order with SIGTERM; etcdsup ends its etcd too"}
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
	pid := livingEtcd(p.Config)
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if pid == 0 || err != nil {
		return ""
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if u, err := user.LookupId(fmt.Sprint(owner.Uid)); !ok || err == nil && u.Username == p.User {
		return "" // the service will take it over
	}
	return fmt.Sprintf("etcd of instance %q lives without etcdsup, process %d, and user %s cannot take it over from user %d", p.Config.Instance, pid, p.User, owner.Uid)
}

// livingEtcd is the PID of the instance's etcd, 0 where none lives: of the one on record, or else of one that was started so
// shortly before a kill that no record knows it, or that is on record by what only the service sees.
func livingEtcd(c *config.Config) int {
	rec, ok := supervisor.PeekRecord(c.StateDir())
	if !ok {
		return 0
	}
	if rec.Run != nil {
		if proc, err := process.Adopt(rec.Run.ID); err == nil {
			defer proc.Close()
			return proc.PID()
		}
	}
	if found := process.FindHolders(c.DataDir(), rec.Token); len(found) > 0 {
		return found[0].ID.PID
	}
	return 0
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
	var before *status.Status
	err = g.whileTelling("waiting for "+p.Service, func() (err error) {
		before, err = t.firstStatus(ctx, o.timeout)
		return err
	})
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

// firstStatus waits for a daemon that was just started: not every service manager waits until it is ready.
func (t *target) firstStatus(ctx context.Context, timeout time.Duration) (*status.Status, error) {
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(timeout); ; {
		st, err := t.client.Status(ctx, false)
		if err == nil || !errors.Is(err, control.ErrNoDaemon) || time.Now().After(deadline) {
			return st, err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
