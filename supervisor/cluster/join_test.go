package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdsup/etcdsup/supervisor/etcdbin"
	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
	"github.com/etcdsup/etcdsup/supervisor/porttest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// clientOf asks the URLs, of which some may be dead.
func clientOf(t testing.TB, o Options, urls ...string) *Client {
	t.Helper()
	o.Endpoints = nil
	for _, u := range urls {
		o.Endpoints = append(o.Endpoints, parse(t, u))
	}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// deadURL is one where nobody listens.
func deadURL(t testing.TB) string {
	t.Helper()
	return "http://" + porttest.Addr(t, "127.0.0.1")
}

func wish(m *etcdtest.Member, version string) status.JoinWish {
	return status.JoinWish{Name: m.Name, PeerURLs: []string{m.PeerURL}, Version: version}
}

func addLearner(t testing.TB, c *Client, m *etcdtest.Member) *Added {
	t.Helper()
	a, err := c.AddLearner(soon(t), m.Name, []string{m.PeerURL})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// inBackground runs f and returns a function that waits for its error.
func inBackground(f func() error) func() error {
	done := make(chan error, 1)
	go func() { done <- f() }() // ends with f
	return func() error { return <-done }
}

// versions are those that the long run joins.
func versions(t *testing.T) map[string][]etcdtest.Option {
	all := map[string][]etcdtest.Option{"built-in": nil}
	if os.Getenv("ETCDSUP_LONG") != "" {
		for _, v := range []string{"v3.5.35", "v3.6.16"} {
			all[v] = []etcdtest.Option{etcdtest.WithBinary(etcdbin.Version(t, v))}
		}
	}
	return all
}

// TestJoinAsLearner takes a cluster of one to two voters, with a dead endpoint before the live one all the way.
func TestJoinAsLearner(t *testing.T) {
	for name, opts := range versions(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testJoinAsLearner(t, opts...)
		})
	}
}

func testJoinAsLearner(t *testing.T, opts ...etcdtest.Option) {
	m1 := etcdtest.Start(t, 1, opts...)[0]
	m2 := etcdtest.Join(t, "m2", []*etcdtest.Member{m1}, opts...)
	c := clientOf(t, Options{}, deadURL(t), m1.ClientURL)
	l := listWith(t, c, status.Count{Voters: 1, Healthy: 1})
	v := status.JudgeJoin(l, wish(m2, find(t, l, "m1").Version))
	if v.Refuse != "" || v.Already != nil || v.Leftover != nil || v.After != (status.Count{Voters: 2, Healthy: 2}) {
		t.Fatalf("%+v", v)
	}

	a := addLearner(t, c, m2)
	if a.Already || !a.Learner || !strings.Contains(a.InitialCluster, "m2="+m2.PeerURL) || len(a.Members.Members) != 2 {
		t.Fatalf("added %+v", a)
	}
	if again := addLearner(t, c, m2); again.ID != a.ID || !again.Already || again.InitialCluster != a.InitialCluster {
		t.Errorf("a second add: %+v, the first: %+v", again, a)
	}
	if v := status.JudgeJoin(listWith(t, c, status.Count{Voters: 1, Healthy: 1}), wish(m2, v.Version)); v.Refuse != "" || v.Leftover == nil || v.Leftover.ID != a.ID {
		t.Errorf("with the learner added: %+v", v)
	}
	if p := PeerMembers(soon(t), m1.PeerURL, TLSFiles{}); !p.Of(l.ClusterID) || p.Version != find(t, l, "m1").Version || p.List().At([]string{m2.PeerURL}).ID != a.ID {
		t.Errorf("the peer port says %+v", p)
	}
	if p, err := c.CatchUp(soon(t), []*url.URL{parse(t, m2.ClientURL)}); err != nil || p.Answers || p.Ready() || p.LeaderIndex == 0 {
		t.Errorf("before the start: %+v, %v", p, err)
	}

	promoted := inBackground(func() error { return c.Promote(soon(t), &status.Peer{ID: a.ID}) })
	m2.Bootstrap(a.InitialCluster)
	m2.Start()
	if err := promoted(); err != nil {
		t.Fatal(err)
	}
	m2.WaitHealthy()
	urls := []*url.URL{parse(t, deadURL(t)), parse(t, m2.ClientURL)}
	etcdtest.Eventually(t, "it is seen to have caught up", func() bool {
		p, err := c.CatchUp(soon(t), urls)
		t.Logf("at the end: %+v, %v", p, err)
		return err == nil && p.Ready() && p.Percent() >= 90 && p.DB > 0 && p.LeaderDB > 0
	})
	if err := c.Promote(soon(t), &status.Peer{ID: a.ID}); err != nil {
		t.Errorf("the promotion of a voter: %v", err)
	}
	l = listWith(t, c, status.Count{Voters: 2, Healthy: 2})
	if find(t, l, "m2").ID != a.ID {
		t.Errorf("%+v", l.Members)
	}
	if v := status.JudgeJoin(l, wish(m2, v.Version)); v.Already == nil || v.Already.ID != a.ID {
		t.Errorf("a voter that joins: %+v", v)
	}
	if _, err := c.AddLearner(soon(t), "m2", []string{m2.PeerURL}); !errors.Is(err, ErrPeerURLTaken) {
		t.Errorf("an add with a started member's URL: %v", err)
	}
	testProof(t, m2, l.ClusterID, a.ID)
}

