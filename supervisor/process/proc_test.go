package process

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		name, arg string
		want      Exit
	}{
		{"exit", "0", Exit{}},
		{"exit", "7", Exit{Code: 7}},
		{"exit", "255", Exit{Code: 255}},
		{"die", "9", Exit{Signal: unix.SIGKILL}},
		{"die", "15", Exit{Signal: unix.SIGTERM}},
	} {
		t.Run(c.name+c.arg, func(t *testing.T) {
			p := launch(t, Spec{}, c.name, c.arg)
			if got := waitFor(t, p); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if err := p.Signal(0); !errors.Is(err, ErrGone) {
				t.Errorf("signal after death: %v, want ErrGone", err)
			}
		})
	}
}

func TestAbort(t *testing.T) {
	p, err := Start(Spec{Path: "/bin/sh", Args: []string{"sh", "-c", "ulimit -c 0; kill -ABRT $$"}, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got := waitFor(t, p); got != (Exit{Signal: unix.SIGABRT}) {
		t.Errorf("got %v, want SIGABRT without core", got)
	}
	if got := exitOf(childInfo{code: cldDumped, status: 6}); !got.Core || got.String() != "SIGABRT (core dumped)" {
		t.Errorf("core dump reads %v", got)
	}
}

func TestStartRefused(t *testing.T) {
	devNull()
	before := openFiles(t)
	for _, path := range []string{"/nowhere/etcd", "/etc/passwd", "/"} {
		if p, err := Start(Spec{Path: path, Args: []string{"etcd"}}); err == nil {
			p.Close()
			t.Errorf("%s was started", path)
		} else if !strings.Contains(err.Error(), "cannot start "+path) {
			t.Errorf("error does not say what: %v", err)
		}
	}
	if after := openFiles(t); after > before { // fewer: the collector has closed what an earlier test left
		t.Errorf("%d open files before, %d after", before, after)
	}
}

func TestOwnSession(t *testing.T) {
	p := launch(t, Spec{}, "sleep")
	s, err := readStat(p.PID())
	if err != nil || s.session != p.PID() || s.ppid != os.Getpid() {
		t.Errorf("state %+v, error %v; want a session of its own", s, err)
	}
	for fd, want := range map[string]string{"0": "/dev/null", "1": "pipe:", "2": "pipe:"} {
		if got, _ := os.Readlink(procPath(p.PID(), "fd/"+fd)); !strings.HasPrefix(got, want) {
			t.Errorf("descriptor %s is %q, want %s", fd, got, want)
		}
	}
	for _, fd := range fdsOf(p.PID()) {
		to, _ := os.Readlink(procPath(p.PID(), "fd/"+strconv.Itoa(fd)))
		if fd > 2 && (strings.HasPrefix(to, "pipe:") || strings.HasPrefix(to, "anon_inode:[pidfd]")) {
			t.Errorf("descriptor %d was inherited: %s", fd, to)
		}
	}
}

// A mask with a blocked signal would be inherited, and the child never told to end.
func TestCleanSignalMask(t *testing.T) {
	r, w := pipe(t)
	var set, old unix.Sigset_t
	set.Val[0] = 1 << (uint(unix.SIGUSR2) - 1)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with us
		unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old)
		p, err := Start(Spec{Path: self(), Args: []string{"mask", fake + "mask"}, Output: w})
		unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
		if err == nil {
			p.Wait()
			p.Close()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := r.Read(b)
	if got := string(b[:n]); err != nil || strings.Trim(got, "0") != "" {
		t.Errorf("blocked signals in the child: %q, %v", got, err)
	}
}

func TestOOMScore(t *testing.T) {
	score := 500
	p := launch(t, Spec{OOMScoreAdj: &score}, "sleep")
	b, err := os.ReadFile(procPath(p.PID(), "oom_score_adj"))
	if got := strings.TrimSpace(string(b)); err != nil || got != "500" {
		t.Errorf("oom_score_adj is %q, %v", got, err)
	}
}

func TestSignals(t *testing.T) {
	p := launch(t, Spec{}, "no-term")
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := waitFor(t, p); got.Signal != unix.SIGKILL {
		t.Errorf("ended by %v, want SIGKILL", got)
	}
}

func TestProgress(t *testing.T) {
	busy := launch(t, Spec{}, "spin")
	first, err := busy.Progress()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a busy process makes progress in time and input", func() bool {
		now, err := busy.Progress()
		return err == nil && now.Since(first) && now.CPUTicks > first.CPUTicks && now.ReadCalls > first.ReadCalls
	})
	if u, err := busy.Usage(); err != nil || u.RSS == 0 || u.CPU == 0 || u.Threads == 0 || u.Files == 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
	busy.Signal(unix.SIGSTOP)
	eventually(t, "a stopped process says so", func() bool {
		now, err := busy.Progress()
		return err == nil && now.Stopped() && stands(busy.PID())
	})
	a, _ := busy.Progress()
	b, err := busy.Progress()
	if err != nil || b.Since(a) {
		t.Errorf("a stopped process made progress: %+v, %+v, %v", a, b, err)
	}
	busy.Signal(unix.SIGKILL)
	waitFor(t, busy)
	if _, err := busy.Progress(); !errors.Is(err, ErrGone) {
		t.Errorf("progress of the dead: %v, want ErrGone", err)
	}
}

