package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Output is where etcd's output goes.
type Output interface {
	// Boundary makes sure that what comes next begins on a line of its own. It does not wait for a disk.
	Boundary() error
	// Drain returns when all that a dead etcd wrote is in the log.
	Drain(context.Context) error
	// Position is where the next byte of output will stand.
	Position() uint64
	// TailSince returns the last n lines behind a position.
	TailSince(n int, since uint64) []string
	Log() status.Log
}

// Asker is everything that is asked of a running etcd.
type Asker interface {
	// Probe asks the health endpoint below url once.
	Probe(ctx context.Context, url string) Health
	// Member and Transfer ask the etcd that runs with these arguments.
	Member(ctx context.Context, args []string) (*status.Member, string, error)
	Transfer(ctx context.Context, args []string) string
}

// Machine is the Host on a real machine.
type Machine struct {
	Config  *config.Config
	Output  Output
	Pipe    []*os.File // output, ledger
	Cage    *process.Cage
	Asker   Asker
	Binary  string // what is executed
	Argv0   string
	Notify  string // path of the notify socket that etcd is given
	Listens func() // sees to it, before every start, that READY is heard there; nil: nobody does
	Getenv  func(string) (string, bool)
	Telling func(lines []string) (says string, at int) // what the most telling line of an etcd's end says, and which it is
	// Marks is what is known of the member in the data directory; nil: starts are not decided by it.
	Marks *Marks
	// Peers asks the other members for the cluster's list before a start that is not a restart after a crash, and whether
	// the member of the data is alive elsewhere. It knows what the data says; nil, or a nil answer: nobody is asked, or
	// nobody answers.
	Peers func(*datadir.Report) (*status.Members, *Twin)
	// Version asks the etcd of a configuration for its version; nil, or an empty answer: it is not known. It is asked only
	// before a start with another executable than the last.
	Version func(*config.Config) string
	// Unfit looks at the other files that etcd is to read, before every start: why it cannot work with them, and what to
	// do; empty: it can. nil: nobody looks.
	Unfit func(*config.Config) (why, remedy string)

	mu      sync.Mutex
	lock    *os.File // start lock; nil while an adopted etcd holds it alone
	metrics string   // URL that answers before quorum; empty: not chosen yet
	running Run      // started or taken over last
	fits    program  // the executable that ran last on this data

	ready    *prepared
	joining  string    // initial-cluster of a member that joins; empty: none does
	launched time.Time // the newest start; zero: none since etcd was last stopped
	endedAt  time.Time // when an etcd of ours ended last, or was swept up after; zero: none has
}

// lockFD is where a child inherits the start lock, and after it the log's ledger.
const lockFD = 3

// Adopt tells the machine of a taken-over etcd. Its start lock is shared again where the kernel lets us; where not,
// etcd alone holds it, and it is taken anew for the next start.
func (m *Machine) Adopt(p *process.Proc, run Run) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.metrics, m.running, m.fits = run.Metrics, run, programAt(fmt.Sprintf("/proc/%d/exe", run.ID.PID))
	if lock, err := p.Dup(lockFD); err == nil {
		if err := m.Cage.UseLock(lock); err != nil {
			return errors.Join(err, lock.Close())
		}
		m.lock = lock
	}
	return m.Cage.Attach(p)
}

// UseLock gives the machine the start lock, taken by [process.LockDir], of a data directory without etcd.
func (m *Machine) UseLock(lock *os.File) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.Cage.UseLock(lock); err != nil {
		return err
	}
	m.lock = lock
	return nil
}

// Close lets go of the start lock; a living etcd holds it still.
func (m *Machine) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lock != nil {
		_ = m.lock.Close()
		m.lock = nil
	}
}

