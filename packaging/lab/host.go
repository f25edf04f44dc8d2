package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Host is one that was booted for a test. A failure of what is done to it fails that test.
type Host struct {
	t    testing.TB
	s    *session
	name string
	addr string
}

var hosts atomic.Int32

// most is how many hosts one process can boot: as many as the network has addresses.
const most = 250

// Boot boots a host and waits until it is up. It is taken down with the test; of one that failed the end of the journal
// is shown.
func Boot(t testing.TB) *Host {
	t.Helper()
	return BootAll(t, 1)[0]
}

// BootAll boots n hosts at once, which are on one network.
func BootAll(t testing.TB, n int) []*Host {
	t.Helper()
	s := use(t)
	all := make([]*Host, n)
	errs := make([]error, n)
	var up sync.WaitGroup
	for i := range all {
		number := hosts.Add(1)
		if number > most {
			t.Fatalf("a process can boot %d hosts, and no more", most)
		}
		h := &Host{t: t, s: s, name: fmt.Sprintf("h%d", number), addr: fmt.Sprintf("10.77.0.%d", number)}
		t.Cleanup(h.down)
		all[i] = h
		up.Go(func() { _, errs[i] = s.run("up", h.name, h.addr) })
	}
	up.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("cannot boot hosts with systemd on this machine: %v", err)
	}
	return all
}

func (h *Host) down() {
	if h.t.Failed() {
		journal, _, _ := h.Exec("journalctl", "--no-pager", "-o", "short-monotonic", "-n", "150")
		h.t.Logf("the journal of %s ends with:\n%s", h.name, journal)
	}
	if _, err := h.s.run("down", h.name); err != nil {
		h.t.Error(err)
	}
}

// For is the same host for a part of the test.
func (h *Host) For(t testing.TB) *Host {
	part := *h
	part.t = t
	return &part
}

// Name is the host's name, which all hosts know.
func (h *Host) Name() string { return h.name }

// Addr is its IPv4 address. All hosts reach it, and the test by [Dial].
func (h *Host) Addr() string { return h.addr }

// Exec runs a command inside as root and gives what it printed and its exit code, which is -1 where it was ended by a
// signal, took longer than [Patience], or where the host is down.
func (h *Host) Exec(args ...string) (stdout, stderr string, code int) {
	return h.exec("", args...)
}

func (h *Host) exec(stdin string, args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := h.Command(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	err := cmd.Run()
	switch _, exited := errors.AsType[*exec.ExitError](err); {
	case err == nil, exited:
		return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
	default:
		return out.String(), errOut.String() + err.Error(), -1
	}
}

// Command is a command that runs inside as root once it is started. It is killed inside, too, when ctx ends.
func (h *Host) Command(ctx context.Context, args ...string) *exec.Cmd {
	return h.s.command(ctx, append([]string{"exec", h.name}, args...)...)
}

// Must is Exec of what is to succeed; it gives its output.
func (h *Host) Must(args ...string) string {
	h.t.Helper()
	return h.must("", args...)
}

func (h *Host) must(stdin string, args ...string) string {
	h.t.Helper()
	out, errOut, code := h.exec(stdin, args...)
	if code != 0 {
		h.t.Fatalf("%s: %s: exit code %d\n%s%s", h.name, strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// Sh runs a shell script inside that is to succeed; it ends with the first command that fails.
func (h *Host) Sh(script string) string {
	h.t.Helper()
	return h.must(script, "sh", "-eu")
}

// Write makes a file of root's inside, and its folders; mode is as in chmod(1).
func (h *Host) Write(path, text, mode string) {
	h.t.Helper()
	h.must(text, "sh", "-c", `mkdir -p "$(dirname "$0")" && cat >"$0.tmp" && chmod "$1" "$0.tmp" && mv -f "$0.tmp" "$0"`, path, mode)
}

// Read is a file's text.
func (h *Host) Read(path string) string {
	h.t.Helper()
	return h.Must("cat", path)
}

// Path is where a file inside is seen on this machine, which is faster than a command where it is asked often. It is good
// until the host's next boot. Absolute symbolic links on it lead astray.
func (h *Host) Path(inside string) string {
	h.t.Helper()
	return filepath.Join("/proc", h.leader(), "root", inside)
}

// leader is the number that the host's PID 1 has on this machine.
func (h *Host) leader() string {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.s.dir, "labs", h.name, "leader"))
	if err != nil {
		h.t.Fatal(err)
	}
	pid, _, _ := strings.Cut(string(b), " ")
	return pid
}

// PID is the number that process inside has on this machine, where it can be signalled at once.
func (h *Host) PID(inside int) int {
	h.t.Helper()
	here, err := os.Readlink(filepath.Join("/proc", h.leader(), "ns", "pid"))
	if err != nil {
		h.t.Fatal(err)
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, proc := range all {
		ns, _ := os.Readlink(filepath.Join(proc, "ns", "pid")) // what has ended meanwhile is in none
		status, _ := os.ReadFile(filepath.Join(proc, "status"))
		if ns == here && numberInside(string(status)) == strconv.Itoa(inside) {
			pid, _ := strconv.Atoi(filepath.Base(proc)) // it is a number
			return pid
		}
	}
	h.t.Fatalf("%s has no process %d", h.name, inside)
	return 0
}

// numberInside is the PID that a process has in the innermost namespace, from its status file.
func numberInside(status string) string {
	for line := range strings.Lines(status) {
		if text, ok := strings.CutPrefix(line, "NSpid:"); ok {
			numbers := strings.Fields(text)
			return numbers[len(numbers)-1]
		}
	}
	return ""
}

// CopyIn copies a file or folder of the machine's, with its mode, to that path inside. What is there is replaced by a
// rename, so it may be an executable that runs.
func (h *Host) CopyIn(src, dst string) {
	h.t.Helper()
	h.do("copy", src, h.name+":"+dst)
}

// CopyOut copies a file or folder from inside to the machine.
func (h *Host) CopyOut(src, dst string) {
	h.t.Helper()
	h.do("copy", h.name+":"+src, dst)
}

func (h *Host) do(args ...string) {
	h.t.Helper()
	if _, err := h.s.run(args...); err != nil {
		h.t.Fatal(err)
	}
}

// Reboot is a reboot in good order.
func (h *Host) Reboot() { h.t.Helper(); h.do("reboot", h.name) }

// Shutdown switches the host off in good order; [Host.Up] boots it again.
func (h *Host) Shutdown() { h.t.Helper(); h.do("stop", h.name) }

// Kill9 ends every process inside at once. What they have written stays, as with a crash of PID 1. [Host.Up] boots it again.
func (h *Host) Kill9() { h.t.Helper(); h.do("kill9", h.name) }

// PowerCut is Kill9, and what was not synced is lost. [Host.Up] boots it again.
func (h *Host) PowerCut() { h.t.Helper(); h.do("powercut", h.name) }

// Up boots a host that is down, with the disk that it has.
func (h *Host) Up() { h.t.Helper(); h.do("up", h.name) }

// Cut pulls the network cable.
func (h *Host) Cut() { h.t.Helper(); h.do("cut", h.name) }

// Mend plugs it in again.
func (h *Host) Mend() { h.t.Helper(); h.do("mend", h.name) }
