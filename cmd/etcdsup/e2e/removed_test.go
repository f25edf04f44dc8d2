package e2e

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestSocketsRemoved takes the files of both sockets away while etcd runs: commands get through again, and the next etcd
// is still heard when it says that it is ready. Until then a command tells what is so, and not that nothing runs.
func TestSocketsRemoved(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureEtcd("health: {interval: 3s}\n")
	d := in.run()
	pid := in.awaitReady().Process.PID
	for _, path := range []string{in.dir + "/run/control.sock", in.dir + "/run"} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if r := in.cli("status"); r.code != 0 && (r.code != 3 || !strings.Contains(r.err, "etcdsup runs for instance") || !strings.Contains(r.err, "try again")) {
			t.Errorf("without %s: exit code %d\n%s%s", path, r.code, r.out, r.err)
		}
		if now := in.awaitReady().Process.PID; now != pid {
			t.Fatalf("without %s: etcd %d, not %d", path, now, pid)
		}
	}
	in.expect(0, "restart")
	if err := os.Remove(in.dir + "/run/notify"); err != nil {
		t.Fatal(err)
	}
	pid = in.awaitReady().Process.PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	in.awaitStatus("another etcd is ready", patience, func(st *status.Status) bool { return st.Ready && st.Process.PID != pid })
	in.leave(d)
}
