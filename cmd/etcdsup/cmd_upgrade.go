package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// upgradeOptions are the flags of etcdsup upgrade.
type upgradeOptions struct {
	binary string
	all    bool
	within time.Duration
}

func newUpgradeCmd(g *globals) *cobra.Command {
	var opts upgradeOptions
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Replace the running etcdsup by another executable; etcd goes on",
		Long: `Replace the running etcdsup by another executable in the same process. etcd is not touched: it stays its child, and
nothing of its output is lost.

Without --binary the new one is the file at the path that etcdsup was started from, which may have been replaced. The new
one is first asked whether it can read the state and the configuration. If it then does not supervise in time, the old
one comes back by itself, and this command says why, with exit code 13. The path holds the old executable until the new
one has proved itself; afterwards the old one is beside it, as etcdsup.previous.

With --all every etcdsup that runs on this host is replaced; where none runs there is nothing to do.`,
		Example: `  etcdsup upgrade --binary /root/etcdsup-1.3
  etcdsup upgrade                     the file at its path was replaced
  etcdsup.previous upgrade --all      what a package does`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return g.upgrade(cmd.Context(), opts) },
	}
	f := cmd.Flags()
	f.StringVarP(&opts.binary, "binary", "b", "", "the new executable (default: what is now at the path of the running one)")
	f.BoolVar(&opts.all, "all", false, "every etcdsup that runs on this host")
	f.DurationVar(&opts.within, "within", control.UpgradeWithin, "time for the new one to answer, and then to supervise")
	mustRegister(cmd.MarkFlagFilename("binary"))
	return cmd
}

// upgraded is what came of one instance, as JSON.
type upgraded struct {
	Instance string          `json:"instance"`
	Result   string          `json:"result"` // in a sentence
	Upgrade  *status.Upgrade `json:"upgrade,omitempty"`
}

func (g *globals) upgrade(ctx context.Context, opts upgradeOptions) error {
	if opts.within <= 0 || opts.within > control.MaxUpgradeWithin {
		return failf(exitUsage, "give a time of at most "+control.MaxUpgradeWithin.String()+", such as 10s", "cannot wait %v for the new etcdsup", opts.within)
	}
	t, err := g.target()
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	running, err := t.running(ctx, opts.all)
	if err != nil {
		return err
	}
	done := make([]upgraded, 0, len(running))
	for _, group := range byPath(running) {
		all, err := g.upgradeGroup(ctx, group, opts)
		if err != nil {
			return errors.Join(g.printSome(done), err)
		}
		done = append(done, all...)
	}
	return g.printUpgrades(done)
}

// printSome tells of those with another executable, which keep the new one although a later upgrade has failed.
func (g *globals) printSome(done []upgraded) error {
	if len(done) == 0 {
		return nil
	}
	return g.printUpgrades(done)
}

func (g *globals) printUpgrades(done []upgraded) error {
	if g.json() {
		return g.printJSON(done)
	}
	var b strings.Builder
	for _, u := range done {
		fmt.Fprintf(&b, "%s: %s\n", u.Instance, u.Result)
	}
	if len(done) == 0 {
		b.WriteString("no etcdsup runs on this host: nothing to replace\n")
	}
	return g.print(b.String())
}

// runningDaemon is one running etcdsup.
type runningDaemon struct {
	client *control.Client
	st     *status.Status
}

// running are the daemons that are meant. With all, none is no error.
func (t *target) running(ctx context.Context, all bool) ([]runningDaemon, error) {
	if !all {
		st, err := t.client.Status(ctx, false)
		if err != nil {
			return nil, t.explain(err)
		}
		return []runningDaemon{{t.client, st}}, nil
	}
	var found []runningDaemon
	for _, socket := range sortedSockets(t.cfg) {
		c := control.NewClient(socket)
		st, err := c.Status(ctx, false)
		switch {
		case errors.Is(err, control.ErrNoDaemon):
		case err != nil:
			return nil, t.explain(err)
		default:
			found = append(found, runningDaemon{c, st})
		}
	}
	return found, nil
}

// upgradeGroup replaces all that were started from one path.
func (g *globals) upgradeGroup(ctx context.Context, group []runningDaemon, opts upgradeOptions) (done []upgraded, err error) {
	first := max(0, slices.IndexFunc(group, func(r runningDaemon) bool {
		return !sameProgram(exeOf(r.st.Supervisor.PID), r.st.Supervisor.Binary)
	}))
	lock, err := lockPlace(group[first].st.Supervisor.Binary)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	place, err := stage(group[first].st.Supervisor, opts.binary)
	if err != nil {
		return nil, err
	}
	for i, r := range group {
		one, err := g.upgradeOne(ctx, r, place, opts.within)
		if err != nil {
			return nil, errors.Join(err, g.takeBack(ctx, group[:i], place, opts.within))
		}
		done = append(done, *one)
	}
	if err := place.finish(); err != nil { // before anything is waited for: whoever starts etcdsup meanwhile gets what runs
		return done, err
	}
	for i, r := range group {
		if r.st.Ready && done[i].Upgrade != nil {
			awaitReadyAgain(ctx, r.client)
		}
	}
	return done, nil
}

