package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/flow"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// steppingThrough is the script of a daemon that begins a transition and takes a step each time that it is told to.
func steppingThrough(f *fakeDaemon, mode status.Mode) (script func(string) error, step func(done int)) {
	step = func(done int) {
		f.setModes(func(m *status.Modes) { m.Mode, m.Now = mode, transition("t1", mode, f.plan, done) })
	}
	return func(command string) error {
		if strings.HasPrefix(command, "change ") {
			step(0)
		}
		return nil
	}, step
}

// end has what is under way ended.
func (f *fakeDaemon) end(tr *status.Transition) {
	f.setModes(func(m *status.Modes) { m.Mode, m.Now, m.Last = status.ModeNormal, nil, tr })
}

func TestPlanIsShownAndNothingIsChanged(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	var sent []string
	f.script = func(command string) error {
		sent = append(sent, command)
		return nil
	}
	f.plan = joinPlan()
	r := in(t, f.dir, "mode", "join", "--plan", "--endpoint", "http://10.0.0.1:2379,http://10.0.0.2:2379", "--replace")
	r.want(t, exitOK, "This is the plan; nothing was changed.", "")
	golden(t, "mode_plan_join.txt", strings.ReplaceAll(r.out, " --dir "+f.dir, ""))

	f.plan = forcePlan()
	r = in(t, f.dir, "mode", "force-new-cluster", "--plan", "--from", "/backup/etcd data", "--fenced", "a", "--fenced", "b", "--peer", "http://c:2380",
		"--new-identity", "--bump-revision", "1000", "--allow-contact")
	golden(t, "mode_plan_force.txt", strings.ReplaceAll(r.out, " --dir "+f.dir, ""))
	r = in(t, f.dir, "mode", "force-new-cluster", "--plan", "-o", "json")
	golden(t, "mode_plan_force.json", r.out)

	for _, command := range sent {
		if !strings.HasPrefix(command, "plan ") {
			t.Errorf("sent %q", command)
		}
	}
	if want := `plan {"mode":"join","endpoints":["http://10.0.0.1:2379","http://10.0.0.2:2379"],"replace":true}`; sent[0] != want {
		t.Errorf("sent %q, want %q", sent[0], want)
	}
}

func TestFromIsMadeAbsolute(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = forcePlan()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	in(t, f.dir, "mode", "force-new-cluster", "--from", "../data", "--plan").want(t, exitOK, "--from "+filepath.Join(filepath.Dir(here), "data")+"\n", "")
}

