package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// TestBase makes what all hosts have in common, which takes half a minute where it is not cached.
func TestBase(t *testing.T) { use(t) }

func TestHost(t *testing.T) {
	h := Boot(t)
	if out, errOut, code := h.Exec("sh", "-c", "echo out; echo err >&2; exit 9"); out != "out\n" || errOut != "err\n" || code != 9 {
		t.Errorf("%q, %q, %d", out, errOut, code)
	}
	if comm := h.Read("/proc/1/comm"); comm != "systemd\n" {
		t.Errorf("PID 1 is %q", comm)
	}
	boot := h.Read("/proc/sys/kernel/random/boot_id")
	h.Write("/srv/a/kept", "text", "640")
	h.Sh("systemd-run --unit=runs sleep 1000\nsystemctl is-active runs")
	inside, err := strconv.Atoi(strings.TrimSpace(h.Must("systemctl", "show", "runs", "--value", "-p", "MainPID")))
	if err != nil {
		t.Fatal(err)
	}
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", h.PID(inside))); err != nil || !strings.Contains(string(line), "sleep\x001000") {
		t.Errorf("process %d of the host is %q here, %v", inside, line, err)
	}
	if seen, err := os.ReadFile(h.Path("/srv/a/kept")); err != nil || string(seen) != "text" {
		t.Errorf("seen from outside: %q, %v", seen, err)
	}
	h.Reboot()
	if h.Read("/proc/sys/kernel/random/boot_id") == boot {
		t.Error("a reboot has the old boot's ID")
	}
	if _, _, code := h.Exec("systemctl", "is-active", "runs"); code == 0 {
		t.Error("a process has outlived a reboot")
	}
	if text, mode := h.Read("/srv/a/kept"), h.Must("stat", "-c", "%a", "/srv/a/kept"); text != "text" || mode != "640\n" {
		t.Errorf("%q, mode %q after a reboot", text, mode)
	}
}

func TestPowerCut(t *testing.T) {
	h := Boot(t)
	h.Sh("echo 1 >/root/synced; sync; echo 1 >/root/lost")
	h.PowerCut()
	if _, _, code := h.Exec("true"); code == 0 {
		t.Error("it lives on")
	}
	h.Up()
	h.Must("test", "-s", "/root/synced")
	if _, _, code := h.Exec("test", "-s", "/root/lost"); code == 0 {
		t.Error("what was not synced is there")
	}
	h.Sh("echo 2 >/root/written")
	h.Kill9()
	h.Up()
	h.Must("test", "-s", "/root/written")
	h.Shutdown()
	h.Up()
}

func TestCopy(t *testing.T) {
	h := Boot(t)
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	file := filepath.Join(in, "f")
	if err := os.WriteFile(file, []byte("#!/bin/sh\necho it runs\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.CopyIn(file, "/usr/local/bin/f")
	if got := h.Must("f"); got != "it runs\n" {
		t.Errorf("%q", got)
	}
	h.CopyIn(in, "/srv/folder")
	h.CopyOut("/srv/folder", out)
	if got, err := os.ReadFile(filepath.Join(out, "f")); err != nil || !strings.Contains(string(got), "it runs") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNetwork(t *testing.T) {
	all := BootAll(t, 2)
	all[0].Must("ping", "-q", "-c", "1", "-W", "60", all[1].Name())
	addr := all[1].Addr() + ":7"
	all[1].Sh(`printf '[Socket]\nListenStream=7\nAccept=yes\n' >/run/systemd/system/echo.socket
printf '[Service]\nStandardInput=socket\nExecStart=/bin/cat\n' >/run/systemd/system/echo@.service
systemctl start echo.socket`)
	c, err := DialAddr(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 5)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(b); err != nil || string(b[:n]) != "hello" {
		t.Errorf("%q, %v", b[:n], err)
	}
	all[1].Cut()
	if _, _, code := all[0].Exec("ping", "-q", "-c", "1", "-W", "1", all[1].Name()); code == 0 {
		t.Error("reached with its cable pulled")
	}
	all[1].Mend()
	all[0].Must("ping", "-q", "-c", "1", "-W", "60", all[1].Name())
	if _, err := DialAddr(t.Context(), "localhost:7"); err == nil {
		t.Error("a name was dialled")
	}
}

// TestCommandEnds: a command that is given up ends inside, too.
func TestCommandEnds(t *testing.T) {
	h := Boot(t)
	ctx, cancel := context.WithCancel(t.Context())
	cmd := h.Command(ctx, "sh", "-c", "echo begun; exec sleep 4711")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = cmd.Wait() // it was killed
	h.Sh("for i in $(seq 600); do pgrep -f 'sleep 4711' || exit 0; sleep .1; done; exit 1")
}
