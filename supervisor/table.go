package supervisor

import "github.com/etcdsup/etcdsup/supervisor/status"

// row is one state's answer to every input.
type row = [inputs]action

// table is the machine: rows are states, columns inputs. Every cell is filled; a test holds that.
//
// The four states with a living, wanted process share most of their cells, and so do the four of a stop.
var table = [states]row{
	down:         resting(row{doStop: nothing, deadline: never, found: begin, adopted: adopt}),
	launching:    busy(row{launched: alive, launchFailed: failed}),
	starting:     living(row{notified: hear, serving: confirm, noQuorum: waitForQuorum, unanswered: nothing}),
	waiting:      living(row{notified: hear, serving: confirm, noQuorum: nothing, unanswered: losePulse}),
	ready:        living(row{notified: nothing, serving: nothing, noQuorum: waitForQuorum, unanswered: losePulse}),
	silent:       living(row{notified: hear, serving: confirm, noQuorum: waitForQuorum, unanswered: nothing}),
	transferring: stopping(row{transferred: terminate, deadline: terminate}),
	terminating:  stopping(row{deadline: quit}),
	quitting:     stopping(row{deadline: kill}),
	killing:      stopping(row{deadline: killAgain}),
	sweeping:     stopping(row{deadline: sweepNow, swept: proceed, sweepFailed: sweepLater, died: never}),
	backoff:      resting(row{doStop: stay, deadline: launch}),
	held:         resting(row{doStop: stay, deadline: launch}),
	gone:         finished(),
}

// resting is a state without a process.
func resting(own row) row {
	return filled(own, row{doStart: command, doRestart: command, doLeave: finish})
}

// busy is the instant between the decision to start and the process.
func busy(own row) row {
	return filled(own, row{doStart: wishStart, doStop: wishDown, doRestart: wishStart, doLeave: wishLeave})
}

// living is a state with a process that is wanted.
func living(own row) row {
	return filled(own, row{
		doStart: nothing, doStop: stop, doRestart: restart, doLeave: leave,
		died: endUnasked, hung: giveUpOnHung, foreign: turnAway, transferred: nothing, deadline: never,
	})
}

// stopping is a state on the way to no process.
func stopping(own row) row {
	return filled(own, row{
		doStart: wishUp, doStop: wishDown, doRestart: wishUp, doLeave: wishLeave,
		died:     endAsked,
		notified: nothing, serving: nothing, noQuorum: nothing, unanswered: nothing, hung: nothing, foreign: nothing, transferred: nothing,
	})
}

// finished takes everything and does nothing.
func finished() row {
	var r row
	for i := range r {
		r[i] = nothing
	}
	return r
}

// filled completes own by shared. What neither names cannot happen, except for answers that come late:
// a probe, a notification or a hand-over may still be under way when the state has moved on.
func filled(own, shared row) row {
	late := row{notified: nothing, serving: nothing, noQuorum: nothing, unanswered: nothing, hung: nothing, foreign: nothing, transferred: nothing}
	for i := range own {
		for _, from := range []row{shared, late} {
			if own[i] == nil {
				own[i] = from[i]
			}
		}
		if own[i] == nil {
			own[i] = never
		}
	}
	return own
}

// word is the users' word for a state.
var word = [states]status.State{
	down: status.StateDown, launching: status.StateStarting, starting: status.StateStarting,
	waiting: status.StateWaiting, ready: status.StateReady, silent: status.StateSilent,
	transferring: status.StateStopping, terminating: status.StateStopping, quitting: status.StateStopping,
	killing: status.StateStopping, sweeping: status.StateStopping,
	backoff: status.StateBackoff, held: status.StateHeld, gone: status.StateDown,
}

// phase is the step of a stop that a state is.
var phase = map[state]status.StopPhase{
	transferring: status.StopTransfer, terminating: status.StopTerm, quitting: status.StopQuit,
	killing: status.StopKill, sweeping: status.StopSweep,
}
