package process

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// fake starts the argument that turns the test binary into one of the children below. It is an argument and not
// an environment variable, because some of them clear their environment.
const fake = "fake-child:"

// The children say "ready\n" on stdout once they are what their name says.
var fakes = map[string]func(args []string){
	"sleep":     func([]string) { ready(); sleepOn() },
	"exit":      func(args []string) { unix.Exit(number(args[0])) },
	"die":       func(args []string) { unix.Kill(os.Getpid(), unix.Signal(number(args[0]))); sleepOn() },
	"no-term":   func([]string) { signal.Ignore(unix.SIGTERM); ready(); sleepOn() },
	"exit-42":   func([]string) { onTerm(); unix.Exit(42) },
	"mask":      func([]string) { fmt.Print(field("SigBlk")) },
	"home":      func([]string) { fmt.Println(cgroupHome()) },
	"spin":      func([]string) { ready(); spin() },
	"escape":    escape,
	"storm":     storm,
	"supervise": supervise,
	"reuse":     reusePIDs,
	"lock":      takeLock,
	"replace":   replace,
	"replaced":  replaced,
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], fake) {
		fakes[strings.TrimPrefix(os.Args[1], fake)](os.Args[2:])
		unix.Exit(0) // at once; the race detector would dwell for a second
	}
	goleak.VerifyTestMain(m)
}

func ready() { fmt.Println("ready") }

// sleepOn blocks in the kernel: the runtime ends a program whose goroutines all wait for each other.
func sleepOn() {
	for {
		_ = unix.Pause()
	}
}

func number(s string) int { n, _ := strconv.Atoi(s); return n }

func onTerm() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGTERM)
	ready()
	<-c
}

func spin() {
	for n := 0; ; n++ {
		if n%1_000_000 == 0 {
			os.ReadFile("/proc/self/comm")
		}
	}
}

func field(name string) string {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// escape forks, leaves the session, ignores SIGTERM and lets its parents die: "escape keep|clear LEVELS", where
// clear gives up the environment and the inherited descriptors as well.
func escape(args []string) {
	levels := number(args[1])
	if levels == 0 {
		signal.Ignore(unix.SIGTERM, unix.SIGHUP)
		ready()
		sleepOn()
	}
	attr := &syscall.ProcAttr{Env: os.Environ(), Sys: &syscall.SysProcAttr{Setsid: true}, Files: []uintptr{0, 1, 2, 3}}
	if args[0] == "clear" {
		attr.Env, attr.Files = nil, []uintptr{0, 1, 2}
	}
	if _, err := unix.FcntlInt(3, unix.F_GETFD, 0); err != nil {
		attr.Files = attr.Files[:3]
	}
	argv := []string{"escapee", fake + "escape", args[0], strconv.Itoa(levels - 1)}
	if _, err := syscall.ForkExec(self(), argv, attr); err != nil {
		fmt.Println(err)
	}
	if levels == number(os.Getenv("STAY_AT")) {
		sleepOn()
	}
}

// storm forks sessions without environment as fast as it can, for as long as it lives: "storm NAME", which they have.
func storm(args []string) {
	attr := &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Setsid: true}}
	for n := range 2000 {
		syscall.ForkExec("/bin/sleep", []string{args[0], "1000"}, attr)
		if n == 20 {
			ready()
		}
	}
	sleepOn()
}

// supervise is an etcdsup as far as this package goes: lock, start, record. "supervise DIR TOKEN ARG…"
func supervise(args []string) {
	lock, err := LockDir(args[0])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	p, err := Start(Spec{
		Path: self(), Args: append([]string{"etcd"}, args[2:]...), Output: os.Stdout,
		Env: append(os.Environ(), tokenEntry(args[1])), Inherit: []*os.File{lock},
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(p.ID())
	p.Wait()
}

func takeLock(args []string) {
	f, err := LockDir(args[0])
	if err != nil {
		fmt.Println("refused")
		return
	}
	fmt.Println("locked")
	io.ReadAll(os.Stdin)
	f.Close()
}

func self() string { return "/proc/self/exe" }

// command is a child started by os/exec, for what stands outside: it is killed and waited for at the end.
func command(t *testing.T, name string, args ...string) (*exec.Cmd, *os.File) {
	t.Helper()
	r, w := pipe(t)
	cmd := exec.Command(self(), append([]string{fake + name}, args...)...)
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, r
}

// launch starts a fake child and awaits its "ready", when it is one that says so. It is dead and reaped at the
// end of the test.
func launch(t *testing.T, spec Spec, name string, args ...string) *Proc {
	t.Helper()
	r, w := pipe(t)
	spec.Path, spec.Args, spec.Output = self(), append([]string{name, fake + name}, args...), w
	p, err := Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		p.Signal(unix.SIGKILL)
		if family.known(p.PID()) {
			p.Wait()
		}
		p.Close()
	})
	if name != "exit" && name != "die" {
		expectLine(t, r, "ready")
	}
	return p
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

func expectLine(t *testing.T, r *os.File, want string) {
	t.Helper()
	if got := readLine(t, r); got != want {
		t.Fatalf("child says %q, want %q", got, want)
	}
}

// readLine reads byte by byte, so that nothing of the next line is taken.
func readLine(t *testing.T, r *os.File) string {
	t.Helper()
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var line []byte
	for b := make([]byte, 1); ; line = append(line, b[0]) {
		if _, err := r.Read(b); err != nil {
			t.Fatalf("child says %q, then %v", line, err)
		}
		if b[0] == '\n' {
			return string(line)
		}
	}
}

// patience is for machines under load; nothing here takes long.
const patience = 2 * time.Minute

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// waitFor is Wait with a deadline.
func waitFor(t *testing.T, p *Proc) Exit {
	t.Helper()
	done := make(chan Exit, 1)
	go func() { done <- p.Wait() }()
	select {
	case e := <-done:
		return e
	case <-time.After(patience):
		p.Signal(unix.SIGKILL)
		<-done
		t.Fatalf("process %d does not end", p.PID())
		return Exit{}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}