func TestFaultyModeRequestsAreExitCode2(t *testing.T) {
	for _, args := range [][]string{
		{"force-new-cluster", "--bump-revision", "5"}, {"force-new-cluster", "--peer", "10.0.0.1:2380"}, {"force-new-cluster", "--fenced", "http://a"},
		{"force-new-cluster", "--from", ""}, {"force-new-cluster", "--from="}, {"force-new-cluster", "--fenced", ""}, {"force-new-cluster", "--peer="},
		{"force-new-cluster", "--from", "/n\xff"}, {"join", "--endpoint", ""}, {"join", "--endpoint", "10.0.0.1"}, {"join", "--from", "/x"}, {"join", "extra"}, {"jion"}, {"normal", "--plan"}, {"join", "--timeout", "-1s"},
	} {
		if r := in(t, t.TempDir(), append([]string{"mode"}, args...)...); r.code != exitUsage || r.out != "" {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

func TestModeIsNotChangedUnasked(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.script = func(command string) error {
		if !strings.HasPrefix(command, "plan ") {
			t.Errorf("sent %q", command)
		}
		return nil
	}
	for mode, plan := range map[string]status.Plan{"join": joinPlan(), "force-new-cluster": forcePlan()} {
		f.plan = plan
		r := in(t, f.dir, "mode", mode)
		r.want(t, exitUsage, "", "cannot ask whether to go on: this is no terminal\n  → look at it with --plan, and give --yes")
	}
	f.plan = status.Plan{Nothing: "this host is member n1 of cluster c1 already"}
	in(t, f.dir, "mode", "join").want(t, exitOK, "nothing to do: this host is member n1 of cluster c1 already\n", "")
	in(t, f.dir, "mode", "join", "--plan").want(t, exitOK, "nothing to do: this host is member n1", "")
	in(t, f.dir, "mode", "join", "-o", "json").want(t, exitOK, `"nothing": "this host is`, "")
}

func TestModeIsFollowedToItsEnd(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = joinPlan()
	script, step := steppingThrough(f, status.ModeJoin)
	f.script = script
	go func() { // ends with the command
		f.watched(t)
		step(2)
		step(5)
		f.end(finished("t1", status.ModeJoin, f.plan))
	}()
	r := in(t, f.dir, "mode", "join", "--yes")
	r.want(t, exitOK, "join is done (took 6s)", "warning: the clocks of the hosts differ by 12 s\n")
	golden(t, "mode_join.out", r.out)
	golden(t, "mode_join.err", r.err)
}

func TestModeThatIsRolledBackIsExitCode10(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = joinPlan()
	script, step := steppingThrough(f, status.ModeJoin)
	f.script = script
	go func() { // ends with the command
		f.watched(t)
		step(3)
		f.end(rolledBack("t1", status.ModeJoin, f.plan, 3))
	}()
	r := in(t, f.dir, "mode", "join", "--yes")
	r.want(t, exitRolledBack, "everything is as it was before", "etcdsup: join was rolled back: cannot start etcd: port 2380 is taken\n  → end what listens there, then join again\n")
	golden(t, "mode_rolled_back.err", r.err)

	r = in(t, f.dir, "mode", "--watch") // nothing is under way any more
	r.want(t, exitOK, "last: join, rolled back", "")
}

func TestModeThatIsStuckIsAFailure(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = joinPlan()
	f.script, _ = steppingThrough(f, status.ModeJoin)
	stuck := transition("t1", status.ModeJoin, f.plan, 5)
	stuck.Outcome, stuck.Ended, stuck.Error, stuck.Remedy = status.OutcomeStuck, at(2), "cannot promote n3: no leader", "bring n2 back, then etcdsup member promote n3"
	go func() { // ends with the command
		f.watched(t)
		f.end(stuck)
	}()
	in(t, f.dir, "mode", "join", "--yes").want(t, exitFailure, "join is stuck", "join is stuck at step 6 of 6, promote: cannot promote n3: no leader\n  → bring n2 back")
	golden(t, "mode_stuck.txt", modeText("default", &status.Modes{Mode: status.ModeJoin, Now: stuck}, modeView{now: at(3), self: "etcdsup"}))
}

func TestModeAsJSON(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = joinPlan()
	f.script = func(command string) error {
		if strings.HasPrefix(command, "change ") {
			f.setModes(func(m *status.Modes) { m.Now = finished("t1", status.ModeJoin, f.plan) })
		}
		return nil
	}
	r := in(t, f.dir, "mode", "join", "--yes", "-o", "json")
	var o modeOutcome
	if err := json.Unmarshal([]byte(r.out), &o); err != nil || r.code != exitOK || o.Transition.Outcome != status.OutcomeDone || o.Took != 6*time.Second || o.Plan != nil {
		t.Errorf("%v: %+v", err, r)
	}
	f.end(rolledBack("t2", status.ModeJoin, f.plan, 3))
	r = in(t, f.dir, "mode", "-o", "json")
	r.want(t, exitOK, `"outcome": "rolled-back"`, "")
	golden(t, "mode.json", r.out)
}

func TestModeText(t *testing.T) {
	join := transition("t2", status.ModeJoin, joinPlan(), 4)
	join.Request.Endpoints, join.Progress = []string{"http://10.0.0.1:2379"}, "42 %, 120 MB/s"
	force := finished("t1", status.ModeForceNewCluster, forcePlan())
	force.Request.From = "/backup/etcd"
	join.SetAside = force.SetAside
	golden(t, "mode_running.txt", modeText("default", &status.Modes{Mode: status.ModeJoin, Now: join, Last: force}, modeView{now: at(1), self: "etcdsup"}))

	back := transition("t2", status.ModeJoin, joinPlan(), 4)
	back.Undoing, back.Step, back.Error = true, 2, "cancelled by command"
	back.Steps[3].Undone = at(1)
	golden(t, "mode_undoing.txt", modeText("default", &status.Modes{Mode: status.ModeJoin, Now: back}, modeView{palette{on: true}, at(1), "etcdsup -i events"}))

	final := transition("t2", status.ModeJoin, joinPlan(), 5)
	if text := modeText("default", &status.Modes{Now: final}, modeView{now: at(1)}); !strings.Contains(text, "no way back any more") {
		t.Error(text)
	}
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	in(t, f.dir, "mode").want(t, exitOK, "default  normal\n", "")
}

func TestMarksWithoutTimes(t *testing.T) {
	for _, c := range []struct {
		outcome status.Outcome
		undoing bool
		want    []stepMark
	}{
		{status.OutcomeRunning, false, []stepMark{markDone, markRunning, markTodo}},
		{status.OutcomeRunning, true, []stepMark{markDone, markUndoing, markTodo}},
		{status.OutcomeDone, false, []stepMark{markDone, markDone, markDone}},
		{status.OutcomeStuck, false, []stepMark{markDone, markBroken, markTodo}},
		{status.OutcomeRolledBack, true, []stepMark{markTodo, markTodo, markTodo}},
	} {
		tr := &status.Transition{Steps: forcePlan().Steps, Step: 1, Undoing: c.undoing, Outcome: c.outcome}
		for i, want := range c.want {
			if got := markOf(tr, i); got != want {
				t.Errorf("%s, undoing %v, step %d: %v, want %v", c.outcome, c.undoing, i, got, want)
			}
		}
	}
}

func TestWatchTakesUpWhatIsUnderWay(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = joinPlan()
	_, step := steppingThrough(f, status.ModeJoin)
	step(4)
	go func() { // ends with the command
		f.watched(t)
		f.end(finished("t1", status.ModeJoin, f.plan))
	}()
	r := in(t, f.dir, "mode", "--watch")
	r.want(t, exitOK, "join is done", "✓ 1/6  check      1s\n✓ 2/6  set-aside  1s\n")
}

func TestDetachReturnsAtOnce(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = forcePlan()
	f.script, _ = steppingThrough(f, status.ModeForceNewCluster)
	in(t, f.dir, "mode", "force-new-cluster", "--yes", "--detach").want(t, exitOK, "force-new-cluster has begun; follow it with etcdsup --dir "+f.dir+" mode --watch\n", "")
}

func TestFollowingEndsInTime(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = joinPlan()
	f.script, _ = steppingThrough(f, status.ModeJoin)
	in(t, f.dir, "mode", "join", "--yes", "-t", "50ms").want(t, exitTimeout, "", "join is not done after 50ms: step 1 of 6, check\n  → the daemon goes on; see etcdsup")
}

func TestLostTerminalLeavesTheTransitionAlone(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		guard := make(chan os.Signal, 1) // a signal that comes too late must not end the test binary
		signal.Notify(guard, sig)
		f := newFakeDaemon(t, t.TempDir(), readyStatus())
		f.plan = joinPlan()
		script, _ := steppingThrough(f, status.ModeJoin)
		f.script = func(command string) error {
			if command == "cancel" {
				t.Error("cancelled")
			}
			return script(command)
		}
		go func() { // ends with the command
			f.watched(t)
			syscall.Kill(os.Getpid(), sig.(syscall.Signal))
		}()
		in(t, f.dir, "mode", "join", "--yes").want(t, exitInterrupted, "", "interrupted; the daemon goes on with join: step 1 of 6, check\n  → etcdsup --dir "+f.dir+" mode shows it on")
		signal.Stop(guard)
	}
}

func TestNextDaemonIsWaitedFor(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = joinPlan()
	f.script, _ = steppingThrough(f, status.ModeJoin)
	other := &fakeDaemon{Board: f.Board, dir: f.dir, script: f.script, modes: status.Modes{Last: finished("t1", status.ModeJoin, f.plan)}}
	var out, errs buffer
	ended := make(chan int)
	go func() { // ends when the next daemon tells the end
		ended <- execute(t.Context(), []string{"--dir", f.dir, "mode", "join", "--yes"}, streams{in: strings.NewReader(""), out: &out, err: &errs, env: testEnv(t)})
	}()
	f.watched(t)
	f.stop()
	eventually(t, "it waits", func() bool {
		return strings.Contains(errs.String(), "etcdsup has ended; waiting up to 30s for the next one")
	})
	other.serve(t)
	result{<-ended, out.String(), errs.String()}.want(t, exitOK, "join is done", "✓ 6/6  promote")
}

func TestForgottenTransitionIsAFailure(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = joinPlan()
	f.script, _ = steppingThrough(f, status.ModeJoin)
	go func() { // ends with the command
		f.watched(t)
		f.end(finished("t9", status.ModeJoin, f.plan))
	}()
	in(t, f.dir, "mode", "join", "--yes").want(t, exitFailure, "", "cannot see the end of join: it is not the last change of mode any more")
}

func TestNormalCancels(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	in(t, f.dir, "mode", "normal").want(t, exitOK, "the mode is normal: nothing is under way\n", "")

	plan := joinPlan()
	f.setModes(func(m *status.Modes) { m.Now = transition("t1", status.ModeJoin, plan, 3) })
	in(t, f.dir, "mode", "normal", "--detach").want(t, exitOK, "join is being rolled back", "")
	f.script = func(string) error {
		f.end(rolledBack("t1", status.ModeJoin, plan, 3))
		return nil
	}
	in(t, f.dir, "mode", "normal").want(t, exitOK, "join is rolled back", "↩ 2/6  set-aside  undone\n")

	f.script = func(string) error {
		f.end(finished("t1", status.ModeJoin, plan))
		return nil
	}
	f.setModes(func(m *status.Modes) { m.Now = transition("t1", status.ModeJoin, plan, 5) })
	in(t, f.dir, "mode", "normal").want(t, exitFailure, "join is done", "cannot roll join back: it was done already")

	f.script = func(string) error {
		return &control.Error{Message: "cannot cancel the join: there is no way back any more", Remedy: "wait for its end", Code: control.CodeFinal}
	}
	in(t, f.dir, "mode", "normal").want(t, exitFailure, "", "no way back any more\n  → wait for its end")
}

func TestModeRefusalsOfTheDaemon(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = joinPlan()
	f.script = func(string) error {
		return &control.Error{Message: "an old member answers at http://10.0.0.1:2380", Remedy: "stop it", Code: "alive"}
	}
	in(t, f.dir, "mode", "force-new-cluster", "--yes").want(t, exitFailure, "", "etcdsup: an old member answers at http://10.0.0.1:2380\n  → stop it\n")
}

// TestEveryFaultOfAPlanIsListed with its remedy, in text and in JSON.
func TestEveryFaultOfAPlanIsListed(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.script = func(string) error {
		err := flow.Faults{{What: "cannot change the mode: the WAL is apart", Remedy: "move it"}, {What: "cannot force: n2 answers", Remedy: "stop it"}, {What: "no room"}}
		return asRefusal(err)
	}
	in(t, f.dir, "mode", "force-new-cluster", "--plan").want(t, exitFailure, "", `etcdsup: 3 things stand against it
  1. cannot change the mode: the WAL is apart
     → move it
  2. cannot force: n2 answers
     → stop it
  3. no room
`)
	r := in(t, f.dir, "mode", "force-new-cluster", "--plan", "-o", "json")
	var got struct {
		Error, Remedy string
		Faults        []status.Fault
	}
	if err := json.Unmarshal([]byte(r.err), &got); err != nil || len(got.Faults) != 3 || got.Faults[1] != (status.Fault{What: "cannot force: n2 answers", Remedy: "stop it"}) || !strings.HasPrefix(got.Error, "3 things") {
		t.Errorf("%v: %s", err, r.err)
	}
}

func TestRealDaemonSaysThatItCannotYet(t *testing.T) {
	d, ctx, who := &daemon{}, context.Background(), status.Actor{}
	for name, do := range map[string]func() error{
		"modes":  func() error { _, err := d.Modes(ctx); return err },
		"plan":   func() error { _, err := d.PlanMode(ctx, status.ModeRequest{}); return err },
		"change": func() error { _, err := d.ChangeMode(ctx, status.ModeRequest{}, "yes", who); return err },
		"cancel": func() error { _, err := d.CancelMode(ctx, who); return err },
		"accept": func() error { return d.AcceptData(ctx, who) },
		"audit":  func() error { _, err := d.Audit(ctx, 1); return err },
	} {
		if e, ok := errors.AsType[*control.Error](do()); !ok || e.Code != control.CodeUnsupported {
			t.Errorf("%s: %v", name, e)
		}
	}
}

func TestStartAcceptsData(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), downStatus())
	var sent []string
	obey := obedient(f)
	f.script = func(command string) error {
		sent = append(sent, command)
		return obey(command)
	}
	in(t, f.dir, "start", "--accept-data").want(t, exitOK, "etcd is ready, PID 10", "")
	if got := strings.Join(sent, ","); got != "accept-data,start" {
		t.Errorf("sent %q", got)
	}
	f.script = func(command string) error { return errors.New("no " + command) }
	goesDown(f, status.GoalDown)
	in(t, f.dir, "start", "--accept-data").want(t, exitFailure, "", "no accept-data")
}
