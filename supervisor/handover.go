package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// ErrUnsettled is why a loop does not stand still: etcd is just being started or stopped.
var ErrUnsettled = errors.New("etcd is just being started or stopped")

// HandOver stands the loop still, with all that the next etcdsup has to know on disk, and calls exec, which replaces
// this process and so does not return; if it does, the loop goes on as before and the error is that of exec. The error
// is ErrUnsettled where there is no standing still: a start or a stop that is half done is known to this loop only.
func (l *Loop) HandOver(ctx context.Context, exec func() error) error {
	answer := make(chan error, 1)
	l.show(func() { answer <- l.handOver(exec) })
	select {
	case err := <-answer:
		return err
	case <-l.done:
		return ErrEnding
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Loop) handOver(exec func() error) error {
	if why := l.unsettled(); why != "" {
		return fmt.Errorf("%w: %s", ErrUnsettled, why)
	}
	saved := make(chan error, 1)
	l.save(saved) // and all that waits before it, such as the history
	select {
	case err := <-saved:
		if err != nil {
			return err
		}
	case <-time.After(lastSave):
		return errStateStuck
	}
	return exec()
}

// unsettled says in words what is half done; empty: nothing is.
func (l *Loop) unsettled() string {
	_, isStop := phase[l.m.is]
	switch {
	case isStop, l.m.is == gone:
		return "it is being stopped"
	case l.m.is == launching:
		return "it is being started"
	case l.mourning > 0:
		return "the last lines of one that ended are still being read"
	}
	return ""
}

// takenOver says how we have come to an etcd that we did not start.
func (l *Loop) takenOver() string {
	if l.begin.Outlived {
		return "kept while etcdsup was replaced"
	}
	return "taken over from an etcdsup that ended"
}

// ShowUpgrade makes what an upgrade has come to visible in the status, and in the history once.
func (l *Loop) ShowUpgrade(u *status.Upgrade) {
	l.show(func() {
		l.upgrade = u
		if !u.Told {
			l.note(status.Event{Kind: status.EventUpgrade, PID: l.set.PID, Note: u.String()})
		}
	})
}
