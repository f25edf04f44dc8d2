package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdsup/etcdsup/supervisor/porttest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// awaitMode waits until no transition runs, and gives the last one.
func (in *instance) awaitMode() *status.Transition {
	in.t.Helper()
	var last *status.Transition
	await(in.t, "the end of the transition", patience, func() bool {
		m, err := in.control().Modes(in.t.Context())
		if err != nil || m.Now != nil || m.Last == nil {
			return false
		}
		last = m.Last
		return true
	})
	await(in.t, "a status without it", patience, func() bool {
		st, err := in.status()
		return err == nil && st.Job == nil && st.Mode == status.ModeNormal
	})
	return last
}

// awaitRefusal wants the command refused for that reason. A member that lives may on a busy machine not answer in the time
// that it is given; that is another reason, and no permission.
func (in *instance) awaitRefusal(reason string, args ...string) {
	in.t.Helper()
	await(in.t, "refused since something"+reason, patience, func() bool {
		r := in.expect(1, args...)
		in.t.Log(r.err)
		return strings.Contains(r.err, reason)
	})
}

// oldData is a directory that an etcd with n keys was killed on, and its last revision.
func oldData(t *testing.T, root string, n int) (dir string, revision int64) {
	t.Helper()
	old := startPlain(t, root, "127.0.0.1")
	revision = fillKeys(t, dial(t, old.client), n)
	_ = old.cmd.Process.Kill() // not stopped: the last writes may be in the WAL only
	<-old.done
	return old.dir, revision
}

// TestModeKilledAnywhere kills etcdsup, and all that runs under it or etcdsup alone, at a random moment of a
// force-new-cluster. The next one goes on or goes back; no key is lost, and nothing else is left running.
func TestModeKilledAnywhere(t *testing.T) {
	t.Parallel()
	in := newHost(t, "c", "127.0.0.1")
	from, revision := oldData(t, in.root, 500)
	d := in.run()
	in.awaitReady()
	outcomes := map[status.Outcome]int{}
	for n := range times(5, 60) {
		in.expect(0, "mode", "force-new-cluster", "--from", from, "--yes", "--detach")
		<-time.After(time.Duration(rand.Int64N(int64(2500 * time.Millisecond))))
		d.kill()
		if n%2 == 1 { // a power cut
			for _, p := range processesOf(in.root) {
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
		}
		d = in.run()
		last := in.awaitMode()
		outcomes[last.Outcome]++
		in.awaitReady()
		switch last.Outcome {
		case status.OutcomeDone:
			expectKeys(t, dial(t, in.client), 500, revision)
		case status.OutcomeRolledBack:
			t.Logf("round %d: %s", n, last.Error)
		default:
			t.Errorf("round %d: %+v", n, last)
		}
	}
	t.Logf("%v", outcomes)
	in.leave(d)
}

// TestModeCancelled is a join whose learner gets nowhere, since its own peer port is taken: it is rolled back.
func TestModeCancelled(t *testing.T) {
	t.Parallel()
	c, b := newHost(t, "c", "127.0.0.1"), newHost(t, "b", "127.0.0.1")
	dc, db := c.run(), b.run()
	c.awaitReady()
	b.awaitReady()
	put(t, dial(t, b.client), "mine", "kept")
	put(t, dial(t, c.client), "theirs", "kept")
	if r := b.expect(1, "mode", "join", "--endpoint", "http://127.0.0.1:1", "--yes"); !strings.Contains(r.err, "cannot") {
		t.Errorf("nobody there: %s", r.err)
	}
	if m, err := b.control().Modes(t.Context()); err != nil || m.Now != nil || m.Last != nil {
		t.Errorf("a refused join left something: %+v, %v", m, err)
	}
	b.expect(0, "mode", "join", "--endpoint", c.client, "--yes", "--detach")
	if r := b.cli("mode", "normal"); r.code != 0 && !strings.Contains(r.err, "past the point") && !strings.Contains(r.err, "was done already") {
		t.Errorf("cancelling ends with %d: %s", r.code, r.err) // the join may have been faster
	}
	last := b.awaitMode()
	b.awaitReady()
	client := dial(t, c.client)
	l, err := client.MemberList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case last.Outcome == status.OutcomeRolledBack && (len(l.Members) != 1 || get(t, dial(t, b.client), "mine") != "kept"):
		t.Errorf("rolled back: %v, %+v", l.Members, last)
	case last.Outcome == status.OutcomeDone && len(l.Members) != 2:
		t.Errorf("done: %v", l.Members)
	}
	t.Logf("cancelled: %s %s", last.Outcome, last.Error)
	if r := b.expect(0, "history", "--audit", "-n", "500"); !strings.Contains(r.out, "mode join") {
		t.Errorf("audit:\n%s", r.out)
	}
	for _, d := range []*daemon{db, dc} {
		d.signal(syscall.SIGINT)
		d.wait(t)
	}
}

