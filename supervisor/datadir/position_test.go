package datadir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
)

// TestPositionAgreesWithLook asks a running etcd again and again, then compares with the whole look at its directory.
func TestPositionAgreesWithLook(t *testing.T) {
	m := etcdtest.Start(t, 1)[0]
	c, db := dial(t, m), filepath.Join(m.DataDir, "member", "snap", "db")
	var last Point
	for range 20 {
		put(t, c, 20)
		p, err := Position(db)
		if err != nil {
			t.Fatal(err)
		}
		if st := ask(t, c, m); p.Index > st.RaftIndex || p.Revision > st.Header.Revision || p.Index < last.Index || p.Revision < last.Revision {
			t.Fatalf("got %+v after %+v, etcd says index %d, revision %d", p, last, st.RaftIndex, st.Header.Revision)
		}
		last = p
	}
	st := ask(t, c, m)
	m.Stop()
	p, err := Position(db)
	if err != nil || p.Index != st.RaftAppliedIndex || p.Revision != st.Header.Revision || p.Term != st.RaftTerm {
		t.Errorf("got %+v, %v; etcd said index %d, term %d, revision %d", p, err, st.RaftAppliedIndex, st.RaftTerm, st.Header.Revision)
	}
	r := cold(t, m.DataDir, Options{Known: &Known{Term: p.Term, Index: p.Index, Revision: p.Revision}})
	if r.Held() || r.DB.ConsistentIndex != p.Index || r.DB.Revision != p.Revision || r.DB.Term != p.Term {
		t.Errorf("position %+v, look %+v, %+v", p, r.DB, r.Findings)
	}
	for id, want := range map[string]bool{r.MemberID: true, "abc": false} {
		if yes, err := Introduced(db, id); err != nil || yes != want {
			t.Errorf("member %s introduced: %v, %v", id, yes, err)
		}
	}
	cluster, member, err := Identity(filepath.Join(m.DataDir, "member", "wal"))
	if err != nil || cluster != r.ClusterID || member != r.MemberID || cluster != fmt.Sprintf("%x", st.Header.ClusterId) {
		t.Errorf("identity %s, %s, %v; look %s, %s", cluster, member, err, r.ClusterID, r.MemberID)
	}
}

// TestAgainst has a directory that fits what was written down, one that is behind in each way, and others' ones.
func TestAgainst(t *testing.T) {
	r := &Report{
		ClusterID: "c", MemberID: "m",
		Raft: &Raft{Term: 3, LastIndex: 90, SnapshotIndex: 80},
		DB:   &DB{Verdict: VerdictOK, ConsistentIndex: 90, Revision: 70},
	}
	full := Known{ClusterID: "c", MemberID: "m", Term: 3, Index: 90, Revision: 70}
	for name, c := range map[string]struct {
		change func(k *Known)
		want   Code
	}{
		"as written down": {func(*Known) {}, ""},
		"nothing known":   {func(k *Known) { *k = Known{} }, ""},
		"ahead":           {func(k *Known) { k.Term, k.Index, k.Revision = 2, 1, 1 }, ""},
		"older term":      {func(k *Known) { k.Term = 4 }, CodeOlder},
		"older index":     {func(k *Known) { k.Index = 91 }, CodeOlder},
		"older revision":  {func(k *Known) { k.Revision = 71 }, CodeOlder},
		"other member":    {func(k *Known) { k.MemberID = "x" }, CodeOtherMember},
		"other cluster":   {func(k *Known) { k.ClusterID, k.Index = "x", 91 }, CodeOtherMember},
	} {
		k := full
		c.change(&k)
		var got Code
		if f := r.Against(k); len(f) > 0 {
			got = f[0].Code
		}
		if got != c.want {
			t.Errorf("%s: found %q, want %q", name, got, c.want)
		}
	}
	// After a crash the db is behind the log, and etcd makes good for it.
	r.DB.ConsistentIndex, r.DB.Revision = 60, 40
	if f := r.Against(full); len(f) > 0 {
		t.Errorf("a db that is behind its WAL is taken for older: %+v", f)
	}
	if f := (&Report{}).Against(full); len(f) > 0 {
		t.Errorf("without a WAL nothing can be compared: %+v", f)
	}
}

func TestPositionOfWhatIsNone(t *testing.T) {
	dir := t.TempDir()
	if _, err := Position(filepath.Join(dir, "db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a missing db: %v", err)
	}
	if _, _, err := Identity(filepath.Join(dir, "wal")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a missing WAL: %v", err)
	}
	if _, _, err := Identity(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of an empty folder: %v", err)
	}
	random := make([]byte, 1<<16)
	for i := range random {
		random[i] = byte(rand.IntN(256))
	}
	for name, content := range map[string][]byte{"nothing": nil, "zeros": make([]byte, 1<<16), "noise": random} {
		for _, file := range []string{"db", "0000000000000000-0000000000000000.wal"} {
			if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if p, err := Position(filepath.Join(dir, "db")); err == nil {
			t.Errorf("of %s: %+v", name, p)
		}
		if yes, err := Introduced(filepath.Join(dir, "db"), "1"); err == nil {
			t.Errorf("of %s: introduced %v", name, yes)
		}
		if c, m, err := Identity(dir); err == nil {
			t.Errorf("of %s: %s %s", name, c, m)
		}
	}
}

// BenchmarkPosition reads the position of a db of 1 GB that lies in the page cache. The goal is 1 ms.
func BenchmarkPosition(b *testing.B) {
	path := filepath.Join(b.TempDir(), "db")
	fillDB(b, path, 1<<30)
	for b.Loop() {
		if p, err := Position(path); err != nil || p.Index != 77 {
			b.Fatal(p, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB-db")
}

// fillDB makes a db of about that size as etcd has it: keys are revisions, values of 1 to 8 KB.
func fillDB(b *testing.B, path string, size int64) {
	b.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, NoFreelistSync: true})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	value := make([]byte, 8<<10)
	for rev, written := int64(1), int64(0); written < size; {
		err := db.Update(func(tx *bbolt.Tx) error {
			keys, err := tx.CreateBucketIfNotExists([]byte("key"))
			for range 2000 {
				rev++
				k := append(binary.BigEndian.AppendUint64(nil, uint64(rev)), append([]byte{'_'}, make([]byte, 8)...)...)
				v := value[:1000+rev*13%7000]
				err = errors.Join(err, keys.Put(k, v))
				written += int64(len(v))
			}
			meta, metaErr := tx.CreateBucketIfNotExists([]byte("meta"))
			return errors.Join(err, metaErr, meta.Put([]byte("consistent_index"), binary.BigEndian.AppendUint64(nil, 77)))
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// TestAStartThatCameToNothing: etcd makes a db before it knows whether it can begin at all. That is not data.
func TestAStartThatCameToNothing(t *testing.T) {
	m := etcdtest.Join(t, "late", etcdtest.New(t, 1)) // of a cluster that nobody runs
	m.Start()
	etcdtest.Eventually(t, "it has given up", m.Ended)
	if _, err := os.Stat(filepath.Join(m.DataDir, "member", "snap", "db")); err != nil {
		t.Fatal(err)
	}
	wants(t, cold(t, m.DataDir, Options{}), CodeEmpty)
	if r := cold(t, m.DataDir, Options{Known: &Known{ClusterID: "1", MemberID: "2"}}); !r.Held() {
		t.Errorf("it is as good as empty, and a member was here: %+v", r.Findings)
	}
}
