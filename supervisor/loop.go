// Package supervisor is the loop: it decides, from what happens to one etcd and from what people ask for, when it
// is started, stopped and left alone.
//
// The machine (machine.go, table.go, restart.go) is a value and decides; the Loop does. One goroutine owns all that
// changes; everybody else sends it an event or reads the last published status. Each other goroutine waits for
// one fact: watchDeath, tryLaunch, tryTransfer, trySweep, watchHealth, askMember, lastWords, scribe, paceHeart.
package supervisor

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Child is one living etcd.
type Child interface {
	Info() status.Process
	Run() *Run // what the record shall keep of it
	Signal(unix.Signal) error
	// Wait blocks until the process has ended. It is called once.
	Wait() status.Exit
	// Progress is a figure that changes whenever the process does anything, and whether it is stopped or traced.
	Progress() (Progress, error)
}

// Progress tells a hung process from a slow one.
type Progress struct {
	Work    uint64 // CPU ticks and bytes read and written, added up: any change is progress
	Traced  bool   // a debugger holds it: it is never judged
	Blocked bool   // in an uninterruptible disk wait: it cannot be killed, and is not judged
}

// Health is one probe's answer.
type Health struct {
	Answered bool
	Serving  bool
	Quorum   bool
	Detail   string
}

// LaunchError is a start that came to nothing.
type LaunchError struct {
	Err   error
	Cause status.Cause
	Hold  bool   // trying again soon is no use
	Code  string // of the decision not to start, see Decide; empty: there was none
	Next  string // the next safe command; empty: the usual one
}

func (e *LaunchError) Error() string { return e.Err.Error() }
func (e *LaunchError) Unwrap() error { return e.Err }

// Host is the world as the loop sees it. Each method may block; none is called from the loop's own goroutine,
// except Trim, which must not.
type Host interface {
	Launch() (Child, error)
	// Transfer hands leadership over where that is possible, and says in a sentence what came of it.
	Transfer(context.Context) string
	// Sweep ends all that etcd may have left behind and returns the PIDs that it could not.
	Sweep(context.Context) []int
	// Probe asks for health once, for at most the timeout of the settings. probing is false where there is nothing
	// to ask. The context is without a deadline: a timer for each probe would cost more wake-ups than the probe.
	Probe(context.Context, Child) (h Health, probing bool)
	// Member asks etcd who it is.
	Member(context.Context) (*status.Member, string, error)
	// LastWords are the last lines of etcd's output, once all of it has reached the log, and what the most telling
	// of them says; empty where none does.
	LastWords(context.Context, Run) (lines []string, said string)
	// Remember looks how far the etcd's data is, where that is due, and returns what has it written down; nil: nothing
	// is to be written. With a nil child etcd has just ended. The error is a *ForeignError where the data is not of the
	// member on record.
	Remember(Child) (save func() error, err error)
	// Pending names the settings that wait for a restart of etcd. It returns at once.
	Pending() []string
	// Log is what became of etcd's output so far. It returns at once.
	Log() status.Log
}

// Settings are the parts of the configuration that the loop itself goes by.
type Settings struct {
	Instance string
	Program  string // how a user types a command for this instance: "etcdsup -i events"
	Version  string
	Binary   string // path of our own executable, as it is installed
	Config   status.Config
	PID      int
	PeerURLs []string       // that the member is to be listed with; none: nobody cares
	Notices  []status.Fault // of the daemon's own, shown with the others

	Delay, MaxDelay, ResetAfter time.Duration
	Jitter                      float64
	PerHour                     int

	Transfer, Grace, Dump time.Duration

	ReadyAtOnce       bool
	Interval, Timeout time.Duration
	Hung              time.Duration
}