// testProof proves and shows that the proof went through raft and left no trace in the data.
func testProof(t *testing.T, m *etcdtest.Member, clusterID, id string) {
	t.Helper()
	raw := rawClient(t, m)
	if _, err := raw.Put(soon(t), "key", "value"); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Options{}, m)
	before, _, err := c.Status(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Proof(soon(t))
	if err != nil || p.ClusterID != clusterID || p.MemberID != id || p.Learner || p.Keys != 1 || p.Revision != before.Revision || len(p.Alarms) > 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	after, _, err := c.Status(soon(t))
	if err != nil || after.Revision != before.Revision || after.Index <= before.Index {
		t.Errorf("the proof took revision %d to %d and index %d to %d: %v", before.Revision, after.Revision, before.Index, after.Index, err)
	}
	if r, err := raw.Get(soon(t), proofKey); err != nil || r.Count != 0 {
		t.Errorf("there is a key: %v, %v", r, err)
	}
}

func TestProofNeedsTheQuorumAndNotSpace(t *testing.T) {
	t.Parallel()
	m := etcdtest.Start(t, 1, etcdtest.WithArgs("--quota-backend-bytes=65536"))[0]
	raw := rawClient(t, m)
	var err error
	for value := strings.Repeat("x", 20<<10); !errors.Is(err, rpctypes.ErrNoSpace) && t.Context().Err() == nil; _, err = raw.Put(soon(t), "key", value) {
	}
	p, err := newClient(t, Options{}, m).Proof(soon(t))
	if err != nil || len(p.Alarms) == 0 {
		t.Errorf("a full database: %+v, %v", p, err)
	}

	if _, err := raw.MemberAdd(soon(t), []string{deadURL(t)}); err != nil {
		t.Fatal(err)
	}
	if p, err := newClient(t, Options{}, m).Proof(within(t, time.Second)); err == nil {
		t.Errorf("without a quorum: %+v", p)
	}
}

