package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/cmd/etcdsup/relay"
	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/logsink"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// daemon is everything that one etcdsup run holds. It is opened in the order of the fields and closed in the
// reverse one; closers is that one list.
type daemon struct {
	g         *globals
	cfg       *config.Config
	log       *zap.Logger
	machine   *supervisor.Machine
	sink      *logsink.Sink
	notify    *supervisor.Notify
	loop      *supervisor.Loop
	startLock *os.File // held while no etcd lives; nil: a living one holds it
	adopted   int      // PID of the etcd that was taken over
	trim      *trimmer
	modes     modeRunner // changes of mode
	exec      *executor  // who carries them out
	door      *door      // the control socket
	token     string     // marks this instance's processes
	signals   chan os.Signal
	manager   *manager            // the service manager that started us
	kept      map[string]*os.File // what it kept for us, by name

	lock       *os.File          // of the instance
	installed  string            // path of our executable, as it is installed
	flushLog   func()            // has our own log written
	listener   *control.Listener // of the control socket
	endServing func()            // ends the answers on it
	life       context.Context
	upgrading  atomic.Bool
	obeying    atomic.Bool // a signal is being carried out

	closers []func()
	waits   sync.WaitGroup // goroutines that end with what is closed
}

func (d *daemon) onClose(f func()) { d.closers = append(d.closers, f) }

func (d *daemon) close() {
	for i := len(d.closers) - 1; i >= 0; i-- {
		d.closers[i]()
	}
}

// openDaemon takes the instance's lock, reads what an earlier etcdsup left, takes a living etcd over or prepares
// for the first start, and opens all that the loop needs. Nothing of etcd's is touched before the configuration
// was found free of faults.
func openDaemon(ctx context.Context, g *globals, cfg *config.Config) (d *daemon, err error) {
	d = &daemon{g: g, cfg: cfg, installed: g.installedPath(), door: &door{}}
	defer func() {
		if err != nil {
			d.close()
			d = nil
		}
	}()
	if err := d.lockInstance(); err != nil {
		return d, err
	}
	d.catchSignals()
	var closeLog func()
	d.log, d.flushLog, closeLog = selfLog(cfg, g.err)
	d.onClose(closeLog)
	d.connectManager()
	_ = os.Remove(leavingFile(cfg)) // where it stays, an end of this etcdsup is taken for one that was asked for
	d.log.Info("etcdsup begins", zap.String("version", thisVersion().Version), zap.Int("pid", os.Getpid()),
		zap.String("instance", cfg.Instance), zap.String("dir", cfg.Dir), zap.String("config", cfg.File))
	files, loaded, err := supervisor.OpenFiles(cfg.StateDir())
	if err != nil {
		return d, err
	}
	d.tellLoaded(loaded)
	run, err := d.findRunning(loaded.Record)
	if err != nil {
		return d, err
	}
	if run == nil && !g.handed.open() { // else etcd must be looked after in any case, see tellFaults
		if faults := config.Check(ctx, d.cfg, builtinRunner()); len(faults) > 0 {
			return d, faults
		}
	}
	if err := d.openMachine(loaded.Record, run); err != nil {
		return d, err
	}
	if err := d.openExecutor(run != nil); err != nil {
		return d, err
	}
	err = d.openLoop(files, loaded, run)
	return d, err
}

// lockInstance makes this the only etcdsup of the instance.
func (d *daemon) lockInstance() error {
	if d.g.handed.open() {
		return d.inheritLock()
	}
	lock, err := lockSoon(process.LockFile, d.lockPath())
	if errors.Is(err, fs.ErrPermission) {
		return failf(exitDenied, "run it as the user whose folder that is, or with a folder of your own: --dir", "cannot run instance %q: %w", d.cfg.Instance, err)
	}
	if held, ok := errors.AsType[*process.HeldError](err); ok {
		return failf(exitHeldBy, "see it with "+d.g.commandLine("status")+"; for a second etcd on this host use -i NAME",
			"cannot run instance %q: etcdsup already runs for it: %w", d.cfg.Instance, held)
	}
	if err != nil {
		return err
	}
	d.lock = lock
	d.onClose(func() { _ = lock.Close() })
	return nil
}

