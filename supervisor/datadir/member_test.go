package datadir

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
	"go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestOneMember follows a member through its life and looks at it at each turn.
func TestOneMember(t *testing.T) {
	m := etcdtest.Start(t, 1, etcdtest.WithArgs("--snapshot-count=100"))[0]
	c := dial(t, m)
	put(t, c, 300)
	if _, err := c.Compact(t.Context(), 250, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	st := ask(t, c, m)
	held := Options{Holders: func(files []string) []Holder {
		if !slices.Contains(files, filepath.Join(m.DataDir, "member", "snap", "db")) || len(files) < 2 {
			t.Errorf("asked for the holders of %v", files)
		}
		return []Holder{{PID: m.PID()}}
	}}
	etcdtest.Eventually(t, "the db has everything", func() bool {
		r, err := Look(m.DataDir, held)
		return err == nil && r.DB.ConsistentIndex >= st.RaftIndex
	})
	r := see(t, m.DataDir, held)
	agrees(t, r, st)
	wants(t, r)
	if !r.Hot || r.LastStop != StopRunning || r.DB.CompactRevision != 250 || r.DB.Revision != 301 || r.DB.Size != st.DbSize || r.Name != "m1" || r.Raft.SnapshotIndex < 100 {
		t.Errorf("got %+v, %+v, etcd says %+v", r, r.DB, st)
	}

	t.Run("hot under writes", func(t *testing.T) { hotLooks(t, m, c, held) })
	t.Run("snapshot", func(t *testing.T) { snapshotFile(t, m, c) })

	st = ask(t, c, m)
	m.Kill()
	killed := cold(t, m.DataDir, Options{})
	agrees(t, killed, st)
	wants(t, killed)
	if killed.LastStop != StopUnclean || killed.Hot {
		t.Errorf("after SIGKILL: %s, hot %v", killed.LastStop, killed.Hot)
	}
	m.Start()
	m.WaitHealthy()
	st = ask(t, c, m)
	m.Stop()
	stopped := cold(t, m.DataDir, Options{})
	agrees(t, stopped, st)
	wants(t, stopped)
	if stopped.LastStop != StopClean || stopped.DB.Revision != st.Header.Revision || stopped.DB.ConsistentIndex != st.RaftIndex || stopped.Raft.Commit != st.RaftIndex {
		t.Errorf("after SIGTERM: %s, %+v, %+v; etcd said %+v", stopped.LastStop, stopped.DB, stopped.Raft, st)
	}
	t.Run("as bbolt counts", func(t *testing.T) { asBboltCounts(t, stopped) })
	t.Run("damage", func(t *testing.T) { damaged(t, m.DataDir) })
	t.Run("known", func(t *testing.T) { known(t, m.DataDir, stopped) })
	t.Run("read-only mount", func(t *testing.T) { readOnlyMount(t, m.DataDir, stopped) })
	t.Run("member folder", func(t *testing.T) {
		if r := cold(t, filepath.Join(m.DataDir, "member"), Options{}); r.Path != m.DataDir {
			t.Errorf("looked at %s", r.Path)
		}
	})
}

// hotLooks looks again and again while keys are written, and at hot copies; nothing may be found there that is not.
func hotLooks(t *testing.T, m *etcdtest.Member, c *clientv3.Client, held Options) {
	var revision atomic.Int64
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { // ends with stop
		for i := 0; ; i++ {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			resp, err := c.Put(background, fmt.Sprintf("hot-%d", i%500), strings.Repeat("x", 3000))
			if err != nil {
				ended <- err
				return
			}
			revision.Store(resp.Header.Revision)
		}
	}()
	var last int64
	for i := 0; i < 40 || last < 400 && len(ended) == 0; i++ { // where the looks are faster than the writes, more of them
		o := held
		if i%2 == 1 {
			o.Holders = nil // and by what it sees alone
		}
		acknowledged := revision.Load()
		r, err := Look(m.DataDir, o)
		if err != nil {
			t.Fatal(err)
		}
		if wants(t, r); r.DB.Revision < last || r.Raft.LastIndex < r.DB.ConsistentIndex || r.Raft.LastIndex < uint64(acknowledged) {
			t.Errorf("revision %d after %d, index %d, applied %d", r.DB.Revision, last, r.Raft.LastIndex, r.DB.ConsistentIndex)
		}
		last = r.DB.Revision
	}
	for range 5 {
		r := cold(t, copyOf(t, m.DataDir), Options{})
		if r.Hot || r.LastStop == StopClean || slices.Contains(codes(r), CodeForeignDB) {
			t.Errorf("a hot copy: hot %v, %s, %v", r.Hot, r.LastStop, codes(r))
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func snapshotFile(t *testing.T, m *etcdtest.Member, c *clientv3.Client) {
	st := ask(t, c, m)
	from, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	path := filepath.Join(t.TempDir(), "snapshot.db")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(f, from)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	r := cold(t, path, Options{})
	wants(t, r)
	if r.Kind != KindSnapshot || r.Hash != "ok" || r.DB.Revision != st.Header.Revision || r.DB.FileSize != n-sha256.Size ||
		r.DB.Records == 0 || r.Versions.Storage != "3.7" || len(r.Members) != 1 {
		t.Errorf("got %+v, %+v; etcd has revision %d", r, r.DB, st.Header.Revision)
	}
	bare := filepath.Join(t.TempDir(), "bare.db")
	b, _ := os.ReadFile(path)
	os.WriteFile(bare, b[:n-sha256.Size], 0o600)
	r = cold(t, bare, Options{})
	wants(t, r, CodeNoHash)
	if r.Kind != KindDatabase || r.Hash != "none" || r.DB.Revision != st.Header.Revision || r.Held() {
		t.Errorf("got %+v", r)
	}
	b[n/2] ^= 1
	os.WriteFile(bare, b, 0o600)
	if r = cold(t, bare, Options{}); r.Hash != "mismatch" || !slices.Contains(codes(r), CodeHashMismatch) || !r.Held() {
		t.Errorf("got %+v", r)
	}
	os.WriteFile(bare, b[:n/2/4096*4096], 0o600)
	wants(t, cold(t, bare, Options{}), CodeDBDamaged, CodeNoHash)
}

// asBboltCounts compares with bbolt itself, which here may lock and map.
func asBboltCounts(t *testing.T, r *Report) {
	db, err := bbolt.Open(r.DB.Path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	free := int64(db.Stats().FreePageN)
	db.View(func(tx *bbolt.Tx) error {
		var keys int64
		tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { keys += int64(b.Stats().KeyN); return nil })
		records := int64(tx.Bucket([]byte("key")).Stats().KeyN)
		if r.DB.Size != tx.Size() || r.DB.InUse != tx.Size()-free*int64(db.Info().PageSize) || r.DB.Keys != keys || r.DB.Records != records {
			t.Errorf("got %+v; bbolt: size %d, %d pages free, %d keys, %d of them in the bucket key", r.DB, tx.Size(), free, keys, records)
		}
		return nil
	})
}

func known(t *testing.T, dir string, r *Report) {
	is := Known{ClusterID: r.ClusterID, MemberID: r.MemberID, Term: r.Raft.Term, Index: r.Raft.LastIndex, Revision: r.DB.Revision}
	for _, tt := range []struct {
		name   string
		change func(*Known)
		want   []Code
	}{
		{"the same", func(*Known) {}, nil},
		{"an older record", func(k *Known) { k.Term--; k.Index--; k.Revision-- }, nil},
		{"no record", func(k *Known) { *k = Known{} }, nil},
		{"other cluster", func(k *Known) { k.ClusterID = "abc" }, []Code{CodeOtherMember}},
		{"other member", func(k *Known) { k.MemberID = "abc" }, []Code{CodeOtherMember}},
		{"later term", func(k *Known) { k.Term++ }, []Code{CodeOlder}},
		{"later index", func(k *Known) { k.Index++ }, []Code{CodeOlder}},
		{"later revision", func(k *Known) { k.Revision++ }, []Code{CodeOlder}},
	} {
		k := is
		tt.change(&k)
		got := cold(t, dir, Options{Known: &k})
		if wants(t, got, tt.want...); got.Held() != (len(tt.want) > 0) {
			t.Errorf("%s: held %v", tt.name, got.Held())
		}
	}
	got := cold(t, t.TempDir(), Options{Known: &is})
	if wants(t, got, CodeEmpty); !got.Held() {
		t.Error("an emptied directory is not held")
	}
}

func readOnlyMount(t *testing.T, dir string, want *Report) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	at := t.TempDir()
	for _, args := range [][]string{{"--bind", dir, at}, {"-o", "remount,bind,ro", at}} {
		if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	t.Cleanup(func() { exec.Command("umount", at).Run() })
	r := cold(t, at, Options{})
	if wants(t, r); r.DB.Revision != want.DB.Revision || r.LastStop != StopClean {
		t.Errorf("got %+v", r)
	}
}
