package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What becomes of a learner between its start and its vote, and how it is taken back.

// lookEvery is how often the learner's progress is asked for.
const lookEvery = 100 * time.Millisecond

func catchUp(ctx context.Context, r *run) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	meter, deaf := newMeter(time.Now()), deafness{}
	for {
		c, err := r.Catchup(ctx, r.endpoints(), r.member())
		if err != nil {
			return err
		}
		if c.Ready {
			return nil
		}
		if meter.stalled(c, time.Now()) {
			return troublef("see "+r.Command+" logs -n 50 and the peer URLs of all members", "%s", stallText(c))
		}
		r.Progress(meter.text(c, time.Now()))
		if deaf.shown(c) {
			if err := r.Restart(ctx); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stallTime is how long a learner may stand still: one that receives a large snapshot grows meanwhile.
const stallTime = 5 * time.Minute

func stallText(c Catchup) string {
	text := fmt.Sprintf("the learner does not catch up: it has %d %% and has not moved for %v", c.Percent, stallTime)
	if c.Trouble != "" {
		text += ": " + c.Trouble
	}
	return text
}

// meter makes progress out of answers.
type meter struct {
	last    Catchup
	moved   time.Time
	began   time.Time
	atBegin Catchup
	any     bool
}

func newMeter(now time.Time) *meter { return &meter{began: now, moved: now} }

func (m *meter) stalled(c Catchup, now time.Time) bool {
	if !m.any {
		m.any, m.atBegin = true, c
	}
	if c.Trouble == "" && (c.Percent != m.last.Percent || c.Bytes != m.last.Bytes) {
		m.last, m.moved = c, now
	}
	return now.Sub(m.moved) > stallTime
}

func (m *meter) text(c Catchup, now time.Time) string {
	if c.Trouble != "" {
		return fmt.Sprintf("waits, %v of %v at most: %s", now.Sub(m.moved).Round(time.Second), stallTime, c.Trouble)
	}
	text := fmt.Sprintf("%d %%", c.Percent)
	if took := now.Sub(m.began).Seconds(); took > 0.5 && c.Bytes > m.atBegin.Bytes {
		text += fmt.Sprintf(", %.1f MB/s", float64(c.Bytes-m.atBegin.Bytes)/1e6/took)
	}
	return text
}

// promoteTime is how long a promotion is tried: the cluster may be without a leader meanwhile, or out of reach.
const promoteTime = 2 * time.Minute

// promote goes by the list where an answer is missing: a promotion that came through must not be taken for a failure,
// since the way back ends an etcd whose vote the cluster then needs.
func promote(ctx context.Context, r *run) error {
	ctx, cancel := context.WithTimeoutCause(ctx, promoteTime, fmt.Errorf("not promoted within %v", promoteTime))
	defer cancel()
	return r.insist(ctx, func() error {
		err := r.Promote(ctx, r.endpoints(), r.member())
		if err == nil {
			return nil
		}
		l, listErr := r.Members(ctx, r.endpoints())
		if listErr != nil || l.Stale {
			return err
		}
		m, _ := l.Find(r.member())
		switch {
		case m == nil:
			return &final{troublef(r.Command+" mode join", "member %s was removed from the cluster before it was promoted", r.member())}
		case !m.Learner:
			return nil
		}
		return err
	})
}

// final ends the trying.
type final struct{ error }

func (f *final) Unwrap() error { return f.error }

// insist tries until it is done, once a second.
func (r *run) insist(ctx context.Context, try func() error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if f, ok := errors.AsType[*final](err); ok {
			return f.error
		}
		r.Progress("tries again: " + err.Error())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w; %w", context.Cause(ctx), err)
		}
	}
}

// undoTime bounds what an undo asks of a cluster that may have gone meanwhile.
const undoTime = time.Minute

// takeBackVote comes before etcd is stopped: a voter that is taken away from two is the end of their quorum. Where the
// cluster does not say that it is no voter, etcd is left as it is.
func takeBackVote(ctx context.Context, r *run) error {
	if r.continues() { // a learner cannot be made of it again
		r.left = true
		r.say("member %s is left as it is, and its etcd running; see %s member list", r.member(), r.Command)
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, undoTime, errors.New("the cluster does not answer"))
	defer cancel()
	err := r.insist(ctx, func() error {
		l, err := r.Members(ctx, r.endpoints())
		if err != nil {
			return err
		}
		if l.Stale {
			return errors.New("the cluster has no quorum")
		}
		m, _ := l.Find(r.member())
		if m == nil || m.Learner {
			return nil
		}
		if ch := l.Removal(m); ch.Refuse != "" {
			return fmt.Errorf("cannot remove voter %s: %s", m.ID, ch.Refuse)
		}
		return r.Remove(ctx, r.endpoints(), m.ID)
	})
	if err != nil {
		return troublef("once the cluster has its quorum: "+r.Command+" mode normal, which goes on undoing; until then etcd is left running, since the cluster may count on its vote",
			"it is not known whether member %s is a voter: %w", r.member(), err)
	}
	return nil
}

// removeLearner takes back an add, also one whose answer never came: then the list is searched for it. Where the cluster
// does not answer, the learner is left in its list: it has no vote, and the data here is not to wait for it.
func removeLearner(ctx context.Context, r *run) error {
	ctx, cancel := context.WithTimeoutCause(ctx, undoTime, errors.New("the cluster does not answer"))
	defer cancel()
	err := r.insist(ctx, func() error {
		l, err := r.Members(ctx, r.endpoints())
		if err != nil {
			return err
		}
		for i := range l.Members {
			m := &l.Members[i]
			if ours := m.ID == r.data[dataMember] || m.Learner && slices.Equal(m.PeerURLs, r.PeerURLs); ours {
				return r.Remove(ctx, r.endpoints(), m.ID)
			}
		}
		return nil
	})
	if err != nil {
		r.leave(err)
	}
	return nil
}

// leave tells what of a learner could not be taken back.
func (r *run) leave(err error) {
	who := "the learner at " + strings.Join(r.PeerURLs, ",") + ", if it was added,"
	if id := r.data[dataMember]; id != "" {
		who = "learner " + id
	}
	r.left = true
	r.say("%s is still in the list of cluster %s, without a vote: %s", who, r.fact("cluster"), err)
	r.say("next, when the cluster answers: %s again; or, on one of its hosts, etcdsup member remove %s", r.command(), cmp.Or(r.data[dataMember], "ID"))
}

func (r *run) failedDir() string { return r.DataDir + besideFailed + r.id }

// stopLearner renames away only what is the learner's own.
func stopLearner(ctx context.Context, r *run) error {
	if r.continues() {
		return nil // it may be a voter by now, which the cluster counts on
	}
	if err := r.Stop(ctx); err != nil {
		return err
	}
	if err := r.RestoreMark(r.data[dataMark]); err != nil {
		return err
	}
	if !r.Holds(r.DataDir) || r.Holds(r.failedDir()) || !r.isLearners() {
		return nil
	}
	return r.Move(r.DataDir, r.failedDir())
}
