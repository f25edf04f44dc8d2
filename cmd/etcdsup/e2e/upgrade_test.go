package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/exetest"
	"github.com/etcdsup/etcdsup/supervisor/loadtest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// install gives the instance an executable of its own, which can be replaced.
func (in *instance) install() {
	in.t.Helper()
	in.program = filepath.Join(in.root, "bin", "etcdsup")
	if err := os.Mkdir(filepath.Dir(in.program), 0o700); err != nil {
		in.t.Fatal(err)
	}
	in.copyTo(in.program, program, "")
}

// copyTo makes an executable of another one, with something behind its end that makes it a different one.
func (in *instance) copyTo(to, from, tail string) string {
	in.t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		in.t.Fatal(err)
	}
	exetest.Write(in.t, to, append(b, tail...))
	return to
}

// newer is an etcdsup that differs from the installed one.
func (in *instance) newer(n int) string {
	return in.copyTo(filepath.Join(in.root, fmt.Sprintf("newer%d", n)), program, fmt.Sprintf("\nversion %d\n", n))
}

// long gives a busy machine the time that it needs.
var long = []string{"--within", "2m"}

// upgrade replaces etcdsup, and wants the same processes afterwards.
func (in *instance) upgrade(d *daemon, binary string) *status.Status {
	in.t.Helper()
	before := in.awaitReady()
	in.expect(0, append([]string{"upgrade", "--binary", binary}, long...)...)
	st := in.awaitReady()
	if st.Supervisor.PID != d.pid() || st.Process.PID != before.Process.PID {
		in.t.Fatalf("etcdsup %d and etcd %d became %d and %d", d.pid(), before.Process.PID, st.Supervisor.PID, st.Process.PID)
	}
	if st.Upgrade == nil || st.Upgrade.Outcome != status.UpgradeDone {
		in.t.Fatalf("upgrade: %+v", st.Upgrade)
	}
	in.t.Logf("output waited %v", st.Upgrade.Gap)
	if !sameContent(in.t, binary, in.program) || !sameContent(in.t, binary, fmt.Sprintf("/proc/%d/exe", d.pid())) {
		in.t.Fatal("the new executable is not in its place, or does not run")
	}
	return st
}

func sameContent(t *testing.T, a, b string) bool {
	t.Helper()
	x, errX := os.ReadFile(a)
	y, errY := os.ReadFile(b)
	if errX != nil || errY != nil {
		t.Fatal(errX, errY)
	}
	return bytes.Equal(x, y)
}

// TestUpgradedUnderLogRate replaces etcdsup four times while a stand-in writes as fast as it can.
func TestUpgradedUnderLogRate(t *testing.T) {
	in := newInstance(t)
	in.install()
	in.configureBinary(self, "{fake: lines, pace: 0, data-dir: "+in.data+"}", "log: {max_size: 8MiB, keep_files: 0, keep_total: 0, buffer: 256MiB, max_wait: 1s, compress: false}\n")
	d := in.run()
	binaries := []string{in.newer(1), in.newer(2)}
	for i := range times(4, 40) {
		in.upgrade(d, binaries[i%2])
	}
	in.expectAllLines(d)
}

// TestUpgradedUnderPutLoad replaces etcdsup above a real etcd that is written to.
func TestUpgradedUnderPutLoad(t *testing.T) {
	in := newInstance(t)
	in.install()
	in.configureEtcd("")
	d := in.run()
	in.awaitReady()
	puts := loadtest.Start(t, dial(t, in.client))
	for i := range times(4, 40) {
		in.upgrade(d, in.newer(i))
	}
	puts.Stop()
	t.Log(puts)
	puts.ExpectNoFailure(t)
	in.leave(d)
}

// TestExitStatusAfterUpgrade: etcd is still a child, whose end is told to its parent and to nobody else.
func TestExitStatusAfterUpgrade(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.install()
	in.configureFake("seven", "restart: {delay: 1h, max_delay: 1h}\n")
	d := in.run()
	st := in.upgrade(d, in.newer(1))
	if ppid := parentOf(t, st.Process.PID); ppid != d.pid() {
		t.Errorf("etcd's parent is %d, not etcdsup %d", ppid, d.pid())
	}
	if err := syscall.Kill(st.Process.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	st = in.awaitStatus("the end of etcd", patience, func(st *status.Status) bool { return st.LastExit != nil })
	if x := st.LastExit; x.Code == nil || *x.Code != 7 || x.Unknown {
		t.Errorf("etcd ended with 7, and not like this: %+v", x)
	}
	in.leave(d)
}

func parentOf(t *testing.T, pid int) (ppid int) {
	t.Helper()
	_, rest, _ := strings.Cut(readAll(fmt.Sprintf("/proc/%d/stat", pid)), ") ")
	var state string
	if _, err := fmt.Sscan(rest, &state, &ppid); err != nil {
		t.Fatal(err)
	}
	return ppid
}

// TestReplacedFileIsUpgradedTo: a package has put another file at the place.
func TestReplacedFileIsUpgradedTo(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.install()
	in.configureFake("idle", "")
	d := in.run()
	pid := in.awaitReady().Process.PID
	old := in.copyTo(in.program+".old", in.program, "")
	if err := os.Rename(in.newer(1), in.program); err != nil {
		t.Fatal(err)
	}
	var done []struct {
		Instance string
		Upgrade  status.Upgrade
	}
	r := in.expect(0, append([]string{"upgrade", "--all", "-o", "json"}, long...)...)
	if err := json.Unmarshal([]byte(r.out), &done); err != nil || len(done) != 1 || done[0].Upgrade.Outcome != status.UpgradeDone {
		t.Fatalf("%v: %s", err, r.out)
	}
	if !sameContent(t, in.program+".previous", old) || sameContent(t, in.program, old) {
		t.Error("the old file is not beside the new one")
	}
	if r := in.expect(0, "upgrade", "--all"); !strings.Contains(r.out, "already") {
		t.Errorf("once more: %s", r.out)
	}
	in.expectOneEtcd(pid)
	in.leave(d)
	if r := in.expect(0, "upgrade", "--all"); !strings.Contains(r.out, "nothing to replace") {
		t.Errorf("where none runs: %s", r.out)
	}
	in.expect(3, "upgrade")
}
