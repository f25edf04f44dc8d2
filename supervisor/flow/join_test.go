package flow

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

func joining() *model {
	m := newModel()
	m.members["a"] = "voter"
	return m
}

// joins makes the plan and carries it out.
func joins(t *testing.T, m *model, change func(*model)) (Ending, *memory) {
	t.Helper()
	s := scene{ask: status.ModeRequest{Mode: status.ModeJoin}, model: func() *model { return m }}
	_, j := s.begin(t)
	change(m)
	e, _ := attempt(m, j)
	return e, j
}

// TestJoinWaitsItsTurn: the join of another host is waited for, before anything is changed and at the add itself; and
// not for ever.
func TestJoinWaitsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := joining()
		m.waits, m.turns = 20, 20
		began := time.Now()
		if e, _ := joins(t, m, func(*model) {}); e.Outcome != status.OutcomeDone || m.members["m9"] != "voter" || time.Since(began) < 19*turnEvery {
			t.Errorf("%+v, %v after %v", e, m.members, time.Since(began))
		}
		m = joining()
		e, j := joins(t, m, func(m *model) { m.waits = 1 << 30 })
		if e.Outcome != status.OutcomeRolledBack || RemedyOf(e.Err) == "" || len(j.past.Begun) != 1 {
			t.Errorf("in vain: %+v, %v", e, j.past.Begun)
		}
		m = joining()
		if e, _ := joins(t, m, func(m *model) { m.turns = 1 << 30 }); e.Outcome != status.OutcomeRolledBack || m.dirs[dir] != "old" || !m.up {
			t.Errorf("in vain at the add: %+v, %v", e, m.dirs)
		}
	})
}

// TestPromotionWhoseAnswerIsLost is none that failed: the way back would take a voter from the cluster.
func TestPromotionWhoseAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := joining()
		if e, _ := joins(t, m, func(m *model) { m.lost = true }); e.Outcome != status.OutcomeDone || m.members["m9"] != "voter" {
			t.Errorf("%+v, %v", e, m.members)
		}
	})
}

// TestCutOff: a cluster that cannot be reached any more does not keep the host from having its data back, unless it may
// count on the vote here.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := joining()
		w := &cutter{model: m}
		j := planned(t, m)
		e := Run(t.Context(), m.site(), w, j, j.copyOf())
		if e.Outcome != status.OutcomeRolledBack || m.dirs[dir] != "old" || !m.up || m.members["m9"] != "learner" {
			t.Errorf("%+v, %v, %v", e, m.dirs, m.members)
		}
		if text := strings.Join(e.Result, "\n"); !strings.Contains(text, "learner m9 is still in the list") || !strings.Contains(text, "member remove m9") {
			t.Errorf("result %q", text)
		}

		m = joining()
		j = planned(t, m)
		m.lost = true
		e = Run(t.Context(), m.site(), &cutter{model: m, late: true}, j, j.copyOf())
		if e.Outcome != status.OutcomeStuck || !m.up || m.dirs[dir] != "joined" || !strings.Contains(RemedyOf(e.Err), "mode normal") {
			t.Errorf("cut off at the promotion: %+v, up %v, %v", e, m.up, m.dirs)
		}
		m.cut, m.lost = false, false
		if e, _ := attempt(m, j); e.Outcome != status.OutcomeRolledBack || m.members["m9"] != "" || m.dirs[dir] != "old" || !m.up {
			t.Errorf("and then: %+v, %v, %v", e, m.members, m.dirs)
		}
	})
}

func planned(t *testing.T, m *model) *memory {
	t.Helper()
	_, j := scene{ask: status.ModeRequest{Mode: status.ModeJoin}, model: func() *model { return m }}.begin(t)
	return j
}

// cutter cuts the network while the learner catches up; or late: by the promotion, which comes through.
type cutter struct {
	*model
	late bool
}

func (c *cutter) Catchup(ctx context.Context, endpoints []string, id string) (Catchup, error) {
	if c.late {
		return c.model.Catchup(ctx, endpoints, id)
	}
	c.cut = true
	return Catchup{Trouble: "the cluster does not answer"}, nil
}

func (c *cutter) Promote(ctx context.Context, endpoints []string, id string) error {
	c.cut = true
	return c.model.Promote(ctx, endpoints, id)
}

// TestTwin: two hosts with one data are told of each other, before anybody can write and at the end.
func TestTwin(t *testing.T) {
	s := scenes()[0]
	m, j := s.begin(t)
	w := &twin{model: m, at: "start"}
	e := Run(t.Context(), m.site(), w, j, j.copyOf())
	if !strings.Contains(RemedyOf(e.Err), "mode join") {
		t.Errorf("%+v", e)
	}
	backAsBefore(t, "another at the start", s, m, j)
	m, j = s.begin(t)
	e = Run(t.Context(), m.site(), &twin{model: m, at: "prove"}, j, j.copyOf())
	if text := strings.Join(e.Result, "\n"); e.Outcome != status.OutcomeDone || !strings.Contains(text, "another etcd of cluster c1 answers at http://b:1") {
		t.Errorf("another at the end: %+v", e)
	}
}

// twin has another etcd of the same cluster appear once everything but the last steps is done.
type twin struct {
	*model
	at string
}

func (w *twin) Ask(ctx context.Context, urls []string, id string) map[string]Presence {
	started := w.up && strings.Contains(w.dirs[dir], "rebuilt")
	placed := strings.Contains(w.dirs[dir], "rebuilt")
	if w.at == "start" && placed || w.at == "prove" && started {
		w.presence["http://b:1"] = PresenceAlive
	}
	return w.model.Ask(ctx, urls, id)
}
