package supervisor

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

var testPolicy = policy{
	restart:  restartPolicy{delay: 500 * time.Millisecond, maxDelay: 30 * time.Second, jitter: 0.2, resetAfter: time.Minute, perHour: 30},
	transfer: 5 * time.Second, grace: time.Minute, dump: 5 * time.Second,
	killAgain: 5 * time.Second, sweepAgain: 5 * time.Second, heldRetry: 5 * time.Minute,
	randomFactor: func() float64 { return 0 },
}

func TestEveryCellIsFilled(t *testing.T) {
	for s := range states {
		if word[s] == "" {
			t.Errorf("state %d has no word for users", s)
		}
		for in := range inputs {
			if table[s][in] == nil {
				t.Errorf("no answer to input %d in state %d (%s)", in, s, word[s])
			}
		}
	}
}

// TestNoCommandIsRefused holds that a person is heard in every state.
func TestNoCommandIsRefused(t *testing.T) {
	for s := range states {
		for _, in := range []input{doStart, doStop, doRestart, doLeave} {
			if same(table[s][in], never) {
				t.Errorf("command %s is never expected in state %s", commandName[in], word[s])
			}
		}
	}
}

func same(a, b action) bool {
	name := func(f action) string { return runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name() }
	return name(a) == name(b)
}

// sim is the simplest world that a machine can live in: it knows whether a process exists, and holds the machine to it.
type sim struct {
	t                                 *rapid.T
	m                                 machine
	now                               time.Duration
	alive                             bool
	launches                          []time.Duration
	armed                             bool // a deadline is set
	after                             time.Duration
	launching, sweeping, transferring bool
	killed                            bool
	manual                            int  // starts that a person asked for
	stranger                          bool // the process is not who should run, and is to be held once it has ended
}

func (s *sim) give(e event) {
	e.now = s.now
	wasAlive, before := s.alive, s.m
	s.meet(e)
	if e.in == died {
		s.alive = false
		e.exit = classify(e.exit, s.m)
	}
	var fx []effect
	s.m, fx = s.m.step(e)
	for _, f := range fx {
		s.apply(f, before)
	}
	_ = wasAlive
	s.check()
}

// meet keeps in mind that a stranger must not be followed by a start, unless a person asks for one or the long wait of a
// held one is over.
func (s *sim) meet(e event) {
	_, stopping := phase[s.m.is]
	switch {
	case e.in == foreign && s.alive && !stopping:
		s.stranger = true
	case e.in == doStart, e.in == doRestart, e.in == doStop, e.in == deadline && s.m.is == held:
		s.stranger = false
	}
}

func (s *sim) apply(f effect, before machine) {
	switch f.do {
	case doLaunch:
		if s.alive || s.launching {
			s.t.Fatalf("second etcd launched from %s", word[before.is])
		}
		if s.sweeping {
			s.t.Fatalf("launched before the sweep ended")
		}
		if s.stranger {
			s.t.Fatalf("a stranger was followed by another start, from %s", word[before.is])
		}
		s.launching = true
		s.launches = append(s.launches, s.now)
	case doSignal:
		if !s.alive {
			s.t.Fatalf("signal %v with no process", f.sig)
		}
		s.killed = s.killed || f.sig == unix.SIGKILL
	case doTransfer:
		s.transferring = true
	case doSweep:
		s.sweeping = true
	case setDeadline:
		s.armed, s.after = true, f.after
	case clearDeadline:
		s.armed = false
	case doReport:
		s.t.Fatalf("reached a cell that should not be: %s", f.why)
	}
}

// check holds what is true between any two events.
func (s *sim) check() {
	_, stopping := phase[s.m.is]
	hasProcess := s.m.is == starting || s.m.is == waiting || s.m.is == ready || s.m.is == silent || stopping && s.m.is != sweeping
	switch {
	case hasProcess != s.alive:
		s.t.Fatalf("state %s, but alive is %v", word[s.m.is], s.alive)
	case s.m.is == launching != s.launching:
		s.t.Fatalf("state %s, but launching is %v", word[s.m.is], s.launching)
	case s.m.is == backoff && !s.armed:
		s.t.Fatal("backoff without end")
	case (s.m.is == terminating || s.m.is == quitting || s.m.is == killing || s.m.is == transferring) && !s.armed:
		s.t.Fatalf("%s without a deadline", word[s.m.is])
	case s.stranger && (s.m.is == backoff || s.m.is == held && (!s.armed || s.m.reason != "it is another")):
		s.t.Fatalf("after a stranger %s: %s", word[s.m.is], s.m.reason)
	case s.stranger && s.alive && !stopping:
		s.t.Fatalf("a stranger was left alone in %s", word[s.m.is])
	case s.m.is == down && s.m.goal != status.GoalDown && len(s.launches) > 0 && !s.m.leaving:
		s.t.Fatal("down, although up is wanted")
	case s.m.reason == "" && s.m.is != down:
		s.t.Fatalf("no reason given for %s", word[s.m.is])
	}
}

