package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// unhangable is interruptible, and ends with the loss of the terminal too; not where that is ignored, as under nohup.
func unhangable(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := interruptible(ctx)
	if signal.Ignored(syscall.SIGHUP) {
		return ctx, stop
	}
	ctx, stopHangup := signal.NotifyContext(ctx, syscall.SIGHUP)
	return ctx, func() {
		stopHangup()
		stop()
	}
}

// follow shows the steps of a transition until it has ended. A daemon that ends meanwhile is waited for: the next one
// takes the transition up again. Every way out of it but an end is a *failure.
func (t *target) follow(ctx context.Context, tr *status.Transition, timeout time.Duration) (*status.Transition, error) {
	if tr.Outcome != status.OutcomeRunning { // it was over before it could be followed
		return tr, nil
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	teller := t.g.newStepTeller()
	defer teller.end()
	last := tr
	err := t.eachModes(ctx, func(m *status.Modes) (bool, error) {
		now := transitionIn(m, tr.ID)
		if now == nil {
			return false, failf(exitFailure, "see etcdsup history --audit", "cannot see the end of %s: it is not the last change of mode any more", tr.Request.Mode)
		}
		last = now
		teller.see(now, time.Now())
		return now.Outcome != status.OutcomeRunning, nil
	})
	teller.end()
	if err != nil {
		return nil, t.notFollowed(last, timeout, err)
	}
	return last, nil
}

func transitionIn(m *status.Modes, id string) *status.Transition {
	for _, tr := range []*status.Transition{m.Now, m.Last} {
		if tr != nil && tr.ID == id {
			return tr
		}
	}
	return nil
}

func (t *target) notFollowed(last *status.Transition, timeout time.Duration, err error) error {
	where := stepText(last)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return failf(exitTimeout, "the daemon goes on; see "+t.g.commandLine("mode")+" --watch", "%s is not done after %s: %s", last.Request.Mode, humanDuration(timeout), where)
	case errors.Is(err, context.Canceled):
		return failf(exitInterrupted, t.g.commandLine("mode")+" shows it on, "+t.g.commandLine("mode normal")+" rolls it back",
			"interrupted; the daemon goes on with %s: %s", last.Request.Mode, where)
	}
	return t.explain(fmt.Errorf("cannot see the end of %s, %s: %w", last.Request.Mode, where, err))
}

// comesBack is how long a daemon that is gone is waited for: an upgrade or a kill takes seconds, and what is longer needs
// somebody to look.
const comesBack = 30 * time.Second

// eachModes calls see with the modes of now and after each change, until that has seen enough.
func (t *target) eachModes(ctx context.Context, see func(*status.Modes) (enough bool, err error)) error {
	for {
		err := t.eachModesOf(ctx, see)
		if !errors.Is(err, control.ErrNoDaemon) {
			return err
		}
		if err := t.awaitDaemon(ctx, err); err != nil {
			return err
		}
	}
}

// eachModesOf is eachModes of one daemon. Every change of a step is a new status; the progress within a step is looked at
// each second.
func (t *target) eachModesOf(ctx context.Context, see func(*status.Modes) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := t.client.Watch(ctx)
	if err != nil {
		return err
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case _, ok := <-stream.C:
			if !ok {
				return stream.Err()
			}
		case <-second.C:
		}
		m, err := t.client.Modes(ctx)
		if err != nil {
			return err
		}
		if enough, err := see(m); enough || err != nil {
			return err
		}
	}
}

// awaitDaemon returns when a daemon answers again; after comesBack with why it had to be waited for.
func (t *target) awaitDaemon(ctx context.Context, why error) error {
	if !t.g.json() {
		fmt.Fprintf(t.g.err, "etcdsup has ended; waiting up to %s for the next one, which takes it up again\n", humanDuration(comesBack))
	}
	soon := time.NewTicker(100 * time.Millisecond)
	defer soon.Stop()
	for deadline := time.Now().Add(comesBack); time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-soon.C:
		}
		if _, err := t.client.Version(ctx); !errors.Is(err, control.ErrNoDaemon) {
			return err
		}
	}
	return why
}
