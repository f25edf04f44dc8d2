package room

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// fake is the argument that turns the test binary, where it stands for etcd, into one of the children below.
const fake = "fake-child:"

var fakes = map[string]func(args []string){
	"report":   func(args []string) { json.NewEncoder(os.Stdout).Encode(lookAround(args[0])) },
	"sleep":    func([]string) { fmt.Println("ready"); sleepOn() },
	"stubborn": func([]string) { signal.Ignore(unix.SIGTERM); fmt.Println("ready"); sleepOn() },
	"exit":     func(args []string) { n, _ := strconv.Atoi(args[0]); unix.Exit(n) },
	"nobody":   func(args []string) { json.NewEncoder(os.Stdout).Encode(checkAndLook(args[0])) },
	"no-rooms": func([]string) { checkWithout() },
}

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == Name {
		Enter(os.Args)
	}
	if filepath.Base(os.Args[0]) == "etcd" {
		fmt.Println("built-in", strings.Join(os.Args[1:], " "))
		unix.Exit(0)
	}
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], fake) {
		fakes[strings.TrimPrefix(os.Args[1], fake)](os.Args[2:])
		unix.Exit(0) // at once; the race detector would dwell for a second
	}
	goleak.VerifyTestMain(m)
}

// sleepOn blocks in the kernel: the runtime ends a program whose goroutines all wait for each other.
func sleepOn() {
	for {
		_ = unix.Pause()
	}
}

// surroundings are what a child sees from where it is.
type surroundings struct {
	Kind       Kind
	Error      string // of Check or Start
	Dial       string // why the host's listener cannot be reached; empty: it can
	Listen     string // why a port that the host uses cannot be used; empty: it can
	Interfaces []string
	Namespace  uint64
	UID        int
	Caps       string // effective, hexadecimal
	Blocked    string // signals, hexadecimal
	Descs      []string
	Env        []string
	Dir        string
}

func lookAround(outside string) *surroundings {
	s := &surroundings{UID: os.Getuid(), Caps: field("CapEff"), Blocked: field("SigBlk"), Env: os.Environ()}
	for fd := 3; fd < 20; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && flags&unix.FD_CLOEXEC == 0 {
			s.Descs = append(s.Descs, fmt.Sprintf("%d %s", fd, name))
		}
	}
	s.Dir, _ = os.Getwd()
	s.Namespace, _ = namespaceOf()
	c, err := net.DialTimeout("tcp", outside, time.Minute)
	if err == nil {
		c.Close()
	} else {
		s.Dial = err.Error()
	}
	ln, err := net.Listen("tcp", outside)
	if err == nil {
		ln.Close()
	} else {
		s.Listen = err.Error()
	}
	all, _ := net.Interfaces()
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 {
			s.Interfaces = append(s.Interfaces, i.Name)
		}
	}
	return s
}

func field(name string) string {
	b, _ := os.ReadFile("/proc/thread-self/status")
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// checkAndLook is what an ordinary user's etcdsup does, as far as this package goes.
func checkAndLook(outside string) *surroundings {
	kind, err := Check()
	if err != nil {
		return &surroundings{Error: err.Error()}
	}
	s, err := inRoom(Spec{Kind: kind}, outside)
	if err != nil {
		return &surroundings{Kind: kind, Error: err.Error()}
	}
	return s
}

// inRoom runs the child that looks around. All of spec but the binary and the output counts.
func inRoom(spec Spec, outside string) (*surroundings, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	spec.Binary, spec.Args, spec.Output = selfExe, []string{fake + "report", outside}, w
	run, err := Start(spec)
	w.Close()
	if err != nil {
		return nil, err
	}
	told, err := io.ReadAll(r)
	if err := errors.Join(err, run.Wait()); err != nil {
		return nil, err
	}
	s := &surroundings{}
	err = json.Unmarshal(told, s)
	s.Kind = spec.Kind
	return s, err
}

// asChild runs this test binary as a child of another kind than a room makes, and gives what it prints.
func asChild(t *testing.T, attr *syscall.SysProcAttr, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), selfExe, append([]string{fake + name}, args...)...)
	cmd.SysProcAttr, cmd.Dir, cmd.Stderr = attr, "/", os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// launch starts a fake etcd and awaits its "ready"; it is dead at the end of the test.
func launch(t *testing.T, spec Spec, name string, args ...string) *Run {
	t.Helper()
	r, w := pipe(t)
	spec.Binary, spec.Args, spec.Output = selfExe, append([]string{fake + name}, args...), w
	run, err := Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { run.proc.Kill(); <-run.Done() })
	if name != "exit" {
		if err := r.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 6)
		if _, err := io.ReadFull(r, b); err != nil || string(b) != "ready\n" {
			t.Fatalf("child says %q, %v", b, err)
		}
	}
	return run
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// kindHere is a kind that works here, which the tests of everything else go by.
func kindHere(t *testing.T) Kind {
	t.Helper()
	k, err := checkOnce()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var checkOnce = sync.OnceValues(Check)
