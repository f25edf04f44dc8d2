package room

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/exetest"
)

// listener is a port of the host that is in use.
func listener(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

func checkApart(t *testing.T, s *surroundings) {
	t.Helper()
	outside, err := namespaceOf()
	if err != nil {
		t.Fatal(err)
	}
	if s.Error != "" || s.Namespace == outside || s.Namespace == 0 {
		t.Fatalf("not in a room: %+v", s)
	}
	if s.Dial == "" {
		t.Error("the host is reached from the room")
	}
	if s.Listen != "" {
		t.Errorf("a port that the host uses is taken in the room: %s", s.Listen)
	}
	if !slices.Equal(s.Interfaces, []string{"lo"}) {
		t.Errorf("interfaces that are up: %q", s.Interfaces)
	}
}

func TestARoomIsApart(t *testing.T) {
	address := listener(t)
	for _, kind := range []Kind{KindNetwork, KindUser} {
		t.Run(string(kind), func(t *testing.T) {
			if kind == KindNetwork {
				needRoot(t)
			}
			s, err := inRoom(Spec{Kind: kind}, address)
			if err != nil {
				t.Fatal(err)
			}
			checkApart(t, s)
			if s.UID != os.Getuid() {
				t.Errorf("uid %d in the room, %d outside", s.UID, os.Getuid())
			}
		})
	}
	s, err := inRoom(Spec{Kind: KindOpen}, address)
	if err != nil || s.Dial != "" || s.Listen == "" {
		t.Errorf("the open kind is not the host's network: %+v, %v", s, err)
	}
}

func TestARoomForEverybody(t *testing.T) {
	needRoot(t)
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	told := asChild(t, attr, "nobody", listener(t))
	s := &surroundings{}
	if err := json.Unmarshal([]byte(told), s); err != nil {
		t.Fatalf("%v: %s", err, told)
	}
	if s.Error != "" { // the machine forbids it: then that has to be said, and why
		if !strings.Contains(s.Error, ErrNotIsolated.Error()) || !strings.Contains(s.Error, "only root") {
			t.Errorf("Check says no more than: %s", s.Error)
		}
		return
	}
	checkApart(t, s)
	// It is root in there, without a right; to the host it is nobody.
	if s.Kind != KindUser || s.UID != 0 || strings.Trim(s.Caps, "0") != "" {
		t.Errorf("kind %s, uid %d, capabilities %s", s.Kind, s.UID, s.Caps)
	}
}

// checkWithout runs in a user namespace of the test's own, whose limits are its own as well.
func checkWithout() {
	for _, name := range []string{"max_net_namespaces", "max_user_namespaces"} {
		if err := os.WriteFile(filepath.Join("/proc/sys/user", name), []byte("0"), 0); err != nil {
			fmt.Println(err)
			return
		}
	}
	kind, err := Check()
	fmt.Printf("%q %v %v\n", kind, errors.Is(err, ErrNotIsolated), err)
}

func TestCheckSaysWhyNot(t *testing.T) {
	attr := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	told := asChild(t, attr, "no-rooms")
	if !strings.HasPrefix(told, `"" true cannot isolate etcd`) {
		t.Fatalf("Check is %s", told)
	}
	for _, want := range []string{"network-namespace: ", "user.max_net_namespaces is 0", "user-namespace: ", "user.max_user_namespaces is 0", syscall.ENOSPC.Error()} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not in %s", want, told)
		}
	}
}

func TestReasons(t *testing.T) {
	const where = "/proc/sys/kernel/"
	for _, c := range []struct {
		kind     Kind
		err      error
		settings map[string]string
		want     string
	}{
		{KindNetwork, syscall.EPERM, nil, "operation not permitted (only root, with CAP_SYS_ADMIN, may)"},
		{KindUser, syscall.EPERM, nil, "operation not permitted"},
		{KindUser, syscall.EPERM, map[string]string{where + "unprivileged_userns_clone": "0"}, "operation not permitted (kernel.unprivileged_userns_clone is 0)"},
		{KindUser, syscall.EPERM, map[string]string{where + "unprivileged_userns_clone": "1"}, "operation not permitted"},
		{KindUser, syscall.EACCES, map[string]string{where + "apparmor_restrict_unprivileged_userns": "1"}, "permission denied (kernel.apparmor_restrict_unprivileged_userns is 1)"},
		{KindUser, syscall.EPERM, map[string]string{"/proc/self/status": "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"}, "operation not permitted (a seccomp filter, as container runtimes set it, may forbid it)"},
		{KindUser, syscall.ENOSPC, map[string]string{"/proc/self/status": "Seccomp:\t2\n"}, "no space left on device"},
		{KindUser, fmt.Errorf("%w: cannot bring lo up: %w", ErrNotIsolated, syscall.EPERM), nil, "cannot bring lo up: operation not permitted"},
	} {
		if got := reason(c.kind, c.err, func(path string) string { return c.settings[path] }); got != c.want {
			t.Errorf("%s, %v: %q, want %q", c.kind, c.err, got, c.want)
		}
	}
}

