package supervisor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// script is a host whose children do what a test says. All of it is used inside a synctest bubble.
type script struct {
	mu       sync.Mutex
	children []*actor
	launches []time.Time
	refuse   error
	health   Health
	onSignal func(*actor, unix.Signal)
	transfer time.Duration // how long a hand-over takes
	sweeps   [][]int
	stuck    time.Duration // exec takes this long

	foreign    error // what Remember finds
	answer     error // what comes of asking etcd who it is
	member     *status.Member
	remembered []Child      // when it was called without finding that
	save       func() error // what it gives
}

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }

// with changes the script while the loop uses it.
func (s *script) with(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// actor is a scripted etcd.
type actor struct {
	pid     int
	born    time.Time
	end     chan status.Exit
	signals []unix.Signal
	at      []time.Time
	host    *script
	work    atomic.Uint64
}

func (s *script) onSignals(f func(*actor, unix.Signal)) { s.with(func() { s.onSignal = f }) }

// sent is what an actor has been signalled.
func (a *actor) sent() []unix.Signal {
	a.host.mu.Lock()
	defer a.host.mu.Unlock()
	return slices.Clone(a.signals)
}

func (s *script) Launch() (Child, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck > 0 {
		stuck := s.stuck
		s.mu.Unlock()
		pass(stuck)
		s.mu.Lock()
	}
	s.launches = append(s.launches, time.Now())
	if s.refuse != nil {
		return nil, s.refuse
	}
	a := &actor{pid: 100 + len(s.children), born: time.Now(), end: make(chan status.Exit, 1), host: s}
	s.children = append(s.children, a)
	return a, nil
}

func (s *script) Transfer(ctx context.Context) string {
	s.mu.Lock()
	d := s.transfer
	s.mu.Unlock()
	select {
	case <-time.After(d):
		return "handed over"
	case <-ctx.Done():
		return "gave up"
	}
}

func (s *script) Sweep(context.Context) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sweeps) == 0 {
		return nil
	}
	left := s.sweeps[0]
	s.sweeps = s.sweeps[1:]
	return left
}

func (s *script) Probe(ctx context.Context, _ Child) (Health, bool) {
	s.mu.Lock()
	h := s.health
	s.mu.Unlock()
	if !h.Answered {
		select {
		case <-time.After(testSettings.Timeout):
		case <-ctx.Done():
		}
	}
	return h, true
}

func (s *script) Member(context.Context) (*status.Member, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != nil {
		return nil, "", s.answer
	}
	if s.member != nil {
		m := *s.member
		return &m, "3.7.3", nil
	}
	return nil, "", errors.New("not asked here")
}
func (s *script) LastWords(context.Context, Run) ([]string, string) {
	return []string{"last words"}, "words"
}
func (s *script) Remember(c Child) (func() error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c != nil && s.foreign != nil {
		return nil, s.foreign
	}
	s.remembered = append(s.remembered, c)
	return s.save, nil
}
func (s *script) Log() status.Log   { return status.Log{} }
func (s *script) Pending() []string { return nil }

func (a *actor) Info() status.Process { return status.Process{PID: a.pid, Started: a.born} }
func (a *actor) Run() *Run            { return &Run{ID: process.ID{PID: a.pid}} }
func (a *actor) Wait() status.Exit    { return <-a.end }
func (a *actor) Progress() (Progress, error) {
	return Progress{Work: a.work.Load()}, nil
}

func (a *actor) Signal(sig unix.Signal) error {
	a.host.mu.Lock()
	a.signals, a.at = append(a.signals, sig), append(a.at, time.Now())
	answer := a.host.onSignal
	a.host.mu.Unlock()
	if answer != nil {
		answer(a, sig)
	}
	return nil
}

func (a *actor) die(signal string, code int) {
	x := status.Exit{Signal: signal}
	if signal == "" {
		x.Code = &code
	}
	a.end <- x
}

// memory is a Keeper that keeps.
type memory struct {
	mu     sync.Mutex
	record Record
	events []status.Event
	fail   error
}

func (m *memory) SaveRecord(r Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.record = r
	return m.fail
}

func (m *memory) AddEvent(e status.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
	return m.fail
}

var testSettings = Settings{
	Instance: "t", Delay: 500 * time.Millisecond, MaxDelay: 30 * time.Second, ResetAfter: time.Minute, PerHour: 30,
	Transfer: 5 * time.Second, Grace: time.Minute, Dump: 5 * time.Second,
	Interval: 10 * time.Second, Timeout: 3 * time.Second, Hung: 45 * time.Second,
}