// TestJoinWhereOneOfThreeIsDown is refused, and works as a replacement.
func TestJoinWhereOneOfThreeIsDown(t *testing.T) {
	t.Parallel()
	members := etcdtest.Start(t, 3)
	c := clientOf(t, Options{}, members[2].ClientURL, members[0].ClientURL, members[1].ClientURL)
	members[2].Kill()
	newcomer := etcdtest.Join(t, "m4", members)
	l := listWith(t, c, status.Count{Voters: 3, Healthy: 2})
	c.o.ClusterID = l.ClusterID
	version := find(t, l, "m1").Version
	if v := status.JudgeJoin(l, wish(newcomer, version)); v.Refuse == "" || !strings.Contains(v.Remedy, "member remove") {
		t.Errorf("a fourth: %+v", v)
	}
	for limit := 3 * time.Second; ; limit *= 2 { // what is cut short before etcd has answered says nothing
		a, err := c.AddLearner(within(t, limit), "m4", []string{newcomer.PeerURL})
		if errors.Is(err, rpctypes.ErrUnhealthy) {
			break
		}
		if err == nil || limit > etcdtest.Patience {
			t.Fatalf("etcd lets a fourth in: %+v, %v", a, err)
		}
	}

	again := etcdtest.Join(t, "m3", members[:2])
	w := wish(again, version)
	if v := status.JudgeJoin(l, w); v.Refuse == "" || !strings.Contains(v.Remedy, "--replace") {
		t.Errorf("the name of the dead: %+v", v)
	}
	w.Replace = true
	v := status.JudgeJoin(l, w)
	if v.Refuse != "" || v.Remove == nil || v.Remove.Name != "m3" || v.After != (status.Count{Voters: 3, Healthy: 3}) {
		t.Fatalf("the replacement: %+v", v)
	}
	for range 2 { // the second finds it gone
		if err := c.Remove(soon(t), v.Remove); err != nil {
			t.Fatal(err)
		}
	}
	a := addLearner(t, c, again)
	if strings.Count(a.InitialCluster, "=") != 3 || strings.Contains(a.InitialCluster, members[2].PeerURL) {
		t.Errorf("initial cluster %s", a.InitialCluster)
	}
	if _, err := c.AddLearner(soon(t), "m4", []string{newcomer.PeerURL}); !errors.Is(err, ErrTooManyLearners) {
		t.Errorf("a second learner: %v", err)
	}
	if _, err := c.AddLearner(soon(t), "m4", []string{newcomer.PeerURL, again.PeerURL}); !errors.Is(err, ErrPeerURLTaken) {
		t.Errorf("half of another's URLs: %v", err)
	}
	if v := status.JudgeJoin(listWith(t, c, status.Count{Voters: 2, Healthy: 2}), wish(newcomer, version)); v.Refuse != "" || !strings.Contains(v.Wait, a.ID) {
		t.Errorf("beside one that never started: %+v", v)
	}
}

// TestPromoteSurvivesTheEndpoint loses the leader, which is asked first, while the learner is waited for.
func TestPromoteSurvivesTheEndpoint(t *testing.T) {
	t.Parallel()
	members := etcdtest.Start(t, 3)
	leading, _ := leader(t, members, Options{})
	urls := []string{leading.ClientURL}
	for _, m := range members {
		if m != leading {
			urls = append(urls, m.ClientURL)
		}
	}
	c := clientOf(t, Options{}, urls...)
	learner := etcdtest.Join(t, "m4", members)
	a := addLearner(t, c, learner)
	promoted := inBackground(func() error { return c.Promote(soon(t), &status.Peer{ID: a.ID}) })
	learner.Bootstrap(a.InitialCluster)
	leading.Kill()
	learner.Start()
	if err := promoted(); err != nil {
		t.Fatal(err)
	}
	learner.WaitHealthy()
	listWith(t, c, status.Count{Voters: 4, Healthy: 3})
}

