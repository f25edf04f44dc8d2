package room

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// scripted answers for an etcd that is really there only as a process.
type scripted struct {
	dir     string // data directory, in which it makes snapshots
	members []status.Peer
	index   uint64 // of raft's log
	lag     uint64 // snapshots are this far behind
	fail    string // the question that fails
	hang    bool   // never serves

	asked []string
}

var errScripted = errors.New("scripted failure")

func (e *scripted) ask(what string) error {
	if n := len(e.asked); n == 0 || e.asked[n-1] != what {
		e.asked = append(e.asked, what)
	}
	if e.fail == what {
		return errScripted
	}
	return nil
}

func (e *scripted) WaitServing(ctx context.Context) error {
	if err := e.ask("serving"); err != nil || !e.hang {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (e *scripted) Status(context.Context) (*status.Member, string, error) {
	return &status.Member{ID: "a1", ClusterID: "c1", Index: e.index, Applied: e.index, Revision: 7}, "3.9.9", e.ask("status")
}

func (e *scripted) Members(context.Context) (*status.Members, error) {
	return &status.Members{ClusterID: "c1", Members: slices.Clone(e.members)}, e.ask("members")
}

func (e *scripted) UpdatePeerURLs(_ context.Context, p *status.Peer, urls []string) error {
	for i := range e.members {
		if e.members[i].ID == p.ID {
			e.members[i].PeerURLs = urls
		}
	}
	e.index++
	return e.ask("update " + p.ID)
}

func (e *scripted) Remove(_ context.Context, p *status.Peer) error {
	e.members = slices.DeleteFunc(e.members, func(m status.Peer) bool { return m.ID == p.ID })
	e.index++
	return e.ask("remove " + p.ID)
}

func (e *scripted) Nudge(context.Context) error {
	e.index++
	name := fmt.Sprintf("%016x-%016x.snap", 2, e.index-e.lag)
	if err := os.WriteFile(filepath.Join(e.dir, "member", "snap", name), nil, 0o600); err != nil {
		return err
	}
	return e.ask("nudge")
}

func (e *scripted) CountKeys(context.Context) (int64, error) { return 5, e.ask("keys") }

func peer(id string, self, learner bool, urls ...string) status.Peer {
	return status.Peer{ID: id, Name: "n" + id, PeerURLs: urls, Self: self, Learner: learner}
}

// rebuildOf is a rebuild of a data directory that has no more than what is looked at, by an etcd that is a fake.
func rebuildOf(t *testing.T, e *scripted, child ...string) RebuildSpec {
	t.Helper()
	dir := t.TempDir()
	e.dir = filepath.Join(dir, "data")
	for _, sub := range []string{"member/snap", "member/wal"} {
		if err := os.MkdirAll(filepath.Join(e.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(e.dir, "member/wal/0-0.wal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return RebuildSpec{
		Spec:   Spec{Kind: kindHere(t), Binary: selfExe, Args: append([]string{fake + child[0]}, child[1:]...)},
		RunDir: filepath.Join(dir, "run"), DataDir: e.dir, Name: "a", PeerURLs: []string{"http://a:2380"}, Force: true,
		Dial: func(*url.URL, *tls.Config) (Etcd, error) { return e, nil },
	}
}

func TestRebuildSteps(t *testing.T) {
	const old, want = "http://old:2380", "http://a:2380"
	for _, c := range []struct {
		what   string
		etcd   scripted
		change func(*RebuildSpec)
		asked  string
		err    error
	}{
		{"peer URL to be corrected", scripted{members: []status.Peer{peer("a1", true, false, old)}}, nil,
			"serving, members, update a1, status, nudge, members, status, keys", nil},
		{"peer URL correct", scripted{members: []status.Peer{peer("a1", true, false, want)}}, nil,
			"serving, members, status, nudge, members, status, keys", nil},
		{"two peer URLs in another order", scripted{members: []status.Peer{peer("a1", true, false, want, old)}},
			func(s *RebuildSpec) { s.PeerURLs = []string{old, want} }, "serving, members, status, nudge, members, status, keys", nil},
		{"a learner is left over", scripted{members: []status.Peer{peer("b2", false, true, old), peer("a1", true, false, want)}}, nil,
			"serving, members, remove b2, status, nudge, members, status, keys", nil},
		{"a learner of a cluster that is not forced", scripted{members: []status.Peer{peer("b2", false, true, old), peer("a1", true, false, want)}},
			func(s *RebuildSpec) { s.Force = false }, "serving, members, status, nudge, members", ErrNotRebuilt},
		{"another voter", scripted{members: []status.Peer{peer("b2", false, false, old), peer("a1", true, false, want)}}, nil,
			"serving, members, status, nudge, members", ErrNotRebuilt},
		{"another member alone", scripted{members: []status.Peer{peer("b2", false, false, want)}}, nil,
			"serving, members, status, nudge, members", ErrNotRebuilt},
		{"itself a learner", scripted{members: []status.Peer{peer("a1", true, true, want)}}, nil,
			"serving, members, status, nudge, members", ErrNotRebuilt},
		{"does not serve", scripted{fail: "serving"}, nil, "serving", errScripted},
		{"update refused", scripted{fail: "update a1", members: []status.Peer{peer("a1", true, false, old)}}, nil, "serving, members, update a1", errScripted},
		{"no entry taken", scripted{fail: "nudge", members: []status.Peer{peer("a1", true, false, want)}}, nil, "serving, members, status, nudge", errScripted},
		{"keys not counted", scripted{fail: "keys", members: []status.Peer{peer("a1", true, false, want)}}, nil,
			"serving, members, status, nudge, members, status, keys", errScripted},
		{"snapshots lag", scripted{lag: 3, members: []status.Peer{peer("a1", true, false, old)}}, nil,
			"serving, members, update a1, status, nudge, members, status, keys", nil},
		{"the snapshot is not good for a start", scripted{members: []status.Peer{peer("a1", true, false, old)}},
			func(s *RebuildSpec) { s.SnapshotIndex = func() (uint64, error) { return 41, nil } },
			"serving, members, update a1, status, nudge, members, status, keys", ErrNotRebuilt},
		{"the data cannot be read", scripted{members: []status.Peer{peer("a1", true, false, want)}},
			func(s *RebuildSpec) { s.SnapshotIndex = func() (uint64, error) { return 0, errScripted } },
			"serving, members, status, nudge, members, status, keys", errScripted},
	} {
		t.Run(c.what, func(t *testing.T) {
			c.etcd.index = 41
			spec := rebuildOf(t, &c.etcd, "sleep")
			if c.change != nil {
				c.change(&spec)
			}
			res, err := Rebuild(t.Context(), spec)
			if !errors.Is(err, c.err) || (res == nil) != (err != nil) {
				t.Errorf("%+v, %v", res, err)
			}
			if got := strings.Join(c.etcd.asked, ", "); got != c.asked {
				t.Errorf("asked: %s\n\twant: %s", got, c.asked)
			}
			if err == nil && (res.Snapshot < res.Changed || res.ClusterID != "c1" || res.MemberID != "a1" || res.Revision != 7 || res.Keys != 5 || res.Version != "3.9.9" || len(res.Members) != 1) {
				t.Errorf("result: %+v", res)
			}
			nothingLeft(t, &spec)
		})
	}
}

// nothingLeft finds processes and files that a rebuild should have taken away.
func nothingLeft(t *testing.T, spec *RebuildSpec) {
	t.Helper()
	if kids := children(t); len(kids) > 0 {
		t.Errorf("processes are left: %q", kids)
	}
	if left, _ := os.ReadDir(spec.RunDir); len(left) > 0 {
		t.Errorf("left in the run folder: %v", left)
	}
}

func TestRebuildWhenEtcdEnds(t *testing.T) {
	e := &scripted{hang: true}
	spec := rebuildOf(t, e, "exit", "2")
	var exit *ExitError
	if _, err := Rebuild(t.Context(), spec); !errors.As(err, &exit) || exit.State.ExitCode() != 2 {
		t.Errorf("got %v", err)
	}
	nothingLeft(t, &spec)
}

func TestRebuildCancelled(t *testing.T) {
	e := &scripted{hang: true}
	spec := rebuildOf(t, e, "sleep")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	spec.Tell = func(doing string) {
		if doing == "waiting until etcd serves" {
			cancel()
		}
	}
	if _, err := Rebuild(ctx, spec); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	nothingLeft(t, &spec)
}

func TestRebuildThatMustBeKilled(t *testing.T) {
	e := &scripted{index: 41, members: []status.Peer{peer("a1", true, false, "http://a:2380")}}
	spec := rebuildOf(t, e, "stubborn")
	spec.Grace = 300 * time.Millisecond // the fake ignores SIGTERM from its first milliseconds on
	ready, w := pipe(t)
	spec.Output = w
	spec.Dial = func(*url.URL, *tls.Config) (Etcd, error) {
		return &patient{e, func() { ready.Read(make([]byte, 6)) }}, nil
	}
	var exit *ExitError
	if _, err := Rebuild(t.Context(), spec); !errors.As(err, &exit) {
		t.Errorf("an etcd that had to be killed is taken for good: %v", err)
	}
	nothingLeft(t, &spec)
}

// patient serves only when its process does.
type patient struct {
	*scripted
	wait func()
}

func (p *patient) WaitServing(ctx context.Context) error {
	p.wait()
	return p.scripted.WaitServing(ctx)
}

func TestRebuildRefused(t *testing.T) {
	for what, change := range map[string]func(*RebuildSpec){
		"relative data":   func(s *RebuildSpec) { s.DataDir = "data" },
		"relative run":    func(s *RebuildSpec) { s.RunDir = "run" },
		"relative WAL":    func(s *RebuildSpec) { s.WALDir = "wal" },
		"relative binary": func(s *RebuildSpec) { s.Binary = "etcd" },
		"no name":         func(s *RebuildSpec) { s.Name = "" },
		"no peer URL":     func(s *RebuildSpec) { s.PeerURLs = nil },
		"no client":       func(s *RebuildSpec) { s.Dial = nil },
		"no WAL":          func(s *RebuildSpec) { s.WALDir = t.TempDir() },
		"no kind":         func(s *RebuildSpec) { s.Kind = "" },
		"no binary":       func(s *RebuildSpec) { s.Binary = "/no/such/etcd" },
		"run is a file":   func(s *RebuildSpec) { s.RunDir = filepath.Join(s.DataDir, "member/wal/0-0.wal") },
		"client not made": func(s *RebuildSpec) { s.Dial = func(*url.URL, *tls.Config) (Etcd, error) { return nil, errScripted } },
	} {
		e := &scripted{}
		spec := rebuildOf(t, e, "sleep")
		change(&spec)
		if res, err := Rebuild(t.Context(), spec); err == nil || len(e.asked) > 0 {
			t.Errorf("%s: %+v", what, res)
		}
		nothingLeft(t, &spec)
	}
}

func TestFlags(t *testing.T) {
	s := RebuildSpec{
		Spec: Spec{Args: []string{"--quota-backend-bytes=8000000000"}}, DataDir: "/d", WALDir: "/w", Name: "n",
		PeerURLs: []string{"https://p:1", "https://p:2"}, ClientURLs: []string{"https://c:1", "https://c:2"}, Force: true,
	}
	want := []string{
		"--quota-backend-bytes=8000000000", "--name=n", "--data-dir=/d",
		"--listen-client-urls=unixs://client:1", "--cert-file=pass.pem", "--key-file=pass.key", "--client-cert-auth", "--trusted-ca-file=pass.pem",
		"--advertise-client-urls=https://c:1,https://c:2",
		"--listen-peer-urls=unix://peer:1", "--initial-advertise-peer-urls=https://p:1,https://p:2",
		"--initial-cluster=n=https://p:1,n=https://p:2", "--initial-cluster-state=existing",
		"--heartbeat-interval=10", "--election-timeout=50", "--snapshot-count=1", "--logger=zap", "--log-outputs=stderr",
		"--wal-dir=/w", "--force-new-cluster",
	}
	if got := s.flags(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	s.WALDir, s.Force, s.ClientURLs = "", false, nil
	got := strings.Join(s.flags(), " ")
	if strings.Contains(got, "--force") || strings.Contains(got, "--wal-dir") || !strings.Contains(got, "--advertise-client-urls=http") {
		t.Errorf("got %s", got)
	}
}

func TestCleanEnv(t *testing.T) {
	got := cleanEnv([]string{"PATH=/bin", "ETCD_NAME=x", "NOTIFY_SOCKET=/run/s", "ETCDSUP_TOKEN=t", "ETCD_UNSUPPORTED_ARCH=arm64", "GOGC=50"})
	if want := []string{"PATH=/bin", "ETCDSUP_TOKEN=t", "ETCD_UNSUPPORTED_ARCH=arm64", "GOGC=50"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestNewestSnapshot(t *testing.T) {
	dir := t.TempDir()
	if n := newestSnapshot(dir); n != 0 {
		t.Errorf("%d in nothing", n)
	}
	snap := filepath.Join(dir, "member", "snap")
	if err := os.MkdirAll(snap, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"0000000000000002-000000000000000a.snap", "0000000000000003-0000000000000009.snap", "00000000000000ff.snap.db", "db", "0000000000000003-00000000000000ff.snap.broken", "x-y.snap"} {
		if err := os.WriteFile(filepath.Join(snap, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n := newestSnapshot(dir); n != 10 {
		t.Errorf("%d, want 10", n)
	}
}

// Where an operator's paths are long, the address of a Unix socket must not be.
func TestSocketsInADeepFolder(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("deep", 50), "room")
	h, err := openHall(deep)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: h.endpoint().Path}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(deep, clientSocket))
	if err != nil || info.Mode().Type() != os.ModeSocket {
		t.Errorf("%v, %v", info, err)
	}
	if info, err := os.Stat(deep); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	h.close()
	if _, err := os.Stat(deep); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}
