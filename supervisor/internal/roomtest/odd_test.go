package roomtest

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdsup/etcdsup/supervisor/etcdbin"
	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
)

// lone starts a cluster of one, has something done to it, stops it, and gives an order to rebuild its data.
func lone(t *testing.T, during func(*etcdtest.Member), args ...string) *rebuildOrder {
	t.Helper()
	return loneOf(t, etcdbin.Builtin(t), during, args...)
}

func loneOf(t *testing.T, binary string, during func(*etcdtest.Member), args ...string) *rebuildOrder {
	t.Helper()
	o := &rebuildOrder{
		RunDir: t.TempDir(), Log: filepath.Join(t.TempDir(), "log"), Name: "m1", Lone: true,
		PeerURLs: []string{"http://192.0.2.1:2380"}, Binary: binary,
	}
	m := etcdtest.Start(t, 1, etcdtest.WithBinary(binary), etcdtest.WithArgs(args...))[0]
	put(t, m, 3)
	during(m)
	o.DataDir = m.DataDir
	m.Stop()
	return o
}

func checkRebuilt(t *testing.T, o *rebuildOrder) {
	t.Helper()
	res := mustRebuild(t, o)
	if res.Keys != 3 || res.Revision != 4 || len(res.Members) != 1 || res.Members[0].PeerURLs[0] != o.PeerURLs[0] {
		t.Errorf("rebuilt: %+v", res)
	}
}

// One member, a WAL in a folder of its own, a run folder with a long path; and done twice, as after a crash.
func TestRebuildTwice(t *testing.T) {
	t.Parallel()
	wal := filepath.Join(t.TempDir(), "wal")
	o := lone(t, func(*etcdtest.Member) {}, "--wal-dir="+wal)
	o.WALDir, o.RunDir = wal, filepath.Join(t.TempDir(), strings.Repeat("deep", 40))
	checkRebuilt(t, o)
	checkRebuilt(t, o)
	o.PeerURLs = []string{"https://192.0.2.2:2380"}
	o.Lone = false // the flag does no harm where it is not needed
	checkRebuilt(t, o)
}

// Nobody's password or certificate is needed where authentication is on, nor a root whose password anybody knows.
func TestRebuildWithAuthentication(t *testing.T) {
	t.Parallel()
	for _, version := range etcds() {
		t.Run("etcd"+version, func(t *testing.T) { t.Parallel(); rebuildWithAuthentication(t, version) })
	}
}

func rebuildWithAuthentication(t *testing.T, version string) {
	binary := etcdbin.Builtin(t)
	if version != "" {
		binary = etcdbin.Version(t, version)
	}
	checkRebuilt(t, loneOf(t, binary, func(m *etcdtest.Member) {
		ask(t, m, func(ctx context.Context, cl *clientv3.Client) error {
			if _, err := cl.UserAddWithOptions(ctx, "root", "", &clientv3.UserAddOptions{NoPassword: true}); err != nil {
				return err
			}
			if _, err := cl.UserGrantRole(ctx, "root", "root"); err != nil {
				return err
			}
			_, err := cl.AuthEnable(ctx)
			return err
		})
	}))
}

// A learner is nobody who could be asked, and one that was never started is in the list for good.
func TestRebuildWithLearner(t *testing.T) {
	t.Parallel()
	o := lone(t, func(m *etcdtest.Member) {
		ask(t, m, func(ctx context.Context, cl *clientv3.Client) error {
			_, err := cl.MemberAddAsLearner(ctx, []string{"http://192.0.2.9:2380"})
			return err
		})
	})
	o.Lone = false
	checkRebuilt(t, o)
}

// Alarms forbid changes of keys: NOSPACE some, CORRUPT all. They do not forbid what is done here.
func TestRebuildWithAlarms(t *testing.T) {
	t.Parallel()
	o := lone(t, func(m *etcdtest.Member) {
		for _, alarm := range []etcdserverpb.AlarmType{etcdserverpb.AlarmType_NOSPACE, etcdserverpb.AlarmType_CORRUPT} {
			ask(t, m, func(ctx context.Context, cl *clientv3.Client) error {
				_, err := etcdserverpb.NewMaintenanceClient(cl.ActiveConnection()).Alarm(ctx, &etcdserverpb.AlarmRequest{
					Action: etcdserverpb.AlarmRequest_ACTIVATE, Alarm: alarm,
				})
				return err
			})
		}
	})
	checkRebuilt(t, o)
}
