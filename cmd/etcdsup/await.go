package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
	"github.com/spf13/cobra"
)

// order is a command to the daemon whose end is seen in the statuses that follow.
type order struct {
	verb    string // "start"
	ongoing string // "starting"
	send    func(*control.Client, context.Context) (*status.Status, error)
	// already tells that there is nothing to do, and what to say then.
	already func(*status.Status) (string, bool)
	// done tells that it is over; before is the status from before the order, nil when none is known.
	done func(st, before *status.Status) bool
	// success is what happened.
	success func(*status.Status) string
	timeout time.Duration
}

// patience is how long an order takes without a word to the person who waits.
const patience = 2 * time.Second

// orderOptions are the flags of the commands that send an order.
type orderOptions struct {
	timeout time.Duration
	noWait  bool
}

func (o *orderOptions) addFlags(cmd *cobra.Command, timeout time.Duration) {
	cmd.Flags().DurationVarP(&o.timeout, "timeout", "t", timeout, "give up waiting after this long, with exit code 4; the daemon goes on")
	cmd.Flags().BoolVar(&o.noWait, "no-wait", false, "return as soon as the daemon has accepted it")
}

// outcome is the JSON of an order.
type outcome struct {
	Result string         `json:"result"` // the sentence that people read
	Took   time.Duration  `json:"took_ns"`
	Status *status.Status `json:"status"`
}

func (g *globals) runOrder(ctx context.Context, o order, opts orderOptions) error {
	if opts.timeout <= 0 {
		return failf(exitUsage, "", "cannot wait for %v: --timeout must be above 0", opts.timeout)
	}
	t, err := g.target()
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	o.timeout = opts.timeout
	return t.carryOut(ctx, o, opts.noWait)
}

func (t *target) carryOut(ctx context.Context, o order, noWait bool) error {
	began := time.Now()
	before, err := t.client.Status(ctx, false)
	if err != nil {
		return t.explain(err)
	}
	changing := before.Job != nil && before.Job.Error == "" // the daemon answers then: it is not to stay as it is
	if text, ok := o.already(before); ok && !changing {
		return t.g.report(outcome{text, time.Since(began), before})
	}
	st, err := t.send(ctx, o)
	if err != nil {
		return t.explain(err)
	}
	if noWait {
		return t.g.report(outcome{fmt.Sprintf("%s accepted; see etcdsup status", o.verb), time.Since(began), st})
	}
	st, err = t.await(ctx, o, before, st)
	if err != nil {
		return err
	}
	return t.g.report(outcome{o.success(st), time.Since(began), st})
}

// send gives the order. One that could only not be written down is waited for as any other.
func (t *target) send(ctx context.Context, o order) (*status.Status, error) {
	st, err := o.send(t.client, ctx)
	if e, ok := errors.AsType[*control.Error](err); ok && e.Code == control.CodeUnkept {
		fmt.Fprint(t.g.err, inWords(e.Message, e.Remedy))
		return t.client.Status(ctx, false)
	}
	return st, err
}

func (g *globals) report(r outcome) error {
	if g.json() {
		return g.printJSON(r)
	}
	return g.print(fmt.Sprintf("%s (took %s)\n", r.Result, humanDuration(r.Took)))
}

// await follows the statuses until the order is done. before is from before the order, last came with its acceptance.
// Every way out of it but success is a *failure.
func (t *target) await(ctx context.Context, o order, before, last *status.Status) (*status.Status, error) {
	streamCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := t.client.Watch(streamCtx)
	if err != nil { // the order was accepted all the same
		return nil, t.waitBroken(o, nil, err)
	}
	p := t.g.newProgress(o.ongoing)
	defer p.end()
	deadline := time.NewTimer(o.timeout)
	defer deadline.Stop()
	began := time.Now()
	for {
		select {
		case st, ok := <-stream.C:
			if !ok {
				p.end()
				return nil, t.waitBroken(o, last, stream.Err())
			}
			last = st
			if o.done(st, before) {
				return st, nil
			}
			if st.State == status.StateHeld {
				p.end()
				return nil, heldFailure(o, st)
			}
			if keepsDying(st, before, began.Add(o.timeout)) {
				p.end()
				return nil, dyingFailure(o, st)
			}
			p.show(st)
		case <-p.tick():
			p.show(last)
		case <-deadline.C:
			p.end()
			return nil, timeoutFailure(o, last)
		}
	}
}

func (t *target) waitBroken(o order, last *status.Status, err error) error {
	if errors.Is(err, context.Canceled) {
		return failf(exitInterrupted, "etcdsup status --watch", "interrupted; the daemon goes on with the %s%s", o.verb, soFar(last))
	}
	return t.explain(fmt.Errorf("cannot see the end of the %s: %w", o.verb, err))
}

func heldFailure(o order, st *status.Status) error {
	text := fmt.Sprintf("cannot %s etcd", o.verb)
	if st.Reason != "" {
		text += ": " + printable(st.Reason)
	}
	f := failf(exitFailure, st.Next, "%s%s", text, lastLines(st))
	if f.remedy == "" {
		f.remedy = "see etcdsup status and etcdsup logs -n 50"
	}
	return f
}

// deathsTold is how many deaths in a row tell a person enough; the daemon goes on trying.
const deathsTold = 3

// keepsDying tells that etcd was started since the order and died, again and again, or with no next start in time.
func keepsDying(st, before *status.Status, deadline time.Time) bool {
	deaths := st.Restart.Count - before.Restart.Count
	return st.Goal == status.GoalUp && st.State == status.StateBackoff &&
		(deaths >= deathsTold || deaths > 0 && st.Restart.NextAt.After(deadline)) &&
		st.LastExit != nil && (st.LastExit.LastLines != nil || st.LastExit.PID == 0) // its last words have come in, or there are none
}

func dyingFailure(o order, st *status.Status) error {
	return failf(exitFailure, "mend that, then "+o.verb+" again; the daemon goes on trying; see etcdsup logs -n 50",
		"cannot %s etcd: it was started and ended %d times, %s%s", o.verb, st.Restart.Streak, exitText(st.LastExit), lastLines(st))
}

// lastLines are etcd's last words, which most often name the fault: the telling one, or else all that are kept.
func lastLines(st *status.Status) string {
	if st.LastExit == nil || len(st.LastExit.LastLines) == 0 {
		return ""
	}
	if said := st.LastExit.Said; said != "" {
		return "; it said: " + printable(said)
	}
	text := "; etcd's last lines:"
	for _, line := range st.LastExit.LastLines {
		text += "\n    " + printable(line)
	}
	return text
}

func timeoutFailure(o order, last *status.Status) error {
	if last != nil && last.State == status.StateWaiting && o.verb != "stop" {
		return failf(exitTimeout, "start etcd on the other members, or see etcdsup status there; nothing is to be done here",
			"etcd runs and waits for quorum since %s; it becomes ready by itself once enough members are up", humanDuration(time.Since(last.Since)))
	}
	return failf(exitTimeout, "the daemon goes on; see etcdsup status --watch",
		"the %s is not done after %s%s", o.verb, humanDuration(o.timeout), soFar(last))
}

func soFar(last *status.Status) string {
	if last == nil {
		return ""
	}
	return ": " + progressText(last, time.Now())
}

func restartDone(st, before *status.Status) bool {
	return st.Ready && st.Process != nil && !sameProcess(st.Process, before.Process)
}
