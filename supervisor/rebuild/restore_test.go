package rebuild

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// sources are a snapshot file and a stopped data directory of an etcd with some history, and what is in it.
type sources struct {
	snapshot, db string
	dir          string
	keys         map[string]string
	revision     int64
	clusterID    uint64
}

func makeSources(t testing.TB, v string) *sources {
	t.Helper()
	m := etcdtest.Start(t, 1, append(version(t, v), etcdtest.WithArgs("--snapshot-count=50"))...)[0]
	c := dial(t, m)
	for i := range 120 {
		if _, err := c.Put(t.Context(), fmt.Sprintf("key-%d", i%40), fmt.Sprintf("value %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Delete(t.Context(), "key-7"); err != nil {
		t.Fatal(err)
	}
	s := &sources{dir: m.DataDir, db: filepath.Join(m.DataDir, "member/snap/db"), snapshot: filepath.Join(t.TempDir(), "snapshot.db")}
	s.keys, s.revision, s.clusterID = contents(t, c)
	saveSnapshot(t, c, s.snapshot)
	m.Stop()
	return s
}

func contents(t testing.TB, c *clientv3.Client) (keys map[string]string, revision int64, cluster uint64) {
	t.Helper()
	r, err := c.Get(t.Context(), "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	keys = map[string]string{}
	for _, kv := range r.Kvs {
		keys[string(kv.Key)] = string(kv.Value)
	}
	return keys, r.Header.Revision, r.Header.ClusterId
}

func saveSnapshot(t testing.TB, c *clientv3.Client, path string) {
	t.Helper()
	in, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := out.ReadFrom(in); err != nil {
		t.Fatal(err)
	}
}

// begins starts an etcd on a restored directory, in its place.
func begins(t testing.TB, dir, v string) (*etcdtest.Member, *clientv3.Client) {
	t.Helper()
	m := etcdtest.New(t, 1, version(t, v)...)[0]
	if err := os.Rename(dir, m.DataDir); err != nil {
		t.Fatal(err)
	}
	m.Start()
	m.WaitHealthy()
	return m, dial(t, m)
}

func TestRestore(t *testing.T) {
	s := makeSources(t, "")
	for name, source := range map[string]string{"snapshot": s.snapshot, "db": s.db} {
		t.Run(name, func(t *testing.T) {
			before := state(t, filepath.Dir(source))
			dst := filepath.Join(t.TempDir(), "data")
			o := options()
			o.Bump, o.MarkCompacted, o.SkipHash = 1_000_000_000, true, name == "db"
			r, err := Restore(t.Context(), source, dst, o)
			if err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(before, state(t, filepath.Dir(source))) {
				t.Error("the source changed")
			}
			if r.RevisionBefore != s.revision || r.RevisionAfter < s.revision+1_000_000_000 {
				t.Errorf("%+v, want %d before", r, s.revision)
			}
			m, c := begins(t, dst, "")
			keys, revision, cluster := contents(t, c)
			if !maps.Equal(keys, s.keys) || revision != r.RevisionAfter || fmt.Sprintf("%x", cluster) != r.ClusterID || cluster == s.clusterID {
				t.Errorf("%d keys, revision %d, cluster %x; want %d, %+v", len(keys), revision, cluster, len(s.keys), r)
			}
			l, err := c.MemberList(t.Context())
			if err != nil || len(l.Members) != 1 || fmt.Sprintf("%x", l.Members[0].ID) != r.MemberID || !slices.Equal(l.Members[0].PeerURLs, o.PeerURLs) {
				t.Errorf("%v, %v", l, err)
			}
			watch := <-c.Watch(t.Context(), "key-1", clientv3.WithRev(s.revision))
			if watch.CompactRevision == 0 {
				t.Errorf("a watch of old days goes on: %+v", watch)
			}
			if put, err := c.Put(t.Context(), "new", ""); err != nil || put.Header.Revision != revision+1 {
				t.Error(put, err, m.Log())
			}
		})
	}
}

// TestRestoreOfEachVersion has sources of each version, and starts each version that may have what comes of it.
func TestRestoreOfEachVersion(t *testing.T) {
	versions := []string{"v3.5.35", "v3.6.16", ""}
	for i, from := range versions {
		t.Run("from"+from, func(t *testing.T) {
			t.Parallel()
			s := makeSources(t, from)
			for _, to := range versions[i:] {
				dst := filepath.Join(t.TempDir(), "data")
				o := options()
				o.Bump, o.MarkCompacted = 500, true
				r, err := Restore(t.Context(), s.snapshot, dst, o)
				if err != nil {
					t.Fatal(err)
				}
				m, c := begins(t, dst, to)
				if keys, revision, _ := contents(t, c); !maps.Equal(keys, s.keys) || revision < s.revision+500 || revision != r.RevisionAfter {
					t.Errorf("to %q: %d keys of %d, revision %d, was %d, %+v", to, len(keys), len(s.keys), revision, s.revision, r)
				}
				m.Kill()
			}
		})
	}
}

// The last changes were deletions, and are compacted: no key tells the revision any more.
func TestRestoreAfterCompaction(t *testing.T) {
	m := etcdtest.Start(t, 1)[0]
	c := dial(t, m)
	for range 30 {
		if _, err := c.Put(t.Context(), "key", ""); err != nil {
			t.Fatal(err)
		}
	}
	d, err := c.Delete(t.Context(), "key")
	if err == nil {
		_, err = c.Compact(t.Context(), d.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err != nil {
		t.Fatal(err)
	}
	snapshot, dst := filepath.Join(t.TempDir(), "snapshot"), filepath.Join(t.TempDir(), "data")
	saveSnapshot(t, c, snapshot)
	o := options()
	o.Bump, o.MarkCompacted = 5, true
	r, err := Restore(t.Context(), snapshot, dst, o)
	if err != nil || r.RevisionBefore != d.Header.Revision {
		t.Fatalf("%+v, %v, want %d before", r, err, d.Header.Revision)
	}
	_, c = begins(t, dst, "")
	if keys, revision, _ := contents(t, c); len(keys) > 0 || revision != r.RevisionAfter || revision < d.Header.Revision+5 {
		t.Errorf("%v, revision %d, %+v", keys, revision, r)
	}
}

func TestRestoreWithoutBumpAndWithAWALDir(t *testing.T) {
	s := makeSources(t, "")
	dir := t.TempDir()
	o := options()
	o.WALDir = filepath.Join(dir, "wal")
	dst := filepath.Join(dir, "data")
	r, err := Restore(t.Context(), s.snapshot, dst, o)
	if err != nil || r.RevisionBefore != s.revision || r.RevisionAfter != s.revision {
		t.Fatalf("%+v, %v", r, err)
	}
	if l, err := readLog(o.WALDir); err != nil || fmt.Sprintf("%x", l.member.GetNodeID()) != r.MemberID {
		t.Error(err)
	}
	if there, err := os.ReadDir(filepath.Join(dst, "member")); err != nil || len(there) != 1 {
		t.Error(there, err)
	}
	if _, err := Restore(t.Context(), s.snapshot, dst+"2", o); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	again := options()
	again.Token = "another"
	if r2, err := Restore(t.Context(), s.snapshot, dst+"2", again); err != nil || r2.ClusterID == r.ClusterID || r2.MemberID == r.MemberID {
		t.Errorf("with another token: %+v, %v", r2, err)
	}
}

func TestRestoreRefuses(t *testing.T) {
	s := makeSources(t, "")
	whole, err := os.ReadFile(s.snapshot)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source := func(name string, b []byte) string {
		path := filepath.Join(dir, "sources", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flipped := slices.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	taken := filepath.Join(dir, "taken")
	if err := os.Mkdir(taken, 0o700); err != nil {
		t.Fatal(err)
	}
	opts := func(set func(*Options)) Options {
		o := options()
		set(&o)
		return o
	}
	skip := func(o *Options) { o.SkipHash = true }
	for name, tt := range map[string]struct {
		source, dst string
		o           Options
		want        error // nil: any
	}{
		"taken":            {s.snapshot, taken, options(), fs.ErrExist},
		"no parent":        {s.snapshot, filepath.Join(dir, "none/data"), options(), fs.ErrNotExist},
		"no source":        {filepath.Join(dir, "none"), "", options(), fs.ErrNotExist},
		"no file":          {dir, "", options(), ErrDamaged},
		"empty":            {source("empty", nil), "", options(), ErrDamaged},
		"garbage":          {source("garbage", whole[5000:9000]), "", options(), ErrDamaged},
		"cut":              {source("cut", whole[:len(whole)/2&^511]), "", opts(skip), ErrDamaged},
		"flipped":          {source("flipped", flipped), "", options(), nil},
		"without a hash":   {s.db, "", options(), nil},
		"bump alone":       {s.snapshot, "", opts(func(o *Options) { o.Bump = 1 }), nil},
		"compaction alone": {s.snapshot, "", opts(func(o *Options) { o.MarkCompacted = true }), nil},
		"too much":         {s.snapshot, "", opts(func(o *Options) { o.Bump, o.MarkCompacted = math.MaxInt64-1, true }), nil},
		"no name":          {s.snapshot, "", opts(func(o *Options) { o.Name = "" }), nil},
		"no URL":           {s.snapshot, "", opts(func(o *Options) { o.PeerURLs = nil }), nil},
	} {
		dst := tt.dst
		if dst == "" {
			dst = filepath.Join(dir, "data")
		}
		if r, err := Restore(t.Context(), tt.source, dst, tt.o); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Restore(ctx, s.snapshot, filepath.Join(dir, "data"), options()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if err != nil || !slices.Equal(left, []string{"sources", "taken"}) {
		t.Error(left, err)
	}
}

func TestRestoreOfWhatIsInUse(t *testing.T) {
	m := etcdtest.Start(t, 1)[0]
	o := options()
	o.SkipHash = true
	if _, err := Restore(t.Context(), filepath.Join(m.DataDir, "member/snap/db"), filepath.Join(t.TempDir(), "data"), o); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
}

// A damaged db is restored or refused, and never the end of the process, as it would be if bbolt opened it for writing.
func TestRestoreOfADamagedDB(t *testing.T) {
	const page = 4096
	s := makeSources(t, "")
	whole, err := os.ReadFile(s.db)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.NewChaCha8([32]byte{})
	dir, restored, refused := t.TempDir(), 0, 0
	for i := range 2 * len(whole) / page {
		b := slices.Clone(whole)
		bad := b[i/2*page : i/2*page+page]
		if i%2 == 0 {
			clear(bad)
		} else {
			r.Read(bad)
		}
		source, dst := filepath.Join(dir, fmt.Sprint("db-", i)), filepath.Join(dir, fmt.Sprint("data-", i))
		if err := os.WriteFile(source, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := restoreElsewhere(source, dst)
		exit, _ := errors.AsType[*exec.ExitError](err)
		switch {
		case len(out) > 0 || exit != nil && exit.ExitCode() != 1:
			t.Errorf("page %d: %v: %.2000s", i/2, err, out)
		case exit == nil:
			restored++
		default:
			refused++
		}
	}
	if restored == 0 || refused == 0 { // a free page matters to nobody, and that of the root does
		t.Errorf("%d restored, %d refused", restored, refused)
	}
}

// restoreElsewhere restores in another process and returns all that it prints.
func restoreElsewhere(source, dst string) ([]byte, error) {
	cmd := exec.Command(os.Args[0], source, dst)
	cmd.Env = append(os.Environ(), restoreOrder+"=1")
	return cmd.CombinedOutput()
}

// Nothing is printed, by etcd's modules neither.
func TestRestoreIsQuiet(t *testing.T) {
	s := makeSources(t, "")
	dst := filepath.Join(t.TempDir(), "data")
	out, err := restoreElsewhere(s.snapshot, dst)
	if err != nil || len(strings.TrimSpace(string(out))) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dst, "member/snap/db")); err != nil {
		t.Error(err)
	}
}
