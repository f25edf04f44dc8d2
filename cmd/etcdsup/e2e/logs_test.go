package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// follower is etcdsup logs -f, with its output in a file.
type follower struct {
	*daemon
}

func (in *instance) follow() follower {
	in.t.Helper()
	d := in.prepare()
	d.cmd = in.like(d.cmd, "logs", "-f", "-n", "all", "-o", "raw")
	d.start(in.t)
	return follower{d}
}

// like is another command with the same output.
func (in *instance) like(cmd *exec.Cmd, args ...string) *exec.Cmd {
	next := in.command(args...)
	next.Stdout, next.Stderr = cmd.Stdout, cmd.Stderr
	return next
}

// expect waits until it has printed exactly this, and ends it with Ctrl-C.
func (f follower) expect(t *testing.T, want []byte) {
	t.Helper()
	await(t, "the follower has printed as much as is in the files", patience, func() bool { return len(f.stdout()) >= len(want) || f.ended() })
	f.signal(syscall.SIGINT)
	if code := f.wait(t); code != 0 {
		t.Errorf("logs -f ended with exit code %d: %s", code, f.stderr())
	}
	if got := f.stdout(); got != string(want) {
		t.Errorf("logs -f printed %d bytes, the files have %d; the first difference: %s", len(got), len(want), difference([]byte(got), want))
	}
}

func difference(got, want []byte) string {
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	from := bytes.LastIndexByte(want[:i], '\n') + 1
	return "got " + string(got[min(from, len(got)):min(i+200, len(got))]) + "\nwant " + string(want[from:min(i+200, len(want))])
}

// allLog is the whole log.
func (in *instance) allLog() []byte {
	in.t.Helper()
	var all []byte
	eachLogLine(in.t, in.dir+"/log", func(line []byte, whole bool) {
		if all = append(all, line...); whole {
			all = append(all, '\n')
		}
	})
	return all
}

// TestFollowAcrossEverything starts to follow before there is anything, and must see each line of it once.
func TestFollowAcrossEverything(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureEtcd("")
	f := in.follow()
	d := in.run()
	pid := in.awaitReady().Process.PID
	in.expect(0, "logs", "rotate")
	_ = syscall.Kill(pid, syscall.SIGKILL)
	in.awaitStatus("the next etcd", patience, func(st *status.Status) bool { return st.Ready && st.Process.PID != pid })
	d.signal(syscall.SIGUSR1)
	in.awaitStatus("the second rotation", patience, func(st *status.Status) bool { return st.Log.Rotations >= 2 })
	in.expect(0, "restart")
	d.kill()
	d = in.run()
	in.awaitReady()
	in.expect(0, "logs", "rotate")
	in.expect(0, "restart")
	in.leave(d)
	if files := logFiles(t, in.dir+"/log"); len(files) < 4 {
		t.Errorf("%d files, not 4", len(files))
	}
	all := in.allLog()
	f.expect(t, all)
	if r := in.expect(0, "logs", "-n", "all", "-o", "raw"); r.out != string(all) {
		t.Errorf("logs -n all printed %d bytes, the files have %d; the first difference: %s", len(r.out), len(all), difference([]byte(r.out), all))
	}
}

// TestLogFileDeleted takes the file away under etcdsup. What was in it is gone; what comes then is not.
func TestLogFileDeleted(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureBinary(self, "{fake: lines, pace: 2000, data-dir: "+in.data+"}", "")
	d := in.run()
	path := in.dir + "/log/etcd.log"
	await(t, "lines", patience, func() bool { return len(readAll(path)) > 10000 })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	await(t, "lines in a new file", patience, func() bool { return len(readAll(path)) > 10000 })
	in.leave(d)
	first := -1
	eachFileLine(t, path, func(line []byte, whole bool) {
		if first < 0 {
			first, _ = numberOf(line, whole, new([]byte))
		}
	})
	n := lastCount(in.data)
	if c := count(t, in.dir+"/log", n); c.good != n-first || c.lost != first || c.torn+c.doubled+c.markers > 0 {
		t.Errorf("the new file, from line %d of %d: %+v", first, n, c)
	}
}