func (s *sim) pass(d time.Duration) { s.now += d }

// TestMachineAgainstItsWorld lets anything happen that the world allows, in any order.
func TestMachineAgainstItsWorld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := testPolicy
		p.readyAtOnce = rapid.Bool().Draw(t, "ready at once")
		s := &sim{t: t, m: machine{goal: status.GoalUp, p: p}}
		if rapid.Bool().Draw(t, "begins with a living etcd") {
			s.alive = true
			s.give(event{in: adopted, ready: rapid.Bool().Draw(t, "was ready")})
		} else {
			s.give(event{in: found})
		}
		t.Repeat(map[string]func(*rapid.T){
			"time": func(t *rapid.T) { s.pass(time.Duration(rapid.Int64Range(1, int64(90*time.Second)).Draw(t, "d"))) },
			"command": func(t *rapid.T) {
				c := rapid.SampledFrom([]input{doStart, doStop, doRestart}).Draw(t, "command")
				if n := len(s.launches); c != doStop {
					s.give(event{in: c})
					s.manual += len(s.launches) - n
					return
				}
				s.give(event{in: c})
				if s.m.goal != status.GoalDown {
					t.Fatalf("stop in %s did not change the goal", word[s.m.is])
				}
			},
			"launched": func(t *rapid.T) {
				if !s.launching {
					t.Skip()
				}
				s.launching, s.alive = false, true
				s.give(event{in: launched})
			},
			"launch failed": func(t *rapid.T) {
				if !s.launching {
					t.Skip()
				}
				s.launching = false
				hold, before := rapid.Bool().Draw(t, "hold"), len(s.m.budget.starts)
				counted := s.m.counted
				s.give(event{in: launchFailed, hold: hold, exit: status.Exit{Cause: status.CauseEnvironment, Detail: "no"}})
				if after := len(s.m.budget.starts); hold && counted && after != before-1 || hold && !counted && after != before {
					t.Fatalf("a start that is held was counted: %d, then %d", before, after)
				}
			},
			"died": func(t *rapid.T) {
				if !s.alive {
					t.Skip()
				}
				code := rapid.IntRange(0, 2).Draw(t, "code")
				s.give(event{in: died, exit: status.Exit{PID: 7, Code: &code}})
			},
			"heard": func(t *rapid.T) {
				in := rapid.SampledFrom([]input{notified, serving, noQuorum, unanswered, hung, foreign}).Draw(t, "heard")
				if in == hung && !s.alive {
					t.Skip()
				}
				why := "silence"
				if in == foreign {
					why = "it is another"
				}
				s.give(event{in: in, why: why})
			},
			"transferred": func(t *rapid.T) {
				if !s.transferring {
					t.Skip()
				}
				s.transferring = false
				s.give(event{in: transferred})
			},
			"swept": func(t *rapid.T) {
				if !s.sweeping {
					t.Skip()
				}
				s.sweeping = false
				s.give(event{in: rapid.SampledFrom([]input{swept, sweepFailed}).Draw(t, "outcome")})
			},
			"deadline": func(t *rapid.T) {
				if !s.armed {
					t.Skip()
				}
				s.armed = false
				s.pass(s.after)
				n, before := len(s.launches), s.m
				s.give(event{in: deadline})
				if len(s.launches) > n && before.goal == status.GoalDown {
					t.Fatal("started by itself although down is wanted")
				}
			},
		})
	})
}

// TestAStopAlwaysEnds drives every state to down by nothing but deadlines and a process that dies of SIGKILL only.
func TestAStopAlwaysEnds(t *testing.T) {
	for _, from := range []state{starting, waiting, ready, silent} {
		t.Run(fmt.Sprint(word[from]), func(t *testing.T) {
			m := machine{is: from, goal: status.GoalUp, p: testPolicy}
			var sent []unix.Signal
			m, fx := m.step(event{in: doStop})
			for range 20 {
				dead := false
				for _, f := range fx {
					if f.do == doSignal {
						sent = append(sent, f.sig)
						dead = dead || f.sig == unix.SIGKILL
					}
				}
				switch {
				case m.is == down:
					if want := []unix.Signal{unix.SIGTERM, unix.SIGQUIT, unix.SIGKILL}; !reflect.DeepEqual(sent, want) {
						t.Errorf("signals sent: %v, want %v", sent, want)
					}
					return
				case dead:
					m, fx = m.step(event{in: died, exit: status.Exit{PID: 7, Signal: "SIGKILL"}})
				case m.is == sweeping:
					m, fx = m.step(event{in: swept})
				default:
					m, fx = m.step(event{in: deadline})
				}
			}
			t.Fatalf("not down after 20 steps, but %s", word[m.is])
		})
	}
}

