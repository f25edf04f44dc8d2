package process

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLockOutlivesItsTaker(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	id := supervised(t, dir, NewToken(), "no-term")
	f, err := LockDir(dir)
	var held *HeldError
	if !errors.As(err, &held) {
		t.Fatalf("locked a second time: %v, %v", f, err)
	}
	if len(held.Holders) != 1 || held.Holders[0].PID != id.PID || held.Dir != dir {
		t.Errorf("holders %+v, want process %d alone", held.Holders, id.PID)
	}
	if h := held.Holders[0]; !strings.Contains(h.Command, "no-term") || h.Since.Sub(id.Started()).Abs() > time.Second {
		t.Errorf("holder %+v, want its command and start %v", h, id.Started())
	}
	p, err := Adopt(id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Signal(unix.SIGKILL)
	p.Wait()
	f, err = LockDir(dir)
	if err != nil {
		t.Fatalf("not free although its holder is dead: %v", err)
	}
	f.Close()
}

func TestLockDirIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	f, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if st, err := os.Stat(d); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v; want 0700", d, st.Mode(), err)
		}
	}
	if fl, _ := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); fl&unix.FD_CLOEXEC == 0 {
		t.Error("the lock would be inherited by every child")
	}
}

func TestLockDirRefusesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	if _, err := LockDir(path); err == nil || errors.As(err, &held) {
		t.Errorf("locking a plain file as data directory: %v", err)
	}
}

// Readers of the directory are no holders of its lock.
func TestBystanderIsNoHolder(t *testing.T) {
	dir := t.TempDir()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	id := supervised(t, dir, NewToken(), "sleep")
	var held *HeldError
	if _, err := LockDir(dir); !errors.As(err, &held) || len(held.Holders) != 1 || held.Holders[0].PID != id.PID {
		t.Errorf("%v; want process %d alone", err, id.PID)
	}
}

func TestConcurrentLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var cmds []*exec.Cmd
	var outs []*os.File
	var stdins []io.Closer
	for range 20 {
		r, w := pipe(t)
		cmd := exec.Command(self(), fake+"lock", dir)
		cmd.Stdout = w
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		cmds, outs, stdins = append(cmds, cmd), append(outs, r), append(stdins, in)
	}
	var said []string
	for _, r := range outs {
		said = append(said, readLine(t, r))
	}
	for i, cmd := range cmds {
		stdins[i].Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(said)
	if said[0] != "locked" || said[1] != "refused" || said[19] != "refused" {
		t.Errorf("of 20: %v", said)
	}
}

// The data directory may be replaced (a restore) between opening and locking it.
func TestLockOfReplacedDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	old, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if same, err := isStill(int(old.Fd()), dir); err != nil || same {
		t.Errorf("a directory that is gone counts as the same: %v, %v", same, err)
	}
	f, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if same, err := isStill(int(f.Fd()), dir); err != nil || !same {
		t.Errorf("locked something else: %v, %v", same, err)
	}
}

func TestLockFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("something much longer than a process ID\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := LockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); number(strings.TrimSpace(string(b))) != os.Getpid() {
		t.Errorf("lock file says %q", b)
	}
	var held *HeldError
	if _, err := LockFile(path); !errors.As(err, &held) || held.Holders[0].PID != os.Getpid() {
		t.Errorf("second lock: %v, want ourselves as holder", err)
	}
	f.Close()
	f, err = LockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestProbeBackend(t *testing.T) {
	dir := t.TempDir()
	if err := ProbeBackend(dir); err != nil {
		t.Errorf("no backend: %v", err)
	}
	db := filepath.Join(dir, "member", "snap", "db")
	f, err := LockFile(db) // bbolt locks its file in the same way
	if err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	if err := ProbeBackend(dir); !errors.As(err, &held) || len(held.Holders) != 1 || held.Holders[0].PID != os.Getpid() {
		t.Errorf("backend in use: %v", err)
	}
	f.Close()
	for range 2 { // the probe leaves no lock behind
		if err := ProbeBackend(dir); err != nil {
			t.Errorf("backend free: %v", err)
		}
	}
	if f, err = LockFile(db); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestHeldErrorText(t *testing.T) {
	for want, e := range map[string]*HeldError{
		"cannot lock /d: held by a process that cannot be seen from here": {Dir: "/d"},
		"cannot lock /d: held by process 7 (etcd --x)":                    {Dir: "/d", Holders: []Holder{{PID: 7, Command: "etcd --x"}}},
		"cannot lock /d: held by process 7 (etcd) and 1 more":             {Dir: "/d", Holders: []Holder{{PID: 7, Command: "etcd"}, {PID: 8}}},
	} {
		if got := e.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Killed between fork and record, the next etcdsup finds etcd by lock and token, and etcd rather than what it
// started.
func TestFindHolders(t *testing.T) {
	dir, token := t.TempDir(), NewToken()
	t.Setenv("STAY_AT", "1") // etcd itself stays, its descendant has another session
	id := supervised(t, dir, token, "escape", "keep", "1")
	found := FindHolders(dir, token)
	if len(found) != 2 || found[0].ID != id || found[0].LockFD != 3 {
		t.Fatalf("found %+v, want %v first and its descendant after it", found, id)
	}
	for _, a := range found {
		p, err := Adopt(a.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		defer p.Wait()
		defer p.Signal(unix.SIGKILL)
	}
	if other := FindHolders(dir, NewToken()); len(other) != 0 {
		t.Errorf("found %+v under a foreign token", other)
	}
	if none := FindHolders(dir, ""); len(none) != 0 {
		t.Errorf("found %+v without token", none)
	}
	if none := FindHolders(t.TempDir(), token); len(none) != 0 {
		t.Errorf("found %+v in another directory", none)
	}
}

func TestListedHolders(t *testing.T) {
	f, err := LockDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := fileOf(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if got := listedHolders(file.ino); len(got) != 1 || got[0].pid != os.Getpid() {
		t.Errorf("/proc/locks names %+v, want ourselves", got)
	}
}

// TestStartLockOfAMovedDirectory: what was locked is not what bears the name now.
func TestStartLockOfAMovedDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	lock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if !StillLocks(lock, dir) {
		t.Error("the lock is said not to be that of its directory")
	}
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if StillLocks(lock, dir) {
		t.Error("the lock is said to be that of a directory that is gone")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if StillLocks(lock, dir) {
		t.Error("the lock is said to be that of a directory put in its place")
	}
}
