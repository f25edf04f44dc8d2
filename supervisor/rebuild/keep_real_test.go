package rebuild

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestNoConfirmedWriteIsLost kills etcds while they are written to, forces a new cluster from one directory, and looks
// for every write that was confirmed: of a single member, and of the leader of three, whose answers were the
// confirmations. That is 3 rounds for each version; with ETCDSUP_LONG=1 it is 50 for each of both kinds, and each is also
// done without KeepEntries, for the record: there is no promise about that.
func TestNoConfirmedWriteIsLost(t *testing.T) {
	for _, v := range []string{"v3.5.35", "v3.6.16", ""} {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("etcd%s, %d members", v, n), func(t *testing.T) {
				t.Parallel()
				newKillTest(t, v, n).run()
			})
		}
	}
}

// killTest is one cluster that is killed again and again.
type killTest struct {
	*testing.T
	version string
	members []*etcdtest.Member
	clients []*clientv3.Client
	rounds  int
	control bool
	kept    int // entries that etcd would have discarded
	bare    int // rounds in which it did, and with them confirmed writes
	longest time.Duration
}

func newKillTest(t *testing.T, v string, n int) *killTest {
	k := &killTest{T: t, version: v, rounds: 2}
	if n > 1 {
		k.rounds = 1
	}
	if os.Getenv("ETCDSUP_LONG") == "1" {
		k.rounds, k.control = 50, true
	}
	k.members = etcdtest.New(t, n, version(t, v)...)
	k.startAll()
	for _, m := range k.members {
		k.clients = append(k.clients, dial(t, m))
	}
	return k
}

func (k *killTest) run() {
	for i := range k.rounds {
		if i > 0 {
			k.startAll()
		}
		k.round(i)
	}
	k.Logf("%d rounds, %d entries kept that were not known to be committed, KeepEntries took %v at most", k.rounds, k.kept, k.longest)
	if k.control {
		k.Logf("without KeepEntries: confirmed writes lost in %d of %d rounds", k.bare, k.rounds)
	}
}

func (k *killTest) startAll() {
	for _, m := range k.members {
		m.Start()
	}
	for _, m := range k.members {
		m.WaitHealthy()
	}
}

func (k *killTest) round(i int) {
	m, c := k.leader()
	prefix := fmt.Sprintf("round-%d-", i)
	confirmed := k.writeAndKill(m, c, prefix)
	dir := filepath.Join(k.TempDir(), "data")
	copyDir(k, m.DataDir, dir)
	if k.control {
		bare := dir + "-bare"
		copyDir(k, dir, bare)
		if len(k.missing(bare, prefix, confirmed)) > 0 {
			k.bare++
		}
	}
	began := time.Now()
	kept, err := KeepEntries(dir, "")
	if err != nil {
		k.Fatal(err)
	}
	k.longest = max(k.longest, time.Since(began))
	k.kept += int(kept.To - kept.From)
	if lost := k.missing(dir, prefix, confirmed); len(lost) > 0 {
		k.Fatalf("round %d: lost %v, %+v", i, lost, kept)
	}
}

// leader waits until there is one.
func (k *killTest) leader() (m *etcdtest.Member, c *clientv3.Client) {
	etcdtest.Eventually(k, "there is a leader", func() bool {
		for i, member := range k.members {
			ctx, cancel := context.WithTimeout(k.Context(), time.Second)
			st, err := k.clients[i].Status(ctx, member.ClientURL)
			cancel()
			if err == nil && st.Leader == st.Header.MemberId {
				m, c = member, k.clients[i]
				return true
			}
		}
		return false
	})
	return m, c
}

const writers = 4

// writeAndKill has several write through m, and kills all members, m first, at some moment. It returns how many writes
// each of the writers had confirmed.
func (k *killTest) writeAndKill(m *etcdtest.Member, c *clientv3.Client, prefix string) (confirmed [writers]int) {
	ctx, cancel := context.WithCancel(k.Context())
	defer cancel()
	var all atomic.Int64
	enough := make(chan struct{})
	limit := int64(20 + rand.IntN(200))
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; {
				if _, err := c.Put(ctx, fmt.Sprintf("%s%d-%06d", prefix, w, n), "value"); err != nil {
					continue // a leader may be elected meanwhile: the same key once more
				}
				n++
				confirmed[w] = n
				if all.Add(1) == limit {
					close(enough)
				}
			}
		})
	}
	<-enough
	m.Kill()
	cancel()
	wg.Wait()
	for _, other := range k.members {
		other.Kill()
	}
	return confirmed
}

// missing forces a new cluster from a directory and returns the confirmed writes that it has not.
func (k *killTest) missing(dir, prefix string, confirmed [writers]int) []string {
	forced := etcdtest.New(k, 1, append(version(k, k.version), etcdtest.WithArgs("--force-new-cluster"))...)[0]
	if err := os.Rename(dir, forced.DataDir); err != nil {
		k.Fatal(err)
	}
	forced.Start()
	defer forced.Kill() // before the others start: it would strike them off
	forced.WaitHealthy()
	c := dial(k, forced)
	defer c.Close()
	r, err := c.Get(k.Context(), prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		k.Fatal(err)
	}
	there := map[string]bool{}
	for _, kv := range r.Kvs {
		there[string(kv.Key)] = true
	}
	var lost []string
	for w, n := range confirmed {
		for i := range n {
			if key := fmt.Sprintf("%s%d-%06d", prefix, w, i); !there[key] {
				lost = append(lost, key)
			}
		}
	}
	l, err := c.MemberList(k.Context())
	if err != nil || len(l.Members) != 1 {
		k.Errorf("members %v, %v\n%s", l, err, strings.TrimSpace(forced.Log()))
	}
	return lost
}