// stage is a loop under virtual time.
type stage struct {
	*testing.T
	*script
	loop *Loop
	kept *memory
}

// play runs f with a loop that has begun with b, in a bubble of virtual time, and ends the loop afterwards.
func play(t *testing.T, set Settings, b Start, f func(*stage)) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if b.Record.Goal == "" {
			b.Record.Goal = status.GoalUp
		}
		s := &stage{T: t, script: &script{health: Health{Answered: true, Serving: true, Quorum: true}}, kept: &memory{}}
		if a, ok := b.Child.(*actor); ok {
			a.end, a.host = make(chan status.Exit, 1), s.script // made here, so that they belong to the bubble
			s.children = append(s.children, a)
		}
		s.loop = New(s.script, s.kept, zap.NewNop(), set, b, "boot", func() time.Duration { return time.Hour + time.Since(began) })
		ctx, cancel := context.WithCancel(context.Background())
		go s.loop.Run(ctx)
		synctest.Wait()
		defer s.close(cancel)
		f(s)
	})
}

// close ends the loop and lets every scripted etcd die, so that no goroutine stays in the bubble.
func (s *stage) close(cancel func()) {
	cancel()
	<-s.loop.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.children {
		select {
		case a.end <- status.Exit{Signal: "SIGKILL"}:
		default:
		}
	}
}

func (s *stage) child() *actor {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.children) == 0 {
		s.Fatal("no child was launched")
	}
	return s.children[len(s.children)-1]
}

func (s *stage) ready() *actor {
	a := s.child()
	s.loop.Notified(a.pid)
	synctest.Wait()
	s.expect(status.StateReady)
	return a
}

func (s *stage) expect(want status.State) {
	s.Helper()
	synctest.Wait()
	if st := s.loop.Status(); st.State != want {
		s.Fatalf("state is %s (%s), want %s", st.State, st.Reason, want)
	}
}

func (s *stage) starts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.launches)
}

func TestReadyTakesBothWords(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		s.expect(status.StateStarting)
		pass(2 * time.Second) // health answers true all the while
		s.expect(status.StateStarting)
		s.loop.Notified(1) // somebody else's word
		s.expect(status.StateStarting)
		s.ready()
	})
}

func TestQuorumIsWaitedFor(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		s.with(func() { s.health = Health{Answered: true, Serving: true, Detail: "RAFT NO LEADER"} })
		pass(time.Second)
		s.expect(status.StateStarting) // an election takes its time
		pass(4 * time.Second)
		s.expect(status.StateWaiting)
		pass(10 * time.Hour)
		s.expect(status.StateWaiting)
		if n := s.starts(); n != 1 {
			t.Errorf("started %d times while there was no quorum", n)
		}
		s.with(func() { s.health = Health{Answered: true, Serving: true, Quorum: true} })
		pass(2 * time.Second)
		s.expect(status.StateStarting)
		s.ready()
	})
}

func TestFirstDeathIsFollowedAtOnceThenBackoff(t *testing.T) {
	set := testSettings
	play(t, set, Start{}, func(s *stage) {
		a := s.ready()
		pass(time.Hour)
		for i, want := range []time.Duration{0, 500 * time.Millisecond, time.Second, 2 * time.Second} {
			died := time.Now()
			a.die("SIGKILL", 0)
			pass(time.Minute)
			synctest.Wait()
			s.mu.Lock()
			got := s.launches[len(s.launches)-1].Sub(died)
			s.mu.Unlock()
			if got < want || got > want+want {
				t.Errorf("start after death %d came after %v, want about %v", i+1, got, want)
			}
			a = s.child()
		}
	})
}

func TestSustainedReadinessForgives(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		for range 5 {
			a := s.ready()
			pass(2 * time.Minute)
			died := time.Now()
			a.die("SIGKILL", 0)
			synctest.Wait()
			s.mu.Lock()
			if got := s.launches[len(s.launches)-1]; !got.Equal(died) {
				t.Errorf("started %v after a death that followed two good minutes", got.Sub(died))
			}
			s.mu.Unlock()
		}
	})
}