// Launch starts etcd. All that can be prepared is: the fork is what a crashed etcd's clients wait for.
func (m *Machine) Launch() (Child, error) {
	if err := m.takeLock(); err != nil {
		return nil, launchError(err)
	}
	if err := m.unfit(); err != nil {
		return nil, err
	}
	begins, err := m.admit()
	if err != nil {
		return nil, err
	}
	metrics := m.chooseMetrics()
	with := m.prepare(metrics, begins)
	if m.config().Etcd.Binary == "" {
		_ = linkBuiltin(m.Binary) // somebody may have cleaned the run folder; without the link the start says so
	}
	if m.Listens != nil {
		m.Listens()
	}
	spec := process.Spec{
		Path: m.Binary, Args: with.argv, Env: with.env,
		Output: m.Pipe[0], Inherit: []*os.File{m.lock, m.Pipe[1]}, Cgroup: m.Cage.Cgroup(),
	}
	// An error here means that the log is closing down; etcd is more important than a line border.
	_ = m.Output.Boundary()
	from := m.Output.Position()
	p, err := process.Start(spec)
	if err != nil {
		hold := errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOEXEC)
		return nil, &LaunchError{Err: err, Cause: launchCause(hold), Hold: hold}
	}
	c := m.newChild(p, Run{Started: m.startedNow(), Binary: m.Binary, Metrics: metrics, Cgroup: m.Cage.CgroupPath(), Args: with.args, LogFrom: from})
	if err := m.Cage.Attach(p); err != nil {
		c.remark = err
	}
	m.runs(c.run)
	time.Sleep(loadTime)
	return c, nil
}

// loadTime is what the kernel needs to load a new process after its exec. It has the processors to itself meanwhile:
// our own work beside it made a restart half as long again.
const loadTime = 2 * time.Millisecond

func launchCause(hold bool) status.Cause {
	if hold {
		return status.CauseConfig
	}
	return status.CauseEnvironment
}

// takeLock takes the start lock unless we hold it, and looks for an etcd of somebody else's on the same data.
func (m *Machine) takeLock() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := m.Config.DataDir()
	if m.lock != nil && !process.StillLocks(m.lock, dir) { // restored from a copy, or configured anew
		_ = m.lock.Close()
		m.lock = nil
	}
	if m.lock == nil {
		if err := m.isGone(dir); err != nil {
			return err
		}
		lock, err := process.LockDir(dir)
		if err != nil {
			return err
		}
		if err := m.Cage.UseLock(lock); err != nil {
			_ = lock.Close()
			return err
		}
		m.lock = lock
	}
	return process.ProbeBackend(dir)
}

// addedMetrics is the URL that we add to etcd's flags: none where the configuration has its own.
func addedMetrics(cfg *config.Config, url string) string {
	if cfg.Health.Metrics != "" || ownMetrics(cfg.Etcd) != "" {
		return ""
	}
	return url
}