// Start is what the loop begins with.
type Start struct {
	Record Record
	Seq    uint64       // of the newest entry of the history
	Child  Child        // taken over; nil: none lives
	Lost   *status.Exit // the etcd on record ended while nobody watched
	Ready  bool         // the child taken over had been ready
	Alarm  Alarm        // paces the probes; nil: a Go timer
	Moved  func()       // called in the loop's goroutine at each change of state, and when etcd told who it is; may be nil
	Heart  Heart
	// Upgrade is the last replacement of etcdsup by another executable; nil: there was none. Outlived tells that Child
	// was taken over within such a one: by the very process that it is a child of.
	Upgrade  *status.Upgrade
	Outlived bool
	Shown    func(*status.Status) // called in the loop's goroutine with each status from Run on; it must not block; may be nil
}

// Loop supervises one etcd. Make it with New, run it with Run.
type Loop struct {
	host   Host
	keep   Keeper
	log    *zap.Logger
	set    Settings
	boot   func() time.Duration
	bootID string
	begin  Start

	commands chan order
	events   chan event
	facts    chan func() // results that change only what is shown
	pulse    chan struct{}
	begun    chan struct{}
	done     chan struct{}
	life     context.Context // ends with Run: so do all goroutines that it started, but for watchDeath
	endLife  context.CancelFunc

	published atomic.Pointer[status.Status]
	changed   atomic.Pointer[chan struct{}]

	// All below belongs to the goroutine of Run.
	m        machine
	child    Child
	since    time.Time
	deadline *time.Timer
	due      time.Time // wall clock, for people
	beaten   time.Time // the heart, last
	probe    prober
	member   *status.Member
	version  string
	lastExit *status.Exit
	count    int
	seq      uint64 // of the newest history entry
	token    string
	left     []int
	unmarked string  // why the mark could not be refreshed last
	holding  holding // the held start that was written down last
	noticed  []status.Fault
	mode     status.Mode // of the transition that job is of
	job      *status.Job
	asking   []chan<- memberAnswer
	notes    chan note
	trouble  chan error
	started  time.Time
	upgrade  *status.Upgrade
	mourning int // deaths whose last lines are still being gathered
}

// lastSave is how long the end waits for what is still to be written down.
const lastSave = 5 * time.Second

type order struct {
	in    input
	reply chan error
}

// New makes a loop. boot is the boot clock: it goes on during suspend and never jumps.
func New(h Host, k Keeper, log *zap.Logger, s Settings, begin Start, bootID string, boot func() time.Duration) *Loop {
	l := &Loop{
		host: h, keep: k, log: log, set: s, boot: boot, bootID: bootID, begin: begin,
		commands: make(chan order), events: make(chan event, 16), facts: make(chan func(), 4), pulse: make(chan struct{}), begun: make(chan struct{}), done: make(chan struct{}),
		notes: make(chan note, 256), trouble: make(chan error, 1), token: begin.Record.Token, count: begin.Record.Count, seq: begin.Seq, upgrade: begin.Upgrade,
	}
	if l.probe.alarm = begin.Alarm; l.probe.alarm == nil {
		l.probe.alarm = NewAlarm()
	}
	l.life, l.endLife = context.WithCancel(context.Background())
	first := make(chan struct{})
	l.changed.Store(&first)
	l.m = machine{goal: begin.Record.Goal, p: l.policy(), budget: begin.Record.budgetAt(bootID, boot())}
	l.publish()
	return l
}

// Status is the newest published status. It must not be changed.
func (l *Loop) Status() *status.Status { return l.published.Load() }

// Changed is closed at the next change of the status.
func (l *Loop) Changed() <-chan struct{} { return *l.changed.Load() }

// Begun is closed when the status tells of what there is. Before that it says that etcd is down, also of one that was just
// taken over.
func (l *Loop) Begun() <-chan struct{} { return l.begun }

// Done is closed when Run has ended.
func (l *Loop) Done() <-chan struct{} { return l.done }

// ErrEnding is the answer to a command that came too late.
var ErrEnding = errors.New("etcdsup is ending")

