package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/exetest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// brokenNew is a new etcdsup that is broken in that way.
func (in *instance) brokenNew(how string) string {
	in.t.Helper()
	return in.copyTo(filepath.Join(in.root, "broken-"+how), self, brokenMark+how+" "+program)
}

// foreignELF is an etcdsup for another machine.
func (in *instance) foreignELF() string {
	in.t.Helper()
	path := in.newer(99)
	b := []byte(readAll(path))
	b[18] ^= 0x7f // e_machine
	exetest.Write(in.t, path, b)
	return path
}

// expectCameBack wants an upgrade to have failed for this reason, with the old executable at its place.
func (in *instance) expectCameBack(r result, old, why string) {
	in.t.Helper()
	if !strings.Contains(r.err, why) {
		in.t.Errorf("not said why, %q:\n%s", why, r.err)
	}
	if !sameContent(in.t, in.program, old) {
		in.t.Error("the old executable is not at its place")
	}
	if left, _ := filepath.Glob(in.program + ".*"); len(left) != 0 {
		in.t.Errorf("left: %v", left)
	}
}

// TestRefusedNew: what can be seen of a new executable by asking it is no reason to stop anything.
func TestRefusedNew(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.install()
	in.configureFake("idle", "")
	d := in.run()
	pid := in.awaitReady().Process.PID
	old := in.copyTo(filepath.Join(in.root, "old"), in.program, "")
	text := filepath.Join(in.root, "text")
	exetest.Write(t, text, []byte("no program"))
	for _, tt := range []struct{ binary, within, why string }{
		{in.brokenNew("panics-when-asked"), "2m", "a mistake of the new version"},
		{in.brokenNew("hangs-when-asked"), "2s", "did not answer within 2s"},
		{in.brokenNew("refuses"), "2m", "the moon is full"},
		{in.brokenNew("silent"), "2m", "is no etcdsup"},
		{in.foreignELF(), "2m", "exec format error"},
		{text, "2m", "exec format error"},
		{"/bin/true", "2m", "is no etcdsup"},
	} {
		in.expectCameBack(in.expect(13, "upgrade", "--binary", tt.binary, "--within", tt.within), old, tt.why)
	}
	in.expect(1, "upgrade", "--binary", filepath.Join(in.root, "missing"))
	if st := in.awaitReady(); st.Supervisor.PID != d.pid() || st.Upgrade != nil {
		t.Errorf("%+v, upgrade %+v", st.Supervisor, st.Upgrade)
	}
	in.expectOneEtcd(pid)
	in.refusedConfiguration(d)
	in.leave(d)
}

// refusedConfiguration: a faulty file is found before, and not when there is no etcdsup any more.
func (in *instance) refusedConfiguration(d *daemon) {
	in.t.Helper()
	whole := readAll(in.file)
	if err := os.WriteFile(in.file, []byte(whole+"no_such_key: 1\n"), 0o600); err != nil {
		in.t.Fatal(err)
	}
	r := in.expect(13, "upgrade", "--binary", in.newer(1), "--within", "2m")
	if !strings.Contains(r.err, "no_such_key") {
		in.t.Errorf("the fault is not named: %s", r.err)
	}
	in.configure(whole)
	in.upgrade(d, in.newer(1))
}

// TestNewThatCannotStart gives the process back by itself.
func TestNewThatCannotStart(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.install()
	in.configureFake("idle", "")
	d := in.run()
	pid := in.awaitReady().Process.PID
	old := in.copyTo(filepath.Join(in.root, "old"), in.program, "")
	in.expectCameBack(in.expect(13, "upgrade", "--binary", in.brokenNew("cannot-start"), "--within", "2m"), old, "no.such_key")
	st := in.awaitReady()
	if st.Supervisor.PID != d.pid() || st.Process.PID != pid || parentOf(t, pid) != d.pid() {
		t.Errorf("etcdsup %d and etcd %d became %d and %d", d.pid(), pid, st.Supervisor.PID, st.Process.PID)
	}
	in.expectTells(st, "no.such_key")
	if !sameContent(t, old, fmt.Sprintf("/proc/%d/exe", d.pid())) {
		t.Error("the old executable does not run")
	}
	in.upgrade(d, in.newer(1))
	in.leave(d)
}

// expectTells wants to be told why the old one is back wherever one may look.
func (in *instance) expectTells(st *status.Status, why string) {
	in.t.Helper()
	if u := st.Upgrade; u == nil || u.Outcome != status.UpgradeCameBack || !strings.Contains(u.Why, why) {
		in.t.Errorf("status: %+v", u)
	}
	await(in.t, "history and log tell", patience, func() bool {
		return strings.Contains(in.cli("history").out, why) && strings.Contains(in.cli("logs", "--self", "-n", "all").out, why)
	})
	if r := in.cli("status"); !strings.Contains(r.out, why) {
		in.t.Errorf("the screen does not tell:\n%s", r.out)
	}
}

// hangTime is how long a new one that hangs is waited for. On a busy machine one that does not needs seconds for its answer.
const hangTime = "20s"

