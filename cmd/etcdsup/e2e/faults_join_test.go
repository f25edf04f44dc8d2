package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/loadtest"
	"github.com/etcdsup/etcdsup/supervisor/porttest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// three is a running cluster of three.
type three struct {
	ins     []*instance
	daemons []*daemon
}

func startThree(t *testing.T) *three {
	t.Helper()
	c := &three{ins: newCluster(t)}
	for _, in := range c.ins {
		c.daemons = append(c.daemons, in.run())
	}
	for _, in := range c.ins {
		in.awaitReady()
	}
	return c
}

func (c *three) clients() (urls []string) {
	for _, in := range c.ins {
		urls = append(urls, in.client)
	}
	return urls
}

// at is the number of the member that leads, or of one that does not.
func (c *three) at(t *testing.T, leads bool) int {
	t.Helper()
	leader, _ := leaderOf(t, c.ins)
	for i, in := range c.ins {
		if (in == leader) == leads {
			return i
		}
	}
	return 0
}

// end ends all of them at once: the last one alone would have no quorum.
func endAll(t *testing.T, daemons ...*daemon) {
	t.Helper()
	for _, d := range daemons {
		d.signal(syscall.SIGINT)
	}
	for _, d := range daemons {
		d.wait(t)
	}
}

// expectRolledBack wants an end that says why, and what comes next.
func expectRolledBack(t *testing.T, last *status.Transition, words ...string) {
	t.Helper()
	text := last.Error + "\n" + strings.Join(last.Result, "\n")
	if last.Outcome != status.OutcomeRolledBack || last.Error == "" || last.Remedy == "" {
		t.Errorf("%s: %s; next: %s", last.Outcome, text, last.Remedy)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("it does not tell of %q: %s", w, text)
		}
	}
	t.Logf("%s: %s; next: %s", last.Outcome, text, last.Remedy)
}

// expectDone wants it done, and one voter for the host.
func expectDone(t *testing.T, last *status.Transition, c *clientv3.Client, in *instance) {
	t.Helper()
	if last.Outcome != status.OutcomeDone {
		t.Errorf("%s: %s; next: %s", last.Outcome, last.Error, last.Remedy)
	}
	expectJoined(t, c, in, true)
	t.Log(strings.Join(last.Result, "; "))
}

// TestJoinSurvivesItsEndpoint: the only member that the command named dies for good as soon as it has added the learner.
func TestJoinSurvivesItsEndpoint(t *testing.T) {
	t.Parallel()
	c := startThree(t)
	named := c.at(t, false)
	others := append([]string(nil), c.clients()...)
	others = append(others[:named], others[named+1:]...)
	b := newHost(t, "b", "127.0.0.4")
	shut, open := b.gate()
	d := b.run()
	b.awaitReady()
	shut()
	waited := b.begins("mode", "join", "--endpoint", c.ins[named].client, "--yes", "--detach")
	b.awaitStep(nil, "add", "done")
	c.ins[named].powerCut(c.daemons[named])
	open()
	waited()
	client := dial(t, others...)
	expectDone(t, b.awaitEnd(nil), client, b)
	put(t, client, "goes", "on")
	d.signal(syscall.SIGINT)
	d.wait(t)
	for i, d := range c.daemons {
		if i != named {
			endAll(t, d)
		}
	}
}

// TestLeaderMovesDuringJoin: leadership is handed over as soon as the learner starts.
func TestLeaderMovesDuringJoin(t *testing.T) {
	t.Parallel()
	c := startThree(t)
	b := newHost(t, "b", "127.0.0.4")
	shut, open := b.gate()
	d := b.run()
	b.awaitReady()
	from, to := c.at(t, true), c.at(t, false)
	st := c.ins[to].awaitStatus("its ID", patience, func(st *status.Status) bool { return st.Member != nil })
	shut()
	waited := b.begins("mode", "join", "--endpoint", c.ins[from].client, "--yes", "--detach")
	b.awaitStep(nil, "catch-up", "begin")
	moveLeader(t, c.ins[from], st.Member.ID)
	open()
	waited()
	client := dial(t, c.clients()...)
	expectDone(t, b.awaitEnd(nil), client, b)
	endAll(t, append(c.daemons, d)...)
}

