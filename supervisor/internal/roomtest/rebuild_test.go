package roomtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/supervisor/cluster"
	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/etcdbin"
	"github.com/etcdsup/etcdsup/supervisor/exetest"
	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
	"github.com/etcdsup/etcdsup/supervisor/room"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

func TestMain(m *testing.M) {
	switch os.Args[0] {
	case room.Name:
		room.Enter(os.Args)
	case rebuilder:
		playRebuilder()
	default:
		goleak.VerifyTestMain(m)
	}
}

// rebuilder is the name under which this test binary does a rebuild for somebody else.
const rebuilder = "rebuilder"

// rebuildOrder is a rebuild for somebody else to do.
type rebuildOrder struct {
	Kind                                  room.Kind // empty: what is possible here
	Binary, RunDir, DataDir, WALDir, Name string
	PeerURLs                              []string
	Lone                                  bool // the data knows no other member
	Log                                   string
}

// rebuildNow is the wiring that a rebuild needs.
func rebuildNow(ctx context.Context, o *rebuildOrder) (*room.Result, error) {
	if o.Kind == "" {
		kind, err := room.Check()
		if err != nil {
			return nil, err
		}
		o.Kind = kind
	}
	log, err := os.OpenFile(o.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	return room.Rebuild(ctx, room.RebuildSpec{
		Spec:   room.Spec{Kind: o.Kind, Binary: o.Binary, Output: log},
		RunDir: o.RunDir, DataDir: o.DataDir, WALDir: o.WALDir, Name: o.Name, PeerURLs: o.PeerURLs, Force: !o.Lone,
		Dial: func(u *url.URL, secure *tls.Config) (room.Etcd, error) { return cluster.NewForced(u, secure) },
		SnapshotIndex: func() (uint64, error) {
			r, err := datadir.Look(o.DataDir, datadir.Options{WALDir: o.WALDir})
			if err != nil || r.Raft == nil {
				return 0, errors.Join(err, errors.New("no raft log"))
			}
			return r.Raft.SnapshotIndex, nil
		},
	})
}

// playRebuilder does the order on stdin and prints the result.
func playRebuilder() {
	o := &rebuildOrder{}
	err := json.NewDecoder(os.Stdin).Decode(o)
	var res *room.Result
	if err == nil {
		res, err = rebuildNow(context.Background(), o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(res)
}

// etcds are the versions to be tried; the empty one is that which is built in.
func etcds() []string {
	if os.Getenv("ETCDSUP_LONG") != "" {
		return []string{"", "v3.5.35", "v3.6.16"}
	}
	return []string{"", "v3.5.35"}
}

func TestRebuildInARoom(t *testing.T) {
	t.Parallel() // it waits most of the time
	for _, version := range etcds() {
		t.Run("etcd"+version, func(t *testing.T) { t.Parallel(); rebuildOfThree(t, version) })
	}
}

// rebuildOfThree rebuilds a copy of one member's data while the three that it knows are alive and within reach, and
// then starts it where everybody who comes to their addresses is counted.
func rebuildOfThree(t *testing.T, version string) {
	o := &rebuildOrder{RunDir: t.TempDir(), Log: filepath.Join(t.TempDir(), "forced.log"), Name: "fresh"}
	if o.Binary = etcdbin.Builtin(t); version != "" {
		o.Binary = etcdbin.Version(t, version)
	}
	opts := []etcdtest.Option{etcdtest.WithBinary(o.Binary)}
	three := etcdtest.Start(t, 3, opts...)
	put(t, three[0], 100)
	o.DataDir = copyOfThird(t, three)
	controlDir := copyOf(t, o.DataDir)
	control := etcdtest.New(t, 1, append(opts, etcdtest.WithArgs("--data-dir="+controlDir))...)[0]
	fresh := etcdtest.New(t, 1, append(opts, etcdtest.WithArgs("--name=fresh", "--data-dir="+o.DataDir))...)[0]
	o.PeerURLs = []string{fresh.PeerURL}
	before := states(t, three)

	res := mustRebuild(t, o)
	if after := states(t, three); !slices.Equal(before, after) {
		t.Errorf("the cluster of three was %+v and is %+v", before, after)
	}
	want := before[2]
	want.members = 1
	if got := (state{res.MemberID, res.ClusterID, len(res.Members), res.Revision, res.Keys}); got != want || !slices.Equal(res.Members[0].PeerURLs, o.PeerURLs) {
		t.Errorf("rebuilt as %+v, want %+v", res, want)
	}
	for _, m := range three {
		m.Stop()
	}
	noContacts(t, three, o, control, controlDir)
	if visitors(t, three, func(came <-chan string) { fresh.Start(); anybody(came, contactTime) }) > 0 {
		t.Fatal("a normal start of the rebuilt data contacts the old members")
	}
	fresh.WaitHealthy()
	if got := states(t, []*etcdtest.Member{fresh})[0]; got != want {
		t.Errorf("after a normal start: %+v, want %+v", got, want)
	}
	put(t, fresh, 1)
}

// copyOfThird copies the data of the third member, complete and after a stop in order. The three are whole again after it.
func copyOfThird(t *testing.T, three []*etcdtest.Member) string {
	t.Helper()
	count(t, three[2]) // a linearizable read: whatever was acknowledged is known here to be committed
	three[2].Stop()
	dir := copyOf(t, three[2].DataDir)
	three[2].Start()
	three[2].WaitHealthy()
	return dir
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, 0o700); err != nil {
		t.Fatal(err)
	}
	return to
}

func mustRebuild(t *testing.T, o *rebuildOrder) *room.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*etcdtest.Patience)
	defer cancel()
	began := time.Now()
	res, err := rebuildNow(ctx, o)
	if err != nil {
		log, _ := os.ReadFile(o.Log)
		t.Fatalf("%v\n%s", err, log)
	}
	t.Logf("rebuilt in %v: %+v", time.Since(began), res)
	return res
}

