package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
	"github.com/etcdsup/etcdsup/supervisor/status/statustest"
)

func downStatus() status.Status {
	return status.Status{Instance: "default", Goal: status.GoalDown, State: status.StateDown, Since: at(0)}
}

// comesUp is what a daemon publishes when etcd starts.
func comesUp(f *fakeDaemon, pid int) {
	f.Publish(func(st *status.Status) {
		st.Goal, st.State, st.Ready = status.GoalUp, status.StateStarting, false
		st.Process = &status.Process{PID: pid, Started: at(pid)}
	})
	f.Publish(func(st *status.Status) { st.State, st.Ready = status.StateReady, true })
}

func goesDown(f *fakeDaemon, goal status.Goal) {
	f.Publish(func(st *status.Status) {
		st.Goal, st.State, st.Ready = goal, status.StateStopping, false
		st.Stop = &status.Stop{Phase: status.StopTerm}
	})
	f.Publish(func(st *status.Status) {
		st.State, st.Process, st.Stop = status.StateDown, nil, nil
		st.LastExit = &status.Exit{PID: 1, Signal: "SIGTERM", Asked: true, Cause: status.CauseClean}
	})
}

// obedient is the script of a daemon that does what it is told.
func obedient(f *fakeDaemon) func(string) error {
	return func(command string) error {
		switch command {
		case "start":
			comesUp(f, 10)
		case "stop":
			goesDown(f, status.GoalDown)
		case "restart":
			goesDown(f, status.GoalUp)
			comesUp(f, 11)
		}
		return nil
	}
}

// TestOrdersAreAskedForDuringAChangeOfMode: that etcd is down, or up, is no answer while that is about to change.
func TestOrdersAreAskedForDuringAChangeOfMode(t *testing.T) {
	for verb, st := range map[string]status.Status{"stop": downStatus(), "start": readyStatus()} {
		st.Job = &status.Job{Mode: status.ModeJoin, Step: 3, Of: 8}
		f := newFakeDaemon(t, t.TempDir(), st)
		f.script = func(string) error {
			return &control.Error{Code: control.CodeTransition, Message: "a change of mode is under way"}
		}
		in(t, f.dir, verb).want(t, exitFailure, "", "a change of mode is under way")
		f.Publish(func(s *status.Status) { s.Job = &status.Job{Mode: status.ModeJoin, Step: 3, Of: 8, Error: "no room"} })
		in(t, f.dir, verb).want(t, exitOK, "already", "")
	}
}

func TestStartStopRestart(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), downStatus())
	f.script = obedient(f)
	in(t, f.dir, "start").want(t, exitOK, "etcd is ready, PID 10 (took ", "")
	in(t, f.dir, "start").want(t, exitOK, "etcd is ready already, PID 10", "")
	in(t, f.dir, "restart").want(t, exitOK, "etcd is restarted and ready, PID 11 (took ", "")
	in(t, f.dir, "stop").want(t, exitOK, "etcd is down: SIGTERM (took ", "")
	in(t, f.dir, "stop").want(t, exitOK, "etcd is down already", "")
	in(t, f.dir, "restart").want(t, exitOK, "etcd is restarted and ready, PID 11", "")
	in(t, f.dir, "logs", "rotate").want(t, exitOK, "rotated: ", "")

	var o outcome
	r := in(t, f.dir, "start", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &o); err != nil || o.Status.Process.PID != 11 || o.Result == "" || r.code != exitOK {
		t.Errorf("%v: %+v", err, r)
	}
}

func TestNoWaitReturnsAtOnce(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), downStatus())
	in(t, f.dir, "start", "--no-wait").want(t, exitOK, "start accepted", "")
}

func TestWaitingEndsInTime(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), downStatus())
	f.script = func(string) error {
		f.Publish(func(st *status.Status) { st.Goal, st.State, st.Since = status.GoalUp, status.StateStarting, time.Now() })
		return nil
	}
	in(t, f.dir, "start", "-t", "50ms").want(t, exitTimeout, "", "the start is not done after 50ms: starting")
	for range 20 { // what the daemon answered is known before any status has come
		in(t, f.dir, "start", "-t", "1ns").want(t, exitTimeout, "", "the start is not done after <1ms: starting")
	}
	f.script = func(string) error {
		f.Publish(func(st *status.Status) { st.State, st.Since = status.StateWaiting, time.Now() })
		return nil
	}
	in(t, f.dir, "start", "-t", "50ms").want(t, exitTimeout, "", "waits for quorum")
	r := in(t, f.dir, "restart", "-t", "50ms", "-o", "json")
	var e struct {
		Error, Remedy, Code string
		Exit                int
	}
	if err := json.Unmarshal([]byte(r.err), &e); err != nil || e.Code != "timeout" || e.Exit != exitTimeout || e.Remedy == "" || e.Error == "" || r.code != exitTimeout {
		t.Errorf("%v: %+v", err, r)
	}
	in(t, f.dir, "start", "-t", "0s").want(t, exitUsage, "", "--timeout must be above 0")
}