func (d *daemon) lockPath() string { return lockPath(d.cfg) }

func lockPath(c *config.Config) string { return filepath.Join(c.StateDir(), "lock") }

// forkWait is how long a child that a killed etcdsup had just forked may hold that etcdsup's lock: until its exec.
const forkWait = 500 * time.Millisecond

// lockSoon locks, and gives up only when the lock has been held for all of forkWait.
func lockSoon(take func(string) (*os.File, error), path string) (*os.File, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(forkWait); ; <-tick.C {
		lock, err := take(path)
		if _, held := errors.AsType[*process.HeldError](err); !held || time.Now().After(deadline) {
			return lock, err
		}
	}
}

func (d *daemon) tellLoaded(l supervisor.Loaded) {
	if l.Aside != "" {
		d.log.Warn("record unreadable", zap.String("set-aside", l.Aside))
	}
	if l.Unkept != nil {
		d.log.Warn("token not saved", zap.Error(l.Unkept))
	}
	if l.Copied {
		d.log.Warn("state folder is a copy", zap.String("folder", d.cfg.StateDir()))
	}
	if l.Bad > 0 {
		d.log.Warn("history lines unreadable", zap.Int("lines", l.Bad))
	}
}

// running is a living etcd to be taken over.
type running struct {
	proc *process.Proc
	run  supervisor.Run
}

// findRunning looks for an etcd that an earlier etcdsup started: the one on record, or one that was started so
// shortly before a kill that no record knows it. A foreign process on the data directory is an error.
func (d *daemon) findRunning(rec supervisor.Record) (*running, error) {
	if rec.Run != nil {
		if p, err := process.Adopt(rec.Run.ID); err == nil {
			return &running{proc: p, run: *rec.Run}, nil
		} else if !errors.Is(err, process.ErrGone) {
			return nil, err
		}
	}
	if isDataGone(d.cfg) {
		return nil, nil // there is nothing to lock; the start says what is missing
	}
	lock, err := process.LockDir(d.cfg.DataDir())
	held, isHeld := errors.AsType[*process.HeldError](err)
	switch {
	case err == nil:
		d.startLock = lock
		d.onClose(func() { _ = lock.Close() })
		return nil, nil
	case !isHeld:
		return nil, err
	}
	for _, a := range process.FindHolders(d.cfg.DataDir(), rec.Token) {
		if p, err := process.Adopt(a.ID); err == nil {
			d.log.Warn("etcd not on record", zap.Int("pid", a.ID.PID), zap.String("command", a.Command))
			return &running{proc: p, run: d.foundRun(a.ID)}, nil
		}
	}
	return nil, failf(exitHeldBy, "stop that process first, or name another data directory",
		"cannot supervise an etcd on %s: %w", d.cfg.DataDir(), held)
}

// foundRun is the run of an etcd that is not on record.
func (d *daemon) foundRun(id process.ID) supervisor.Run {
	run := supervisor.FoundRun(id)
	if d.cfg.Health.Metrics != "" {
		run.Metrics = d.cfg.Health.Metrics
	}
	return run
}

// checkLater is how long after etcdsup's own start the host is asked what nobody has to wait for.
const checkLater = 5 * time.Second

// tellFaults asks the host what the file alone cannot tell, and only says it: an etcd that was taken over must be
// looked after in any case, and the next start will be refused by itself. It is not done on the way to the start or the
// take-over, because it runs the binary, which takes longer than all the rest.
func (d *daemon) tellFaults(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(checkLater):
	}
	var faults config.Problems
	if d.adopted != 0 { // else it was checked before the start
		faults = config.Check(ctx, d.cfg, builtinRunner())
	}
	further := faultsOf(ctx, d.cfg)
	if ctx.Err() != nil {
		return // the check was broken off, and what it found may be due to that
	}
	for _, f := range faults {
		d.log.Warn("configuration fault", zap.String("key", f.Key), zap.String("what", f.What), zap.String("remedy", f.Remedy))
	}
	d.logFaults(further)
}