// TestAddWhoseAnswerIsLost goes through a connection that breaks once etcd has the request.
func TestAddWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	m1 := etcdtest.Start(t, 1)[0]
	m2 := etcdtest.Join(t, "m2", []*etcdtest.Member{m1})
	raw := rawClient(t, m1)
	proxy := newBreaker(t, m1.ClientURL, m2.PeerURL, func() {
		etcdtest.Eventually(t, "the member is there", func() bool {
			l, err := raw.MemberList(soon(t))
			return err == nil && len(l.Members) == 2
		})
	})
	a := addLearner(t, clientOf(t, Options{}, proxy.url), m2)
	l, err := raw.MemberList(soon(t))
	if err != nil || len(l.Members) != 2 || !a.Already || !proxy.broke() {
		t.Errorf("added %+v, broke %v, members %v: %v", a, proxy.broke(), l, err)
	}
}

// breaker passes bytes on until it sees some that a client sends: then it waits and cuts that connection, once.
type breaker struct {
	url    string
	target string
	marker []byte
	before func()
	once   sync.Once
	cut    chan struct{}
}

func newBreaker(t testing.TB, target, marker string, before func()) *breaker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &breaker{
		url: "http://" + ln.Addr().String(), target: strings.TrimPrefix(target, "http://"),
		marker: []byte(marker), before: before, cut: make(chan struct{}),
	}
	var all sync.WaitGroup
	all.Go(func() { // ends with the listener
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { b.pass(conn) }) // ends with either side
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return b
}

func (b *breaker) broke() bool {
	select {
	case <-b.cut:
		return true
	default:
		return false
	}
}

func (b *breaker) pass(client net.Conn) {
	defer client.Close()
	etcd, err := net.Dial("tcp", b.target)
	if err != nil {
		return
	}
	defer etcd.Close()
	held := make(chan struct{})
	var replies sync.WaitGroup
	replies.Go(func() { // ends with either side
		defer client.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := etcd.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-held: // the answer is lost
			default:
				client.Write(buf[:n])
			}
		}
	})
	defer replies.Wait()
	defer etcd.Close()
	b.requests(client, etcd, held)
}

func (b *breaker) requests(client io.Reader, etcd io.Writer, held chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		last := false
		if bytes.Contains(buf[:n], b.marker) {
			b.once.Do(func() { close(held); last = true })
		}
		etcd.Write(buf[:n])
		if last {
			b.before()
			close(b.cut)
			return
		}
	}
}

// TestJoinWithTLSAndAuth goes the whole way as root, over TLS with client certificates.
func TestJoinWithTLSAndAuth(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	opts := []etcdtest.Option{etcdtest.WithClientTLS(), etcdtest.WithArgs(
		"--cert-file="+p.serverCert, "--key-file="+p.serverKey, "--trusted-ca-file="+p.ca, "--client-cert-auth")}
	m1 := etcdtest.Start(t, 1, opts...)[0]
	o := Options{CACert: p.ca, Cert: p.clientCert, Key: p.clientKey, User: "root", PasswordFile: writePassword(t, "secret")}
	c := clientOf(t, o, deadURL(t), m1.ClientURL)
	if err := c.at(soon(t), []string{m1.ClientURL}, func(cl *clientv3.Client) error { return demandLogin(soon(t), cl, "secret") }); err != nil {
		t.Fatal(err)
	}
	m2 := etcdtest.Join(t, "m2", []*etcdtest.Member{m1}, opts...)
	a := addLearner(t, c, m2)
	m2.Bootstrap(a.InitialCluster)
	m2.Start()
	learner := []*url.URL{parse(t, m2.ClientURL)}
	etcdtest.Eventually(t, "the learner says how far it is", func() bool {
		p, err := c.CatchUp(soon(t), learner)
		if err != nil {
			t.Fatal(err)
		}
		return p.Ready()
	})
	etcdtest.Eventually(t, "the learner is healthy", func() bool { return find(t, list(t, c), "m2").Healthy })
	if err := c.Promote(soon(t), find(t, list(t, c), "m2")); err != nil {
		t.Fatal(err)
	}
	pr, err := clientOf(t, o, m2.ClientURL).Proof(soon(t))
	if err != nil || pr.MemberID != a.ID || pr.Learner {
		t.Errorf("%+v, %v", pr, err)
	}
	if err := c.Remove(soon(t), &status.Peer{ID: a.ID}); err != nil {
		t.Error(err)
	}
	o.PasswordFile = writePassword(t, "wrong")
	if _, err := clientOf(t, o, m1.ClientURL).AddLearner(soon(t), "m3", []string{deadURL(t)}); err == nil {
		t.Error("added with the wrong password")
	}
}