func TestCrashLoopStaysInBudget(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		end := time.Now().Add(5 * time.Hour)
		for time.Now().Before(end) {
			s.mu.Lock()
			for _, a := range s.children {
				select {
				case a.end <- status.Exit{Signal: "SIGKILL"}:
				default:
				}
			}
			s.mu.Unlock()
			pass(100 * time.Millisecond)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := 31; i < len(s.launches); i++ { // the first start of all was asked for
			if d := s.launches[i].Sub(s.launches[i-30]); d < time.Hour {
				t.Fatalf("31 starts within %v", d)
			}
		}
		if len(s.launches) < 120 {
			t.Errorf("only %d starts in five hours: it gave up", len(s.launches))
		}
	})
}

func TestStopEscalates(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		s.with(func() { s.transfer = 2 * time.Second })
		a := s.ready()
		s.onSignals(func(a *actor, sig unix.Signal) {
			if sig == unix.SIGKILL {
				a.die("SIGKILL", 0)
			}
		})
		began := time.Now()
		if err := s.loop.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Minute)
		s.expect(status.StateDown)
		if st := s.loop.Status(); st.Process != nil || st.Health != (status.Health{}) {
			t.Errorf("nothing runs, and its health is %+v", st.Health)
		}
		want := []struct {
			sig unix.Signal
			at  time.Duration
		}{{unix.SIGTERM, 2 * time.Second}, {unix.SIGQUIT, 62 * time.Second}, {unix.SIGKILL, 67 * time.Second}}
		if len(a.signals) != len(want) {
			t.Fatalf("signals: %v", a.signals)
		}
		for i, w := range want {
			if a.signals[i] != w.sig || a.at[i].Sub(began) != w.at {
				t.Errorf("signal %d: %v after %v, want %v after %v", i, a.signals[i], a.at[i].Sub(began), w.sig, w.at)
			}
		}
	})
}

func TestStopWaitsUntilNothingIsLeft(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		a := s.ready()
		s.with(func() { s.sweeps = [][]int{{4711}, {4711}} })
		s.onSignals(func(a *actor, _ unix.Signal) { a.die("SIGTERM", 0) })
		if err := s.loop.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		pass(7 * time.Second)
		s.expect(status.StateStopping)
		if left := s.loop.Status().Stop.Left; len(left) != 1 || left[0] != 4711 {
			t.Errorf("status names %v as left", left)
		}
		pass(10 * time.Second)
		s.expect(status.StateDown)
		_ = a
	})
}

func TestHungIsFoundAndSlowIsNot(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		slow := s.ready()
		s.with(func() { s.health = Health{} })
		for range 600 { // ten minutes without an answer, but with progress
			slow.work.Add(1)
			pass(time.Second)
		}
		s.expect(status.StateSilent)
		if len(slow.sent()) != 0 {
			t.Fatalf("a slow etcd got %v", slow.sent())
		}
		s.onSignals(func(a *actor, sig unix.Signal) {
			if sig == unix.SIGKILL {
				a.die("SIGKILL", 0)
			}
		})
		began := time.Now()
		for len(slow.sent()) == 0 && time.Since(began) < time.Hour {
			pass(time.Second)
		}
		if d := time.Since(began); d > time.Minute {
			t.Errorf("hung for %v before it was found", d)
		}
		pass(6 * time.Second)
		synctest.Wait()
		if s.starts() != 2 || s.loop.Status().LastExit.Cause != status.CauseHung {
			t.Errorf("starts: %d, last exit: %+v", s.starts(), s.loop.Status().LastExit)
		}
	})
}

func TestExitZeroIsHeld(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		s.ready().die("", 0)
		pass(24 * time.Hour)
		s.expect(status.StateHeld)
		if s.starts() != 1 {
			t.Errorf("started %d times after etcd said that it was removed", s.starts())
		}
		if err := s.loop.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.expect(status.StateStarting)
	})
}

func TestRefusedStartIsTriedAgain(t *testing.T) {
	play(t, testSettings, Start{Record: Record{Goal: status.GoalDown}}, func(s *stage) {
		s.with(func() { s.refuse = errors.New("cannot start etcd: no memory") })
		if err := s.loop.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		pass(100 * time.Millisecond)
		s.expect(status.StateBackoff)
		s.with(func() { s.refuse = nil })
		pass(time.Minute)
		s.expect(status.StateStarting)
	})
}

