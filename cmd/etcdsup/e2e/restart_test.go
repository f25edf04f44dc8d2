package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestCrashLoop wants the waits seen, and neither them nor the count forgotten when etcdsup is killed.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureBinary("/bin/false", "{}", "restart: {delay: 50ms, max_delay: 30s, per_hour: 8}\n")
	d := in.run()
	in.awaitStatus("the third death in a row and a wait", patience, func(st *status.Status) bool {
		return st.State == status.StateBackoff && st.Restart.Streak >= 3 && st.Restart.Delay > 0 && !st.Restart.NextAt.IsZero()
	})
	last := in.awaitStatus("all starts of the hour used up", patience, func(st *status.Status) bool {
		return st.State == status.StateBackoff && st.Restart.LastHour == 8 && st.Restart.Streak == 9 // the first start was asked for
	})
	if last.Restart.Delay < 50*time.Minute {
		t.Errorf("the next start is in %v, not an hour after the first", last.Restart.Delay)
	}
	text := in.expect(8, "status").out
	if !strings.Contains(text, "in a row") || !strings.Contains(text, "exit code 1") {
		t.Errorf("status does not tell of the deaths:\n%s", text)
	}
	// What is shown is on its way to disk: a kill within that moment forgets the last death.
	await(t, "the last death on record", patience, func() bool {
		record, err := os.ReadFile(filepath.Join(in.dir, "state", "record.json"))
		return err == nil && strings.Contains(string(record), `"streak": 9,`)
	})
	d.kill()
	d = in.run()
	now := in.awaitStatus("the same wait", patience, func(st *status.Status) bool { return st.State == status.StateBackoff })
	if now.Restart.LastHour != 8 || now.Restart.Streak != 9 || now.Restart.Count != last.Restart.Count {
		t.Errorf("a new etcdsup has forgotten: %+v, not %+v", now.Restart, last.Restart)
	}
	in.leave(d)
}

// TestManyRestarts looks for what grows with the number of children.
func TestManyRestarts(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureBinary("/bin/false", "{}", "restart: {delay: 1ms, max_delay: 1ms, per_hour: 3600}\n")
	d := in.run()
	n := times(300, 10000)
	early := in.awaitDeaths(d, n/3)
	late := in.awaitDeaths(d, n)
	t.Logf("after %d restarts %+v, after %d %+v", n/3, early, n, late)
	some := n / 10 // of the restarts in between leave something: what happens to be at work at the moment is less
	if late.fds > early.fds+some || late.threads > early.threads+some || late.rssKB > early.rssKB+32<<10 {
		t.Errorf("etcdsup grows: %+v after %d restarts, %+v after %d", early, n/3, late, n)
	}
	in.leave(d)
}

// awaitDeaths waits for that many, and gives what etcdsup holds then. Once the starts of the hour are used up, each
// further one is asked for.
func (in *instance) awaitDeaths(d *daemon, n int) usage {
	in.t.Helper()
	deadline := time.Now().Add(3 * patience)
	for {
		st, err := in.status()
		switch {
		case err == nil && st.Restart.Count >= n:
			return usageOf(in.t, d.pid())
		case err == nil && st.Restart.LastHour >= 3600:
			_, err = in.control().Start(in.t.Context())
		}
		if err != nil && d.ended() || time.Now().After(deadline) {
			in.t.Fatalf("not %d restarts: %s, %v", n, describe(st), err)
		}
	}
}

// TestReload changes what may change under a running etcd, and names what may not.
func TestReload(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureFake("idle", "restart: {per_hour: 20}\n")
	d := in.run()
	old := in.awaitReady()
	in.configureBinary(self, "{fake: stubborn, data-dir: "+in.data+"}", "restart: {per_hour: 21}\nstop: {grace: 1s, dump: 1s}\nlog: {buffer: 4MiB}\n")
	d.signal(syscall.SIGHUP)
	st := in.awaitStatus("the new limit", patience, func(st *status.Status) bool { return st.Restart.PerHour == 21 })
	if st.Process.PID != old.Process.PID {
		t.Errorf("etcd was restarted")
	}
	if pending := strings.Join(st.Config.Pending, " "); !strings.Contains(pending, "etcd.args.fake") {
		t.Errorf("pending: %q", pending)
	}
	in.configure("restart: {per_hour: nonsense}\n") // a faulty file changes nothing
	d.signal(syscall.SIGHUP)
	await(t, "the fault said", patience, func() bool { return strings.Contains(d.stderr(), `"configuration not reloaded"`) })
	if r := in.expect(6, "reload"); !strings.Contains(r.err, "restart.per_hour") || !strings.Contains(r.err, "stays in force") {
		t.Errorf("of the faulty file: %s", r.err)
	}
	if st, err := in.status(); err != nil || st.Restart.PerHour != 21 || st.Process.PID != old.Process.PID {
		t.Errorf("%s, %v", describe(st), err)
	}
	in.configureBinary(self, "{fake: idle, data-dir: "+in.data+"}", "restart: {per_hour: 22}\ncontrol: {group: root}\n")
	r := in.expect(0, "reload")
	for _, want := range []string{"in force now:", "restart.per_hour", "waits for the next etcdsup:", "control.group"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is missing in:\n%s", want, r.out)
		}
	}
	in.leave(d)
}