// openMachine opens the pipe, the log and the cage.
func (d *daemon) openMachine(rec supervisor.Record, run *running) error {
	d.token = rec.Token
	if err := process.BecomeSubreaper(); err != nil {
		d.log.Warn("orphans are not reaped", zap.Error(err))
	}
	pipe, err := d.openSink(run)
	if err != nil {
		return err
	}
	d.onClose(func() { _ = d.sink.Close() })
	d.waits.Go(d.tellLogEvents) // ends with the sink
	cage, err := process.NewCage(cageSpec(d.cfg, rec, run))
	if err != nil {
		d.log.Warn("no cgroup", zap.Error(err))
	}
	d.onClose(cage.Close)
	d.machine = &supervisor.Machine{
		Config: d.cfg, Output: output{d.sink}, Pipe: []*os.File{pipe.FIFO, pipe.Ledger}, Cage: cage,
		Asker: newAsker(d.cfg), Notify: d.cfg.NotifySocket(), Getenv: os.LookupEnv, Telling: telling,
		Marks: d.openMarks(), Peers: d.peersSay, Unfit: unfit,
		Version: func(c *config.Config) string { v, _ := etcdVersion(context.Background(), c); return v }, // unknown fits anything
	}
	return d.chooseBinary(run)
}

// openMarks reads what is known of the member in the data directory.
func (d *daemon) openMarks() *supervisor.Marks {
	marks, aside, err := supervisor.OpenMarks(d.cfg.StateDir())
	if aside != "" {
		d.log.Warn("mark unreadable", zap.String("set-aside", aside))
	}
	if err != nil {
		d.log.Error("mark not read", zap.Error(err))
	}
	return marks
}

func (d *daemon) chooseBinary(run *running) (err error) {
	m := d.machine
	if m.Binary, m.Argv0, err = chosenBinary(d.cfg); err != nil {
		return err
	}
	d.onClose(m.Close)
	if run != nil {
		if run.run.Binary == m.Argv0 { // as it was found, by the name that it was given
			run.run.Binary = m.Binary
		}
		return m.Adopt(run.proc, run.run)
	}
	if d.startLock == nil {
		return nil
	}
	return m.UseLock(d.startLock)
}

// chosenBinary is what is to be executed, and under which name.
func chosenBinary(c *config.Config) (path, argv0 string, err error) {
	if c.Etcd.Binary != "" {
		return c.Etcd.Binary, c.Etcd.Binary, nil
	}
	path, err = supervisor.PrepareBuiltin(c.RunDir())
	return path, "etcd", err
}

func cageSpec(c *config.Config, rec supervisor.Record, run *running) process.CageSpec {
	spec := process.CageSpec{Instance: c.Instance, Token: rec.Token}
	if rec.Run != nil {
		spec.Cgroup = rec.Run.Cgroup
		if run == nil {
			spec.Child, spec.Seen = rec.Run.ID, rec.SavedAt
		}
	}
	return spec
}

// openPipe makes the pipe for etcd's output, or goes on with the one that a living etcd writes to.
func (d *daemon) openPipe(run *running) (*logsink.Pipe, error) {
	if run == nil {
		return d.keptOrNewPipe()
	}
	pid := run.run.ID.PID
	pipe, err := logsink.RecoverPipe(pid)
	if errors.Is(err, logsink.ErrNoLedger) {
		d.log.Warn("log ledger not recovered", zap.Error(err))
		pipe, err = logsink.RecoverFIFO(pid, int64(d.cfg.Log.Buffer))
	}
	if err != nil {
		// Better an etcd that is watched without its log than one that nobody watches.
		d.log.Error("output of the running etcd not recovered", zap.Error(err))
		return d.keptOrNewPipe()
	}
	return pipe, nil
}

// openSink goes on with the sink that runs already, or starts one.
func (d *daemon) openSink(run *running) (*logsink.Pipe, error) {
	if pipe, err := d.inheritSink(); pipe != nil || err != nil {
		return pipe, err
	}
	pipe, err := d.openPipe(run)
	if err == nil {
		d.keepPipe(pipe)
		d.sink, err = d.startSink(pipe)
	}
	return pipe, err
}

// sinkPatience is how long a killed etcdsup's last write to a stuck log disk is waited for. Nothing else may write
// to the log meanwhile; etcd's output waits in the pipe.
const sinkPatience = time.Minute