// TestAStrangerIsTurnedAway from each state in which it may be found, and held with the reason until somebody acts.
func TestAStrangerIsTurnedAway(t *testing.T) {
	for _, from := range []state{starting, waiting, ready, silent} {
		t.Run(fmt.Sprint(word[from]), func(t *testing.T) {
			m := machine{is: from, goal: status.GoalUp, p: testPolicy}
			m, fx := m.step(event{in: foreign, why: "it is another", next: "put it back"})
			if !slices.Contains(fx, effect{do: doSignal, sig: unix.SIGTERM}) || m.is != terminating {
				t.Fatalf("%s, with %+v", word[m.is], fx)
			}
			x := classify(status.Exit{PID: 7, Signal: "SIGTERM"}, m)
			if x.Cause != status.CauseIdentity || x.Asked || !strings.Contains(x.Detail, "it is another") {
				t.Errorf("its end is told as %+v", x)
			}
			m, _ = m.step(event{in: died, exit: x})
			m, fx = m.step(event{in: swept})
			if m.is != held || m.reason != "it is another" || m.next != "put it back" || !slices.Contains(fx, effect{do: setDeadline, after: testPolicy.heldRetry}) {
				t.Errorf("%s: %s → %s, with %+v", word[m.is], m.reason, m.next, fx)
			}
			if m, fx = m.step(event{in: doStart}); m.is != launching || !slices.Contains(fx, effect{do: doLaunch}) || m.stranger != "" {
				t.Errorf("start by command: %s, with %+v", word[m.is], fx)
			}
		})
	}
	t.Run("asked for meanwhile", func(t *testing.T) {
		for in, want := range map[input]state{doRestart: launching, doStart: launching, doStop: down, doLeave: gone} {
			m := machine{is: ready, goal: status.GoalUp, p: testPolicy}
			for _, e := range []event{{in: foreign, why: "it is another"}, {in: in}, {in: died, exit: status.Exit{PID: 7}}, {in: swept}} {
				m, _ = m.step(e)
			}
			if m.is != want {
				t.Errorf("after %s: %s, not %s", commandName[in], word[m.is], word[want])
			}
		}
	})
}

func TestBackoffSequence(t *testing.T) {
	p := testPolicy.restart
	want := []time.Duration{0, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second}
	var b budget
	for i, w := range want {
		var d time.Duration
		b, d, _ = b.died(p, 0, 0)
		if d != w {
			t.Errorf("wait after death %d in a row: %v, want %v", i+1, d, w)
		}
	}
	for _, r := range []float64{-1, 0.999} {
		if d := p.backoff(100, r); d < 24*time.Second || d > 36*time.Second {
			t.Errorf("with jitter %v the longest wait is %v, not 30s ± 20%%", r, d)
		}
	}
}

// TestBudgetHolds is the promise against restart storms: in no hour more starts than allowed, whatever the deaths,
// also over reboots.
func TestBudgetHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := testPolicy.restart
		p.perHour = rapid.IntRange(1, 40).Draw(t, "per hour")
		var b budget
		var now, supervised time.Duration
		var starts []time.Duration // on the clock that runs only while we do
		t.Repeat(map[string]func(*rapid.T){
			"start when allowed": func(t *rapid.T) {
				d := b.wait(p, now)
				now, supervised = now+d, supervised+d
				b = b.started(now)
				starts = append(starts, supervised)
				if n := len(starts); n > p.perHour && starts[n-1]-starts[n-1-p.perHour] < hour {
					t.Fatalf("%d starts within %v", p.perHour+1, starts[n-1]-starts[n-1-p.perHour])
				}
			},
			"time": func(t *rapid.T) {
				d := time.Duration(rapid.Int64Range(0, int64(2*hour)).Draw(t, "d"))
				now, supervised = now+d, supervised+d
			},
			"reboot": func(t *rapid.T) {
				rec := Record{Starts: b.lastHour(now), BootID: "a", SavedAt: now}
				now = time.Duration(rapid.Int64Range(0, int64(hour)).Draw(t, "new boot clock"))
				b = rec.budgetAt("b", now)
			},
		})
	})
}

func TestReadinessForgives(t *testing.T) {
	p := testPolicy.restart
	b := budget{streak: 5, lastDelay: 20 * time.Second}
	if got := b.readyFor(p, 79*time.Second); got.streak != 5 {
		t.Error("79 s of readiness forgave deaths that were 20 s apart: 80 s are asked for")
	}
	if got := b.readyFor(p, 80*time.Second); got.streak != 0 {
		t.Error("80 s of readiness did not forgive")
	}
}

// TestNextAfterAnEnd: a member that was removed is not told to start again.
func TestNextAfterAnEnd(t *testing.T) {
	zero, one := 0, 1
	for code, rejoins := range map[*int]bool{&zero: true, &one: false, nil: false} {
		x := status.Exit{Code: code}
		if x.Cause = status.CauseUnknown; code != nil {
			x.Cause, _ = codeCause(*code)
		}
		if next := afterRemoval(x); strings.Contains(next, "etcdsup mode join") != rejoins {
			t.Errorf("%+v: %q", x, next)
		}
	}
}