func moveLeader(t *testing.T, from *instance, to string) {
	t.Helper()
	var id uint64
	if _, err := fmt.Sscanf(to, "%x", &id); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := dial(t, from.client).MoveLeader(ctx, id); err != nil {
		t.Logf("not moved: %v", err) // it may have changed by itself
	}
}

// TestLeaderKilledDuringJoin: the leader's etcd is killed as soon as the learner starts; its etcdsup starts it again.
func TestLeaderKilledDuringJoin(t *testing.T) {
	t.Parallel()
	c := startThree(t)
	b := newHost(t, "b", "127.0.0.4")
	shut, open := b.gate()
	d := b.run()
	b.awaitReady()
	leader := c.ins[c.at(t, true)]
	pid := leader.awaitReady().Process.PID
	shut()
	waited := b.begins("mode", "join", "--endpoint", leader.client, "--yes", "--detach")
	b.awaitStep(nil, "catch-up", "begin")
	_ = syscall.Kill(pid, syscall.SIGKILL)
	open()
	waited()
	client := dial(t, c.clients()...)
	expectDone(t, b.awaitEnd(nil), client, b)
	put(t, client, "goes", "on")
	endAll(t, append(c.daemons, d)...)
}

// alone is a running host with a cluster of its own.
func alone(t *testing.T, name string) (*instance, *daemon, *clientv3.Client) {
	t.Helper()
	in := newHost(t, name, "127.0.0.1")
	d := in.run()
	in.awaitReady()
	return in, d, dial(t, in.client)
}

// TestJoinOnAFullDisk: the disk of the joining host fills up before its learner starts. Without room from the beginning
// nothing is begun.
func TestJoinOnAFullDisk(t *testing.T) {
	t.Parallel()
	needRoot(t)
	c, dc, client := alone(t, "c")
	b := newHost(t, "b", "127.0.0.1")
	disk := filepath.Join(b.root, "disk")
	tmpfs(t, disk, "420m")
	b.configure(readAll(b.file) + "    data-dir: " + disk + "/data\n")
	shut, open := b.gate()
	d := b.run()
	b.awaitReady()
	put(t, dial(t, b.client), "mine", "kept")
	b.expect(0, "stop") // which gives back what it holds for its next WAL segment
	resize(t, disk, 0)
	if r := b.expect(1, "mode", "join", "--endpoint", c.client, "--yes"); !strings.Contains(r.err, "are needed") || !strings.Contains(r.err, "make room") {
		t.Errorf("without room: %s", r.err)
	}
	resize(t, disk, 420<<20)
	shut()
	waited := b.begins("mode", "join", "--endpoint", c.client, "--yes", "--detach")
	b.awaitStep(nil, "start", "done")
	resize(t, disk, 0)
	open()
	waited()
	expectRolledBack(t, b.awaitEnd(nil), "no space left")
	expectJoined(t, client, b, false)
	put(t, client, "goes", "on")
	resize(t, disk, 420<<20)
	b.expect(0, "start")
	b.awaitReady()
	if got := get(t, dial(t, b.client), "mine"); got != "kept" {
		t.Errorf("its own data: %q", got)
	}
	endAll(t, d, dc)
}

// resize gives a tmpfs that many bytes, or, with 0, hardly more than it holds now. Unlike filling it up this takes no time.
func resize(t *testing.T, dir string, size int64) {
	t.Helper()
	if size == 0 {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		size = int64(st.Blocks-st.Bfree)*st.Bsize + 1<<20
	}
	if err := unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatal(err)
	}
}