// TestNewThatDies: without a service manager the guard becomes the old one.
func TestNewThatDies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ how, within, why string }{
		{"panics", "2m", "ended before it supervised"},
		{"ends", "2m", "ended before it supervised"},
		{"kills-itself", "2m", "ended before it supervised"},
		{"hangs", hangTime, "did not supervise within " + hangTime},
	} {
		t.Run(tt.how, func(t *testing.T) {
			t.Parallel()
			in := newInstance(t)
			in.install()
			in.configureBinary(self, "{fake: lines, pace: 2000, data-dir: "+in.data+"}", "log: {max_wait: 1s, buffer: 64MiB}\n")
			d := in.run()
			pid := in.awaitReady().Process.PID
			old := in.copyTo(filepath.Join(in.root, "old"), in.program, "")
			within := tt.within
			in.expectCameBack(in.expect(13, "upgrade", "--binary", in.brokenNew(tt.how), "--within", within), old, tt.why)
			d.wait(t)
			st := in.awaitReady()
			in.expectOneEtcd(pid)
			in.expectTells(st, tt.why)
			in.leaveBy(st.Supervisor.PID)
			in.expectLines()
		})
	}
}

// leaveBy ends an etcdsup that is no child of ours.
func (in *instance) leaveBy(pid int) {
	in.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil {
		in.t.Fatal(err)
	}
	await(in.t, "etcdsup has ended", patience, func() bool { return zombieOrGone(pid) })
	in.expectNothingLeft()
}

// TestManagerBringsBack: with a service manager the guard leaves the start to it.
func TestManagerBringsBack(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.install()
	m := newManager(t, in)
	in.extra = append(in.extra, "WATCHDOG_USEC=3000000")
	in.configureFake("idle", "")
	d := in.run()
	pid := in.awaitReady().Process.PID
	m.await(t, "READY=1", 1)
	in.upgrade(d, in.newer(1))
	m.await(t, "READY=1", 2)
	alive := m.count("WATCHDOG=1")
	m.await(t, "WATCHDOG=1", alive+2)

	failed := make(chan result, 1)
	cmd := in.command("upgrade", "--binary", in.brokenNew("hangs"), "--within", hangTime)
	go func() { failed <- finish(t, cmd) }() // ends with the command
	d.wait(t)
	d = in.run()
	if r := <-failed; r.code != 13 || !strings.Contains(r.err, "did not supervise within "+hangTime) {
		t.Errorf("exit code %d: %s", r.code, r.err)
	}
	in.expectTells(in.awaitReady(), "did not supervise within "+hangTime)
	in.expectOneEtcd(pid)
	in.leave(d)
}

// TestUpgradeInTheMidstOf things that are half done is refused.
func TestUpgradeInTheMidst(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.install()
	goOn := filepath.Join(in.root, "go")
	began := filepath.Join(in.root, "began")
	in.configureEtcd(fmt.Sprintf("hooks:\n  after_rebuild:\n    - touch %s; while [ ! -e %s ]; do sleep 0.1; done\n", began, goOn))
	d := in.run()
	in.awaitReady()
	in.expect(0, "mode", "force-new-cluster", "--yes", "--detach")
	await(t, "the hook", 2*patience, func() bool { _, err := os.Stat(began); return err == nil })
	if r := in.expect(1, append([]string{"upgrade", "--binary", in.newer(1)}, long...)...); !strings.Contains(r.err, "a change of mode is under way") {
		t.Errorf("%s", r.err)
	}
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	in.awaitMode()
	in.awaitReady()
	in.upgrade(d, in.newer(1))
	in.leave(d)
}

// TestKilledInUpgrade kills etcdsup at any instant of an upgrade. Whoever comes after it finds the same etcd.
func TestKilledInUpgrade(t *testing.T) {
	in := newInstance(t)
	in.install()
	in.configureBinary(self, "{fake: lines, pace: 2000, data-dir: "+in.data+"}", "log: {max_wait: 1s, buffer: 64MiB}\n")
	in.run()
	st := in.awaitReady()
	pid := st.Process.PID
	in.awaitRecorded(pid)
	binaries := []string{in.newer(1), in.newer(2)}
	came := 0
	for i := range times(12, 300) {
		sup := in.awaitReady().Supervisor.PID
		cmd := in.command("upgrade", "--binary", binaries[i%2], "--within", "30s")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(rand.Int64N(int64(400 * time.Millisecond))))
		_ = syscall.Kill(sup, syscall.SIGKILL)
		await(t, "the end of it", patience, func() bool { return zombieOrGone(sup) })
		in.expectOneEtcd(pid)
		// Either a guard comes back, or the next one is started. Of two, one finds the lock taken.
		next := in.run()
		st := in.awaitStatus("taken over", patience, func(st *status.Status) bool { return st.Ready && st.Process != nil && st.Process.PID == pid })
		if st.Supervisor.PID != next.pid() {
			came++
			next.wait(t)
		}
		_ = cmd.Process.Kill() // it waits for what may never come
		_ = cmd.Wait()
		in.expectOneEtcd(pid)
	}
	t.Logf("%d times a guard was first", came)
	in.awaitNoGuard()
	in.leaveBy(in.awaitReady().Supervisor.PID)
	in.expectLines()
}

// awaitNoGuard waits for those that wait whether somebody else comes back.
func (in *instance) awaitNoGuard() {
	in.t.Helper()
	await(in.t, "no guard is left", patience, func() bool {
		return !slices.ContainsFunc(processesNaming(in.root), func(p proc) bool { return p.argv[0] == "etcdsup-guard" })
	})
}

// expectLines wants each line of the stand-in once.
func (in *instance) expectLines() {
	in.t.Helper()
	n := lastCount(in.data)
	c := count(in.t, in.dir+"/log", n)
	in.t.Logf("%d lines written, %d in %d files: %d lost, %d doubled, %d torn", n, c.good, len(logFiles(in.t, in.dir+"/log")), c.lost, c.doubled, c.torn)
	if n == 0 || c.good != n || c.lost+c.doubled+c.torn+c.markers > 0 {
		in.t.Errorf("the log is not what was written: %+v", c)
	}
}
