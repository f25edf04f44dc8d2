package e2e

import (
	"os"
	"path/filepath"
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

// TestJournalDamaged: etcdsup looks after a living etcd all the same, and refuses only to change its mode, naming the file.
func TestJournalDamaged(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureFake("idle", "")
	d := in.run()
	pid := in.awaitReady().Process.PID
	in.awaitRecorded(pid)
	d.kill()
	file := filepath.Join(in.dir, "state", "transitions", "20261128T010101Z-join.jsonl")
	if err := os.WriteFile(file, []byte("garbage\nin its\nmidst\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d = in.run()
	st := in.awaitReady()
	if st.Process.PID != pid || len(st.Notices) != 1 || !strings.Contains(st.Notices[0].What, file) || st.Notices[0].Remedy == "" {
		t.Fatalf("etcd %d, not %d, or no word of the journal: %+v", st.Process.PID, pid, st.Notices)
	}
	in.expect(0, "reload")
	in.expect(0, "restart")
	in.expect(0, "history", "--audit")
	if st := in.awaitReady(); len(st.Notices) != 1 {
		t.Errorf("notices after a reload: %+v", st.Notices)
	}
	for _, args := range [][]string{{"mode"}, {"mode", "normal"}, {"mode", "join", "--endpoint", "http://127.0.0.1:1"}, {"mode", "force-new-cluster", "--yes"}} {
		if r := in.expect(1, args...); !strings.Contains(r.err, file) || !strings.Contains(r.err, "→") {
			t.Errorf("%v: %s", args, r.err)
		}
	}
	in.leave(d)
	if r := finish(t, in.command("run")); r.code != 1 || !strings.Contains(r.err, file) {
		t.Errorf("without etcd: exit code %d\n%s", r.code, r.err)
	}
	if text := readAll(file); text != "garbage\nin its\nmidst\n" {
		t.Errorf("the journal is now %q", text)
	}
}
