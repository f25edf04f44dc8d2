package datadir

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestCluster has three members, a learner, and a member that is removed.
func TestCluster(t *testing.T) {
	ms := etcdtest.Start(t, 3)
	all := dial(t, ms...)
	put(t, all, 50)
	l := addLearner(t, all, ms)
	i := slices.IndexFunc(ms, func(m *etcdtest.Member) bool { st := ask(t, all, m); return st.Header.MemberId == st.Leader })
	if i < 0 {
		t.Fatal("no leader")
	}
	ms[i], ms[2] = ms[2], ms[i] // only the leader is sure to apply its own removal: others may be cut off before they hear of it
	c, st := dial(t, ms[:2]...), ask(t, all, ms[2])
	if _, err := c.MemberRemove(t.Context(), st.Header.MemberId); err != nil {
		t.Fatal(err)
	}
	etcdtest.Eventually(t, "the member knows that it was removed", func() bool {
		r, err := Look(ms[2].DataDir, Options{})
		return err == nil && r.Role == RoleRemoved
	})
	for _, m := range []*etcdtest.Member{ms[0], ms[1], ms[2], l} {
		m.Kill()
	}
	voter := cold(t, ms[0].DataDir, Options{})
	wants(t, voter)
	if len(voter.Members) != 3 || len(voter.Removed) != 1 || voter.Role != RoleVoter || voter.Removed[0] != hexID(st.Header.MemberId) {
		t.Errorf("got %+v, removed %v", voter.Members, voter.Removed)
	}
	learner := cold(t, l.DataDir, Options{})
	wants(t, learner, CodeLearner)
	if learner.Role != RoleLearner || learner.ClusterID != voter.ClusterID || learner.Held() {
		t.Errorf("got %+v", learner)
	}
	removed := cold(t, ms[2].DataDir, Options{})
	if !slices.Contains(codes(removed), CodeRemoved) || !removed.Held() || removed.MemberID != voter.Removed[0] {
		t.Errorf("got %+v", removed.Findings)
	}
	t.Run("foreign db", func(t *testing.T) { foreignDB(t, ms[0].DataDir) })
	t.Run("without its db", func(t *testing.T) {
		dir := copyOf(t, ms[0].DataDir)
		os.Remove(filepath.Join(dir, "member", "snap", "db"))
		r := cold(t, dir, Options{})
		wants(t, r, CodeDBMissing)
		if r.MembersFrom != "wal" || len(r.Members) != 3 || !slices.Equal(r.Removed, voter.Removed) || r.Held() {
			t.Errorf("got %+v, removed %v", r.Members, r.Removed)
		}
	})
}

func addLearner(t *testing.T, c *clientv3.Client, ms []*etcdtest.Member) *etcdtest.Member {
	t.Helper()
	l := etcdtest.Join(t, "learner", ms)
	etcdtest.Eventually(t, "a learner is added", func() bool {
		_, err := c.MemberAddAsLearner(t.Context(), []string{l.PeerURL})
		return err == nil
	})
	l.Start()
	l.WaitHealthy()
	return l
}

// foreignDB puts another cluster's db into the place of the right one.
func foreignDB(t *testing.T, dir string) {
	other := etcdtest.Start(t, 1)[0]
	put(t, dial(t, other), 5)
	other.Stop()
	dir = copyOf(t, dir)
	b, err := os.ReadFile(filepath.Join(other.DataDir, "member", "snap", "db"))
	if err != nil {
		t.Fatal(err)
	}
	change(t, filepath.Join(dir, "member", "snap", "db"), func([]byte) []byte { return b })
	if r := cold(t, dir, Options{}); !slices.Equal(codes(r), []Code{CodeForeignDB}) {
		t.Errorf("got %+v", r.Findings)
	}
}
