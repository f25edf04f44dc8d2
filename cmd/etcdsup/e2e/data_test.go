package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestOnlyTheRightDataIsStarted puts everything else in its place. etcd itself would start on each of these.
func TestOnlyTheRightDataIsStarted(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureEtcd("health: {interval: 500ms}\n")
	d := in.run()
	in.expectFirstStart(true)
	c := dial(t, in.client)
	put(t, c, "a", "1")
	in.expect(0, "stop")

	right, old := in.data+".right", in.data+".old"
	move(t, in.data, right)
	in.expectHeld("is empty, but member", " mode join")
	if _, err := os.Stat(in.data); err == nil {
		t.Error("something was made in its place")
	}
	move(t, right, in.data)
	in.expect(0, "start")
	in.expectFirstStart(false)
	if got := get(t, c, "a"); got != "1" {
		t.Errorf("after it was put back: %q", got)
	}
	in.expect(0, "stop")
	copyAll(t, in.data, old)
	in.expect(0, "start")
	put(t, c, "a", "2")
	in.expect(0, "stop")

	move(t, in.data, right)
	copyAll(t, old, in.data)
	in.expectHeld("older than what was here before", "newer directory")
	in.leave(d)
	d = in.run() // it is on disk, and in nobody's memory
	in.awaitHeld("older than what was here before")
	discard(t, in.data)

	copyAll(t, foreignData(t), in.data)
	in.expectHeld("not the directory that was here before", "right directory")
	discard(t, in.data)

	move(t, right, in.data)
	wal := filepath.Join(in.data, "member", "wal")
	move(t, wal, right)
	in.expectHeld("db and no WAL", "put the WAL back")
	move(t, right, wal)
	in.expect(0, "start")
	if got := get(t, c, "a"); got != "2" {
		t.Errorf("with all put back: %q", got)
	}
	in.expect(0, "stop")
	discard(t, in.data)
	copyAll(t, old, in.data)
	in.expect(9, "inspect")
	in.expectHeld("older than what was here before", "--accept-data")
	in.expect(0, "start", "--accept-data")
	if got := get(t, c, "a"); got != "1" {
		t.Errorf("with the copy that is meant: %q", got)
	}
	in.leave(d)
	if self := readAll(in.dir + "/log/etcdsup.log"); strings.Contains(self, `"level":"dpanic"`) || strings.Contains(self, "mark not refreshed") {
		t.Error("etcdsup's log tells of a mistake")
	}
}

// expectFirstStart wants etcd ready, and told of the cluster only if it is to begin it.
func (in *instance) expectFirstStart(first bool) {
	in.t.Helper()
	st := in.awaitReady()
	line := readAll(fmt.Sprintf("/proc/%d/cmdline", st.Process.PID))
	if got := strings.Contains(line, "--initial-cluster=") && strings.Contains(line, "--initial-cluster-state=new"); got != first || !first && strings.Contains(line, "--initial-cluster") {
		in.t.Errorf("first start is %v: %q", first, strings.ReplaceAll(line, "\x00", " "))
	}
	if len(st.Config.Pending) > 0 {
		in.t.Errorf("settings that wait for a restart: %v", st.Config.Pending)
	}
}

// expectHeld wants a start refused, for this reason and with this next step.
func (in *instance) expectHeld(reason, next string) {
	in.t.Helper()
	r := in.expect(1, "start")
	if !strings.Contains(r.err, reason) || !strings.Contains(r.err, next) || strings.Contains(r.err, "last lines") {
		in.t.Errorf("start says %q", r.err)
	}
	st := in.awaitHeld(reason)
	if !strings.Contains(st.Next, next) || st.LastExit == nil || st.LastExit.PID != 0 || len(st.LastExit.LastLines) > 0 {
		in.t.Errorf("%s, next %q, last exit %+v", describe(st), st.Next, st.LastExit)
	}
	if text := in.expect(8, "status").out; !strings.Contains(text, reason) {
		in.t.Errorf("status says\n%s", text)
	}
}

func (in *instance) awaitHeld(reason string) *status.Status {
	in.t.Helper()
	return in.awaitStatus("held because "+reason, patience, func(st *status.Status) bool {
		return st.State == status.StateHeld && st.Process == nil && strings.Contains(st.Reason, reason) && st.Goal == status.GoalUp
	})
}

// foreignData is what another etcd left.
func foreignData(t *testing.T) string {
	t.Helper()
	in := newInstance(t)
	in.configureEtcd("")
	d := in.run()
	in.awaitReady()
	in.leave(d)
	return in.data
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func copyAll(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", "--sparse=always", "-T", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// discard removes a directory that the test has put in the place of the right one.
func discard(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

// TestTheMarkFollowsTheWrites: soon after a write a copy from before it is too old, also after a power cut.
func TestTheMarkFollowsTheWrites(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureEtcd("health: {interval: 500ms}\n")
	d := in.run()
	in.awaitReady()
	c := dial(t, in.client)
	revision := func() (n int) {
		text := readAll(filepath.Join(in.dir, "state", "mark"))
		for line := range strings.Lines(text) {
			if _, rest, ok := strings.Cut(strings.TrimLeft(line, "\x00"), " revision="); ok {
				var r int
				_, _ = fmt.Sscan(rest, &r)
				n = max(n, r)
			}
		}
		return n
	}
	for range 2 {
		var last int64
		for i := range 50 {
			put(t, c, "k", fmt.Sprint(i))
		}
		r, err := c.Get(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		last = r.Header.Revision
		await(t, "the mark at that revision", patience, func() bool { return revision() == int(last) })
	}
	in.leave(d)
}
