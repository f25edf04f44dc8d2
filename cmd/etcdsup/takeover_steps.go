package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/packaging/install"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// stopTime is how long etcd may take to end after SIGTERM. It is not killed: what it writes then is what is to be kept.
const stopTime = 5 * time.Minute

// run makes the change-over from the step that is on record. Once etcd may be down it goes on to the end, or all the way
// back: an interrupt in the middle would leave the host with neither.
func (t *takeOver) run(ctx context.Context, timeout time.Duration) error {
	if t.Step == "" || t.Step == stepInstall {
		if err := t.install(ctx); err != nil {
			return err
		}
	}
	ctx = context.WithoutCancel(ctx)
	err := t.change(ctx, timeout)
	if err == nil {
		return t.finish(ctx)
	}
	return t.putBack(ctx, err)
}

// install makes the service, which starts at boot from then on, without starting it.
func (t *takeOver) install(ctx context.Context) error {
	for _, c := range t.plan.Changes {
		if c.Kept != "" && strings.HasSuffix(c.What, t.Config) && !t.ours {
			t.Aside = c.Kept
		}
	}
	if err := t.begin(stepInstall); err != nil {
		return err
	}
	err := t.g.apply(ctx, t.plan)
	if err == nil {
		t.say("installed %s as user %s", t.plan.Service, t.plan.User)
	}
	return err
}

func (t *takeOver) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.told = append(t.told, text)
	if !t.g.json() {
		fmt.Fprintf(t.g.err, "  done: %s\n", text)
	}
}

// change is all that lies between the old way and the proof.
func (t *takeOver) change(ctx context.Context, timeout time.Duration) (err error) {
	if t.plan == nil { // a later call goes on
		if t.plan, err = t.installed(ctx); err != nil {
			return err
		}
	} else if t.Before, err = t.proof(ctx); err != nil { // as late as can be: clients have gone on
		return err
	}
	if err := t.stopOld(ctx); err != nil {
		return err
	}
	if pid := t.heldBy(); pid != 0 {
		return fmt.Errorf("cannot start %s: process %d has the data in %s, started in the old way since", t.plan.Service, pid, t.DataDir)
	}
	if err := t.begin(stepStart); err != nil {
		return err
	}
	if _, err := t.g.startService(ctx, t.plan, timeout); err != nil {
		return err
	}
	if !t.stopped.IsZero() {
		t.downtime = time.Since(t.stopped)
	}
	t.say("started %s", t.plan.Service)
	return t.prove(ctx)
}

// installed is the plan of a service that an earlier call has installed.
func (t *takeOver) installed(ctx context.Context) (*install.Plan, error) {
	s, err := t.g.service(installOptions{now: true, timeout: time.Minute})
	if err != nil {
		return nil, err
	}
	s.Homes, s.Yields = true, func(int) bool { return true }
	p, err := install.Prepare(ctx, s)
	if err != nil {
		return nil, explainInstall(err)
	}
	if err := standsAgainst(p); err != nil {
		return nil, err
	}
	return p, t.g.apply(ctx, p)
}

// stopOld ends what would start etcd again, then etcd.
func (t *takeOver) stopOld(ctx context.Context) error {
	was := t.Touched
	t.Touched = true
	if err := t.begin(stepRelease); err != nil {
		t.Touched = was // nothing was done yet
		return err
	}
	if alive(t.Etcd.ID) {
		t.stopped = time.Now()
	}
	err := t.g.whileTelling("stopping what keeps etcd", func() error { return t.Keeper.release(ctx) })
	if err != nil && (t.Keeper.Kind != keptByFIFO || alive(t.Keeper.Process.ID)) {
		return err
	}
	if err := t.begin(stepStop); err != nil {
		return err
	}
	if err := t.g.whileTelling("stopping etcd", func() error { return t.stopEtcd(ctx) }); err != nil {
		return err
	}
	t.say("stopped etcd, process %d, and %s, which does not start it again", t.Etcd.ID.PID, t.Keeper.Title)
	return nil
}

// heldBy is a process that has the data and is none of etcdsup's, 0 where there is none: an etcd that was started in the old
// way since, beside which a second one would only fail, again and again.
func (t *takeOver) heldBy() (pid int) {
	held, ok := errors.AsType[*process.HeldError](process.ProbeBackend(t.DataDir))
	if !ok {
		return 0
	}
	for _, h := range held.Holders {
		d, err := process.Describe(h.PID)
		line, _ := process.Lineage(h.PID) // where it goes meanwhile, what is seen of it has to do
		if err == nil && !keptByEtcdsup(d, line) {
			return h.PID
		}
	}
	return 0
}

func (t *takeOver) stopEtcd(ctx context.Context) error {
	p, err := process.Adopt(t.Etcd.ID)
	if errors.Is(err, process.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Signal(unix.SIGTERM); err != nil && !errors.Is(err, process.ErrGone) {
		return err
	}
	return awaitEnd(ctx, t.Etcd.ID, stopTime)
}

func alive(id process.ID) bool {
	p, err := process.Adopt(id)
	if err != nil {
		return false
	}
	p.Close()
	return true
}

func (t *takeOver) prove(ctx context.Context) (err error) {
	if err := t.begin(stepProve); err != nil {
		return err
	}
	if t.after, err = t.proof(ctx); err != nil {
		return err
	}
	if err := t.same(ctx, t.after); err != nil {
		return fmt.Errorf("cannot take etcd for the same: %w", err)
	}
	t.say("proved the same member %s of cluster %s, revision %d (before: %d), %d keys", t.after.MemberID, t.after.ClusterID,
		t.after.Revision, t.Before.Revision, t.after.Keys)
	return nil
}

func (t *takeOver) finish(ctx context.Context) error {
	if left := t.Keeper.dismiss(ctx); left != "" {
		t.warnings = append(t.warnings, left)
	}
	if err := t.begin(stepDone); err != nil {
		return err
	}
	return t.close()
}