// takeBack has those that run the new executable run the old one again: what did not do for one is not to stay with
// the others, whose next start would be another one than theirs.
func (g *globals) takeBack(ctx context.Context, group []runningDaemon, place *staged, within time.Duration) error {
	old := &staged{path: place.path, next: place.path, given: place.path}
	for _, r := range group {
		if _, err := g.upgradeOne(ctx, r, old, within); err != nil {
			fmt.Fprintf(g.err, "etcdsup: instance %q still runs the new etcdsup: %v\n", r.st.Instance, err)
		}
	}
	return place.giveUp()
}

func (g *globals) upgradeOne(ctx context.Context, r runningDaemon, place *staged, within time.Duration) (*upgraded, error) {
	one := &upgraded{Instance: r.st.Instance}
	if place.runs(r.st.Supervisor.PID) {
		one.Result = "runs " + place.path + " already, nothing to replace"
		return one, nil
	}
	order := control.UpgradeOrder{Binary: place.next, Within: within}
	u, err := r.client.Upgrade(ctx, order)
	if err != nil {
		return nil, g.refusedUpgrade(r, place.renamed(err))
	}
	p := g.newProgress("upgrading")
	defer p.end()
	if one.Upgrade, err = awaitUpgrade(ctx, r.client, p, r.st.Supervisor.PID, u, within); err != nil {
		return nil, err
	}
	if one.Upgrade.Outcome != status.UpgradeDone {
		return nil, failf(exitCameBack, "see "+g.commandLine("logs --self"), "instance %q: %s", one.Instance, one.Upgrade)
	}
	one.Result = fmt.Sprintf("%s; etcd's output waited %v meanwhile", one.Upgrade, one.Upgrade.Gap.Round(100*time.Microsecond))
	return one, nil
}

// readyAgain is how long a new etcdsup may take to ask etcd for its health. One that takes longer says so in its status.
const readyAgain = 5 * time.Second

// awaitReadyAgain waits until the new etcdsup knows that etcd is ready, so that the next command finds what the one
// before the upgrade did.
func awaitReadyAgain(ctx context.Context, c *control.Client) {
	ctx, cancel := context.WithTimeout(ctx, readyAgain)
	defer cancel()
	stream, err := c.Watch(ctx)
	if err != nil {
		return
	}
	for st := range stream.C {
		if st.Ready {
			return
		}
	}
}

// renamed is a refusal by the name that the new executable has after it: the one that it was asked by is gone then.
func (p *staged) renamed(err error) error {
	e, ok := errors.AsType[*control.Error](err)
	if !ok {
		return err
	}
	now := *e
	now.Message = strings.ReplaceAll(e.Message, p.next, p.failed())
	now.Remedy = strings.ReplaceAll(e.Remedy, p.next, p.failed())
	return &now
}

// refusedUpgrade gives a refusal its exit code: that nothing has changed is the same as coming back.
func (g *globals) refusedUpgrade(r runningDaemon, err error) error {
	if e, ok := errors.AsType[*control.Error](err); ok && e.Code == codeCannot {
		return failf(exitCameBack, e.Remedy, "instance %q goes on with %s: %w", r.st.Instance, r.st.Supervisor.Version, err)
	}
	return (&target{g: g, client: r.client, cfg: g.placeOf(r)}).explain(err)
}

// comingBack is how long the old etcdsup may take to be there again, beyond the time that the new one had.
const comingBack = 2 * time.Minute

// awaitUpgrade polls until it is known what an upgrade has come to. For a moment nobody may answer.
// pid is the etcdsup that was to be replaced.
func awaitUpgrade(ctx context.Context, c *control.Client, p *progress, pid int, u *status.Upgrade, within time.Duration) (*status.Upgrade, error) {
	ctx, cancel := context.WithTimeout(ctx, within+comingBack)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := c.Status(ctx, false)
		knows := err == nil && st.Upgrade != nil && st.Upgrade.ID == u.ID
		switch {
		case knows && st.Upgrade.Outcome != status.UpgradeRunning:
			return st.Upgrade, nil
		case err == nil && !knows && st.Supervisor.PID != pid: // it was killed before it had written the upgrade down
			return nil, failf(exitFailure, "upgrade once more", "cannot tell what came of the upgrade: another etcdsup answers, PID %d, and knows nothing of it", st.Supervisor.PID)
		}
		select {
		case <-tick.C:
		case <-p.tick():
			p.show(st)
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, failf(exitTimeout, "start it: etcdsup run, or by the service manager", "cannot tell what came of the upgrade: no etcdsup answers on %s", c.Socket())
			}
			return nil, failf(exitInterrupted, "see it with etcdsup status; etcdsup upgrade once more puts the file at its place", "interrupted: the upgrade goes on")
		}
	}
}