func TestHeldEndsTheWaitWithEtcdsLastLines(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), downStatus())
	f.script = func(string) error {
		f.Publish(func(st *status.Status) {
			st.Goal, st.State, st.Reason, st.Next = status.GoalUp, status.StateHeld, "etcd refuses its flags", "etcdsup config check"
			st.LastExit = &status.Exit{LastLines: []string{"flag provided but not defined: -nam"}}
		})
		return nil
	}
	r := in(t, f.dir, "start")
	r.want(t, exitFailure, "", "cannot start etcd: etcd refuses its flags")
	r.want(t, exitFailure, "", "    flag provided but not defined: -nam\n")
	r.want(t, exitFailure, "", "→ etcdsup config check")
}

func TestRefusalsOfTheDaemon(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), downStatus())
	f.script = func(string) error {
		return &control.Error{Message: "a transition is under way", Remedy: "wait for it", Code: "job"}
	}
	for _, args := range [][]string{{"start"}, {"restart"}, {"logs", "rotate"}} {
		in(t, f.dir, args...).want(t, exitFailure, "", "etcdsup: a transition is under way\n  → wait for it\n")
	}
	f.script = func(string) error { return errors.New("disk on fire") }
	in(t, f.dir, "start").want(t, exitFailure, "", "disk on fire")
}