// TestModeCancelledWhileStopping cancels a join while etcd is being stopped for it, which takes as long as that etcd stands
// still: it is started again when it has ended.
func TestModeCancelledWhileStopping(t *testing.T) {
	t.Parallel()
	c, b := newHost(t, "c", "127.0.0.1"), newHost(t, "b", "127.0.0.1")
	b.configure(readAll(b.file) + "stop: {transfer: 0s, grace: 1h, dump: 100ms}\n")
	dc, db := c.run(), b.run()
	c.awaitReady()
	pid := b.awaitReady().Process.PID
	put(t, dial(t, b.client), "mine", "kept")
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	b.expect(0, "mode", "join", "--endpoint", c.client, "--yes", "--detach")
	b.awaitStatus("being stopped", patience, func(st *status.Status) bool { return st.State == status.StateStopping })
	b.cli("mode", "normal", "--detach")
	await(t, "it goes back", patience, func() bool { return strings.Contains(db.stderr(), `"command":"start","state":"stopping"`) })
	_ = syscall.Kill(pid, syscall.SIGCONT)
	last := b.awaitMode()
	if st, err := b.status(); err != nil || last.Outcome != status.OutcomeRolledBack || st.Process == nil || st.Process.PID == pid {
		t.Errorf("%+v; %s, %v", last, describe(st), err)
	}
	b.awaitReady()
	if got := get(t, dial(t, b.client), "mine"); got != "kept" {
		t.Errorf("its data has %q", got)
	}
	b.leave(db)
	c.leave(dc)
}

// TestNewIdentity: a snapshot becomes a cluster with IDs that nobody has had, and a revision that nobody has seen.
func TestNewIdentity(t *testing.T) { eachEtcd(t, false, newIdentity) }

func newIdentity(t *testing.T, binary string) {
	in := newHostOf(t, binary, "c", porttest.Addr(t, "127.0.0.1"), porttest.Addr(t, "127.0.0.1"))
	old := newPlain(t, in.root, "127.0.0.1")
	old.binary = binary
	old.start()
	c := dial(t, old.client)
	revision := fillKeys(t, c, 300)
	snap := filepath.Join(in.root, "snap.db")
	saveSnapshot(t, c, snap)
	before, err := c.MemberList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := in.run()
	in.awaitReady()
	in.expect(0, "mode", "force-new-cluster", "--from", snap, "--new-identity", "--bump-revision", "5000", "--yes")
	now := dial(t, in.client)
	expectKeys(t, now, 300, revision+5000)
	after, err := now.MemberList(t.Context())
	if err != nil || after.Header.ClusterId == before.Header.ClusterId || after.Members[0].ID == before.Members[0].ID {
		t.Errorf("before %v, after %v, %v", before, after, err)
	}
	in.expectNormal()
	expectKeys(t, now, 300, revision+5000)
	m, err := in.control().Modes(t.Context())
	if err != nil || m.Last == nil || len(m.Last.SetAside) != 1 || m.Last.SetAside[0].Was != in.data {
		t.Fatalf("%+v, %v", m, err)
	}
	if _, err := os.Stat(filepath.Join(m.Last.SetAside[0].Path, "member")); err != nil {
		t.Error(err)
	}
	old.stop()
	in.leave(d)
}

