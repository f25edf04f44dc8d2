package systemd

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager is the other end: what systemd would read.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv(envNotify, path)
	return conn
}

func connect(t *testing.T) *Manager {
	t.Helper()
	m, err := Connect()
	if err != nil || m == nil {
		t.Fatalf("no way to the manager: %v", err)
	}
	t.Cleanup(func() { unix.Close(m.fd) })
	return m
}

// heard is the next message and the descriptors that came with it.
func heard(t *testing.T, conn *net.UnixConn) (string, []int) {
	t.Helper()
	b, oob := make([]byte, 4096), make([]byte, 256)
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	n, oobn, _, _, err := conn.ReadMsgUnix(b, oob)
	if err != nil {
		t.Fatal(err)
	}
	var fds []int
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if got, err := unix.ParseUnixRights(&m); err == nil {
			fds = append(fds, got...)
		}
	}
	return string(b[:n]), fds
}

func TestTell(t *testing.T) {
	conn := manager(t)
	m := connect(t)
	if _, there := os.LookupEnv(envNotify); there {
		t.Error("the variable is still in the environment, for children to inherit")
	}
	if err := m.Tell(Ready, Text("serves\nwell"), Extend(1500*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if got, _ := heard(t, conn); got != "READY=1\nSTATUS=serves well\nEXTEND_TIMEOUT_USEC=1500000" {
		t.Errorf("heard %q", got)
	}
}

func TestNobodyToTell(t *testing.T) {
	t.Setenv(envNotify, "")
	m, err := Connect()
	if m != nil || err != nil {
		t.Fatalf("got %v, %v", m, err)
	}
	if m.Watchdog() != 0 || m.Tell(Ready) != nil || m.Store("x", os.Stdin) != nil || m.Forget("x") != nil {
		t.Error("a manager that is not there gave an answer")
	}
	t.Setenv(envNotify, "vsock:2:1234")
	if _, err := Connect(); err == nil || !strings.Contains(err.Error(), "vsock:2:1234") {
		t.Errorf("got %v", err)
	}
	t.Setenv(envNotify, filepath.Join(t.TempDir(), "gone"))
	if err := connect(t).Tell(Alive); err == nil || !strings.Contains(err.Error(), "WATCHDOG=1") {
		t.Errorf("got %v", err)
	}
}

// The loop and those who obey signals speak at once; the race detector looks on.
func TestSeveralTell(t *testing.T) {
	conn := manager(t)
	m := connect(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := m.Tell(Alive); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for range 4 {
		if got, _ := heard(t, conn); got != string(Alive) {
			t.Errorf("heard %q", got)
		}
	}
}

// A manager that does not read must not stop us: its queue is soon full.
func TestManagerThatDoesNotRead(t *testing.T) {
	manager(t)
	m := connect(t)
	for range 100_000 {
		if err := m.Tell(Alive); err != nil {
			return
		}
	}
	t.Error("a hundred thousand messages fit into the queue")
}

func TestStore(t *testing.T) {
	conn := manager(t)
	m := connect(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := m.Store("output", w); err != nil {
		t.Fatal(err)
	}
	text, fds := heard(t, conn)
	if text != "FDSTORE=1\nFDPOLL=0\nFDNAME=output" || len(fds) != 1 {
		t.Fatalf("heard %q with %v", text, fds)
	}
	kept := os.NewFile(uintptr(fds[0]), "kept")
	defer kept.Close()
	if _, err := kept.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 1); !reads(r, b) || b[0] != 'x' {
		t.Errorf("another pipe was stored: read %q", b)
	}
	if err := m.Forget("output"); err != nil {
		t.Fatal(err)
	}
	if text, _ := heard(t, conn); text != "FDSTOREREMOVE=1\nFDNAME=output" {
		t.Errorf("heard %q", text)
	}
}

func reads(r *os.File, b []byte) bool {
	n, err := r.Read(b)
	return err == nil && n == len(b)
}

func TestWatchdogAndHandOver(t *testing.T) {
	env := func(vars ...string) func(string) string {
		return func(name string) string {
			for _, v := range vars {
				if key, value, _ := strings.Cut(v, "="); key == name {
					return value
				}
			}
			return ""
		}
	}
	for _, tt := range []struct {
		vars []string
		want time.Duration
	}{
		{nil, 0},
		{[]string{"WATCHDOG_USEC=30000000"}, 30 * time.Second},
		{[]string{"WATCHDOG_USEC=30000000", "WATCHDOG_PID=7"}, 30 * time.Second},
		{[]string{"WATCHDOG_USEC=30000000", "WATCHDOG_PID=8"}, 0},
		{[]string{"WATCHDOG_USEC=-1"}, 0},
		{[]string{"WATCHDOG_USEC=9223372036854775807"}, 0},
		{[]string{"WATCHDOG_USEC=soon"}, 0},
	} {
		if got := watchdogOf(env(tt.vars...), 7); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.vars, got, tt.want)
		}
	}
	for _, tt := range []struct {
		vars  []string
		count int
	}{
		{[]string{"LISTEN_PID=7", "LISTEN_FDS=2", "LISTEN_FDNAMES=a:b"}, 2},
		{[]string{"LISTEN_PID=8", "LISTEN_FDS=2", "LISTEN_FDNAMES=a:b"}, 0},
		{[]string{"LISTEN_PID=7", "LISTEN_FDS=-2"}, 0},
		{[]string{"LISTEN_PID=7", "LISTEN_FDS=100000"}, 0},
	} {
		if count, _ := handedOver(env(tt.vars...), 7); count != tt.count {
			t.Errorf("%v: %d, want %d", tt.vars, count, tt.count)
		}
	}
}
