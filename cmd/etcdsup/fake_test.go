package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
	"github.com/etcdsup/etcdsup/supervisor/status/statustest"
)

// init makes the test binary an etcdsup where a test runs it as another user.
func init() {
	if args := os.Getenv("TEST_EXECUTE"); args != "" {
		os.Exit(execute(context.Background(), strings.Fields(args), standardStreams(nil)))
	}
}

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", path, got, want)
	}
}

// fakeDaemon answers on the socket of an instance; a test scripts what follows on a command.
type fakeDaemon struct {
	*statustest.Board
	dir    string                     // base folder of the instance
	stop   func()                     // ends it before the test does
	script func(command string) error // called with each command
	events []status.Event
	reload status.Reload

	mu    sync.Mutex
	modes status.Modes
	plan  status.Plan
	audit status.AuditReport
}

// newFakeDaemon serves dir, the base folder of an instance, until the test ends.
func newFakeDaemon(t *testing.T, dir string, st status.Status) *fakeDaemon {
	t.Helper()
	f := &fakeDaemon{Board: statustest.New(st), dir: dir, script: func(string) error { return nil }, modes: status.Modes{Mode: status.ModeNormal}}
	f.stop = f.serve(t)
	return f
}

// serve answers until the test ends, or until the function is called.
func (f *fakeDaemon) serve(t *testing.T) (stop func()) {
	t.Helper()
	ln, err := control.Listen(filepath.Join(f.dir, "run", "control.sock"), "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- control.Serve(ctx, ln, f, control.Access{UID: os.Getuid()}) }() // ends with ctx
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// watched waits until somebody follows the statuses.
func (f *fakeDaemon) watched(t *testing.T) {
	t.Helper()
	eventually(t, "somebody watches", func() bool { return f.Watchers() > 0 })
}

func (f *fakeDaemon) Refresh(context.Context) (*status.Status, error) { return f.Status(), nil }
func (f *fakeDaemon) Start(context.Context) error                     { return f.script("start") }
func (f *fakeDaemon) Stop(context.Context) error                      { return f.script("stop") }
func (f *fakeDaemon) Restart(context.Context) error                   { return f.script("restart") }
func (f *fakeDaemon) Members(context.Context) (*status.Members, error) {
	return threeMembers(), f.script("members")
}

func (f *fakeDaemon) ChangeMember(_ context.Context, o status.MemberOrder) (*status.Members, error) {
	return threeMembers(), f.script("member " + string(o.Op) + " " + o.Member)
}

func (f *fakeDaemon) RotateLog(context.Context) error { return f.script("rotate") }

func (f *fakeDaemon) Reload(context.Context) (*status.Reload, error) {
	return &f.reload, f.script("reload")
}

func (f *fakeDaemon) Upgrade(_ context.Context, o control.UpgradeOrder) (*status.Upgrade, error) {
	return &status.Upgrade{ID: "u1", From: "v1", To: "v2", Binary: o.Binary, Outcome: status.UpgradeRunning}, f.script("upgrade " + o.Binary)
}

func (f *fakeDaemon) History(_ context.Context, n int) ([]status.Event, error) {
	return f.events[max(0, len(f.events)-n):], nil
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, every := time.NewTimer(time.Minute), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer every.Stop()
	for !ok() {
		select {
		case <-every.C:
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		}
	}
}

// result is what a command line came to.
type result struct {
	code     int
	out, err string
}

// buffer is a bytes.Buffer that a test may read while a command writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// command runs a command line in an environment of nothing but a home folder.
func command(ctx context.Context, t *testing.T, args ...string) result {
	t.Helper()
	var out, err buffer
	code := execute(ctx, args, streams{in: strings.NewReader(""), out: &out, err: &err, env: testEnv(t)})
	return result{code, out.String(), err.String()}
}

func testEnv(t *testing.T) []string { return []string{"HOME=" + t.TempDir(), "TERM=xterm"} }

// in runs a command line for the instance in dir.
func in(t *testing.T, dir string, args ...string) result {
	t.Helper()
	return command(t.Context(), t, append([]string{"--dir", dir}, args...)...)
}

// want checks the exit code and that both streams contain what they should; an empty text means that nothing is there.
func (r result) want(t *testing.T, code int, out, err string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	for _, s := range []struct{ name, got, want string }{{"stdout", r.out, out}, {"stderr", r.err, err}} {
		if s.want == "" && s.got != "" || !strings.Contains(s.got, s.want) {
			t.Errorf("%s is %q, want %q", s.name, s.got, s.want)
		}
	}
}

// at is a fixed time of the statuses in these tests.
func at(minutes int) time.Time {
	return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(minutes) * time.Minute)
}

// readyStatus is one of an etcd that is well, with every part filled.
func readyStatus() status.Status {
	code := 1
	return status.Status{
		Instance:   "default",
		Supervisor: status.Supervisor{PID: 100, Version: "v1.0.0", Started: at(0)},
		Goal:       status.GoalUp, State: status.StateReady, Since: at(10), Mode: status.ModeNormal, Ready: true,
		Process: &status.Process{PID: 4711, Started: at(9), Binary: "/usr/bin/etcd", Version: "3.6.1"},
		Health:  status.Health{Serving: true, Quorum: true, Asked: at(11), Answered: at(11), Progress: at(11)},
		Member: &status.Member{
			Name: "a", ID: "8e9e05c52164694d", ClusterID: "cdf818194e3a8c32", Role: status.RoleFollower, LeaderID: "91bc3c398fb3c146",
			Term: 7, Index: 1234, Applied: 1230, Revision: 998, DBSize: 1932735283, DBInUse: 966367641, Quota: 2 << 30, Asked: at(11),
		},
		Restart:  status.Restart{Count: 3, LastHour: 1, PerHour: 30, Streak: 1},
		LastExit: &status.Exit{PID: 4000, Started: at(0), Ended: at(9), Ran: 9 * time.Minute, Code: &code, Cause: status.CauseEnvironment, Detail: "port 2379 was taken"},
		Log:      status.Log{File: "/var/lib/etcdsup/default/log/etcd.log", Size: 12 << 20, Archives: 3, ArchiveBytes: 30 << 20, Written: 42 << 20, Rotations: 3},
		Config:   status.Config{File: "/etc/etcdsup/default.yaml", Dir: "/var/lib/etcdsup/default", DataDir: "/var/lib/etcd", Client: []string{"http://127.0.0.1:2379"}},
	}
}

// troubledStatus has everything in it that readyStatus has not.
func troubledStatus() status.Status {
	st := readyStatus()
	st.Ready, st.State, st.Goal, st.Mode = false, status.StateStopping, status.GoalDown, status.ModeJoin
	st.Reason, st.Next = "asked to stop; SIGTERM sent, up to 60s", "etcdsup status --watch"
	st.Process = &status.Process{PID: 4711, Started: at(9), Binary: "built-in", Adopted: true}
	st.Health = status.Health{Detail: "no answer in time", Asked: at(11), Answered: at(10), Misses: 6}
	st.Member.Role, st.Member.LeaderID = status.RoleNone, ""
	st.Member.Errors = []string{"etcdserver: no leader"}
	st.Member.Asked = at(5)
	st.Restart.Streak, st.Restart.NextAt, st.Restart.Delay, st.Restart.Reason = 4, at(13), time.Minute, "4 deaths without sustained readiness"
	st.Stop = &status.Stop{Phase: status.StopSweep, Began: at(11), Deadline: at(13), Left: []int{4712, 4713}}
	st.LastExit = &status.Exit{PID: 4000, Started: at(0), Ended: at(9), Ran: 9 * time.Minute, Signal: "SIGSEGV", Core: true, Cause: status.CauseSignal}
	st.Log.DroppedBytes, st.Log.DroppedLines, st.Log.LastDropped = 4096, 17, at(10)
	st.Log.Trouble, st.Log.TroubleSince, st.Log.Buffered = "no space left on device", at(11), 65536
	st.Config.Pending = []string{"etcd.args.name", "log.max_size"}
	st.Job = &status.Job{ID: "j1", Mode: status.ModeJoin, Step: 2, Of: 5, Title: "wait until caught up", Began: at(10)}
	st.Diagnosis = &status.Diagnosis{Code: "no-quorum", Cause: status.CauseQuorum, Title: "two of three members are gone", Evidence: []string{"x"}, Remedy: "start them"}
	return st
}

func events(n int) []status.Event {
	code := 2
	all := []status.Event{
		{Seq: 1, At: at(0), Kind: status.EventStart, PID: 10, Note: "asked to"},
		{Seq: 2, At: at(1), Kind: status.EventReady, PID: 10},
		{Seq: 3, At: at(60 * 24 * 2), Kind: status.EventExit, PID: 10, Note: "started again at once:\nfirst death", Exit: &status.Exit{
			PID: 10, Started: at(0), Ended: at(60 * 24 * 2), Ran: 48 * time.Hour, Signal: "SIGKILL", Cause: status.CauseSignal, LastLines: []string{"one", "two"}}},
		{Seq: 4, At: at(60*24*2 + 1), Kind: status.EventFail, Exit: &status.Exit{Cause: status.CauseEnvironment, Detail: "no such file"}},
		{Seq: 5, At: at(60*24*2 + 2), Kind: status.EventExit, PID: 11, Exit: &status.Exit{PID: 11, Ran: 300 * time.Millisecond, Code: &code, Cause: status.CauseConfig}},
	}
	return all[len(all)-n:]
}
