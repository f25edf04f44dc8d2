package supervisor

import (
	"cmp"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// state is where the process is; the users' words for it are status.State, see word.
type state uint8

const (
	down         state = iota
	launching          // fork and exec are under way
	starting           // process lives, not ready
	waiting            // process answers, no leader is known
	ready              // serving
	silent             // was ready or waiting, probes go unanswered
	transferring       // stopping: leadership is being handed over
	terminating        // stopping: SIGTERM sent
	quitting           // stopping: SIGQUIT sent
	killing            // stopping: SIGKILL sent
	sweeping           // etcd is dead, its leftovers are being ended
	backoff            // the next start waits
	held               // no start by ourselves
	gone               // the loop has nothing left to do
	states
)

// input is what can happen to the machine.
type input uint8

const (
	doStart input = iota // commands
	doStop
	doRestart
	doLeave      // etcdsup itself shall end: stop etcd, keep the goal
	launched     // fork and exec succeeded
	launchFailed // they did not
	adopted      // a living etcd of an etcdsup before us was taken over
	found        // at our start: none lives
	died         // the process ended
	notified     // READY=1
	serving      // probe: answers, leader known
	noQuorum     // probe: answers, no leader
	unanswered   // probe: three or more in a row without answer
	hung         // no answer and no progress for too long
	foreign      // etcd runs, but is not the member that is on record
	transferred  // leadership is with somebody else, or that cannot be had
	swept        // no leftover lives
	sweepFailed  // some still do
	deadline     // the state's one deadline
	inputs
)

// event is an input with what came along.
type event struct {
	in    input
	now   time.Duration // boot clock
	exit  status.Exit   // died, launchFailed
	hold  bool          // launchFailed: trying again by ourselves is no use soon
	ready bool          // adopted: it had been ready
	fresh bool          // found: the etcdsup before us was told to end, or there was none: this start is asked for
	why   string        // one sentence, for hung, foreign, transferred, adopted
	next  string        // launchFailed, foreign: the next safe command; empty: the usual one
}

// effect is what the machine wants done. The loop does it.
type effect struct {
	do    doing
	sig   unix.Signal
	after time.Duration // setDeadline
	why   string
}

type doing uint8

const (
	doLaunch doing = iota
	doSignal
	doTransfer
	doSweep
	setDeadline
	clearDeadline
	doMourn  // the death is final: write it down
	doReady  // ready was reached
	doQuit   // the loop ends
	doReport // a cell that should not have been reached
)

// policy is the part of the configuration that the machine decides by.
type policy struct {
	restart      restartPolicy
	readyAtOnce  bool // a stand-in that does not notify
	transfer     time.Duration
	grace        time.Duration
	dump         time.Duration
	killAgain    time.Duration
	sweepAgain   time.Duration
	heldRetry    time.Duration
	randomFactor func() float64 // in [-1, 1), for jitter
}

// machine is the whole decision-making state of one supervised etcd. It is a value: step returns the next one.
type machine struct {
	is      state
	goal    status.Goal // what was last asked for
	again   bool        // start once more after this stop
	leaving bool        // etcdsup itself is to end
	p       policy

	notified   bool // READY=1 came from this process
	wasReady   bool // this process has been ready
	isAdopted  bool
	wasHung    bool
	stranger   string        // one sentence: why this process is not who should run here; empty: it is
	readySince time.Duration // boot clock; valid in ready
	budget     budget
	counted    bool          // the start under way has been counted in it
	delay      time.Duration // chosen for the next start
	slow       bool          // the next start is to be held
	retry      bool          // and tried again slowly, since that cannot harm
	then       string        // the next safe command while it is held; empty: the usual one
	verdict    string        // one sentence: what was decided about the last death
	reason     string        // one sentence: why it is in this state
	next       string        // the next safe command, if any
	effects    []effect
}

// action is one cell of the table.
type action func(*machine, event)

// step takes one event and returns the machine after it with what is to be done, in order.
func (m machine) step(e event) (machine, []effect) {
	m.effects = nil
	table[m.is][e.in](&m, e)
	done := m.effects
	m.effects = nil
	return m, done
}

func (m *machine) emit(e effect) { m.effects = append(m.effects, e) }

// enter moves to a state. A state has at most one deadline; entering clears the one before.
func (m *machine) enter(s state, reason string) {
	m.is, m.reason, m.next = s, reason, ""
	m.emit(effect{do: clearDeadline})
}

func (m *machine) within(d time.Duration) { m.emit(effect{do: setDeadline, after: d}) }

// The actions. Each is named for what it does; "nothing" is a decision, "never" a mistake that the loop reports.

func nothing(*machine, event) {}

func never(m *machine, e event) {
	m.emit(effect{do: doReport, why: fmt.Sprintf("input %d in state %d", e.in, m.is)})
}

// launch is a start by ourselves: it counts.
func launch(m *machine, e event) {
	m.budget = m.budget.started(e.now)
	fork(m, e)
	m.counted = true
}

// fork is a start that somebody asked for, and what every start does.
func fork(m *machine, _ event) {
	m.goal, m.again, m.slow, m.delay, m.counted = status.GoalUp, false, false, 0, false
	m.notified, m.wasReady, m.isAdopted, m.wasHung, m.stranger = false, false, false, false, ""
	m.enter(launching, "etcd is being started")
	m.emit(effect{do: doLaunch})
}

// command is a start or restart by a person: it ends a wait and forgives the deaths before it.
func command(m *machine, e event) {
	m.budget.streak, m.budget.lastDelay = 0, 0
	fork(m, e)
}

func alive(m *machine, e event) {
	if m.goal == status.GoalDown || m.leaving {
		m.enter(starting, "started, and to be stopped at once")
		beginStop(m, e)
		return
	}
	if m.p.readyAtOnce {
		becomeReady(m, e)
		return
	}
	m.enter(starting, "started; etcd has not said READY yet")
}

func adopt(m *machine, e event) {
	m.isAdopted, m.notified, m.wasReady = true, true, e.ready
	m.readySince = e.now
	m.enter(starting, e.why+"; its health is being asked")
	if m.goal == status.GoalDown {
		beginStop(m, e)
		return
	}
	if m.p.readyAtOnce {
		becomeReady(m, e)
	}
}

// begin is what happens at our own start when no etcd lives.
func begin(m *machine, e event) {
	if e.exit.Cause != "" { // the etcd on record died while no etcdsup was there
		m.emit(effect{do: doMourn})
		decide(m, e)
		proceed(m, e)
		return
	}
	if m.goal == status.GoalDown {
		m.enter(down, "stopped by command")
		m.next = "etcdsup start"
		return
	}
	if e.fresh {
		fork(m, e)
		return
	}
	if wait := m.budget.wait(m.p.restart, e.now); wait > 0 {
		pause(m, wait, budgetReason(m.p.restart))
		return
	}
	launch(m, e)
}

func hear(m *machine, _ event) {
	m.notified = true
	m.reason = "etcd said READY; a health answer is to confirm it"
}

// confirm makes it ready once both have come: etcd's own word and a health answer.
func confirm(m *machine, e event) {
	switch {
	case m.notified:
		becomeReady(m, e)
	case m.is != starting:
		m.enter(starting, "a leader is known; etcd has not said READY yet")
	}
}

func becomeReady(m *machine, e event) {
	first := !m.wasReady
	m.wasReady, m.readySince = true, e.now
	m.enter(ready, "etcd serves")
	if first {
		m.emit(effect{do: doReady})
	}
}

func waitForQuorum(m *machine, e event) {
	leaveReady(m, e)
	m.enter(waiting, "etcd lives and waits for a majority of its cluster; restarting it would not help")
	m.next = "start the other members; where a majority is lost for good: etcdsup mode force-new-cluster"
}

func losePulse(m *machine, e event) {
	leaveReady(m, e)
	m.enter(silent, "health probes go unanswered; it is left alone as long as it makes progress")
	m.next = "etcdsup logs -n 50"
}

// leaveReady credits the time it was ready: enough of it and the next death is a first one again.
func leaveReady(m *machine, e event) {
	if m.is == ready {
		m.budget = m.budget.readyFor(m.p.restart, e.now-m.readySince)
	}
}

func stop(m *machine, e event)    { m.goal, m.again = status.GoalDown, false; beginStop(m, e) }
func restart(m *machine, e event) { wishUp(m, e); beginStop(m, e) }
func leave(m *machine, e event)   { m.leaving = true; beginStop(m, e) }

func beginStop(m *machine, e event) {
	handOver := m.is == ready && m.p.transfer > 0
	leaveReady(m, e)
	if !handOver {
		terminate(m, e)
		return
	}
	m.enter(transferring, "being stopped: leadership is handed over first")
	m.within(m.p.transfer)
	m.emit(effect{do: doTransfer})
}

func terminate(m *machine, _ event) {
	m.enter(terminating, fmt.Sprintf("being stopped: SIGTERM sent, %v to end by itself", m.p.grace))
	m.within(m.p.grace)
	m.emit(effect{do: doSignal, sig: unix.SIGTERM})
}

func quit(m *machine, _ event) {
	m.enter(quitting, fmt.Sprintf("did not end within %v of SIGTERM: SIGQUIT sent for its stack dump", m.p.grace))
	m.within(m.p.dump)
	m.emit(effect{do: doSignal, sig: unix.SIGQUIT})
}

func giveUpOnHung(m *machine, e event) {
	leaveReady(m, e)
	m.wasHung = true
	m.enter(quitting, e.why)
	m.within(m.p.dump)
	// A stopped process takes no signal but SIGKILL and SIGCONT: wake it, so that it can write its stacks.
	m.emit(effect{do: doSignal, sig: unix.SIGQUIT})
	m.emit(effect{do: doSignal, sig: unix.SIGCONT})
}

// turnAway is for an etcd that came up as somebody else. It serves its clients another cluster's data, and its own cluster
// waits for it: it is stopped in order, and then held.
func turnAway(m *machine, e event) {
	leaveReady(m, e)
	m.stranger, m.then = e.why, e.next
	terminate(m, e)
	m.reason = e.why + ": it is being stopped"
}

func kill(m *machine, _ event) {
	m.enter(killing, "SIGKILL sent")
	m.within(m.p.killAgain)
	m.emit(effect{do: doSignal, sig: unix.SIGKILL})
}

// killAgain is for a process that outlives SIGKILL, as in an uninterruptible disk wait: nothing else may start meanwhile.
func killAgain(m *machine, e event) {
	kill(m, e)
	m.reason = "SIGKILL sent again: the process is stuck in the kernel, most likely waiting for a disk"
	m.next = "look at the disk of the data directory (dmesg)"
}

// The wishes that come while a stop is under way change what follows it.
func wishUp(m *machine, _ event) {
	m.goal, m.again = status.GoalUp, true
	m.budget.streak, m.budget.lastDelay = 0, 0 // a person's start forgives the deaths before it
}
func wishDown(m *machine, _ event)  { m.goal, m.again = status.GoalDown, false }
func wishLeave(m *machine, _ event) { m.leaving = true }

// endAsked is a death while a stop is under way: expected, whoever caused it.
func endAsked(m *machine, e event) {
	m.verdict = "it was to end"
	m.emit(effect{do: doMourn})
	switch {
	case m.goal != status.GoalUp || m.again:
	case m.wasHung:
		decide(m, e)
	case m.stranger != "":
		m.slow, m.retry, m.reason = true, true, m.stranger // the next start looks first, so that it cannot harm
	}
	sweep(m, e)
}

// endUnasked is a death that nobody asked for.
func endUnasked(m *machine, e event) {
	leaveReady(m, e)
	m.emit(effect{do: doMourn})
	decide(m, e)
	if m.isAdopted {
		// The start lock of an adopted etcd is not ours: a leftover of it may hold the lock still.
		sweep(m, e)
		return
	}
	proceed(m, e)
}

// decide chooses the wait before the next start, or that there is none.
func decide(m *machine, e event) {
	m.slow, m.retry, m.delay, m.then = false, e.hold, 0, cmp.Or(e.next, afterRemoval(e.exit))
	if e.exit.Cause == status.CauseIdentity || e.hold {
		m.slow, m.reason = true, e.exit.Detail
		m.verdict = "not started again by itself"
		return
	}
	m.budget, m.delay, m.reason = m.budget.died(m.p.restart, e.now, m.p.randomFactor())
	m.verdict = m.reason
}

// afterRemoval is what to do after an end as that of a removed member; empty: it was none.
func afterRemoval(x status.Exit) string {
	if x.Cause != status.CauseIdentity || x.Code == nil || *x.Code != 0 {
		return ""
	}
	return "etcdsup logs -n 50; if it was removed: " + nextRejoin
}

// proceed follows a death or a sweep: leave, stay down, hold, wait, or start.
func proceed(m *machine, e event) {
	switch {
	case m.leaving:
		finish(m, e)
	case m.goal == status.GoalDown:
		rest(m, e)
	case m.again:
		fork(m, e)
	case m.slow:
		hold(m, m.reason)
	case m.delay > 0:
		pause(m, m.delay, m.reason)
	default:
		launch(m, e)
	}
}

// failed is a start that came to nothing. One that is held was none: nothing was started.
func failed(m *machine, e event) {
	if e.hold && m.counted {
		m.budget, m.counted = m.budget.uncounted(), false
	}
	m.emit(effect{do: doMourn})
	decide(m, e)
	proceed(m, e)
}

func sweep(m *machine, _ event) {
	why := m.reason
	m.enter(sweeping, "etcd has ended; what it may have left behind is being ended")
	if m.delay > 0 || m.slow {
		m.reason = why // the reason for the wait that follows
	}
	m.emit(effect{do: doSweep})
}

func sweepLater(m *machine, _ event) {
	m.within(m.p.sweepAgain)
	m.next = "processes of etcd's do not die of SIGKILL: look at the disk (dmesg)"
}

func sweepNow(m *machine, _ event) { m.emit(effect{do: doSweep}) }

func pause(m *machine, d time.Duration, why string) {
	m.delay = d
	m.enter(backoff, why)
	m.next = "etcdsup logs -n 50; etcdsup start to try at once"
	m.within(d)
}

func hold(m *machine, why string) {
	m.enter(held, why)
	m.next = cmp.Or(m.then, "etcdsup logs -n 50, then etcdsup start")
	if m.retry {
		m.within(m.p.heldRetry)
	}
}

func rest(m *machine, _ event) {
	m.goal, m.again = status.GoalDown, false
	m.enter(down, "stopped by command")
	m.next = "etcdsup start"
}

func finish(m *machine, _ event) {
	m.leaving = true
	m.enter(gone, "etcdsup ends")
	m.emit(effect{do: doQuit})
}

// stay is a stop where no process is: only the wish changes.
func stay(m *machine, e event) { rest(m, e) }

// wishStart is a start or restart while one is under way already.
func wishStart(m *machine, _ event) { m.goal = status.GoalUp }
