package supervisor

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// The goroutines that wait for one fact each. They end with that fact: all they do is bounded by a time-out,
// by the child's life or by the loop's end.

const (
	sweepTimeout     = 10 * time.Second
	memberTimeout    = 3 * time.Second
	lastWordsTimeout = 2 * time.Second
)

func jitter() float64 { return 2*rand.Float64() - 1 }

// tryLaunch waits for fork and exec, and closes launched then. It is apart from the loop because exec may wait for a disk.
func (l *Loop) tryLaunch(launched chan<- struct{}) {
	began := time.Now()
	c, err := l.host.Launch()
	close(launched)
	if err != nil {
		l.send(launchFailure(began, err))
		return
	}
	l.show(func() { l.born(c) })
}

// born takes a new child on.
func (l *Loop) born(c Child) {
	l.child = c
	l.watch()
	info := c.Info()
	l.log.Info("etcd started", zap.Int("pid", info.PID), zap.String("binary", info.Binary))
	l.probe.reset(c, time.Now())
	l.handle(event{in: launched})
	l.note(status.Event{At: info.Started, Kind: status.EventStart, PID: info.PID})
}

func launchFailure(began time.Time, err error) event {
	x := status.Exit{Started: began, Ended: time.Now(), Cause: status.CauseEnvironment, Detail: err.Error()}
	e := event{in: launchFailed}
	var le *LaunchError
	if errors.As(err, &le) {
		x.Cause, e.hold, e.next = le.Cause, le.Hold, le.Next
	}
	e.exit = x
	return e
}

// watch starts the one goroutine that waits for the child's end.
func (l *Loop) watch() {
	c, info := l.child, l.child.Info()
	go func() { // watchDeath: ends with the process
		x := c.Wait()
		x.PID, x.Started, x.Adopted, x.Ended = info.PID, info.Started, info.Adopted, time.Now()
		if x.Ran == 0 {
			x.Ran = x.Ended.Sub(x.Started)
		}
		l.send(event{in: died, exit: x})
	}()
}

// tryTransfer waits until leadership is with somebody else, or cannot be had.
func (l *Loop) tryTransfer(limit time.Duration) {
	ctx, cancel := context.WithTimeout(l.life, limit)
	defer cancel()
	what := l.host.Transfer(ctx)
	l.log.Info("leadership", zap.String("outcome", what))
	l.send(event{in: transferred, why: what})
}

// trySweep waits until nothing of etcd's is left.
func (l *Loop) trySweep() {
	ctx, cancel := context.WithTimeout(l.life, sweepTimeout)
	defer cancel()
	left := l.host.Sweep(ctx)
	save, _ := l.host.Remember(nil) // what cannot be seen now is looked at before the next start
	l.show(func() {
		l.left = left
		l.keepMark(save)
		if len(left) == 0 {
			l.handle(event{in: swept})
			return
		}
		l.log.Error("processes left", zap.Ints("pids", left))
		l.handle(event{in: sweepFailed})
	})
}

// lastWords waits until all of a dead etcd's output is in the log, and completes its death's entry.
func (l *Loop) lastWords(e status.Event, run Run) {
	ctx, cancel := context.WithTimeout(l.life, lastWordsTimeout)
	defer cancel()
	lines, said := l.host.LastWords(ctx, run)
	l.show(func() {
		l.mourning--
		x := *e.Exit
		x.LastLines, x.Said = lines, said
		e.Exit = &x
		if said != "" && !x.Asked {
			l.log.Warn("etcd said at its end", zap.Int("pid", x.PID), zap.String("line", said))
		}
		if l.lastExit != nil && l.lastExit.Ended.Equal(x.Ended) {
			l.lastExit = &x
		}
		l.note(e)
	})
}

type memberAnswer struct {
	st  *status.Status
	err error
}

// Refresh asks etcd afresh who it is and returns the status with the answer. A failure to answer is no error:
// the status tells what is known.
func (l *Loop) Refresh(ctx context.Context) (*status.Status, error) {
	answer := make(chan memberAnswer, 1)
	l.show(func() {
		if l.child == nil {
			l.publish()
			answer <- memberAnswer{st: l.Status()}
			return
		}
		l.asking = append(l.asking, answer)
		if len(l.asking) == 1 {
			go l.askMember(l.child)
		}
	})
	select {
	case a := <-answer:
		return a.st, a.err
	case <-l.done:
		return l.Status(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// askMember waits for the answer of c, the present child, to who it is.
func (l *Loop) askMember(c Child) {
	ctx, cancel := context.WithTimeout(l.life, memberTimeout)
	defer cancel()
	m, version, err := l.host.Member(ctx)
	l.show(func() {
		if err == nil && l.child != nil {
			l.member, l.version = m, version
			l.moved()
		}
		l.expel(c, err)
		l.publish()
		for _, a := range l.asking {
			a <- memberAnswer{st: l.Status()}
		}
		l.asking = nil
	})
}