// TestAnOrderThatIsNotWrittenDownIsWaitedFor: a full disk is told of, and the order's end all the same.
func TestAnOrderThatIsNotWrittenDownIsWaitedFor(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), downStatus())
	d := &daemon{cfg: &config.Config{Dir: "/srv/x"}}
	f.script = func(string) error {
		comesUp(f, 10)
		return d.unkept("start", errors.New("no space left on device"))
	}
	r := in(t, f.dir, "start")
	r.want(t, exitOK, "etcd is ready, PID 10 (took ", "could not be written down: no space left on device\n")
	r.want(t, exitOK, "etcd is ready", "df -h /srv/x/state")
	for _, err := range []error{nil, supervisor.ErrEnding, context.DeadlineExceeded, &control.Error{Code: control.CodeRefused}} {
		if got := d.unkept("start", err); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

func TestLongWaitsAreToldOf(t *testing.T) {
	t.Parallel()
	f := newFakeDaemon(t, t.TempDir(), downStatus())
	var out, errs buffer
	ended := make(chan int)
	go func() { // ends when etcd comes up
		ended <- execute(t.Context(), []string{"--dir", f.dir, "start"}, streams{in: strings.NewReader(""), out: &out, err: &errs, env: testEnv(t)})
	}()
	f.watched(t)
	f.Publish(func(st *status.Status) { st.Goal, st.State = status.GoalUp, status.StateBackoff })
	eventually(t, "it is told of", func() bool { return strings.Contains(errs.String(), "starting: waiting before the next start\n") })
	f.Publish(func(st *status.Status) { st.State, st.Reason = status.StateStarting, "asked to" })
	comesUp(f, 12)
	result{<-ended, out.String(), errs.String()}.want(t, exitOK, "etcd is ready, PID 12", "starting: waiting before the next start\n")
}

func TestInterruptSaysThatTheDaemonGoesOn(t *testing.T) {
	guard := make(chan os.Signal, 1) // a signal that comes too late must not end the test binary
	signal.Notify(guard, syscall.SIGINT)
	defer signal.Stop(guard)
	f := newFakeDaemon(t, t.TempDir(), downStatus())
	go func() { // ends with the command
		f.watched(t)
		syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	in(t, f.dir, "start").want(t, exitInterrupted, "", "interrupted; the daemon goes on with the start")
}

func TestDaemonThatEndsMeanwhile(t *testing.T) {
	f := &fakeDaemon{Board: statustest.New(downStatus()), dir: t.TempDir(), script: func(string) error { return nil }}
	stop := f.serve(t)
	go func() { // ends with the command
		f.watched(t)
		stop()
	}()
	in(t, f.dir, "start").want(t, exitNoDaemon, "", "cannot see the end of the start")
}

func TestEveryCommandSaysWhenNobodyIsThere(t *testing.T) {
	for _, args := range [][]string{{"status"}, {"status", "-w"}, {"start"}, {"stop"}, {"restart"}, {"history"}, {"history", "--audit"}, {"logs", "rotate"},
		{"mode"}, {"mode", "--watch"}, {"mode", "normal"}, {"mode", "join", "--yes"}, {"mode", "force-new-cluster", "--plan"}} {
		dir := t.TempDir()
		in(t, dir, args...).want(t, exitNoDaemon, "", `etcdsup is not running for instance "default"`)
		in(t, dir, args...).want(t, exitNoDaemon, "", "etcdsup --dir "+dir+" run")
		r := in(t, dir, append(args, "-o", "json")...)
		if r.want(t, exitNoDaemon, "", `"code":"no-daemon","exit":3}`); !json.Valid([]byte(r.err)) {
			t.Errorf("%v: %s", args, r.err)
		}
	}
}

func TestTheOtherInstanceIsHintedAt(t *testing.T) {
	base := t.TempDir()
	newFakeDaemon(t, filepath.Join(base, "events"), readyStatus())
	dead := filepath.Join(base, "dead", "run")
	if err := os.MkdirAll(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mknod(filepath.Join(dead, "control.sock"), syscall.S_IFSOCK|0o600, 0); err != nil {
		t.Fatal(err)
	}
	in(t, filepath.Join(base, "default"), "status").want(t, exitNoDaemon, "", "did you mean the instance that runs here: --dir "+filepath.Join(base, "events")+"\n")
	r := in(t, filepath.Join(base, "default"), "-i", "default", "status")
	if strings.Contains(r.err, "did you mean") {
		t.Errorf("hinted although one was named: %s", r.err)
	}
	r = in(t, filepath.Join(base, "default"), cobra.ShellCompNoDescRequestCmd, "status", "-i", "")
	r.want(t, exitOK, "dead\nevents\n", "ShellCompDirectiveNoFileComp")
}

func TestFaultyConfigurationIsExitCode6(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(file, []byte("nonsense: 1\nlog:\n  max_siez: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := in(t, dir, "-c", file, "status")
	r.want(t, exitConfig, "", "c.yaml:1:1")
	r.want(t, exitConfig, "", "c.yaml:3:3")
	r = in(t, dir, "-c", file, "status", "-o", "json")
	var e struct{ Problems []struct{ Line int } }
	if err := json.Unmarshal([]byte(r.err), &e); err != nil || len(e.Problems) != 2 || r.code != exitConfig {
		t.Errorf("%v: %s", err, r.err)
	}

	newFakeDaemon(t, dir, readyStatus()) // one that runs by the file of before
	in(t, dir, "-c", file, "status").want(t, exitOK, "default  ready", "the configuration has 2 faults, see etcdsup config check")
}

// TestFaultyFileStandsForNoOther: a file that was named, and cannot be read, says nothing of the daemon at the default
// place, unless that is the one which runs by it.
func TestFaultyFileStandsForNoOther(t *testing.T) {
	home, err := os.MkdirTemp("/tmp", "etcdsup") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	run := func(args ...string) result {
		var out, err buffer
		code := execute(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &err, env: append(testEnv(t), "ETCDSUP_CONTROL_SOCKET="+filepath.Join(home, "default", "run", "control.sock"))})
		return result{code, out.String(), err.String()}
	}
	file := filepath.Join(home, "events.yaml")
	if err := os.WriteFile(file, []byte("nonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(home, "default")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	st := readyStatus()
	st.Config.File = filepath.Join(home, "default.yaml")
	d := newFakeDaemon(t, dir, st)
	for _, named := range []string{file, filepath.Join(home, "evnts.yaml")} {
		run("-c", named, "stop").want(t, exitConfig, "", filepath.Base(named))
	}
	d.Publish(func(st *status.Status) { st.Config.File = file })
	run("-c", file, "status").want(t, exitOK, "default  ready", "asking the daemon at "+dir)
}

func TestDeniedIsExitCode7(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root")
	}
	dir, err := os.MkdirTemp("/tmp", "etcdsup")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	newFakeDaemon(t, dir, readyStatus())
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	ask := func() (string, int) {
		cmd := exec.Command("/proc/self/fd/3")
		cmd.ExtraFiles, cmd.Dir = []*os.File{exe}, "/"
		cmd.Env = []string{"HOME=/nonexistent", "TEST_EXECUTE=--dir " + dir + " status"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := ask(); code != exitDenied || !strings.Contains(out, "→ run it as root") {
		t.Errorf("closed folder: %d, %s", code, out)
	}
	for _, path := range []string{dir, filepath.Join(dir, "run"), filepath.Join(dir, "run", "control.sock")} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if out, code := ask(); code != exitDenied || !strings.Contains(out, "uid 65534 may not control this etcd") {
		t.Errorf("open folder: %d, %s", code, out)
	}
}

func TestHistory(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	in(t, f.dir, "history").want(t, exitOK, "nothing has happened yet", "")
	f.events = events(5)
	in(t, f.dir, "history").want(t, exitOK, "SIGKILL", "")
	r := in(t, f.dir, "history", "-o", "json", "-n", "2")
	golden(t, "history.json", r.out)
	golden(t, "history.txt", historyText(events(5), at(60*24*2+5), true))
	in(t, f.dir, "history", "-n", "1001").want(t, exitUsage, "", "-n takes 1 to 1000")
}

func TestHistoryWithoutDaemon(t *testing.T) {
	dir := t.TempDir()
	path := supervisor.HistoryPath(filepath.Join(dir, "state"))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	var text []byte
	for _, e := range events(5) {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, line...), '\n')
	}
	if err := os.WriteFile(path, append(text, `{"seq":6,"at":"20`...), 0o600); err != nil {
		t.Fatal(err)
	}
	r := in(t, dir, "history", "-o", "json", "-n", "2")
	r.want(t, exitOK, `"seq": 5`, "etcdsup is not running; this is what it wrote down")
	golden(t, "history.json", r.out)
}