// Start has etcd up. Like Stop and Restart it returns when the goal is accepted and on disk; err then only says
// that it could not be kept, or that the loop is ending.
func (l *Loop) Start(ctx context.Context) error { return l.command(ctx, doStart) }

// Stop stops etcd and leaves nothing of it alive.
func (l *Loop) Stop(ctx context.Context) error { return l.command(ctx, doStop) }

// Restart stops etcd and starts it again.
func (l *Loop) Restart(ctx context.Context) error { return l.command(ctx, doRestart) }

// Leave stops etcd and ends the loop; what was asked for before stays the goal for the next start.
func (l *Loop) Leave(ctx context.Context) error { return l.command(ctx, doLeave) }

func (l *Loop) command(ctx context.Context, in input) error {
	c := order{in: in, reply: make(chan error, 1)}
	select {
	case l.commands <- c:
	case <-l.done:
		return ErrEnding
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Notified tells the loop that etcd said READY=1. pid is the sender's.
func (l *Loop) Notified(pid int) {
	l.show(func() {
		if l.child != nil && l.child.Info().PID == pid {
			l.handle(event{in: notified})
			l.probe.now()
		}
	})
}

// show runs f in the loop's goroutine, unless the loop has ended.
func (l *Loop) show(f func()) {
	select {
	case l.facts <- f:
	case <-l.done:
	}
}

// send delivers an event to the loop, unless it has ended.
func (l *Loop) send(e event) {
	select {
	case l.events <- e:
	case <-l.done:
	}
}

// Run supervises until Leave has been carried out, or until ctx ends: then it returns at once and leaves etcd
// running, for another etcdsup to take over.
func (l *Loop) Run(ctx context.Context) {
	defer close(l.done)
	defer l.endLife()
	written := make(chan struct{})
	go func() { // ends when notes is closed below
		defer close(written)
		scribe(l.keep, l.notes, l.trouble)
	}()
	defer func() {
		close(l.notes)
		select {
		case <-written:
		case <-time.After(lastSave): // a stuck disk must not keep etcdsup from ending
		}
	}()

	l.deadline = time.NewTimer(time.Hour)
	l.deadline.Stop()
	defer l.deadline.Stop()
	defer l.probe.alarm.Close()
	go l.watchHealth() // ends with the alarm
	defer l.startHeart()()

	l.started, l.since = time.Now(), time.Now()
	l.first()
	close(l.begun)
	for l.m.is != gone {
		l.beat()
		select {
		case e := <-l.events:
			l.handle(e)
		case c := <-l.commands:
			l.obey(c)
		case <-l.deadline.C:
			l.handle(event{in: deadline})
		case f := <-l.facts:
			f()
			l.publish()
		case err := <-l.trouble:
			l.log.Error("state not saved", zap.Error(err))
		case <-l.pulse:
		case <-ctx.Done():
			return
		}
	}
}

// first is the machine's first event.
func (l *Loop) first() {
	switch {
	case l.begin.Child != nil:
		l.child = l.begin.Child
		l.watch()
		l.probe.reset(l.child, time.Now())
		l.probe.told = true // to the etcdsup before us, if at all
		l.note(status.Event{Kind: status.EventAdopt, PID: l.child.Info().PID, Note: l.takenOver()})
		l.handle(event{in: adopted, ready: l.begin.Ready, why: l.takenOver()})
	case l.begin.Lost != nil:
		l.handle(event{in: found, exit: *l.begin.Lost})
	default:
		l.handle(event{in: found, fresh: l.begin.Record.Left || l.begin.Record.Version == 0})
	}
}

func (l *Loop) obey(c order) {
	l.holding = holding{} // whoever asks is answered, with the same words if need be
	l.log.Info("command", zap.String("command", commandName[c.in]), zap.String("state", string(word[l.m.is])))
	l.handle(event{in: c.in})
	l.save(c.reply)
}

var commandName = map[input]string{doStart: "start", doStop: "stop", doRestart: "restart", doLeave: "leave"}

// handle gives one event to the machine and does what it says.
func (l *Loop) handle(e event) {
	e.now = l.boot()
	before := l.m
	if e.in == died {
		e.exit = classify(e.exit, before)
	}
	var effects []effect
	l.m, effects = l.m.step(e)
	l.launchFirst(effects)
	for _, f := range effects {
		l.do(f, e)
	}
	if l.m.is != before.is {
		l.enterState(before, e)
		l.probe.pace(l.m.is, l.set.Interval)
		l.moved()
	}
	if l.m.is != before.is || l.m.goal != before.goal {
		l.save(nil)
	}
	l.publish()
}

// holding is a start that was held: why, and since when.
type holding struct {
	why   string
	since time.Time
}

// enterState takes note of a change of state. A held start that is looked at again, and is held for the same reason, has
// not changed: it neither begins anew nor is told again.
func (l *Loop) enterState(before machine, e event) {
	l.since = time.Now()
	switch {
	case before.is == held && e.in == deadline:
		return
	case l.m.is == held && l.holding.why == l.m.reason:
		l.since = l.holding.since
		return
	case l.m.is == held:
		l.holding = holding{why: l.m.reason, since: l.since}
	case l.child != nil:
		l.holding = holding{}
	}
	l.tellState(before.is)
}

// tellState logs a change of state that a user would see: a new word for it, or a new phase of a stop.
func (l *Loop) tellState(before state) {
	if word[before] == word[l.m.is] && phase[before] == phase[l.m.is] {
		return
	}
	fields := []zap.Field{zap.String("from", string(word[before])), zap.String("to", string(word[l.m.is])), zap.String("reason", l.m.reason)}
	if p := phase[l.m.is]; p != "" {
		fields = append(fields, zap.String("phase", string(p)))
	}
	if d := l.wait(); d > 0 {
		fields = append(fields, zap.Duration("wait", d))
	}
	l.log.Info("state", fields...)
}

func (l *Loop) moved() {
	if l.begin.Moved != nil {
		l.begin.Moved()
	}
}

// launchWait bounds how long a start has the processors to itself: an exec may wait for a disk.
const launchWait = 15 * time.Millisecond

// launchFirst makes a start overtake the logging and saving of what led to it, which would take the processor that the
// kernel has chosen for the new process: a restart is counted in microseconds.
func (l *Loop) launchFirst(effects []effect) {
	if !slices.ContainsFunc(effects, func(f effect) bool { return f.do == doLaunch }) {
		return
	}
	l.left = nil
	launched := make(chan struct{})
	go l.tryLaunch(launched)
	limit := time.NewTimer(launchWait)
	defer limit.Stop()
	select {
	case <-launched:
	case <-limit.C:
	}
}

// wait is the deadline of the present state; 0: it has none.
func (l *Loop) wait() time.Duration {
	if l.due.IsZero() {
		return 0
	}
	return time.Until(l.due).Round(time.Millisecond)
}

func (l *Loop) do(f effect, e event) {
	switch f.do {
	case doLaunch: // see launchFirst
	case doSignal:
		l.signal(f.sig)
	case doTransfer:
		go l.tryTransfer(l.set.Transfer)
	case doSweep:
		go l.trySweep()
	case setDeadline:
		l.deadline.Reset(f.after)
		l.due = time.Now().Add(f.after)
	case clearDeadline:
		l.deadline.Stop()
		l.due = time.Time{}
	case doMourn:
		l.mourn(e.exit, e.hold)
	case doReady:
		l.note(status.Event{Kind: status.EventReady, PID: l.child.Info().PID})
		go l.askMember(l.child)
	case doReport:
		l.log.DPanic("unexpected input", zap.String("cell", f.why))
	case doQuit:
	}
}

func (l *Loop) signal(sig unix.Signal) {
	if l.child == nil {
		return
	}
	pid := l.child.Info().PID
	if err := l.child.Signal(sig); err != nil && !errors.Is(err, unix.ESRCH) {
		l.log.Warn("signal not sent", zap.String("signal", unix.SignalName(sig)), zap.Int("pid", pid), zap.Error(err))
		return
	}
	l.log.Info("signal sent", zap.String("signal", unix.SignalName(sig)), zap.Int("pid", pid))
}

// mourn writes a death down, or a start that came to nothing. The last lines are gathered beside the next start, which
// must not wait for them. A start that is held is none, and is written down once for each reason.
func (l *Loop) mourn(x status.Exit, holds bool) {
	l.lastExit = &x
	var run Run
	if l.child != nil {
		run = *l.child.Run()
	}
	l.child, l.version = nil, ""
	l.member = nil
	if holds && l.holding.why == x.Detail {
		return
	}
	if !x.Asked && !holds {
		l.count++
	}
	kind := status.EventExit
	if x.PID == 0 {
		kind = status.EventFail
	}
	level := zap.WarnLevel
	if x.Asked {
		level = zap.InfoLevel
	}
	l.log.Log(level, "etcd ended", zap.Int("pid", x.PID), zap.Intp("code", x.Code), zap.String("signal", x.Signal),
		zap.String("cause", string(x.Cause)), zap.String("detail", x.Detail), zap.Duration("ran", x.Ran), zap.Bool("asked", x.Asked))
	l.mourning++
	go l.lastWords(status.Event{At: x.Ended, Kind: kind, PID: x.PID, Seq: l.nextSeq(), Note: l.m.verdict, Exit: &x}, run)
}

// nextSeq numbers an event at the time it happens: a death's entry is completed, and so written, later than the
// start that followed it.
func (l *Loop) nextSeq() uint64 {
	l.seq++
	return l.seq
}

// note adds an event to the history.
func (l *Loop) note(e status.Event) {
	if e.Seq == 0 {
		e.Seq = l.nextSeq()
	}
	if e.At.IsZero() {
		e.At = time.Now()
	}
	l.write(note{event: &e})
}

// save puts the present record on its way to disk; reply is told when it is there.
func (l *Loop) save(reply chan<- error) {
	r := l.record()
	l.write(note{record: &r, done: reply})
}

var errStateStuck = errors.New("cannot save what was asked for: the state folder's disk does not take writes; a reboot would not know of it")

// write hands a note to the scribe. It never waits: with the disk stuck, notes are given up, newest last.
func (l *Loop) write(n note) {
	select {
	case l.notes <- n:
	default:
		l.log.Error("state not saved", zap.Error(errStateStuck))
		if n.done != nil {
			n.done <- errStateStuck
		}
	}
}

func (l *Loop) record() Record {
	r := Record{
		Version: recordVersion, Left: l.m.is == gone, Command: l.set.Program, Token: l.token, Goal: l.m.goal, Count: l.count, Streak: l.m.budget.streak, LastDelay: l.m.budget.lastDelay,
		Starts: l.m.budget.lastHour(l.boot()), BootID: l.bootID, SavedAt: l.boot(),
	}
	if l.child != nil {
		run := *l.child.Run()
		run.Ready = l.m.wasReady
		r.Run = &run
	}
	return r
}

func (l *Loop) policy() policy {
	s := l.set
	return policy{
		restart:     restartPolicy{delay: s.Delay, maxDelay: s.MaxDelay, jitter: s.Jitter, resetAfter: s.ResetAfter, perHour: s.PerHour},
		readyAtOnce: s.ReadyAtOnce, transfer: s.Transfer, grace: s.Grace, dump: s.Dump,
		killAgain: 5 * time.Second, sweepAgain: 5 * time.Second, heldRetry: heldRetry,
		randomFactor: jitter,
	}
}