// TestJoinWithAPortTaken: somebody else listens where the joining host's etcd is to listen for peers, or for clients.
func TestJoinWithAPortTaken(t *testing.T) {
	t.Parallel()
	c, dc, client := alone(t, "c")
	for _, which := range []string{"peer", "client"} {
		b, d, _ := alone(t, "b")
		b.expect(0, "stop")
		u := b.client
		if which == "peer" {
			u = b.peerURL()
		}
		var taken net.Listener
		await(t, "the port", patience, func() (ok bool) {
			var err error
			taken, err = net.Listen("tcp", strings.TrimPrefix(u, "http://"))
			return err == nil
		})
		r := b.cli("mode", "join", "--endpoint", c.client, "--yes")
		if r.code == 0 || !strings.Contains(r.err, strings.TrimPrefix(u, "http://")) || !strings.Contains(r.err, "address already in use") {
			t.Errorf("%s: %d: %s%s", which, r.code, r.out, r.err)
		}
		t.Logf("%s: %s", which, r.err)
		expectJoined(t, client, b, false)
		put(t, client, "goes", "on")
		if err := taken.Close(); err != nil {
			t.Error(err)
		}
		b.expect(0, "mode", "join", "--endpoint", c.client, "--yes")
		expectJoined(t, client, b, true)
		removeMember(t, client, b)
		endAll(t, d)
	}
	endAll(t, dc)
}

// TestJoinWithAnotherToken: initial-cluster-token is for a new cluster alone, and does not keep a host from joining one.
func TestJoinWithAnotherToken(t *testing.T) {
	t.Parallel()
	c, dc, client := alone(t, "c")
	b := newHost(t, "b", "127.0.0.1")
	b.configure(readAll(b.file) + "    initial-cluster-token: of-somebody-else\n    initial-cluster: \"b=" + b.peerURL() + "\"\n")
	d := b.run()
	b.awaitReady()
	b.expect(0, "mode", "join", "--endpoint", c.client, "--yes")
	expectJoined(t, client, b, true)
	endAll(t, d, dc)
}

// TestClusterWithAnotherToken: a host whose token is not that of the others would begin a cluster of its own beside theirs.
func TestClusterWithAnotherToken(t *testing.T) {
	t.Parallel()
	ins := newCluster(t)
	text := readAll(ins[2].file)
	_, token, _ := strings.Cut(text, "initial-cluster-token: ")
	token, _, _ = strings.Cut(token, "\n")
	ins[2].configure(strings.Replace(text, "initial-cluster-token: "+token, "initial-cluster-token: another", 1))
	daemons := []*daemon{ins[0].run(), ins[1].run()}
	ins[0].awaitReady()
	ins[1].awaitReady()
	daemons = append(daemons, ins[2].run())
	ins[2].awaitHeldByPeers("initial-cluster-token", " start")
	put(t, dial(t, ins[0].client), "goes", "on")
	ins[2].configure(text)
	daemons[2].signal(syscall.SIGINT)
	daemons[2].wait(t)
	daemons[2] = ins[2].run()
	ins[2].awaitReady()
	endAll(t, daemons...)
}

// awaitHeldByPeers wants a first start held for what the peers say. Where they are too slow to say it, as they may be on a
// busy machine, it is made anew.
func (in *instance) awaitHeldByPeers(reason, next string) {
	in.t.Helper()
	for range 20 {
		st := in.awaitStatus("a decision", patience, func(st *status.Status) bool {
			return st.Process != nil || st.State == status.StateHeld
		})
		if st.State == status.StateHeld {
			if !strings.Contains(st.Reason, reason) || !strings.Contains(st.Next, next) {
				in.t.Errorf("%s; next: %s", describe(st), st.Next)
			}
			return
		}
		in.expect(0, "stop")
		discard(in.t, in.data)
		in.cli("start", "--timeout", "1s")
	}
	in.t.Errorf("never held because %s", reason)
}