// stands tells that every thread stands still, which is later than the main one does.
func stands(pid int) bool {
	for _, tid := range dirNames(procPath(pid, "task")) {
		if b, err := readProc(pid, "task/"+tid+"/stat"); err == nil {
			if s, err := parseStat(string(b)); err != nil || s.state != 'T' {
				return false
			}
		}
	}
	return true
}

// supervised has an etcdsup start a child, kills it, and gives the child's identity.
func supervised(t *testing.T, dir, token string, args ...string) ID {
	t.Helper()
	args[0] = fake + args[0]
	cmd, out := command(t, "supervise", append([]string{dir, token}, args...)...)
	var id ID
	for range 2 { // "ready" of the child and the identity, in either order
		line := readLine(t, out)
		if err := json.Unmarshal([]byte(line), &id); line != "ready" && err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	t.Cleanup(func() {
		if p, err := Adopt(id); err == nil {
			p.Signal(unix.SIGKILL)
			p.Wait()
			p.Close()
		}
	})
	return id
}

func TestAdoptAfterSupervisorsDeath(t *testing.T) {
	id := supervised(t, t.TempDir(), NewToken(), "exit-42")
	p, err := Adopt(id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Child() {
		t.Error("somebody else's child is taken for ours")
	}
	if _, err := p.Progress(); err != nil {
		t.Error(err)
	}
	p.Signal(unix.SIGTERM)
	got := waitFor(t, p)
	if want := (Exit{Code: 42}); got != want && (tellsExit(t) || !got.Unknown) {
		t.Errorf("exit status %v, want %v", got, want)
	}
	if err := p.Signal(unix.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("signal after death: %v", err)
	}
	eventually(t, "the dead cannot be adopted once init has reaped them", func() bool {
		p, err := Adopt(id)
		if err == nil {
			p.Close()
		}
		return errors.Is(err, ErrGone)
	})
}

func TestAdoptedDeathBySignal(t *testing.T) {
	p, err := Adopt(supervised(t, t.TempDir(), NewToken(), "sleep"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Signal(unix.SIGKILL)
	if got := waitFor(t, p); got != (Exit{Signal: unix.SIGKILL}) && (tellsExit(t) || !got.Unknown) {
		t.Errorf("exit status %v, want SIGKILL", got)
	}
}

// tellsExit: the kernel is at least 6.15.
func tellsExit(t *testing.T) bool {
	t.Helper()
	cmd := exec.Command("/bin/true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	cmd.Wait()
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	return unix.IoctlPidfdInfo(fd, &info) == nil
}

// After a re-exec of ourselves the running etcd is adopted and still our child.
func TestAdoptOwnChild(t *testing.T) {
	first := launch(t, Spec{}, "exit-42")
	p, err := Adopt(first.ID())
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	if !p.Child() {
		t.Error("our own child is taken for somebody else's")
	}
	p.Signal(unix.SIGTERM)
	if got := waitFor(t, p); got != (Exit{Code: 42}) {
		t.Errorf("exit status %v, want 42", got)
	}
	p.Close()
}

// A child that died while we replaced ourselves is a zombie then, and its status must not get lost.
func TestAdoptOwnZombie(t *testing.T) {
	first := launch(t, Spec{}, "exit", "5")
	id := first.ID()
	first.Close()
	eventually(t, "the child is a zombie", func() bool { s, err := readStat(id.PID); return err == nil && s.dead() })
	p, err := Adopt(id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got := waitFor(t, p); got != (Exit{Code: 5}) {
		t.Errorf("exit status %v, want 5", got)
	}
}

func TestAdoptRefusesAnother(t *testing.T) {
	p := launch(t, Spec{}, "sleep")
	for name, change := range map[string]func(*ID){
		"start":  func(id *ID) { id.StartTicks++ },
		"exe":    func(id *ID) { id.ExeIno++ },
		"device": func(id *ID) { id.ExeDev++ },
		"boot":   func(id *ID) { id.BootID = "another" },
		"pid":    func(id *ID) { id.PID = 0 },
		"thread": func(id *ID) { id.PID = lastThread(t, p.PID()) },
	} {
		id := p.ID()
		change(&id)
		if other, err := Adopt(id); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, %v; want ErrGone", name, other, err)
		}
	}
	id := p.ID()
	id.ExeDev, id.ExeIno = 0, 0
	same, err := Adopt(id)
	if err != nil {
		t.Fatalf("an unknown executable is no contradiction: %v", err)
	}
	same.Close()
}

// The thread's PID is in /proc though not listed there.
func lastThread(t *testing.T, pid int) int {
	t.Helper()
	tasks := dirNames(procPath(pid, "task"))
	for _, name := range tasks {
		if n := number(name); n != pid {
			return n
		}
	}
	t.Fatal("a Go program with one thread")
	return 0
}

func TestRefreshAfterExec(t *testing.T) {
	r, w := pipe(t)
	script := "read -r _ <&3; exec sleep 1000"
	p, err := Start(Spec{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Inherit: []*os.File{r}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.Signal(unix.SIGKILL); p.Wait(); p.Close() }()
	before := p.ID()
	if _, err := w.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the wrapper becomes another program", func() bool {
		id, err := p.Refresh()
		return err == nil && id.ExeIno != before.ExeIno
	})
	again, err := Adopt(p.ID())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if _, err := Adopt(before); !errors.Is(err, ErrGone) {
		t.Errorf("the old record is still taken: %v", err)
	}
	if !family.known(p.PID()) {
		t.Error("a second Proc of the same child makes us forget it")
	}
}

func TestDup(t *testing.T) {
	lock, err := LockDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, Spec{Inherit: []*os.File{lock}}, "sleep")
	lock.Close()
	got, err := p.Dup(3)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if !carriesLock(os.Getpid(), int(got.Fd())) {
		t.Error("the duplicate does not carry the lock")
	}
	if _, err := p.Dup(99); !errors.Is(err, unix.EBADF) {
		t.Errorf("duplicate of nothing: %v", err)
	}
}

func TestNoLeak(t *testing.T) {
	devNull()
	before := openFiles(t)
	for range 200 {
		p, err := Start(Spec{Path: "/bin/true", Args: []string{"true"}})
		if err != nil {
			t.Fatal(err)
		}
		if e := p.Wait(); e != (Exit{}) {
			t.Fatal(e)
		}
		p.Close()
		p.Close()
	}
	if after := openFiles(t); after > before+10 { // which the runtime may need for itself
		t.Errorf("%d open files before 200 starts, %d after", before, after)
	}
	if n := len(family.procs); n != 0 {
		t.Errorf("%d children still known", n)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(names) == 0 {
		t.Fatal("cannot count open files", err)
	}
	return len(names)
}

func TestParseStat(t *testing.T) {
	line := "71 (a) b (c) R 1 71 71 0 -1 4194560 1 2 3 4 50 60 7 8 20 0 9 0 12345 1000 77 18446744073709551615"
	s, err := parseStat(line)
	want := stat{pid: 71, comm: "a) b (c", state: 'R', ppid: 1, session: 71, flags: 4194560, utime: 50, stime: 60, threads: 9, start: 12345, rss: 77, exit: -1}
	if err != nil || s != want {
		t.Errorf("got %+v, %v", s, err)
	}
	if s, err = parseStat(line + strings.Repeat(" 0", 26) + " 10752\n"); err != nil || s.exit != 10752 || exitStatus(s.exit).Code != 42 {
		t.Errorf("exit status reads %d, %v", s.exit, err)
	}
	for _, bad := range []string{"", "1", "1 (a", "1 (a) R 1", ")(", strings.Replace(line, " 50 ", " x ", 1)} {
		if s, err := parseStat(bad); err == nil {
			t.Errorf("%q reads %+v", bad, s)
		}
	}
}

func TestBootTime(t *testing.T) {
	a, b := BootTime(), BootTime()
	if a <= 0 || b < a || len(BootID()) < 8 {
		t.Errorf("boot time %v then %v, boot ID %q", a, b, BootID())
	}
}