func TestAnImpossibleStartIsHeldAndTriedSlowly(t *testing.T) {
	play(t, testSettings, Start{Record: Record{Goal: status.GoalDown}}, func(s *stage) {
		s.with(func() {
			s.refuse = &LaunchError{Err: errors.New("cannot start /opt/etcd: no such file"), Cause: status.CauseConfig, Hold: true}
		})
		if err := s.loop.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.expect(status.StateHeld)
		s.with(func() { s.refuse = nil })
		pass(5*time.Minute + time.Second)
		s.expect(status.StateStarting)
	})
}

// TestAStartThatTheDataForbids is held with its reason and next command, looked at again slowly, and at once when asked.
func TestAStartThatTheDataForbids(t *testing.T) {
	play(t, testSettings, Start{Record: Record{Goal: status.GoalDown}}, func(s *stage) {
		s.with(func() {
			s.refuse = refusal(Decision{Cause: status.CauseData, Code: "empty-directory", Held: "it is empty", Next: "etcdsup mode join"})
		})
		if err := s.loop.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.expect(status.StateHeld)
		st := s.loop.Status()
		if st.Reason != "it is empty" || st.Next != "etcdsup mode join" || st.LastExit.Cause != status.CauseData || st.LastExit.PID != 0 {
			t.Errorf("%s → %s, %+v", st.Reason, st.Next, st.LastExit)
		}
		pass(time.Hour + time.Minute)
		s.expect(status.StateHeld)
		if n := s.starts(); n != 13 {
			t.Errorf("%d looks within an hour, not every 5 minutes", n)
		}
		s.expectHeldOnce("it is empty", time.Hour)
		s.with(func() { s.refuse = refusal(Decision{Cause: status.CauseData, Held: "it is foreign", Next: "x"}) })
		pass(5 * time.Minute)
		s.expectHeldOnce("it is foreign", time.Minute)
		if err := s.loop.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.expect(status.StateHeld)
		s.with(func() { s.refuse = nil })
		if err := s.loop.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.ready()
	})
}

// expectHeldOnce wants the newest entry of the history to be the only one with that reason, no start counted, and the
// state to be held for about that long.
func (s *stage) expectHeldOnce(why string, since time.Duration) {
	s.Helper()
	synctest.Wait()
	st := s.loop.Status()
	if st.Restart.Count != 0 || st.Restart.LastHour != 0 || st.Restart.Streak != 0 {
		s.Errorf("held starts were counted: %+v", st.Restart)
	}
	if age := time.Since(st.Since); st.State != status.StateHeld || st.Reason != why || age > since+5*time.Minute || age < since-time.Minute {
		s.Errorf("%s for %v: %s", st.State, age, st.Reason)
	}
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	n := 0
	for _, e := range s.kept.events {
		if e.Kind == status.EventFail && e.Exit.Detail == why {
			n++
		}
	}
	if n != 1 {
		s.Errorf("%d entries say %q: %+v", n, why, s.kept.events)
	}
}

// TestReadyButSomebodyElse is found with the first answer of a probe, or by what etcd says of itself.
func TestReadyButSomebodyElse(t *testing.T) {
	stranger := &ForeignError{Record: Mark{ClusterID: "c", MemberID: "a"}, ClusterID: "x", MemberID: "y"}
	for name, set := range map[string]func(*script){
		"by its data":   func(s *script) { s.foreign = stranger },
		"by its answer": func(s *script) { s.answer = stranger },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, testSettings, Start{}, func(s *stage) {
				s.onSignals(func(a *actor, _ unix.Signal) { a.die("SIGTERM", 0) })
				s.with(func() { set(s.script) })
				a := s.child()
				s.loop.Notified(a.pid)
				pass(2 * time.Second)
				s.expect(status.StateHeld)
				st := s.loop.Status()
				if sent := a.sent(); len(sent) != 1 || sent[0] != unix.SIGTERM {
					t.Errorf("it got %v", sent)
				}
				if st.LastExit.Cause != status.CauseIdentity || st.Reason != stranger.Error() || !strings.Contains(st.Next, "etcdsup start --accept-data") || st.Goal != status.GoalUp {
					t.Errorf("%s, %s → %s, %+v", st.Goal, st.Reason, st.Next, st.LastExit)
				}
				s.with(func() { s.foreign, s.answer = nil, nil })
				pass(5 * time.Minute) // and is started again by itself, which decides anew
				s.ready()
			})
		})
	}
}

