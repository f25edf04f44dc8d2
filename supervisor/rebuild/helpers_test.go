package rebuild

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/etcdbin"
	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
)

// restoreOrder makes the test binary restore $1 to $2 and print nothing of its own.
const restoreOrder = "REBUILD_TEST_RESTORE"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == Name {
		maps.Copy(works, testWorks)
		Enter(os.Args)
	}
	if os.Getenv(apartOrder) != "" {
		os.Exit(apartForTest())
	}
	if os.Getenv(restoreOrder) != "" {
		os.Exit(restoreForTest(os.Args[1], os.Args[2]))
	}
	goleak.VerifyTestMain(m)
}

func restoreForTest(source, dst string) int {
	o := options()
	o.Bump, o.MarkCompacted = 1000, true
	o.SkipHash = true
	if _, err := Restore(context.Background(), source, dst, o); err != nil {
		return 1
	}
	return 0
}

func options() Options {
	return Options{Name: "m1", PeerURLs: []string{"http://127.0.0.1:12380"}, Token: "never used before"}
}

func dial(t testing.TB, m *etcdtest.Member) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{m.ClientURL}, DialTimeout: etcdtest.Patience, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// version is the option for an etcd of that version; empty: the one that is built in.
func version(t testing.TB, v string) []etcdtest.Option {
	if v == "" {
		return nil
	}
	return []etcdtest.Option{etcdtest.WithBinary(etcdbin.Version(t, v))}
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// state is everything in a folder, with what tells that somebody has written.
func state(t testing.TB, dir string) map[string]string {
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
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s has no stat", path)
		}
		line := fmt.Sprint(info.Mode(), st.Ino, st.Mtim, st.Ctim)
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %x", len(b), sha256.Sum256(b))
		}
		all[path] = line
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
