package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestStopStubborn stops a child that takes no SIGTERM and no SIGQUIT, and whose grandchild has fled into a session
// of its own.
func TestStopStubborn(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureFake("stubborn", "stop: {grace: 300ms, dump: 300ms}\n")
	d := in.run()
	in.awaitReady()
	in.awaitEscaped()
	for round := range 2 {
		began := time.Now()
		in.expect(0, "stop")
		t.Logf("stopped in %v", time.Since(began).Round(time.Millisecond))
		if left := etcds(in.data); len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
		in.awaitSteps(d, round+1, "SIGTERM", "SIGQUIT", "SIGKILL")
		in.expect(0, "start")
		in.awaitEscaped()
	}
	d.kill() // and the same of one that was taken over
	d = in.run()
	in.awaitReady()
	in.expect(0, "stop")
	if left := etcds(in.data); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	in.leave(d)
}

// awaitEscaped waits until the stubborn stand-in takes no signal any more, and its grandchild has fled.
func (in *instance) awaitEscaped() {
	in.t.Helper()
	await(in.t, "the grandchild has fled", patience, func() bool {
		return slices.ContainsFunc(processesNaming("--data-dir="+in.data), func(p proc) bool { return slices.Contains(p.argv, "--fake=escaped") })
	})
}

// awaitSteps wants the signals in that order, so many times, in etcdsup's own log, which it writes in the background.
func (in *instance) awaitSteps(d *daemon, rounds int, signals ...string) {
	in.t.Helper()
	await(in.t, fmt.Sprintf("%q in their turn", signals), patience, func() bool {
		rest, found := d.stderr(), true
		for _, s := range slices.Repeat(signals, rounds) {
			var here bool
			_, rest, here = strings.Cut(rest, `"msg":"signal sent","signal":"`+s+`"`)
			found = found && here
		}
		return found
	})
}

// TestExitCodes is the contract of the command line, on a daemon that lives.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureFake("stubborn", "stop: {grace: 3s, dump: 100ms}\n")
	for _, args := range [][]string{{"status"}, {"start"}, {"stop"}, {"restart"}, {"logs", "rotate"}} {
		if r := in.expect(3, args...); !strings.Contains(r.err, "→") || !strings.Contains(r.err, "run") {
			t.Errorf("etcdsup %s does not say what to do: %s", strings.Join(args, " "), r.err)
		}
	}
	d := in.run()
	first := in.awaitReady()
	in.awaitEscaped()
	in.expect(0, "status")
	if r := in.expect(5, "run"); !strings.Contains(r.err, "already runs") {
		t.Errorf("a second run does not say who is there: %s", r.err)
	}
	in.expect(0, "start") // nothing to do
	in.expect(4, "stop", "--timeout", "50ms")
	in.awaitStatus("down after all", patience, func(st *status.Status) bool { return st.State == status.StateDown })
	in.expect(8, "status")
	in.expect(0, "stop")
	in.expect(0, "start")
	second := in.awaitReady()
	in.expect(0, "restart")
	third := in.awaitReady()
	if first.Process.PID == second.Process.PID || second.Process.PID == third.Process.PID {
		t.Errorf("PIDs %d, %d, %d", first.Process.PID, second.Process.PID, third.Process.PID)
	}
	in.expect(2, "status", "--nonsense")
	in.leave(d)
	in.configure("etcd: {binary: relative}\nnonsense: 1\n")
	if r := in.expect(6, "run"); !strings.Contains(r.err, "2 faults") {
		t.Errorf("not all faults are told: %s", r.err)
	}
}

// TestStopIsRemembered: what was asked for last holds for the next etcdsup.
func TestStopIsRemembered(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureFake("idle", "")
	d := in.run()
	in.awaitReady()
	in.expect(0, "stop")
	d.kill()
	d = in.run()
	st := in.awaitStatus("down", patience, func(st *status.Status) bool { return st.State == status.StateDown })
	if st.Goal != status.GoalDown {
		t.Errorf("goal %s", st.Goal)
	}
	in.expect(0, "start")
	in.leave(d)
	d = in.run() // the end of etcdsup itself is no wish for etcd
	in.awaitReady()
	in.leave(d)
}

// TestKilledWhileStopping: the next etcdsup carries on with the stop.
func TestKilledWhileStopping(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureFake("stubborn", "stop: {grace: 5s, dump: 300ms}\n")
	d := in.run()
	pid := in.awaitReady().Process.PID
	in.awaitEscaped()
	if _, err := in.control().Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.kill()
	in.expectSurvivor(pid)
	d = in.run()
	st := in.awaitStatus("down", patience, func(st *status.Status) bool { return st.State == status.StateDown })
	if st.Goal != status.GoalDown || len(etcds(in.data)) > 0 {
		t.Errorf("goal %s, left %v", st.Goal, etcds(in.data))
	}
	in.leave(d)
}

// expectSurvivor wants the stand-in itself alive; its grandchild may be there too.
func (in *instance) expectSurvivor(pid int) {
	in.t.Helper()
	if !slices.Contains(etcds(in.data), pid) {
		in.t.Fatalf("%d is dead", pid)
	}
}

// TestBothKilled: the death that nobody saw is in the history, and the next etcd is started.
func TestBothKilled(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureFake("idle", "")
	d := in.run()
	pid := in.awaitReady().Process.PID
	in.awaitRecorded(pid)
	d.kill()
	_ = syscall.Kill(pid, syscall.SIGKILL)
	await(t, "it is dead", patience, func() bool { return len(etcds(in.data)) == 0 })
	d = in.run()
	now := in.awaitStatus("the next etcd", patience, func(st *status.Status) bool { return st.Ready && st.Process.PID != pid }).Process.PID
	in.leave(d)
	var kinds []string
	for _, e := range readHistory(t, in) {
		kinds = append(kinds, fmt.Sprint(e.Kind, " ", e.PID))
	}
	for _, want := range []string{fmt.Sprint("start ", pid), fmt.Sprint("exit ", pid), fmt.Sprint("start ", now), fmt.Sprint("exit ", now)} {
		if !slices.Contains(kinds, want) {
			t.Errorf("no %q in the history: %q", want, kinds)
		}
	}
}