// TestTheMarkIsKeptInStepWithTheProbes: with each answer that knows a leader, with the end of etcd, and with no other.
func TestTheMarkIsKeptInStepWithTheProbes(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		saves := 0
		s.with(func() { s.health = Health{Answered: true, Serving: true, Detail: "RAFT NO LEADER"} })
		pass(30 * time.Second)
		if n := s.marked(); n != 0 {
			t.Errorf("remembered %d times without a leader", n)
		}
		s.with(func() {
			s.health = Health{Answered: true, Serving: true, Quorum: true}
			s.save = func() error { s.with(func() { saves++ }); return nil }
		})
		a := s.ready()
		s.onSignals(func(a *actor, _ unix.Signal) { a.die("SIGTERM", 0) })
		before := s.marked()
		pass(10 * testSettings.Interval)
		if n := s.marked() - before; n < 9 || n > 11 {
			t.Errorf("looked %d times with 10 probes", n)
		}
		if err := s.loop.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.expect(status.StateDown)
		s.with(func() {
			if last := s.remembered[len(s.remembered)-1]; last != nil {
				t.Errorf("the last look was at %v, and not at what etcd left behind", last)
			}
			if saves != len(s.remembered) || s.remembered[before] != Child(a) {
				t.Errorf("%d marks for %d looks", saves, len(s.remembered))
			}
			s.save = nil
		})
	})
}

func (s *stage) marked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.remembered)
}

func TestCommandsWhileLaunching(t *testing.T) {
	play(t, testSettings, Start{Record: Record{Goal: status.GoalDown}}, func(s *stage) {
		s.with(func() { s.stuck = time.Minute }) // exec waits for a disk
		if err := s.loop.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := s.loop.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.onSignals(func(a *actor, _ unix.Signal) { a.die("SIGTERM", 0) })
		pass(2 * time.Minute)
		s.expect(status.StateDown)
		if got := s.child().signals; len(got) != 1 || got[0] != unix.SIGTERM {
			t.Errorf("the late child got %v", got)
		}
	})
}

func TestTheGoalIsKeptBeforeTheCommandReturns(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		s.ready()
		s.onSignals(func(a *actor, _ unix.Signal) { a.die("SIGTERM", 0) })
		if err := s.loop.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.kept.mu.Lock()
		if s.kept.record.Goal != status.GoalDown {
			t.Errorf("goal on disk when stop returned: %s", s.kept.record.Goal)
		}
		s.kept.fail = errors.New("disk full")
		s.kept.mu.Unlock()
		if err := s.loop.Start(context.Background()); err == nil {
			t.Error("a goal that could not be saved was reported as kept")
		}
		s.expect(status.StateStarting)
	})
}

func TestLeaveKeepsTheGoal(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		s.ready()
		s.onSignals(func(a *actor, _ unix.Signal) { a.die("SIGTERM", 0) })
		if err := s.loop.Leave(context.Background()); err != nil {
			t.Fatal(err)
		}
		<-s.loop.Done()
		if s.kept.record.Goal != status.GoalUp || s.kept.record.Run != nil {
			t.Errorf("record after leaving: %+v", s.kept.record)
		}
	})
}

func TestAdoptedIsReadyAgainAfterOneAnswer(t *testing.T) {
	a := &actor{pid: 77}
	play(t, testSettings, Start{Child: a, Ready: true}, func(s *stage) {
		pass(200 * time.Millisecond)
		s.expect(status.StateReady)
		if s.starts() != 0 {
			t.Error("a second etcd was started beside the adopted one")
		}
		a.die("SIGKILL", 0)
		synctest.Wait()
		if s.starts() != 1 {
			t.Errorf("starts after the adopted one died: %d", s.starts())
		}
	})
}

// TestTheBeginningIsTold: whoever waits for it never sees an etcd that was taken over as down.
func TestTheBeginningIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &actor{pid: 77, host: &script{}, end: make(chan status.Exit, 1)}
		for _, goal := range []status.Goal{status.GoalUp, status.GoalDown} {
			begin := Start{Child: a, Record: Record{Goal: goal}}
			l := New(a.host, &memory{}, zap.NewNop(), testSettings, begin, "boot", func() time.Duration { return time.Hour })
			if st := l.Status(); st.State != status.StateDown {
				t.Fatalf("it is %s before it has begun: nobody need wait", st.State)
			}
			ctx, cancel := context.WithCancel(t.Context())
			go l.Run(ctx)
			<-l.Begun()
			if st := l.Status(); st.State == status.StateDown || st.Process == nil {
				t.Errorf("with the goal %s it is %s, process %+v", goal, st.State, st.Process)
			}
			cancel()
			<-l.Done()
		}
		a.die("SIGKILL", 0)
		a.die("SIGKILL", 0)
	})
}

