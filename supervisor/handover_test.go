package supervisor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestHandOverStandsStill: when the exec is called all that is to be known is on disk, and nothing moves meanwhile.
func TestHandOverStandsStill(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		a := s.ready()
		failed := errors.New("no such executable")
		err := s.loop.HandOver(context.Background(), func() error {
			s.kept.mu.Lock()
			defer s.kept.mu.Unlock()
			if r := s.kept.record; r.Run == nil || r.Run.ID.PID != a.pid || !r.Run.Ready {
				t.Errorf("on disk: %+v", r)
			}
			if n := len(s.kept.events); n != 2 { // start, ready
				t.Errorf("%d events on disk", n)
			}
			a.die("", 7)
			pass(time.Second) // nobody takes that up
			if st := s.loop.Status(); st.State != status.StateReady || s.starts() != 1 {
				t.Errorf("%s, %d starts", st.State, s.starts())
			}
			return failed
		})
		if !errors.Is(err, failed) {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		if s.starts() != 2 { // and goes on where it was
			t.Errorf("%d starts", s.starts())
		}
	})
}

func TestHandOverIsRefusedInTheMidst(t *testing.T) {
	never := func() error { t.Error("executed"); return nil }
	refused := func(s *stage, why string) {
		t.Helper()
		if err := s.loop.HandOver(context.Background(), never); !errors.Is(err, ErrUnsettled) || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, not %s", err, why)
		}
	}
	play(t, testSettings, Start{}, func(s *stage) {
		a := s.ready()
		s.onSignals(func(*actor, unix.Signal) {}) // it takes its time
		if err := s.loop.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		refused(s, "being stopped")
		a.die("SIGTERM", 0)
		synctest.Wait()
		s.expect(status.StateDown)
		s.with(func() { s.stuck = time.Minute })
		if err := s.loop.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		refused(s, "being started")
		pass(2 * time.Minute)
	})
}

func TestHandOverNeedsTheDisk(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		s.ready()
		full := errors.New("no space left")
		s.kept.mu.Lock()
		s.kept.fail = full
		s.kept.mu.Unlock()
		if err := s.loop.HandOver(context.Background(), func() error { t.Error("executed"); return nil }); !errors.Is(err, full) {
			t.Errorf("%v", err)
		}
	})
}

// TestUpgradeIsTold in the status, and once in the history.
func TestUpgradeIsTold(t *testing.T) {
	begun := &status.Upgrade{ID: "a", From: "v1", To: "v2", Outcome: status.UpgradeRunning}
	play(t, testSettings, Start{Upgrade: begun}, func(s *stage) {
		if u := s.loop.Status().Upgrade; u != begun {
			t.Errorf("%+v", u)
		}
		done := *begun
		done.Outcome = status.UpgradeDone
		s.loop.ShowUpgrade(&done)
		told := done
		told.Told = true
		s.loop.ShowUpgrade(&told)
		synctest.Wait()
		if u := s.loop.Status().Upgrade; u != &told {
			t.Errorf("%+v", u)
		}
		n := 0
		s.kept.mu.Lock()
		defer s.kept.mu.Unlock()
		for _, e := range s.kept.events {
			if e.Kind == status.EventUpgrade {
				n++
			}
		}
		if n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}
