package datadir

import (
	"context"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func dial(t testing.TB, members ...*etcdtest.Member) *clientv3.Client {
	t.Helper()
	var urls []string
	for _, m := range members {
		urls = append(urls, m.ClientURL)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: urls, DialTimeout: etcdtest.Patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func put(t testing.TB, c *clientv3.Client, n int) {
	t.Helper()
	for i := range n {
		if _, err := c.Put(t.Context(), fmt.Sprintf("key-%d", i%50), fmt.Sprintf("value %d", i)); err != nil {
			t.Fatal(err)
		}
	}
}

func ask(t testing.TB, c *clientv3.Client, m *etcdtest.Member) *clientv3.StatusResponse {
	t.Helper()
	st, err := c.Status(t.Context(), m.ClientURL)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// see is Look, of a directory that somebody may be writing.
func see(t testing.TB, dir string, o Options) *Report {
	t.Helper()
	r, err := Look(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// cold is Look, of what nobody writes, with the proof that it changed nothing.
func cold(t testing.TB, dir string, o Options) *Report {
	t.Helper()
	before := listing(t, dir)
	r, err := Look(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if after := listing(t, dir); !maps.Equal(before, after) {
		t.Errorf("the look changed the directory:\n%v\n%v", before, after)
	}
	return r
}

// listing is every file with its content, mode and all its times but those of folders' access, which listing changes.
func listing(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		line := fmt.Sprint(info.Mode(), info.Size(), st.Ino, st.Mtim, st.Ctim)
		if info.Mode().IsRegular() {
			line += fmt.Sprint(st.Atim)
			f, err := open(path) // which leaves the access time alone
			if err != nil {
				return err
			}
			defer f.Close()
			sum, buf := crc32.New(castagnoli), make([]byte, 1<<20)
			for {
				n, err := f.Read(buf)
				sum.Write(buf[:n])
				if err != nil {
					break
				}
			}
			line += fmt.Sprint(sum.Sum32())
		}
		all[path] = line
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func copyOf(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-a", "--sparse=always", dir, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return to
}

// agrees compares a report with what etcd said before or while it was made.
func agrees(t testing.TB, r *Report, st *clientv3.StatusResponse) {
	t.Helper()
	if want := fmt.Sprintf("%x %x", st.Header.ClusterId, st.Header.MemberId); r.ClusterID+" "+r.MemberID != want {
		t.Errorf("IDs %s %s, etcd says %s", r.ClusterID, r.MemberID, want)
	}
	if r.Raft == nil || r.Raft.LastIndex < st.RaftIndex || r.Raft.Term < st.RaftTerm {
		t.Errorf("raft %+v, etcd says index %d, term %d", r.Raft, st.RaftIndex, st.RaftTerm)
	}
	// The db follows within a tenth of a second.
	if behind := int64(st.RaftIndex) - int64(r.DB.ConsistentIndex); behind == 0 && r.DB.Revision != st.Header.Revision || behind < 0 && r.DB.Revision < st.Header.Revision {
		t.Errorf("revision %d, etcd says %d", r.DB.Revision, st.Header.Revision)
	}
	if r.Role != RoleVoter || !slices.ContainsFunc(r.Members, func(m Member) bool { return m.Self && m.ID == r.MemberID && len(m.PeerURLs) == 1 }) {
		t.Errorf("role %s, members %+v", r.Role, r.Members)
	}
}

func codes(r *Report) []Code {
	var all []Code
	for _, f := range r.Findings {
		all = append(all, f.Code)
	}
	return all
}

// wants checks that exactly these were found.
func wants(t testing.TB, r *Report, want ...Code) {
	t.Helper()
	if !slices.Equal(codes(r), want) {
		t.Errorf("found %v, want %v: %+v", codes(r), want, r.Findings)
	}
}

func change(t testing.TB, path string, f func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, f(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func lastSegment(t testing.TB, dir string) string {
	t.Helper()
	names, err := segmentNames(filepath.Join(dir, "member", "wal"))
	if err != nil || len(names) == 0 {
		t.Fatal(err)
	}
	return filepath.Join(dir, "member", "wal", names[len(names)-1])
}

var background = context.Background()
