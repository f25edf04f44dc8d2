package e2e

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/loadtest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// tmpfs mounts a small file system on a folder of the test's own.
func tmpfs(t *testing.T, dir, size string) {
	t.Helper()
	needRoot(t)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the instance's own end: whoever has a file open there keeps it
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fill takes all the room there is on dir's file system; the function gives it back.
func fill(t *testing.T, dir string) (release func()) {
	t.Helper()
	path := dir + "/ballast"
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil && !errors.Is(err, io.ErrShortWrite) {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// TestLogDiskFull counts what a stand-in wrote while the log's disk was full: what is not in the log must be what
// status and the markers say was dropped, to the line.
func TestLogDiskFull(t *testing.T) {
	t.Parallel()
	needRoot(t)
	in := newInstance(t)
	in.configureBinary(self, "{fake: lines, pace: 20000, data-dir: "+in.data+"}", "log: {buffer: 1MiB, max_size: 100MiB}\n")
	log := in.dir + "/log"
	tmpfs(t, log, "64m")
	d := in.run()
	in.awaitStatus("lines", patience, func(st *status.Status) bool { return st.Log.Written > 10000 })
	release := fill(t, log)
	in.awaitStatus("trouble told, and drops", patience, func(st *status.Status) bool {
		return st.Log.Trouble != "" && st.Log.DroppedLines > 5000
	})
	if text := in.expect(0, "status").out; !strings.Contains(text, "no space left") {
		t.Errorf("status does not tell of it:\n%s", text)
	}
	release()
	after := in.awaitStatus("logging again", patience, func(st *status.Status) bool { return st.Log.Trouble == "" && st.Log.Buffered < 1<<16 })
	in.awaitStatus("more lines", patience, func(st *status.Status) bool { return st.Log.Written > after.Log.Written+10000 })
	in.expect(0, "stop")
	n := lastCount(in.data)
	last := in.awaitStatus("all that was written is taken", patience, func(st *status.Status) bool { return st.Log.Buffered == 0 && st.Process == nil })
	in.leave(d)
	c := count(t, log, n)
	t.Logf("%d lines written, %d dropped by status, %d by %d markers: %+v", n, last.Log.DroppedLines, c.marked, c.markers, c)
	if c.markers == 0 || c.marked != int(last.Log.DroppedLines) || c.lost != c.marked || c.doubled+c.torn > 0 {
		t.Errorf("the log does not fit: %+v", c)
	}
}

// TestEtcdOnFullLogDisk: etcd serves on as if nothing were.
func TestEtcdOnFullLogDisk(t *testing.T) {
	t.Parallel()
	needRoot(t)
	in := newInstance(t)
	in.configureEtcd("log: {buffer: 1MiB, max_size: 100MiB}\n")
	log := in.dir + "/log"
	tmpfs(t, log, "64m")
	d := in.run()
	pid := in.awaitReady().Process.PID
	puts := loadtest.Start(t, dial(t, in.client))
	release := fill(t, log)
	in.awaitStatus("trouble", patience, func(st *status.Status) bool { return st.Log.Trouble != "" && st.Ready })
	in.expect(0, "status")
	at := puts.Count()
	await(t, "500 more puts", patience, func() bool { return puts.Count() > at+500 })
	release()
	in.awaitStatus("logging again", patience, func(st *status.Status) bool { return st.Log.Trouble == "" && st.Log.Buffered < 1<<16 })
	puts.Stop()
	t.Log(puts)
	puts.ExpectNoFailure(t)
	in.expectOneEtcd(pid)
	in.leave(d)
}

// TestStateDiskFull: etcdsup goes on, and says what it cannot promise.
func TestStateDiskFull(t *testing.T) {
	t.Parallel()
	needRoot(t)
	in := newInstance(t)
	in.configureFake("idle", "restart: {delay: 1ms, max_delay: 1ms}\n")
	state := in.dir + "/state"
	tmpfs(t, state, "256k")
	d := in.run()
	pid := in.awaitReady().Process.PID
	release := fill(t, state)
	_ = syscall.Kill(pid, syscall.SIGKILL)
	in.awaitStatus("the next etcd", patience, func(st *status.Status) bool { return st.Ready && st.Process.PID != pid })
	if r := in.expect(0, "stop"); !strings.Contains(r.err, "could not be written down") || !strings.Contains(r.err, "no space left") {
		t.Errorf("a stop that a reboot would not know of says: %s%s", r.out, r.err)
	}
	in.awaitStatus("down nevertheless", patience, func(st *status.Status) bool { return st.State == status.StateDown })
	release()
	in.expect(0, "start")
	pid = in.awaitReady().Process.PID
	d.kill() // what was saved since is whole again
	d = in.run()
	if now := in.awaitReady().Process.PID; now != pid {
		t.Errorf("etcd %d, not the old one %d", now, pid)
	}
	in.leave(d)
}
