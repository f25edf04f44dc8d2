package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdsup/etcdsup/supervisor/etcdbin"
	"github.com/etcdsup/etcdsup/supervisor/loadtest"
	"github.com/etcdsup/etcdsup/supervisor/porttest"
)

// eachEtcd runs a test with the etcd that is built in, and in the long form with those that users have. alone says to have
// 3.7 among them, which differs from the built-in one as an executable only; the longest form has it always.
func eachEtcd(t *testing.T, alone bool, tell func(t *testing.T, binary string)) {
	t.Helper()
	type etcd struct{ name, binary string }
	all := []etcd{{"built-in", ""}}
	if os.Getenv("ETCDSUP_LONG") != "" {
		for _, v := range []string{etcdbin.V34, etcdbin.V35, etcdbin.V36} { // got before anything runs that building would slow down
			all = append(all, etcd{v, etcdbin.Version(t, v)})
		}
		if alone || os.Getenv("ETCDSUP_LONG") == "1" {
			all = append(all, etcd{"3.7 by itself", etcdbin.Builtin(t)})
		}
	}
	t.Parallel()
	for _, e := range all {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			tell(t, e.binary)
		})
	}
}

// newHost is one of the hosts of a cluster to be: an etcdsup on an address of its own.
func newHost(t *testing.T, name, addr string) *instance {
	t.Helper()
	return newHostOf(t, "", name, porttest.Addr(t, addr), porttest.Addr(t, addr))
}

// newHostOf is newHost with another etcd than the one that is built in, and with these ports.
func newHostOf(t *testing.T, binary, name, client, peer string) *instance {
	t.Helper()
	in := newInstance(t)
	in.client, in.peer = "http://"+client, "http://"+peer
	in.configure(fmt.Sprintf("etcd:\n%s  args:\n    name: %s\n    listen-client-urls: %s\n    listen-peer-urls: %s\n", binaryLine(binary), name, in.client, in.peer))
	return in
}

// binaryLine is the line of a configuration for another etcd than the one that is built in; empty: there is none.
func binaryLine(binary string) string {
	if binary == "" {
		return ""
	}
	return "  binary: " + binary + "\n"
}

// story is the migration: a single etcd's data becomes a cluster of three with three commands.
type story struct {
	t       *testing.T
	a, b, c *instance
	old     *plain // on A, at the ports that A's member will have
	fenced  string // host that is off by the operator's word, which is then plugged in again; empty: it says itself that nobody is there
}

// oldKeys are what the old etcd has.
const oldKeys = 10_000

func TestMigration(t *testing.T) {
	eachEtcd(t, true, func(t *testing.T, binary string) {
		host := func(name, addr string) *instance {
			return newHostOf(t, binary, name, porttest.Addr(t, addr), porttest.Addr(t, addr))
		}
		s := &story{t: t, a: host("a", "127.0.0.11"), b: host("b", "127.0.0.12"), c: host("c", "127.0.0.13")}
		s.old = newPlain(t, s.a.root, "127.0.0.11")
		s.old.binary, s.old.client, s.old.peer = binary, s.a.client, s.a.peer
		s.tell()
	})
}

// TestMigrationInNetworks is the same with hosts that are network namespaces, on the ports that etcds have. The cable
// of the old host is pulled meanwhile: then nothing tells that it is off.
func TestMigrationInNetworks(t *testing.T) {
	needRoot(t)
	if os.Getenv("ETCDSUP_LONG") == "" || !apart(t) {
		return
	}
	networks := newNetworks(t, 3)
	host := func(name string, n int) *instance {
		addr := fmt.Sprintf("10.0.0.%d", n)
		in := newHostOf(t, "", name, addr+":2379", addr+":2380")
		in.network = networks[n-1]
		return in
	}
	s := &story{t: t, a: host("a", 1), b: host("b", 2), c: host("c", 3), fenced: "10.0.0.1"}
	s.old = newPlain(t, s.a.root, "127.0.0.1")
	s.old.client, s.old.second, s.old.peer, s.old.network = s.a.client, "http://10.0.0.1:4001", s.a.peer, networks[0]
	s.tell()
}

