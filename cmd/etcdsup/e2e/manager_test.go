package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// manager stands for the service manager: it hears what etcdsup says, and keeps what it is given to keep.
type manager struct {
	conn *net.UnixConn

	mu   sync.Mutex
	said []string
	kept map[string]*os.File
}

// newManager listens until the test ends, and makes itself known to what the instance starts.
func newManager(t *testing.T, in *instance) *manager {
	t.Helper()
	path := filepath.Join(in.root, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{conn: conn, kept: map[string]*os.File{}}
	ended := make(chan struct{})
	go func() { // ends with the connection
		defer close(ended)
		m.listen()
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
		for _, f := range m.kept {
			_ = f.Close()
		}
	})
	in.extra = append(in.extra, "NOTIFY_SOCKET="+path)
	return m
}

func (m *manager) listen() {
	b, rights := make([]byte, 64<<10), make([]byte, 1<<10)
	for {
		n, k, _, _, err := m.conn.ReadMsgUnix(b, rights)
		if err != nil {
			return
		}
		m.hear(strings.Split(string(b[:n]), "\n"), filesIn(rights[:k]))
	}
}

func filesIn(rights []byte) (files []*os.File) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil
	}
	for _, one := range messages {
		if fds, err := unix.ParseUnixRights(&one); err == nil {
			for _, fd := range fds {
				files = append(files, os.NewFile(uintptr(fd), "kept"))
			}
		}
	}
	return files
}

func (m *manager) hear(lines []string, files []*os.File) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said = append(m.said, lines...)
	name := ""
	for _, line := range lines {
		if text, ok := strings.CutPrefix(line, "FDNAME="); ok {
			name = text
		}
	}
	if before := m.kept[name]; name != "" && before != nil {
		_ = before.Close()
		delete(m.kept, name)
	}
	for _, f := range files {
		m.kept[name] = f
	}
}

// count is how often a line was heard that begins so.
func (m *manager) count(prefix string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range m.said {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

func (m *manager) await(t *testing.T, prefix string, times int) {
	t.Helper()
	await(t, fmt.Sprintf("%q, %d times", prefix, times), patience, func() bool { return m.count(prefix) >= times })
}

// handOver lets the daemon have what was kept, as a manager does at a start.
func (m *manager) handOver(t *testing.T, d *daemon) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name, f := range m.kept {
		names = append(names, name)
		d.cmd.ExtraFiles = append(d.cmd.ExtraFiles, f)
		t.Cleanup(func() { _ = f.Close() })
	}
	m.kept = map[string]*os.File{} // what is not ours any more is not closed while the start uses it
	if want := []string{"etcd-ledger", "etcd-output"}; !slices.Equal(slices.Sorted(slices.Values(names)), want) {
		t.Fatalf("%q are kept, not %q", names, want)
	}
	// The process's own number is in the variable: a shell knows it, and becomes etcdsup.
	script := fmt.Sprintf(`LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=%s exec "$0" "$@"`, len(names), strings.Join(names, ":"))
	d.cmd.Args = append([]string{"sh", "-c", script, program}, d.cmd.Args[1:]...)
	d.cmd.Path = must(exec.LookPath("sh"))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestServiceManager plays the manager of a whole life: ready, alive, a crash of everything at once, an orderly end.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	m := newManager(t, in)
	in.extra = append(in.extra, "WATCHDOG_USEC=3000000")
	in.configureFake("lines, pace: 2000", "")
	d := in.run()
	pid := in.awaitReady().Process.PID
	m.await(t, "READY=1", 1)
	m.await(t, fmt.Sprintf("STATUS=etcd is ready, PID %d", pid), 1)
	m.await(t, "WATCHDOG=1", 4)
	if environ := readAll(fmt.Sprintf("/proc/%d/environ", pid)); environ == "" || strings.Contains(environ, "WATCHDOG") || strings.Contains(environ, "FDNAMES") {
		t.Errorf("etcd got what was meant for etcdsup: %q", environ)
	}

	// Nobody reads the pipe any more; etcd says its last lines into it and ends. Then etcdsup is killed too.
	in.awaitRecorded(pid)
	d.signal(syscall.SIGSTOP)
	before := writtenBy(t, pid)
	await(t, "more lines", patience, func() bool { return writtenBy(t, pid) > before+10_000 })
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await(t, "the stand-in has ended", patience, func() bool { return zombieOrGone(pid) })
	d.kill()

	d = in.prepare()
	m.handOver(t, d)
	d.start(t)
	in.awaitStatus("that one's end is seen", patience, func(st *status.Status) bool { return st.Process == nil || st.Process.PID != pid })
	in.expect(0, "start") // an end without being asked is not always followed by a start
	now := in.awaitStatus("another etcd", patience, func(st *status.Status) bool { return st.Ready && st.Process.PID != pid })
	m.await(t, fmt.Sprintf("STATUS=etcd is ready, PID %d", now.Process.PID), 1)
	in.expectAllLines(d)
	m.await(t, "STOPPING=1", 1)
}

// writtenBy is how many bytes the process has written so far.
func writtenBy(t *testing.T, pid int) (n int64) {
	t.Helper()
	_, rest, _ := strings.Cut(readAll(fmt.Sprintf("/proc/%d/io", pid)), "wchar: ")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatalf("process %d says nothing of what it has written: %v", pid, err)
	}
	return n
}