func TestWhatEtcdGets(t *testing.T) {
	dir := t.TempDir()
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	blocked, old := unix.Sigset_t{Val: [16]uint64{1 << (unix.SIGTERM - 1)}}, unix.Sigset_t{}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &blocked, &old); err != nil {
		t.Fatal(err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)

	spec := Spec{Kind: kindHere(t), Env: []string{"A=1", "B="}, Dir: dir, Inherit: []*os.File{lock}}
	s, err := inRoom(spec, listener(t))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Env, spec.Env) || s.Dir != dir || strings.Trim(s.Blocked, "0") != "" {
		t.Errorf("environment %q, directory %s, blocked signals %s", s.Env, s.Dir, s.Blocked)
	}
	if !slices.Equal(s.Descs, []string{"3 " + lock.Name()}) {
		t.Errorf("descriptors %q", s.Descs)
	}
}

func TestBuiltIn(t *testing.T) {
	r, w := pipe(t)
	run, err := Start(Spec{Kind: kindHere(t), Args: []string{"--name=x", "--force-new-cluster"}, Output: w})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	told, err := io.ReadAll(r)
	if string(told) != "built-in --name=x --force-new-cluster\n" || err != nil || run.Wait() != nil {
		t.Errorf("%q, %v", told, err)
	}
}

func TestStartRefused(t *testing.T) {
	kind := kindHere(t)
	text := filepath.Join(t.TempDir(), "text")
	exetest.Write(t, text, []byte("no program"))
	for _, c := range []struct {
		spec Spec
		want error
	}{
		{Spec{Binary: selfExe}, nil},
		{Spec{Kind: "none", Binary: selfExe}, nil},
		{Spec{Kind: kind, Binary: "/no/such/etcd"}, os.ErrNotExist},
		{Spec{Kind: kind, Binary: "/"}, os.ErrPermission},
		{Spec{Kind: kind, Binary: text}, syscall.ENOEXEC},
		{Spec{Kind: kind, Binary: selfExe, Dir: "/no/such/folder"}, os.ErrNotExist},
	} {
		run, err := Start(c.spec)
		if err == nil {
			run.proc.Kill()
			<-run.Done()
		}
		if err == nil || c.want != nil && !errors.Is(err, c.want) || errors.Is(err, ErrNotIsolated) {
			t.Errorf("%+v: %v, want %v", c.spec, err, c.want)
		}
	}
	if kids := children(t); len(kids) > 0 {
		t.Errorf("processes are left: %q", kids)
	}
}

// children are our living or dead children.
func children(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		b, _ := os.ReadFile(f)
		all = append(all, strings.Fields(string(b))...)
	}
	return all
}

func TestStop(t *testing.T) {
	spec := Spec{Kind: kindHere(t)}
	if err := launch(t, spec, "sleep").Stop(t.Context()); err != nil {
		t.Errorf("ended by SIGTERM: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var exit *ExitError
	err := launch(t, spec, "stubborn").Stop(short)
	if !errors.As(err, &exit) || exit.State.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("ended by SIGKILL: %v", err)
	}
	run := launch(t, spec, "exit", "3")
	<-run.Done()
	if err := run.Stop(t.Context()); !errors.As(err, &exit) || exit.State.ExitCode() != 3 || exit.PID != run.PID() {
		t.Errorf("ended by itself: %v", err)
	}
	if err := launch(t, spec, "exit", "0").Wait(); err != nil {
		t.Errorf("ended with 0: %v", err)
	}
}

// A Ctrl-C in the terminal of a daemon that runs in the foreground goes to its process group.
func TestOwnProcessGroupInOurSession(t *testing.T) {
	run := launch(t, Spec{Kind: kindHere(t)}, "sleep")
	group, err := unix.Getpgid(run.PID())
	session, err2 := unix.Getsid(run.PID())
	ours, err3 := unix.Getsid(0)
	if err := errors.Join(err, err2, err3); err != nil || group != run.PID() || session != ours {
		t.Errorf("process %d: group %d, session %d, ours is %d: %v", run.PID(), group, session, ours, err)
	}
}

func TestEnterIsNotForOthers(t *testing.T) {
	for _, args := range [][]string{nil, {"3"}, {"x", "open", "0", ""}, {"3", "wide-open", "0", ""}} {
		cmd := exec.CommandContext(t.Context(), selfExe)
		cmd.Args = append([]string{Name}, args...)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.HasPrefix(string(out), "cannot enter a room") {
			t.Errorf("%q: %v, %s", args, err, out)
		}
	}
}

// A child that is born in the host's network by mistake must not become etcd.
func TestEnterRefusesTheHost(t *testing.T) {
	here, err := namespaceOf()
	if err != nil {
		t.Fatal(err)
	}
	r, w := pipe(t)
	o := &order{report: 3, kind: KindNetwork, outside: here, path: selfExe, argv: []string{"etcd"}}
	cmd := exec.CommandContext(t.Context(), selfExe)
	cmd.Args, cmd.ExtraFiles = o.args(), []*os.File{w}
	out, err := cmd.CombinedOutput()
	w.Close()
	told, _ := io.ReadAll(r)
	if failed := decodeFailure(told); err == nil || len(out) > 0 || !errors.Is(failed, ErrNotIsolated) {
		t.Errorf("%v, %s, %v", err, out, failed)
	}
}