func TestADeathThatNobodySawIsWrittenDown(t *testing.T) {
	x := status.Exit{PID: 9, Unknown: true, Cause: status.CauseUnknown, Detail: "ended while no etcdsup was there"}
	play(t, testSettings, Start{Lost: &x}, func(s *stage) {
		s.expect(status.StateStarting)
		if last := s.loop.Status().LastExit; last == nil || last.PID != 9 {
			t.Errorf("last exit: %+v", last)
		}
	})
}

func TestStatusIsWokenByEveryChange(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		changed := s.loop.Changed()
		s.ready()
		select {
		case <-changed:
		default:
			t.Error("nobody was woken when the state changed")
		}
	})
}

// TestOtherPeerURLsAreNoticed in the status as long as the cluster lists others than are configured, and in the log once.
func TestOtherPeerURLsAreNoticed(t *testing.T) {
	set := testSettings
	set.PeerURLs, set.Program = []string{"http://new:1"}, "etcdsup -i events"
	play(t, set, Start{}, func(s *stage) {
		core, logged := observer.New(zap.WarnLevel)
		s.loop.show(func() { s.loop.log = zap.New(core) })
		s.with(func() { s.member = &status.Member{ID: "1f", PeerURLs: []string{"http://old:1"}} })
		s.ready()
		for range 3 {
			st, err := s.loop.Refresh(context.Background())
			if err != nil || len(st.Notices) != 1 || st.Notices[0].Remedy != "etcdsup -i events member update-url 1f http://new:1" {
				t.Fatalf("%+v, %v", st.Notices, err)
			}
		}
		if n := logged.FilterMessage("not as configured").Len(); n != 1 {
			t.Errorf("logged %d times", n)
		}
		s.with(func() { s.member.PeerURLs = []string{"http://new:1"} })
		if st, err := s.loop.Refresh(context.Background()); err != nil || len(st.Notices) != 0 {
			t.Errorf("%+v, %v", st.Notices, err)
		}
		set.PeerURLs = []string{"http://newer:1"}
		s.loop.Apply(set)
		synctest.Wait()
		if n := s.loop.Status().Notices; len(n) != 1 || logged.Len() != 2 {
			t.Errorf("after a change of the configuration: %+v, logged %d times", n, logged.Len())
		}
	})
}

// TestLastWordsAreLogged of an etcd that died by itself, and not of one that was stopped.
func TestLastWordsAreLogged(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		core, logged := observer.New(zap.WarnLevel)
		s.loop.show(func() { s.loop.log = zap.New(core) })
		s.onSignals(func(a *actor, _ unix.Signal) { a.die("SIGTERM", 0) })
		said := func() int { return logged.FilterField(zap.String("line", "words")).Len() }
		s.ready()
		if err := s.loop.Restart(context.Background()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.ready()
		if n := said(); n != 0 {
			t.Errorf("of one that was stopped, %d times", n)
		}
		s.child().die("", 1)
		synctest.Wait()
		if n := said(); n != 1 {
			t.Errorf("of one that died, %d times", n)
		}
	})
}

// TestAskedStartsAreNotRationed: the budget is against storms, not against people.
func TestAskedStartsAreNotRationed(t *testing.T) {
	play(t, testSettings, Start{}, func(s *stage) {
		s.onSignals(func(a *actor, _ unix.Signal) { a.die("SIGTERM", 0) })
		for range 2 * testSettings.PerHour {
			s.ready()
			if err := s.loop.Restart(context.Background()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		s.expect(status.StateStarting)
		if n := s.loop.Status().Restart.LastHour; n != 0 {
			t.Errorf("%d starts were counted that were asked for", n)
		}
	})
}

// TestAKillInBackoffIsNoFreshStart: only an etcdsup that was told to end leaves a start that nobody has to wait for.
func TestAKillInBackoffIsNoFreshStart(t *testing.T) {
	used := Record{Version: recordVersion, Goal: status.GoalUp, BootID: "boot", SavedAt: time.Hour, Streak: 9}
	for range testSettings.PerHour {
		used.Starts = append(used.Starts, time.Hour)
	}
	play(t, testSettings, Start{Record: used}, func(s *stage) { s.expect(status.StateBackoff) })
	used.Left = true
	play(t, testSettings, Start{Record: used}, func(s *stage) { s.expect(status.StateStarting) })
}