// zombieOrGone says whether the process has ended.
func zombieOrGone(pid int) bool {
	_, rest, found := strings.Cut(readAll(fmt.Sprintf("/proc/%d/stat", pid)), ") ")
	return !found || strings.HasPrefix(rest, "Z")
}

// TestReadyWhenServing says READY no earlier than etcd does, and asks for more time until then.
func TestReadyWhenServing(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	m := newManager(t, in)
	in.configureEtcd("service: {ready: serving}\n")
	d := in.run()
	in.awaitReady()
	m.await(t, "READY=1", 1)
	m.mu.Lock()
	said := slices.Clone(m.said)
	m.mu.Unlock()
	ready := slices.Index(said, "READY=1")
	serves := slices.IndexFunc(said, func(line string) bool { return strings.HasPrefix(line, "STATUS=etcd is ready") })
	more := slices.IndexFunc(said, func(line string) bool { return strings.HasPrefix(line, "EXTEND_TIMEOUT_USEC=") })
	if more < 0 || more > ready || serves != ready+1 {
		t.Errorf("said in this order: %q", said)
	}
	in.leave(d)
}

// TestAfterStop is the unit's last command, after ends of all kinds.
func TestAfterStop(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		result  string
		leaving bool // it was told to end before it was killed
		ended   bool // so etcd is to be ended
	}{
		{"signal", false, false},
		{"watchdog", false, false},
		{"core-dump", false, false},
		{"exit-code", false, false},
		{"oom-kill", false, false},
		{"timeout", false, true},
		{"success", false, true},
		{"signal", true, true},
	} {
		t.Run(fmt.Sprintf("%s, told to leave %v", tt.result, tt.leaving), func(t *testing.T) {
			t.Parallel()
			in := newInstance(t)
			in.configureFake("idle", "stop: {grace: 2s}\n")
			in.extra = append(in.extra, "SERVICE_RESULT="+tt.result)
			d := in.run()
			pid := in.awaitReady().Process.PID
			in.awaitRecorded(pid)
			if r := in.expect(0, "after-stop"); tt.ended && !tt.leaving && !strings.Contains(r.out, "another etcdsup runs") {
				t.Errorf("with etcdsup there: %s", r.out)
			}
			in.expectOneEtcd(pid)
			d.kill()
			if tt.leaving {
				if err := os.WriteFile(in.dir+"/run/leaving", nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			in.expect(0, "after-stop")
			if tt.ended {
				in.expectNothingLeft()
				return
			}
			in.expectOneEtcd(pid)
			in.leave(in.runAgain())
		})
	}
}

// runAgain starts etcdsup and waits until it has taken over.
func (in *instance) runAgain() *daemon {
	in.t.Helper()
	d := in.run()
	in.awaitReady()
	return d
}
