package datadir

import (
	"errors"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"syscall"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/etcdbin"
	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
)

// TestOlderVersions has directories of 3.5 and 3.6; each is built the first time, which takes a minute. Without
// ETCDSUP_LONG only the versions that are there already are looked at, the built-in one in every case.
func TestOlderVersions(t *testing.T) {
	for _, v := range []struct {
		version string
		storage string
		may     []string
	}{
		{"v3.5.35", "", []string{"3.5", "3.6"}},
		{"v3.6.16", "3.6", []string{"3.6", "3.7"}},
		{"", "3.7", []string{"3.7", "3.8"}},
	} {
		if v.version != "" && os.Getenv("ETCDSUP_LONG") == "" {
			continue
		}
		t.Run("etcd"+v.version, func(t *testing.T) {
			opts := []etcdtest.Option{etcdtest.WithArgs("--snapshot-count=50")}
			if v.version != "" {
				opts = append(opts, etcdtest.WithBinary(etcdbin.Version(t, v.version)))
			}
			m := etcdtest.Start(t, 1, opts...)[0]
			c := dial(t, m)
			put(t, c, 200)
			st := ask(t, c, m)
			agrees(t, see(t, m.DataDir, Options{}), st)
			m.Signal(syscall.SIGKILL)
			m.Kill()
			killed := see(t, copyOf(t, m.DataDir), Options{})
			agrees(t, killed, st)
			m.Start()
			m.WaitHealthy()
			m.Stop()
			r := see(t, m.DataDir, Options{})
			if r.Versions.Storage != v.storage || !slices.Equal(r.Versions.MayOpen, v.may) || r.LastStop != StopClean || killed.LastStop != StopUnclean {
				t.Errorf("got %+v, last stop %s and %s", r.Versions, r.LastStop, killed.LastStop)
			}
			if v, err := VersionsOf(r.DB.Path); err != nil || !reflect.DeepEqual(v, r.Versions) {
				t.Errorf("of the db alone: %+v, %v", v, err)
			}
			if v, err := VersionsOf(r.DB.Path + ".none"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("of none: %+v, %v", v, err)
			}
			if len(r.Findings)+len(killed.Findings) > 0 || r.Raft.SnapshotIndex == 0 {
				t.Errorf("findings %+v and %+v, snapshot %d", r.Findings, killed.Findings, r.Raft.SnapshotIndex)
			}
		})
	}
}