// TestJoinWithAnothersPeerURL: a configuration that was copied from another host is told, and nothing is changed.
func TestJoinWithAnothersPeerURL(t *testing.T) {
	t.Parallel()
	c, dc, client := alone(t, "c")
	for _, name := range []string{"b", "c"} {
		b := newInstance(t)
		b.client = "http://" + porttest.Addr(t, "127.0.0.1")
		b.configure(fmt.Sprintf("etcd:\n  args:\n    name: %s\n    listen-client-urls: %s\n    listen-peer-urls: %s\n", name, b.client, c.peerURL()))
		d := b.run()
		b.awaitStatus("a death, since the port is another's", patience, func(st *status.Status) bool { return st.LastExit != nil })
		await(t, "a refusal that knows of the living", patience, func() bool {
			r := b.cli("mode", "join", "--endpoint", c.client, "--yes")
			if r.code != 1 {
				t.Fatalf("as %s: %d: %s%s", name, r.code, r.out, r.err)
			}
			return strings.Contains(r.err, "alive") && strings.Contains(r.err, "of its own")
		})
		if found := membersAt(t, client, c); len(found) != 1 || found[0].Name != "c" {
			t.Errorf("members: %v", found)
		}
		put(t, client, "goes", "on")
		endAll(t, d)
	}
	endAll(t, dc)
}

// TestTwoJoinAtOnce: the one waits for the other, and both come in.
func TestTwoJoinAtOnce(t *testing.T) {
	t.Parallel()
	c, dc, client := alone(t, "c")
	revision := fillKeys(t, client, 500)
	puts := loadtest.Start(t, client)
	a, da, _ := alone(t, "a")
	b, db, _ := alone(t, "b")
	var waits []func() result
	for _, in := range []*instance{a, b} {
		waits = append(waits, in.begins("mode", "join", "--endpoint", c.client, "--yes", "--detach"))
	}
	for _, waited := range waits {
		if r := waited(); r.code != 0 {
			t.Errorf("%d: %s%s", r.code, r.out, r.err)
		}
	}
	for _, in := range []*instance{a, b} {
		expectDone(t, in.awaitEnd(nil), client, in)
		expectKeys(t, dial(t, in.client), 500, revision)
	}
	puts.Stop()
	puts.ExpectNoFailure(t)
	endAll(t, dc, da, db)
}

// TestJoinTakesUpALearner: a learner whose join was cut short, and of which no journal tells any more, is made a voter by
// the same command, be it that it was started only a moment ago and does not answer yet.
func TestJoinTakesUpALearner(t *testing.T) {
	t.Parallel()
	c, dc, client := alone(t, "c")
	b, d, _ := alone(t, "b")
	waited := b.begins("mode", "join", "--endpoint", c.client, "--yes", "--detach")
	b.awaitStep(nil, "catch-up", "begin")
	d.kill()
	waited()
	for _, file := range b.journals() {
		if err := os.Rename(file, filepath.Join(b.root, "lost")); err != nil {
			t.Fatal(err)
		}
	}
	d = b.run()
	b.awaitStatus("etcd running", patience, func(st *status.Status) bool { return st.Process != nil })
	found := membersAt(t, client, b)
	if len(found) != 1 {
		t.Fatalf("members: %v", found)
	}
	if plan := b.expect(0, "mode", "join", "--endpoint", c.client, "--plan"); found[0].IsLearner && (strings.Contains(plan.out, "set-aside") || !strings.Contains(plan.out, "promote")) {
		t.Errorf("plan: %s%s", plan.out, plan.err)
	}
	b.expect(0, "mode", "join", "--endpoint", c.client, "--yes")
	expectJoined(t, client, b, true)
	if again := membersAt(t, client, b); again[0].ID != found[0].ID {
		t.Errorf("another member: %v, %v", found, again)
	}
	endAll(t, d, dc)
}