func (d *daemon) startSink(pipe *logsink.Pipe) (*logsink.Sink, error) {
	for began := time.Now(); ; {
		s, err := logsink.Start(pipe, logOptions(d.cfg))
		if !errors.Is(err, logsink.ErrBusy) || time.Since(began) > sinkPatience {
			return s, err
		}
		d.log.Warn("log still held by an etcdsup that ended", zap.Error(err), zap.Duration("tried-for", time.Since(began).Round(time.Second)))
	}
}

func logOptions(c *config.Config) logsink.Options {
	l := c.Log
	return logsink.Options{
		File: filepath.Join(l.Dir, etcdLogFile), MaxSize: int64(l.MaxSize), RotateEvery: l.RotateEvery, KeepFiles: l.KeepFiles,
		KeepFor: l.KeepFor, KeepTotal: int64(l.KeepTotal), Compress: l.Compress, Sync: l.Sync, MaxWait: l.MaxWait,
	}
}

func (d *daemon) sinkFile() string { return logOptions(d.cfg).File }

// openLoop makes the loop with what it begins with.
func (d *daemon) openLoop(files *supervisor.Files, loaded supervisor.Loaded, run *running) error {
	rec := loaded.Record
	begin := supervisor.Start{Record: loaded.Record, Seq: loaded.Seq}
	switch {
	case run != nil:
		d.adopted = run.run.ID.PID
		begin.Child, begin.Ready = supervisor.AdoptChild(run.proc, run.run), run.run.Ready
		begin.Outlived = d.g.handed.open() && run.proc.Child()
		d.log.Info("etcd taken over", zap.Int("pid", run.run.ID.PID), zap.Time("started", run.run.Started), zap.Bool("child", run.proc.Child()))
	case rec.Run != nil && rec.Run.ID.BootID == process.BootID():
		begin.Lost = lostExit(*rec.Run)
	}
	var err error
	if d.notify, err = d.openNotify(); err != nil {
		return err
	}
	d.onClose(func() { _ = d.notify.Close() })
	begin.Upgrade = d.lastUpgrade()
	ear := &entry{what: "notify socket", log: d.log, remake: d.notify.Remake}
	d.machine.Listens = ear.look
	d.trim = newTrimmer(&ownHeap{})
	d.onClose(d.trim.stop)
	begin.Alarm = restful{d.quietAlarm(), d.trim.shed}
	begin.Moved = d.trim.moved
	begin.Heart, begin.Shown = d.manager.heart(), d.manager.shown
	d.loop = supervisor.New(d.machine, files, d.log, d.settings(d.cfg), begin, process.BootID(), process.BootTime)
	return nil
}

// quietAlarm is an alarm that wakes us as little as can be, or at least an alarm.
func (d *daemon) quietAlarm() supervisor.Alarm {
	alarm, err := supervisor.NewQuietAlarm()
	if err != nil {
		d.log.Warn("alarms cost more wake-ups", zap.Error(err))
		return supervisor.NewAlarm()
	}
	return alarm
}

// lostExit is the death of an etcd that nobody saw.
func lostExit(run supervisor.Run) *status.Exit {
	now := time.Now()
	return &status.Exit{
		PID: run.ID.PID, Started: run.Started, Ended: now, Ran: now.Sub(run.Started), Ready: run.Ready, Unknown: true,
		Cause: status.CauseUnknown, Detail: "ended while no etcdsup was there to see it",
	}
}

// reapEvery is how long a dead orphan of etcd's may stay a zombie.
const reapEvery = time.Minute

func (d *daemon) reapOrphans(alarm supervisor.Alarm) {
	process.ReapWhenever(func() bool {
		alarm.Set(reapEvery)
		d.door.look()
		d.machine.Listens()
		d.trim.woken()
		return alarm.Wait()
	}, nil)
}

