package flow

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// slowLearner gets the leader's database after some time, with its introduction in it.
type slowLearner struct {
	*model
	began    time.Time
	has      time.Duration // the database
	serves   time.Duration // by itself, or at once after a restart
	restarts int
}

func (l *slowLearner) Catchup(context.Context, []string, string) (Catchup, error) {
	age := time.Since(l.began)
	if l.restarts > 0 || age >= l.serves {
		return Catchup{Percent: 100, Ready: true}, nil
	}
	return Catchup{Introduced: age >= l.has, Age: age}, nil
}

func (l *slowLearner) Restart(context.Context) error {
	l.restarts++
	return nil
}

// TestDeafLearnerIsRestarted has a learner get its introduction with the leader's database. It is started again once it
// has that, and not before; and not at all when it serves soon, or when it is about to introduce itself again.
func TestDeafLearnerIsRestarted(t *testing.T) {
	for _, tt := range []struct {
		name        string
		has, serves time.Duration
		restarts    int
		took        time.Duration
	}{
		{"deaf", time.Second, 7 * time.Second, 1, 1200 * time.Millisecond},
		{"just about to serve", time.Second, 1050 * time.Millisecond, 0, 1100 * time.Millisecond},
		{"soon to try again", 6 * time.Second, 7 * time.Second, 0, 7 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := &slowLearner{model: newModel(), began: time.Now(), has: tt.has, serves: tt.serves}
			r := &run{Site: l.site(), World: l, data: map[string]string{}}
			if err := catchUp(t.Context(), r); err != nil || l.restarts != tt.restarts || time.Since(l.began) != tt.took {
				t.Errorf("%s: %v, %d restarts, after %v", tt.name, err, l.restarts, time.Since(l.began))
			}
		})
	}
}

// TestDeafLearnerIsRestartedOnce lets no learner be started again and again that is slow for another reason.
func TestDeafLearnerIsRestartedOnce(t *testing.T) {
	d, restarts := deafness{}, 0
	for range 100 {
		if d.shown(Catchup{Introduced: true}) {
			restarts++
		}
	}
	if restarts != 1 {
		t.Errorf("%d restarts", restarts)
	}
}

// TestRestartThatFailsEndsTheJoin takes everything back.
func TestRestartThatFailsEndsTheJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := scenes()[5]
		m, j := s.begin(t)
		w := &deafForGood{m}
		if e := Run(t.Context(), m.site(), w, j, j.copyOf()); e.Outcome != status.OutcomeRolledBack {
			t.Errorf("%+v", e)
		}
		backAsBefore(t, "not restarted", s, m, j)
	})
}

// deafForGood cannot be restarted either.
type deafForGood struct{ *model }

func (d *deafForGood) Catchup(context.Context, []string, string) (Catchup, error) {
	return Catchup{Introduced: true}, nil
}