func demandLogin(ctx context.Context, cl *clientv3.Client, password string) error {
	if _, err := cl.UserAdd(ctx, "root", password); err != nil {
		return err
	}
	if _, err := cl.UserGrantRole(ctx, "root", "root"); err != nil {
		return err
	}
	_, err := cl.AuthEnable(ctx)
	return err
}

// TestUnstartedVoterIsStarted gives a cluster its quorum back that lost it by a member add without a start.
func TestUnstartedVoterIsStarted(t *testing.T) {
	t.Parallel()
	m1 := etcdtest.Start(t, 1)[0]
	m2 := etcdtest.Join(t, "m2", []*etcdtest.Member{m1})
	if _, err := rawClient(t, m1).MemberAdd(soon(t), []string{m2.PeerURL}); err != nil {
		t.Fatal(err)
	}
	c := clientOf(t, Options{}, m1.ClientURL)
	etcdtest.Eventually(t, "the quorum is lost", func() bool { return list(t, c).Count().Spare() < 0 })
	l := list(t, c)
	version := find(t, l, "m1").Version
	other := status.JoinWish{Name: "m3", PeerURLs: []string{deadURL(t)}, Version: version}
	if v := status.JudgeJoin(l, other); !strings.Contains(v.Refuse, "no quorum") {
		t.Errorf("another: %+v", v)
	}
	v := status.JudgeJoin(l, wish(m2, version))
	if v.Refuse != "" || v.Leftover == nil || v.Remove != nil {
		t.Fatalf("%+v", v)
	}
	a := addLearner(t, c, m2)
	if a.ID != v.Leftover.ID || a.Learner || !a.Already {
		t.Errorf("%+v", a)
	}
	if os.Getenv("ETCDSUP_LONG") == "" {
		return // it takes etcd seven seconds to see that nobody can tell it whether a downgrade is under way
	}
	m2.Bootstrap(a.InitialCluster)
	m2.Start()
	m2.WaitHealthy()
	listWith(t, c, status.Count{Voters: 2, Healthy: 2})
}

// TestEndpointsOfAnotherClusterAreNotAsked: what is meant for one cluster never reaches another.
func TestEndpointsOfAnotherClusterAreNotAsked(t *testing.T) {
	t.Parallel()
	ours, theirs := etcdtest.Start(t, 1)[0], etcdtest.Start(t, 1, etcdtest.WithArgs("--initial-cluster-token=other"))[0]
	id := list(t, clientOf(t, Options{}, ours.ClientURL)).ClusterID
	c := clientOf(t, Options{ClusterID: id}, theirs.ClientURL, ours.ClientURL)
	for range 5 { // either might have answered first
		if l := list(t, c); l.ClusterID != id {
			t.Fatalf("cluster %s, not %s", l.ClusterID, id)
		}
	}
	both := clientOf(t, Options{}, ours.ClientURL, theirs.ClientURL, "http://127.0.0.1:1").Clusters(soon(t))
	if len(both) != 2 || !slices.Equal(both[id], []string{ours.ClientURL}) {
		t.Errorf("two clusters, and one of them %s at %s: %v", id, ours.ClientURL, both)
	}
	wrong := clientOf(t, Options{ClusterID: id}, theirs.ClientURL)
	if err := wrong.Remove(soon(t), &status.Peer{ID: "1234"}); !errors.Is(err, errNobody) || !strings.Contains(err.Error(), "of cluster") {
		t.Errorf("a removal in another cluster: %v", err)
	}
}