// serve runs the loop, the socket and the signals until the loop has ended.
func (d *daemon) serve(ctx context.Context) error {
	ln, err := d.listen()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	d.life = ctx
	defer d.waits.Wait()
	defer d.stopSink()
	defer cancel()
	orphans := d.quietAlarm()
	defer orphans.Close()
	d.waits.Go(func() { d.reapOrphans(orphans) })         // ends with the alarm
	d.waits.Go(func() { d.notify.Read(d.loop.Notified) }) // ends when the socket is closed
	defer func() { _ = d.notify.Close() }()
	d.exec.life = ctx
	d.waits.Go(func() { d.obeySignals(ctx) })
	d.beginServing(ln)
	d.waits.Go(func() { d.settle(ctx) }) // ends when it is said that we supervise, or with ctx
	d.waits.Go(func() { d.exec.run(ctx) })
	d.waits.Go(func() { d.exec.publish(ctx, d.loop.ShowJob) })
	d.waits.Go(func() { d.tellFaults(ctx) }) // ends when it has told, or with ctx
	d.loop.Run(context.WithoutCancel(ctx))
	d.log.Info("etcdsup ends", zap.String("goal", string(d.loop.Status().Goal)))
	return nil
}

// stopSink lets all that etcd wrote reach the log before the sink is closed.
func (d *daemon) stopSink() {
	if err := drainAll(d.sink.Drain, func() uint64 { return d.sink.Stats().Written }); err != nil {
		d.log.Warn("log not complete", zap.Error(err), zap.Int64("buffered", d.sink.Stats().Buffered))
	}
	_ = d.sink.Close()
}

// beginServing has the socket answered until endServing, or until the daemon's life ends.
func (d *daemon) beginServing(ln *control.Listener) {
	d.door.open(&entry{what: "control socket", log: d.log, remake: ln.Remake})
	ctx, cancel := context.WithCancel(d.life)
	done := make(chan struct{})
	d.listener, d.endServing = ln, func() {
		cancel()
		<-done
	}
	d.waits.Go(func() {
		defer close(done)
		defer cancel()
		d.serveControl(ctx, ln)
	})
}

// serveControl answers on the socket until ctx ends. Who asks earlier than there is something to say waits.
func (d *daemon) serveControl(ctx context.Context, ln net.Listener) {
	select {
	case <-d.loop.Begun():
		d.tellSupervised()
	case <-ctx.Done():
	}
	access := control.Access{UID: os.Geteuid(), Group: d.cfg.Control.Group}
	if err := control.Serve(ctx, ln, d, access); err != nil {
		d.log.Error("control socket failed", zap.Error(err))
	}
}

// catchSignals makes signals wait for obeySignals. From the moment that anybody can know of us, none of them may do what
// it does by default: end us and leave etcd to itself.
func (d *daemon) catchSignals() {
	if d.signals = relay.Caught; d.signals == nil {
		d.signals = make(chan os.Signal, 2*len(relay.Signals))
		signal.Notify(d.signals, relay.Signals...)
	}
	d.onClose(func() { signal.Stop(d.signals) })
	// Nobody reads this one: SIGPIPE is to do nothing. Whoever read our output is gone then; the log is a file too.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	d.onClose(func() { signal.Stop(pipe) })
}

// obeySignals carries out what signals ask for, until ctx ends.
func (d *daemon) obeySignals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-d.signals:
			d.log.Info("signal", zap.String("signal", s.String()))
			d.obeying.Store(true)
			d.obeySignal(ctx, s)
			d.obeying.Store(false)
		}
	}
}

func (d *daemon) obeySignal(ctx context.Context, s os.Signal) {
	var err error
	switch s {
	case syscall.SIGUSR1:
		err = d.RotateLog(ctx)
	case syscall.SIGHUP:
		_, err = d.Reload(ctx)
	default:
		d.leave()
		err = d.loop.Leave(ctx)
	}
	if err != nil {
		d.log.Warn("signal not obeyed", zap.String("signal", s.String()), zap.Error(err))
	}
}

// tellLogEvents writes what happens to etcd's log into our own.
func (d *daemon) tellLogEvents() {
	for e := range d.sink.Events() {
		fields := []zap.Field{zap.String("path", e.Path)}
		if e.Bytes > 0 || e.Lines > 0 {
			fields = append(fields, zap.Uint64("bytes", e.Bytes), zap.Uint64("lines", e.Lines))
		}
		level := zap.InfoLevel
		if e.Err != nil {
			level, fields = zap.WarnLevel, append(fields, zap.Error(e.Err))
		}
		d.log.Log(level, string(e.Kind), fields...)
	}
}
