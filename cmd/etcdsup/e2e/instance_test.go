package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/porttest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// patience bounds whatever a test waits for that has no bound of its own. The machine may be busy.
const patience = 3 * time.Minute

// instance is one folder of etcdsup's with everything that was started on it.
type instance struct {
	t       *testing.T
	root    string // what belongs to the test: the files of the daemons' output lie beside dir
	dir     string
	data    string
	file    string // configuration
	client  string // client URL of a real etcd
	peer    string // its peer URL, where a test asks for it
	network *network
	daemons []*daemon
	extra   []string // environment
	program string   // etcdsup of its own; empty: the one of all tests
}

// newInstance makes the folders. At the test's end all that runs in them is ended.
func newInstance(t *testing.T) *instance {
	t.Helper()
	root, err := os.MkdirTemp("", "eu") // short: a socket's path is to fit into 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	in := &instance{t: t, root: root, dir: filepath.Join(root, "d")}
	in.data, in.file = filepath.Join(in.dir, "data"), filepath.Join(root, "c.yaml")
	t.Cleanup(in.end)
	return in
}

// end kills what is left, which is a mistake only when the test thinks that nothing is (see expectNothingLeft).
func (in *instance) end() {
	if in.t.Failed() {
		in.dump()
	}
	for _, d := range in.daemons {
		d.kill()
	}
	none := 0
	await(in.t, "all processes of the test have ended", patience, func() bool {
		left := processesNaming(in.root)
		for _, p := range left {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		if none++; len(left) > 0 {
			none = 0
		}
		return none >= 5 // one that is amid its exec has no command line for a moment
	})
	if err := os.RemoveAll(in.root); err != nil {
		in.t.Error(err)
	}
}

// dump shows what etcdsup had to say, for a test that failed.
func (in *instance) dump() {
	for _, d := range in.daemons {
		in.t.Logf("etcdsup %d:\n%s%s", d.pid(), tailOf(d.stdout(), 4<<10), tailOf(d.stderr(), 12<<10))
	}
}

func tailOf(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// configure writes the configuration. What it has under etcd.args is text in %s's place.
func (in *instance) configure(yaml string) {
	in.t.Helper()
	if err := os.WriteFile(in.file, []byte(yaml), 0o600); err != nil {
		in.t.Fatal(err)
	}
}

// configureEtcd is the configuration of a lone real etcd, with more of it below.
func (in *instance) configureEtcd(more string) {
	in.t.Helper()
	in.client = "http://" + porttest.Addr(in.t, "127.0.0.1")
	in.configure(fmt.Sprintf("etcd:\n  args:\n    name: n1\n    listen-client-urls: %s\n    listen-peer-urls: http://%s\n    log-level: debug\n%s",
		in.client, porttest.Addr(in.t, "127.0.0.1"), more))
}

// configureFake is the configuration of a stand-in, with more of it below.
func (in *instance) configureFake(mode, more string) {
	in.t.Helper()
	in.configureBinary(self, "{fake: "+mode+", data-dir: "+in.data+"}", more)
}

func (in *instance) configureBinary(binary, args, more string) {
	in.t.Helper()
	if !strings.Contains(more, "health:") {
		more += "health: {ready: started, interval: 0}\n"
	}
	in.configure(fmt.Sprintf("etcd: {binary: %s, verify: false, args: %s}\n%s", binary, args, more))
}

// command is an etcdsup command line for this instance, not started yet.
func (in *instance) command(args ...string) *exec.Cmd {
	args = append([]string{"--dir", in.dir}, args...)
	if _, err := os.Stat(in.file); err == nil {
		args = append([]string{"-c", in.file}, args...)
	}
	cmd := exec.Command(cmp.Or(in.program, program), args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + in.root, "TZ=UTC"}, in.extra...)
	return cmd
}

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// cli runs a command to its end.
func (in *instance) cli(args ...string) result {
	in.t.Helper()
	return finish(in.t, in.command(args...))
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Run(); err != nil {
		if _, exited := errors.AsType[*exec.ExitError](err); !exited {
			t.Fatal(err)
		}
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// expect runs a command and wants this exit code.
func (in *instance) expect(code int, args ...string) result {
	in.t.Helper()
	r := in.cli(args...)
	if r.code != code {
		in.t.Fatalf("etcdsup %s: exit code %d, not %d\n%s%s", strings.Join(args, " "), r.code, code, r.out, r.err)
	}
	return r
}

// daemon is one etcdsup run. Its output goes to files: nobody who inherits them can hold the test up.
type daemon struct {
	cmd     *exec.Cmd
	network *network
	path    string // of the output, before .out and .err
	done    chan struct{}
	started time.Time
}

// run starts etcdsup run and does not wait for anything.
func (in *instance) run(args ...string) *daemon {
	in.t.Helper()
	d := in.prepare(args...)
	d.start(in.t)
	return d
}

var outputs atomic.Int64

func (in *instance) prepare(args ...string) *daemon {
	in.t.Helper()
	d := &daemon{cmd: in.command(append([]string{"run"}, args...)...), network: in.network, done: make(chan struct{})}
	d.path = filepath.Join(in.root, fmt.Sprintf("run%d", outputs.Add(1)))
	d.cmd.Stdout, d.cmd.Stderr = create(in.t, d.path+".out"), create(in.t, d.path+".err")
	in.daemons = append(in.daemons, d)
	return d
}

func create(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (d *daemon) start(t *testing.T) {
	t.Helper()
	if err := d.launch(); err != nil {
		t.Fatal(err)
	}
}

// launch starts etcdsup from the thread that it is called on, in whose namespaces it will be.
func (d *daemon) launch() error {
	d.started = time.Now()
	if err := d.network.within(d.cmd.Start); err != nil {
		return err
	}
	go func() { // ends with the process
		defer close(d.done)
		_ = d.cmd.Wait()
		_ = d.cmd.Stdout.(*os.File).Close()
		_ = d.cmd.Stderr.(*os.File).Close()
	}()
	return nil
}

func (d *daemon) pid() int {
	if d.cmd.Process == nil {
		return 0
	}
	return d.cmd.Process.Pid
}

func (d *daemon) signal(s syscall.Signal) { _ = d.cmd.Process.Signal(s) }

// kill is kill -9, and waits for the end.
func (d *daemon) kill() {
	if d.cmd.Process == nil {
		return
	}
	d.signal(syscall.SIGKILL)
	<-d.done
}

// wait waits for the end and gives the exit code.
func (d *daemon) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-d.done:
		return d.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("etcdsup %d did not end within %v", d.pid(), patience)
		return -1
	}
}

func (d *daemon) ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

func (d *daemon) stdout() string { return readAll(d.path + ".out") }
func (d *daemon) stderr() string { return readAll(d.path + ".err") }

func readAll(path string) string {
	b, _ := os.ReadFile(path) // what is not there is empty to a test
	return string(b)
}

// leave ends etcdsup by Ctrl-C and wants it to end well, with nothing left.
func (in *instance) leave(d *daemon) {
	in.t.Helper()
	d.signal(syscall.SIGINT)
	if code := d.wait(in.t); code != 0 {
		in.t.Errorf("exit code %d after SIGINT, not 0", code)
	}
	in.expectNothingLeft()
}

func (in *instance) expectNothingLeft() {
	in.t.Helper()
	if left := processesOf(in.root); len(left) > 0 {
		in.t.Errorf("processes are left: %v", left)
	}
}

func (in *instance) control() *control.Client {
	return control.NewClient(filepath.Join(in.dir, "run", "control.sock"))
}

// status asks the socket once.
func (in *instance) status() (*status.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return in.control().Status(ctx, false)
}

// awaitStatus polls the socket until the status is as wanted. Nobody listening is no error: that may come yet.
func (in *instance) awaitStatus(what string, limit time.Duration, wanted func(*status.Status) bool) *status.Status {
	in.t.Helper()
	var st *status.Status
	var err error
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		if st, err = in.status(); err == nil && wanted(st) {
			return st
		}
		if time.Now().After(deadline) || err != nil && in.allEnded() {
			in.t.Fatalf("not within %v: %s; status %s, error %v", limit, what, describe(st), err)
		}
	}
}

// allEnded tells that no etcdsup runs that could answer.
func (in *instance) allEnded() bool {
	return !slices.ContainsFunc(in.daemons, func(d *daemon) bool { return !d.ended() })
}

func (in *instance) awaitReady() *status.Status {
	in.t.Helper()
	return in.awaitStatus("ready", patience, func(st *status.Status) bool { return st.Ready })
}

func describe(st *status.Status) string {
	if st == nil {
		return "none"
	}
	return fmt.Sprintf("%s/%s since %s, %q, process %+v, health %+v, restart %+v, log %+v", st.Goal, st.State,
		st.Since.Format(time.TimeOnly), st.Reason, st.Process, st.Health, st.Restart, st.Log)
}

// await polls until done.
func await(t *testing.T, what string, limit time.Duration, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ; !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