// chooseMetrics is the URL to probe: the configured one, or a free port on loopback, the same one as before
// wherever it is still free.
func (m *Machine) chooseMetrics() string {
	cfg := m.config()
	if url := cfg.Health.Metrics; url != "" {
		return url
	}
	if url := ownMetrics(cfg.Etcd); url != "" {
		return url
	}
	if !cfg.Etcd.Verify || cfg.Health.Interval == 0 {
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.portIsOurs() {
		return m.metrics
	}
	if addr, ok := freeLoopback(m.metrics); ok {
		m.metrics = "http://" + addr
	}
	return m.metrics
}

// freeLoopback looks whether the URL's port is free, and finds another one where it is not. There is a moment
// between here and etcd's own bind: an etcd that loses it dies of "address already in use", and the next start
// looks again.
func freeLoopback(url string) (string, bool) {
	for _, addr := range []string{hostPort(url), "127.0.0.1:0"} {
		if addr == "" {
			continue
		}
		if found, err := bindable(addr); err == nil {
			return found, true
		}
	}
	return "", false
}

// bindable is the address that a listener on addr got; port 0 makes it any free one.
func bindable(addr string) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func hostPort(url string) string {
	const scheme = "http://"
	if len(url) <= len(scheme) {
		return ""
	}
	return url[len(scheme):]
}

// Probe asks for health. Without a metrics URL there is nobody to ask.
func (m *Machine) Probe(ctx context.Context, c Child) (Health, bool) {
	url := c.Run().Metrics
	if url == "" {
		return Health{}, false
	}
	return m.Asker.Probe(ctx, url), true
}

// Member asks etcd who it is.
func (m *Machine) Member(ctx context.Context) (*status.Member, string, error) {
	if !m.config().Etcd.Verify {
		return nil, "", errors.New("a stand-in for etcd is not asked")
	}
	mem, version, err := m.Asker.Member(ctx, m.Running().Args)
	if err == nil {
		err = m.verify(mem.ClusterID, mem.ID)
		if m.Mark().MemberID != mem.ID {
			mem.PeerURLs = nil // it may be another one that answers at the endpoints of the configuration
		}
	}
	return mem, version, err
}

// Transfer hands leadership over.
func (m *Machine) Transfer(ctx context.Context) string {
	if !m.config().Etcd.Verify {
		return "a stand-in for etcd leads nobody"
	}
	return m.Asker.Transfer(ctx, m.Running().Args)
}

// Sweep ends what etcd left behind.
func (m *Machine) Sweep(ctx context.Context) []int {
	m.forgetPort()
	defer m.hasEnded()
	left, _ := m.Cage.Kill(ctx) // the error is the context's: what is left says it all
	pids := make([]int, len(left))
	for i, l := range left {
		pids[i] = l.ID.PID
	}
	return pids
}

const (
	lastLook     = 5000 // lines in which the telling one is looked for: a stack dump is long, and so is etcd's usage text
	lastLines    = 20   // that are kept
	lastLineSize = 1 << 10
)

// LastWords are the last lines of a dead etcd's output, or those from the telling one on where that is further up, as
// at the head of a stack dump.
func (m *Machine) LastWords(ctx context.Context, run Run) (lines []string, said string) {
	if run.ID.PID == 0 {
		return nil, "" // it was not started: what stands in the log is of another one
	}
	_ = m.Output.Drain(ctx) // what is not in the file by then is still in memory, and the tail has it
	lines = m.Output.TailSince(lastLook, run.LogFrom)
	said, at := m.Telling(lines)
	if from := len(lines) - lastLines; from > 0 {
		if said != "" {
			from = min(from, at)
		}
		lines = lines[from : from+lastLines]
	}
	kept := make([]string, len(lines)) // a copy: the long text is not to be held
	for i, l := range lines {
		kept[i] = strings.Clone(l[:min(len(l), lastLineSize)])
	}
	return kept, strings.Clone(said[:min(len(said), lastLineSize)])
}

// Log is what became of etcd's output.
func (m *Machine) Log() status.Log { return m.Output.Log() }

// PrepareBuiltin makes the built-in etcd executable under its own name in the run folder.
func PrepareBuiltin(runDir string) (string, error) {
	path := filepath.Join(runDir, "etcd")
	return path, linkBuiltin(path)
}

// child is a Child on a real machine.
type child struct {
	p      *process.Proc
	run    Run
	info   status.Process
	remark error  // what is not as it should be, but no reason not to run
	ended  func() // told at its end; may be nil
}

func (m *Machine) newChild(p *process.Proc, run Run) *child {
	c := newChild(p, run)
	c.ended = m.hasEnded
	return c
}

func newChild(p *process.Proc, run Run) *child {
	run.ID = p.ID()
	return &child{p: p, run: run, info: status.Process{PID: run.ID.PID, Started: run.Started, Binary: run.Binary}}
}

// FoundRun is what can be told of a living etcd that no record knows: which binary it is and where it answers health stands
// in its command line.
func FoundRun(id process.ID) Run {
	run := Run{ID: id, Started: id.Started()}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id.PID))
	if err != nil {
		return run
	}
	words := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	run.Binary, run.Args = words[0], words[1:]
	for _, a := range run.Args {
		if urls, ok := strings.CutPrefix(a, "--listen-metrics-urls="); ok {
			run.Metrics, _, _ = strings.Cut(urls, ",")
		}
	}
	return run
}

// AdoptChild takes a running etcd over.
func AdoptChild(p *process.Proc, run Run) Child {
	c := newChild(p, run)
	c.info.Adopted = true
	return c
}

func (c *child) Info() status.Process         { return c.info }
func (c *child) Run() *Run                    { return &c.run }
func (c *child) Signal(sig unix.Signal) error { return c.p.Signal(sig) }

func (c *child) Wait() status.Exit {
	x := c.p.Wait()
	defer c.p.Close()
	if c.ended != nil {
		c.ended()
	}
	out := status.Exit{Core: x.Core, Unknown: x.Unknown}
	if c.info.Adopted {
		out.Ran = c.run.ID.Age() // of its start only the wall clock was kept, and that may have jumped
	}
	switch {
	case x.Unknown:
	case x.Signal != 0:
		out.Signal = signalName(x.Signal)
	default:
		out.Code = &x.Code
	}
	return out
}

func signalName(s unix.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}

func (c *child) Progress() (Progress, error) {
	g, err := c.p.Progress()
	if err != nil {
		return Progress{}, err
	}
	work := g.CPUTicks + g.ReadBytes + g.WriteBytes + g.ReadCalls + g.WriteCalls
	return Progress{Work: work, Traced: g.State == 't', Blocked: g.DiskSleep()}, nil
}