// TestForceFromWhatever names the source in the ways in which people do: a snapshot and nothing else, the folder within a
// data directory, the data directory of the very etcd that runs.
func TestForceFromWhatever(t *testing.T) {
	t.Parallel()
	in := newHost(t, "c", "127.0.0.1")
	old := startPlain(t, in.root, "127.0.0.1")
	c := dial(t, old.client)
	revision := fillKeys(t, c, 300)
	snap := filepath.Join(in.root, "snap.db")
	saveSnapshot(t, c, snap)
	old.stop()
	d := in.run()
	in.awaitReady()
	for _, from := range []string{snap, old.dir + "/member", in.data} {
		r := in.expect(0, "mode", "force-new-cluster", "--from", from, "--yes")
		if strings.Contains(r.err, "being written to") {
			t.Errorf("from %s: %s", from, r.err)
		}
		expectKeys(t, dial(t, in.client), 300, revision)
	}
	if r := in.expect(1, "mode", "force-new-cluster", "--from", in.root+"/nowhere", "--yes"); !strings.Contains(r.err, "no such file") {
		t.Errorf("from nowhere: %s", r.err)
	}
	in.leave(d)
}

func saveSnapshot(t *testing.T, c *clientv3.Client, path string) {
	t.Helper()
	r, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
}

// TestHeldData: etcd is not started on data that is not the member's own, and nothing is emptied.
func TestHeldData(t *testing.T) {
	t.Parallel()
	in := newHost(t, "c", "127.0.0.1")
	d := in.run()
	in.awaitReady()
	put(t, dial(t, in.client), "a", "1")
	in.expect(0, "stop")
	older := filepath.Join(in.root, "older")
	if out, err := exec.Command("cp", "-a", in.data, older).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	in.expect(0, "start")
	client := dial(t, in.client)
	for i := range 50 {
		put(t, client, fmt.Sprint("b", i), "2")
	}
	in.expect(0, "stop")
	kept := filepath.Join(in.root, "kept")
	for _, tt := range []struct {
		name string
		here func() error
	}{
		{"empty", func() error { return os.Mkdir(in.data, 0o700) }},
		{"older", func() error { return exec.Command("cp", "-a", older, in.data).Run() }},
		{"no WAL", func() error {
			if err := exec.Command("cp", "-a", kept, in.data).Run(); err != nil {
				return err
			}
			return os.RemoveAll(filepath.Join(in.data, "member", "wal"))
		}},
	} {
		if err := os.Rename(in.data, kept); err != nil {
			t.Fatal(err)
		}
		if err := tt.here(); err != nil {
			t.Fatal(err)
		}
		in.cli("start", "--timeout", "5s")
		st := in.awaitStatus("held: "+tt.name, patience, func(st *status.Status) bool { return st.State == status.StateHeld })
		t.Logf("%s: %s; next: %s", tt.name, st.Reason, st.Next)
		if st.Process != nil || st.Next == "" {
			t.Errorf("%s: %s", tt.name, describe(st))
		}
		if err := os.RemoveAll(in.data); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(kept, in.data); err != nil {
			t.Fatal(err)
		}
	}
	in.expect(0, "start")
	in.leave(d)
	in.expectNoNewData()
}

// expectNoNewData starts etcdsup while the data directory is away: it makes none in its place, is held with one entry in
// the history, and goes on when the directory is back.
func (in *instance) expectNoNewData() {
	in.t.Helper()
	if err := os.Rename(in.data, in.data+".away"); err != nil {
		in.t.Fatal(err)
	}
	d := in.run()
	st := in.awaitStatus("held", patience, func(st *status.Status) bool { return st.State == status.StateHeld })
	if _, err := os.Lstat(in.data); !os.IsNotExist(err) {
		in.t.Errorf("a data directory was made: %v", err)
	}
	if st.Restart.LastHour != 0 {
		in.t.Errorf("a held start was counted: %+v", st.Restart)
	}
	if err := os.Rename(in.data+".away", in.data); err != nil {
		in.t.Fatal(err)
	}
	in.expect(0, "start")
	in.leave(d)
}
