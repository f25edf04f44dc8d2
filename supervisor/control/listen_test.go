package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestListenMakesAPrivateSocket(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	socket := filepath.Join(t.TempDir(), "a", "b", "s")
	ln, err := Listen(socket, "")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if mode(t, socket) != 0o600 || mode(t, filepath.Dir(socket)) != 0o700 {
		t.Errorf("socket %v, folder %v", mode(t, socket), mode(t, filepath.Dir(socket)))
	}
}

func TestListenLetsTheGroupIn(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	socket := filepath.Join(t.TempDir(), "run", "s")
	ln, err := Listen(socket, fmt.Sprint(os.Getgid()))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if mode(t, socket) != 0o660 || mode(t, filepath.Dir(socket)) != 0o750 {
		t.Errorf("socket %v, folder %v", mode(t, socket), mode(t, filepath.Dir(socket)))
	}
	if _, err := Listen(socket+"2", "no-such-group-here"); err == nil {
		t.Error("accepted a group that is not there")
	}
}

func TestListenReplacesALeftoverOnly(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	ln, err := Listen(socket, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(socket, ""); !errors.Is(err, ErrInUse) {
		t.Errorf("a live socket: %v", err)
	}
	ln.ln.Close() // as after SIGKILL
	ln, err = Listen(socket, "")
	if err != nil {
		t.Fatalf("a leftover: %v", err)
	}
	ln.Close()

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file, ""); err == nil {
		t.Error("replaced a file")
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("the file is now %q", b)
	}
}

func TestLongPaths(t *testing.T) {
	socket := filepath.Join(t.TempDir(), strings.Repeat("d", 120), "control.sock")
	ln, err := Listen(socket, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, newFake(), self()) }() // ends with ctx
	if _, err := NewClient(socket).Version(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := Listen(socket, ""); !errors.Is(err, ErrInUse) {
		t.Errorf("a live socket: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestWhoIsAllowed(t *testing.T) {
	for _, tc := range []struct {
		p    peer
		gid  int
		want bool
	}{
		{peer{uid: 0}, noGroup, true},
		{peer{uid: 100}, noGroup, true},
		{peer{uid: 200, groups: []int{100}}, noGroup, false},
		{peer{uid: 200, groups: []int{200, 300}}, 300, true},
		{peer{uid: 200, groups: []int{300}}, 300, true},
		{peer{uid: 200, groups: []int{200}}, 300, false},
	} {
		if got := tc.p.allowed(100, tc.gid); got != tc.want {
			t.Errorf("%+v with group %d: %v", tc.p, tc.gid, got)
		}
	}
}

const nobody = 65534

// askAndExit is the test binary as another user's client.
func askAndExit(socket string) {
	_, err := NewClient(socket).Version(context.Background())
	switch {
	case err == nil:
		fmt.Print("ok")
	case errors.Is(err, ErrDenied):
		fmt.Print("denied: ", err)
	default:
		fmt.Print("failed: ", err)
	}
	os.Exit(0)
}

// askAs runs a client under other credentials.
func askAs(t *testing.T, socket string, gid int, groups ...uint32) string {
	t.Helper()
	exe, err := os.Open("/proc/self/exe") // the build folder may be closed to others; the descriptor is not
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{exe}
	cmd.Env = []string{"ETCDSUP_TEST_ASK=" + socket}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: uint32(gid), Groups: groups}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestOtherUsers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root")
	}
	const group = 54321
	dir, err := os.MkdirTemp("/tmp", "etcdsup")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	start := func(name string, a Access) string {
		socket := filepath.Join(dir, name, "s")
		ln, err := Listen(socket, a.Group)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- Serve(ctx, ln, newFake(), a) }() // ends with ctx
		t.Cleanup(func() { cancel(); <-ended })
		return socket
	}
	closed := start("closed", self())
	shared := start("shared", Access{Group: fmt.Sprint(group)})
	open := start("open", self())
	for _, path := range []string{filepath.Dir(open), open} { // by mistake: the credentials are what counts
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ name, got, want string }{
		{"closed folder", askAs(t, closed, nobody), "denied: the socket does not accept this user"},
		{"open folder", askAs(t, open, nobody), "denied: uid 65534 may not control this etcd"},
		{"no member", askAs(t, shared, nobody), "denied: the socket does not accept this user"},
		{"primary group", askAs(t, shared, group), "ok"},
		{"supplementary group", askAs(t, shared, nobody, 1, 2, 3, group), "ok"},
	} {
		if !strings.HasPrefix(tc.got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.name, tc.got, tc.want)
		}
	}
}

// TestASocketThatIsGivenAway: who connects between the two waits, and is answered by the one who goes on.
func TestASocketThatIsGivenAway(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := Listen(socket, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, newFake(), Access{UID: os.Getuid()}) }()
	fd, err := ln.GiveAway()
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	conn, err := dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err) // it would be refused if nobody had the socket
	}
	defer conn.Close()
	go func() {
		_, err := NewClient(socket).Version(t.Context())
		answer <- err
	}()
	next, err := Inherit(fd, socket, "")
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(fd)
	again, end := context.WithCancel(t.Context())
	go func() { ended <- Serve(again, next, newFake(), Access{UID: os.Getuid()}) }()
	if err := <-answer; err != nil {
		t.Error(err)
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestUpgradeParameters(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := Listen(socket, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	f := newFake()
	go func() { ended <- Serve(ctx, ln, f, Access{UID: os.Getuid()}) }()
	c := NewClient(socket)
	u, err := c.Upgrade(ctx, UpgradeOrder{Binary: "/a b", Within: UpgradeWithin})
	if err != nil || u.Binary != "/a b" || u.ID != "u1" {
		t.Errorf("%+v, %v", u, err)
	}
	for _, within := range []time.Duration{-1, 0, MaxUpgradeWithin + 1} {
		var e *Error
		if _, err := c.Upgrade(ctx, UpgradeOrder{Binary: "/a", Within: within}); !errors.As(err, &e) || e.Code != CodeBadRequest {
			t.Errorf("%v: %v", within, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(f.calls) != 1 || f.calls[0] != "upgrade 10s" {
		t.Errorf("%q", f.calls)
	}
}