func (s *story) tell() {
	s.old.start()
	revision := fillKeys(s.t, dial(s.t, s.old.client), oldKeys)
	expectKeys(s.t, dial(s.t, s.old.second), oldKeys, revision)
	copied := filepath.Join(s.c.root, "copy")
	s.old.copyTo(copied)
	dc := s.c.run()
	s.c.awaitReady()
	untouched := s.force(copied)
	client := dial(s.t, s.c.client)
	expectKeys(s.t, client, oldKeys, revision)
	db, da := s.b.run(), s.a.run()
	s.join(client)
	s.expectThree(client, revision)
	if sumOf(s.t, s.old.dir) != untouched {
		s.t.Error("the original directory was touched")
	}
	s.a.expect(0, "mode", "join", "--endpoint", s.c.client, "--yes") // it is a member: nothing to do
	for _, in := range s.hosts() {
		in.expectNormal()
	}
	s.expectThree(client, revision)
	for i, d := range []*daemon{da, db, dc} {
		d.signal(syscall.SIGINT)
		if code := d.wait(s.t); code != 0 {
			s.t.Errorf("exit code %d of %s", code, s.hosts()[i].dir)
		}
	}
}

func (s *story) hosts() []*instance { return []*instance{s.a, s.b, s.c} }

// force makes the copy C's cluster, which is refused while the old etcd may run. It gives what the original directory is
// from then on.
func (s *story) force(copied string) (untouched string) {
	s.t.Helper()
	args := []string{"mode", "force-new-cluster", "--from", copied, "--yes"}
	before := s.c.awaitReady().Process.PID
	s.c.awaitRefusal(" answers at "+s.old.peer, args...)
	if s.fenced != "" {
		s.old.network.plug(false)
		s.c.awaitRefusal(" --fenced "+s.fenced, args...)
		args = append(args, "--fenced", s.fenced)
	}
	if now := s.c.awaitReady().Process.PID; now != before {
		s.t.Errorf("a refusal made etcd %d of %d", now, before)
	}
	s.old.stop()
	untouched = sumOf(s.t, s.old.dir)
	began := time.Now()
	s.t.Log(s.c.expect(0, args...).out)
	s.t.Logf("force-new-cluster took %v", time.Since(began).Round(time.Millisecond))
	if s.fenced != "" {
		s.old.network.plug(true)
	}
	return untouched
}

// join brings B and A in, while C is written to all the time.
func (s *story) join(client *clientv3.Client) {
	s.t.Helper()
	puts := loadtest.Start(s.t, client)
	for _, in := range []*instance{s.b, s.a} {
		in.awaitReady()
		began := time.Now()
		s.t.Log(in.expect(0, "mode", "join", "--endpoint", s.c.client, "--yes").out)
		s.t.Logf("join took %v", time.Since(began).Round(time.Millisecond))
	}
	puts.Stop()
	s.t.Logf("meanwhile %v", puts)
	puts.ExpectNoFailure(s.t)
}

// expectThree wants three voters with the right peer URLs, and all keys at each.
func (s *story) expectThree(client *clientv3.Client, revision int64) {
	s.t.Helper()
	want := map[string]string{"a": s.a.peer, "b": s.b.peer, "c": s.c.peer}
	l, err := client.MemberList(s.t.Context())
	if err != nil || len(l.Members) != len(want) {
		s.t.Fatalf("%v, %v", l, err)
	}
	for _, m := range l.Members {
		if m.IsLearner || !slices.Equal(m.PeerURLs, []string{want[m.Name]}) {
			s.t.Errorf("member %+v, not a voter of %v", m, want)
		}
	}
	for _, in := range s.hosts() {
		expectKeys(s.t, dial(s.t, in.client), oldKeys, revision)
	}
}

// expectNormal wants a member in everyday life: no change of mode under way, started anew as it is, its log rotated.
func (in *instance) expectNormal() {
	in.t.Helper()
	began := time.Now()
	in.expect(0, "restart")
	in.t.Logf("restart took %v", time.Since(began).Round(time.Millisecond))
	in.expectFirstStart(false)
	if text := in.expect(0, "mode").out; !strings.Contains(text, "normal") {
		in.t.Errorf("mode:\n%s", text)
	}
	in.expect(0, "logs", "rotate")
	if archives, err := filepath.Glob(filepath.Join(in.dir, "log", "etcd-*")); len(archives) == 0 {
		in.t.Errorf("no archive of etcd's log, %v", err)
	}
}
