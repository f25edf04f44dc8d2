package cluster

import (
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

func list(t testing.TB, c *Client) *status.Members {
	t.Helper()
	l, err := c.Members(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// listWith lists until so many are there and answer, and the list comes from a quorum: on a busy machine a member may
// answer late, and a leader be found late.
func listWith(t testing.TB, c *Client, want status.Count) (l *status.Members) {
	t.Helper()
	etcdtest.Eventually(t, "the list has what it should", func() bool {
		l = list(t, c)
		if l.Count() != want || l.Stale {
			t.Logf("%v, stale %v: %+v", l.Count(), l.Stale, l.Members)
		}
		return l.Count() == want && !l.Stale
	})
	return l
}

func find(t testing.TB, l *status.Members, who string) *status.Peer {
	t.Helper()
	p, err := l.Find(who)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestMembersOfThree lists, loses, replaces and mends members as an operator would.
func TestMembersOfThree(t *testing.T) {
	members := etcdtest.Start(t, 3)
	c := newClient(t, Options{}, members[0])
	l := listWith(t, c, status.Count{Voters: 3, Healthy: 3})
	leaders := slices.DeleteFunc(slices.Clone(l.Members), func(p status.Peer) bool { return !p.Leader })
	if len(leaders) != 1 || !find(t, l, "m1").Self {
		t.Errorf("leaders: %+v", leaders)
	}

	members[2].Kill()
	l = listWith(t, c, status.Count{Voters: 3, Healthy: 2})
	dead := find(t, l, "m3")
	if dead.Healthy || dead.Trouble == "" || l.Count().Spare() != 0 {
		t.Errorf("after a death: %v, %+v", l.Count(), dead)
	}
	if ch := l.Removal(find(t, l, "m2")); ch.Refuse == "" {
		t.Errorf("a healthy voter of two may be removed: %+v", ch)
	}
	if ch := l.Removal(dead); ch.Refuse != "" {
		t.Fatalf("the dead one may not be removed: %+v", ch)
	}
	if err := c.Remove(soon(t), dead); err != nil {
		t.Fatal(err)
	}

	raw := rawClient(t, members[0])
	var added *clientv3.MemberAddResponse
	etcdtest.Eventually(t, "a learner is added", func() bool {
		var err error
		added, err = raw.MemberAddAsLearner(soon(t), []string{"http://127.0.0.1:1"})
		return err == nil
	})
	l = listWith(t, c, status.Count{Voters: 2, Healthy: 2})
	learner := find(t, l, hex(added.Member.ID))
	if !learner.Learner || learner.Started {
		t.Errorf("the new learner: %+v", learner)
	}
	if ch := l.Promotion(learner); ch.Refuse == "" {
		t.Error("a learner that never ran may be promoted")
	}
	if err := c.Promote(within(t, time.Second), learner); err == nil {
		t.Error("a learner that never ran was promoted")
	}
	if err := c.UpdatePeerURLs(soon(t), find(t, l, "m1"), []string{members[0].PeerURL, "http://127.0.0.1:2"}); err != nil {
		t.Fatal(err)
	}
	if got := find(t, listWith(t, c, status.Count{Voters: 2, Healthy: 2}), "m1").PeerURLs; len(got) != 2 {
		t.Errorf("peer URLs after the update: %v", got)
	}
}

// TestMembersWithoutQuorum still lists, from the member's own knowledge, and refuses every change.
func TestMembersWithoutQuorum(t *testing.T) {
	members := etcdtest.Start(t, 3)
	c := newClient(t, Options{}, members[0])
	members[1].Kill()
	members[2].Kill()
	l := list(t, c)
	if !l.Stale || l.Count().Spare() >= 0 || len(l.Members) != 3 {
		t.Errorf("stale %v, %v: %+v", l.Stale, l.Count(), l.Members)
	}
	for _, ch := range []status.Change{l.Removal(find(t, l, "m2")), l.Update(find(t, l, "m1"))} {
		if ch.Refuse == "" {
			t.Errorf("a change without a quorum may be tried: %+v", ch)
		}
	}
}

func rawClient(t testing.TB, m *etcdtest.Member) *clientv3.Client {
	t.Helper()
	cl, err := clientv3.New(clientv3.Config{Endpoints: []string{m.ClientURL}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cl.Close() })
	return cl
}