// state is what must not change for a cluster that is not meant.
type state struct {
	id, cluster string
	members     int
	revision    int64
	keys        int64
}

// states are each member's own, all members being healthy to each.
func states(t *testing.T, members []*etcdtest.Member) []state {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), etcdtest.Patience)
	defer cancel()
	all := make([]state, len(members))
	for i, m := range members {
		u, err := url.Parse(m.ClientURL)
		if err != nil {
			t.Fatal(err)
		}
		c, err := cluster.NewClient(cluster.Options{Endpoints: []*url.URL{u}})
		if err != nil {
			t.Fatal(err)
		}
		var l *status.Members
		etcdtest.Eventually(t, m.Name+" sees all members well", func() bool {
			if l, err = c.Members(ctx); err != nil {
				t.Fatalf("%s: %v", m.Name, err)
			}
			return l.Count().Healthy == len(members) && !l.Stale
		})
		keys := count(t, m) // linearizable, so that this member has applied all there is
		me, _, err := c.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = state{me.ID, me.ClusterID, len(l.Members), me.Revision, keys}
	}
	return all
}

func ask(t *testing.T, m *etcdtest.Member, what func(context.Context, *clientv3.Client) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), etcdtest.Patience)
	defer cancel()
	cl, err := clientv3.New(clientv3.Config{Endpoints: []string{m.ClientURL}, Context: ctx, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := what(ctx, cl); err != nil {
		t.Fatalf("%s: %v", m.Name, err)
	}
}

func put(t *testing.T, m *etcdtest.Member, n int) {
	t.Helper()
	ask(t, m, func(ctx context.Context, cl *clientv3.Client) error {
		for i := range n {
			if _, err := cl.Put(ctx, fmt.Sprintf("key-%d", i), "value"); err != nil {
				return err
			}
		}
		return nil
	})
}

func count(t *testing.T, m *etcdtest.Member) (n int64) {
	t.Helper()
	ask(t, m, func(ctx context.Context, cl *clientv3.Client) error {
		r, err := cl.Get(ctx, "", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err == nil {
			n = r.Count
		}
		return err
	})
	return n
}

// noContacts rebuilds the control's data where everybody who comes to the dead members' addresses is counted: nobody
// comes out of a room; but without isolation, and from a normal start, somebody does.
func noContacts(t *testing.T, dead []*etcdtest.Member, o *rebuildOrder, control *etcdtest.Member, data string) {
	t.Helper()
	again := *o
	again.DataDir = copyOf(t, data)
	if visitors(t, dead, func(<-chan string) { mustRebuild(t, &again) }) > 0 {
		t.Error("the old members are contacted from a room")
	}
	again.DataDir, again.Kind = copyOf(t, data), room.KindOpen
	open := func(came <-chan string) { mustRebuild(t, &again); anybody(came, contactTime) } // its etcd has ended by then
	if visitors(t, dead, open) == 0 {
		t.Error("without isolation nobody is contacted either")
	}
	if visitors(t, dead, func(came <-chan string) { control.Start(); anybody(came, etcdtest.Patience); control.Kill() }) == 0 {
		t.Error("data that knows the others contacts nobody")
	}
}

// contactTime is how long whoever contacts others is given to do so; etcd does it in the first second.
const contactTime = 5 * time.Second

// anybody waits until somebody came, or for so long.
func anybody(came <-chan string, limit time.Duration) {
	select {
	case <-came:
	case <-time.After(limit):
	}
}

// visitors listens at the dead members' addresses while something is done, and counts who comes.
func visitors(t *testing.T, dead []*etcdtest.Member, during func(came <-chan string)) int {
	t.Helper()
	var all atomic.Int64
	came := make(chan string, 1)
	var stops []func()
	for _, m := range dead {
		stops = append(stops, welcome(t, m.PeerURL, &all, came), welcome(t, m.ClientURL, &all, came))
	}
	during(came)
	for _, stop := range stops {
		stop()
	}
	return int(all.Load())
}

// welcome accepts whoever comes to the URL, until the function that it returns is called.
func welcome(t *testing.T, at string, all *atomic.Int64, came chan<- string) (stop func()) {
	t.Helper()
	var ln net.Listener
	// A process that is being started has a copy of the listener that was here before, closed or not, until its exec.
	etcdtest.Eventually(t, "nobody else listens at "+at, func() (ok bool) {
		var err error
		ln, err = net.Listen("tcp", strings.TrimPrefix(at, "http://"))
		return err == nil
	})
	done := make(chan struct{})
	go func() { // ends when the listener is closed
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
			all.Add(1)
			select {
			case came <- at:
			default:
			}
		}
	}()
	return func() { ln.Close(); <-done }
}

// An ordinary user's etcdsup rebuilds in a user namespace, where the machine allows that.
func TestRebuildByAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	t.Parallel()
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	m := etcdtest.Start(t, 3)
	put(t, m[0], 10)
	o := &rebuildOrder{DataDir: copyOfThird(t, m), RunDir: t.TempDir(), Log: filepath.Join(t.TempDir(), "log"), Name: "mine", PeerURLs: []string{"http://192.0.2.1:2380"}}
	o.Binary = withinReach(t, etcdbin.Builtin(t))
	for _, dir := range []string{filepath.Dir(o.DataDir), o.RunDir, filepath.Dir(o.Log)} {
		give(t, dir, 65534)
	}
	if err := os.Chmod(filepath.Dir(o.RunDir), 0o711); err != nil { // the folder of all this test's folders
		t.Fatal(err)
	}
	order, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Args, cmd.SysProcAttr, cmd.Dir = []string{rebuilder}, nobody, "/"
	cmd.Stdin = bytes.NewReader(order)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil && strings.Contains(said.String(), room.ErrNotIsolated.Error()) {
		t.Logf("user namespaces are forbidden here, and that is said: %s", &said)
		return
	}
	res := &room.Result{}
	if err = errors.Join(err, json.Unmarshal(out, res)); err != nil {
		log, _ := os.ReadFile(o.Log)
		t.Fatalf("%v\n%s\n%s", err, &said, log)
	}
	if res.Keys != 10 || len(res.Members) != 1 || res.Members[0].PeerURLs[0] != o.PeerURLs[0] {
		t.Errorf("rebuilt: %+v", res)
	}
	if got := states(t, m); len(got) != 3 || got[0].members != 3 {
		t.Errorf("the cluster of three was harmed: %+v", got)
	}
}

func give(t *testing.T, dir string, uid int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// withinReach is a copy of a program that is not in somebody's private folder.
func withinReach(t *testing.T, program string) string {
	t.Helper()
	b, err := os.ReadFile(program)
	path := filepath.Join(t.TempDir(), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	exetest.Write(t, path, b)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
