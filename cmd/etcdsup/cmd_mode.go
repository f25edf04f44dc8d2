package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

func newModeCmd(g *globals) *cobra.Command {
	var watch bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "mode",
		Short: "Show the mode and the change of mode that is under way; change the mode",
		Long: `Show the present mode, the change of mode that is under way with its steps, and how the last one ended.

normal is the only mode that stays. force-new-cluster and join are changes that the daemon carries out step by step,
from a plan that is shown first, and that end in normal by themselves. They need no terminal: whoever began one may
log out, and a restart of etcdsup or of the host takes it up again.

With --watch the steps are followed to the end, and the exit code is how it ended.`,
		Example: `  etcdsup mode
  etcdsup mode --watch                 follow what is under way
  etcdsup mode -o json | jq -r .mode`,
		Args: cobra.NoArgs,
	}
	group(cmd, newModeForceCmd(g), newModeJoinCmd(g), newModeNormalCmd(g))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return g.showMode(cmd.Context(), watch, timeout) }
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "follow what is under way to its end")
	addFollowTimeout(cmd, &timeout)
	return cmd
}

func newModeForceCmd(g *globals) *cobra.Command {
	var o modeOptions
	r := status.ModeRequest{Mode: status.ModeForceNewCluster}
	cmd := &cobra.Command{
		Use:   "force-new-cluster",
		Short: "Make a cluster of this host alone from the data that is here, or from a copy or snapshot",
		Long: `Make a cluster of this host alone, without losing a write that its data has: from the data directory as it is, or with
--from from a stopped data directory, a copy of one, or a snapshot. It is for a cluster that has lost its quorum for
good, and for the first host of a cluster that is to grow from an etcd elsewhere.

The old cluster must be gone: as long as one of its members answers this is refused, because two clusters would take
themselves for the same one. --fenced is your word that a host that cannot be asked is off, and stays off.

What gives way is renamed and kept. Without --yes the plan is shown, and the cluster ID has to be typed.`,
		Example: `  etcdsup mode force-new-cluster --plan
  etcdsup mode force-new-cluster --from /backup/etcd-data
  etcdsup mode force-new-cluster --from /backup/etcd.db --new-identity
  etcdsup mode force-new-cluster --fenced host-a --fenced host-b --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := g.noneEmpty(cmd, "from", "fenced", "peer"); err != nil {
				return err
			}
			if r.From != "" {
				if r.From, err = filepath.Abs(r.From); err != nil {
					return fmt.Errorf("cannot take data from a path that is not absolute: %w", err)
				}
			}
			return g.changeMode(cmd.Context(), r, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.From, "from", "", "take the data from this data directory or snapshot (`PATH`); what is here is set aside")
	f.BoolVar(&r.NewIdentity, "new-identity", false, "restore into a cluster with new IDs, which no old member and no old client can take for theirs")
	f.Int64Var(&r.BumpRevision, "bump-revision", 0, "with --new-identity: go on this many (`N`) revisions later (default: computed)")
	f.StringSliceVar(&r.Fenced, "fenced", nil, "your word that this `HOST` is off and stays off (repeatable)")
	f.StringSliceVar(&r.Peers, "peer", nil, "a further peer `URL` at which an old member might answer (repeatable)")
	f.BoolVar(&r.AllowContact, "allow-contact", false, "go on where old members could be reached from the forced run")
	noFiles(cmd, "bump-revision", "fenced", "peer")
	o.addFlags(cmd)
	return cmd
}

func newModeJoinCmd(g *globals) *cobra.Command {
	var o modeOptions
	r := status.ModeRequest{Mode: status.ModeJoin}
	cmd := &cobra.Command{
		Use:   "join",
		Short: "Make this host a voting member of a running cluster",
		Long: `Make this host a voting member of a running cluster: it is added as a learner, started, waited for until it has caught
up, and promoted. Writes go on meanwhile. What was in the data directory is renamed and kept.

The cluster is the one at --endpoint, or at cluster.endpoints of the configuration. It must be healthy enough to take a
member; every check is made before anything is changed. A host that is a member already is left alone.`,
		Example: `  etcdsup mode join --plan
  etcdsup mode join --endpoint http://10.0.0.1:2379
  etcdsup mode join --replace          instead of the dead member that has our name or peer URL
  etcdsup mode join --yes --detach && etcdsup mode --watch`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.noneEmpty(cmd, "endpoint"); err != nil {
				return err
			}
			return g.changeMode(cmd.Context(), r, o)
		},
	}
	cmd.Flags().StringSliceVar(&r.Endpoints, "endpoint", nil, "client `URL` of the cluster (repeatable; default: those of the configuration)")
	cmd.Flags().BoolVar(&r.Replace, "replace", false, "remove the dead member that has our name or peer URL first")
	noFiles(cmd, "endpoint")
	o.addFlags(cmd)
	return cmd
}

func newModeNormalCmd(g *globals) *cobra.Command {
	var o modeOptions
	cmd := &cobra.Command{
		Use:   "normal",
		Short: "Cancel the change of mode that is under way, and roll it back",
		Long: `Cancel the change of mode that is under way: what was done is undone, step by step, and everything is as it was before.
From the step on that the plan marks so there is no way back, and this is refused.

When nothing is under way the mode is normal already, and nothing is done.`,
		Example: `  etcdsup mode normal`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return g.cancelMode(cmd.Context(), o) },
	}
	o.addWaitFlags(cmd)
	return cmd
}

// noneEmpty refuses flags that were given without a value, as --from "$COPY" is where nobody has set COPY: without the flag
// the command would do something else.
func (g *globals) noneEmpty(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		f := cmd.Flags().Lookup(name)
		if f.Changed && slices.Contains([]string{"", "[]"}, f.Value.String()) {
			return failf(exitUsage, "see "+g.helpFor+" --help", "cannot take --%s: its value is empty", name)
		}
	}
	return nil
}

// noFiles keeps the shell from offering files as values of flags.
func noFiles(cmd *cobra.Command, flags ...string) {
	for _, f := range flags {
		mustRegister(cmd.RegisterFlagCompletionFunc(f, cobra.NoFileCompletions))
	}
}

// modeOptions are the flags of the commands that change the mode.
type modeOptions struct {
	plan, yes, detach bool
	timeout           time.Duration
}

func (o *modeOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.plan, "plan", false, "show what would be done, step by step, and change nothing")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	o.addWaitFlags(cmd)
}

func (o *modeOptions) addWaitFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.detach, "detach", false, "return as soon as the daemon has begun")
	addFollowTimeout(cmd, &o.timeout)
}

func addFollowTimeout(cmd *cobra.Command, timeout *time.Duration) {
	cmd.Flags().DurationVarP(timeout, "timeout", "t", 0, "give up following after this long, with exit code 4; the daemon goes on (default: never)")
}

// modeOutcome is the JSON of a change of mode.
type modeOutcome struct {
	Result     string             `json:"result"` // the sentence that people read
	Took       time.Duration      `json:"took_ns"`
	Plan       *status.Plan       `json:"plan,omitempty"` // where it has nothing to do
	Transition *status.Transition `json:"transition,omitempty"`
}

func (g *globals) changeMode(ctx context.Context, r status.ModeRequest, o modeOptions) error {
	if err := r.Validate(); err != nil {
		return failf(exitUsage, "see "+g.helpFor+" --help", "%w", err)
	}
	t, ctx, stop, err := g.attach(ctx, o.timeout)
	if err != nil {
		return err
	}
	defer stop()
	began := time.Now()
	plan, err := t.plan(ctx, r)
	switch {
	case err != nil:
		return err
	case o.plan:
		return g.printPlan(plan)
	case plan.Nothing != "":
		return g.reportNothing(plan, began)
	}
	if err := g.confirmPlan(ctx, plan, o.yes); err != nil {
		return err
	}
	began = time.Now() // a person may have taken his time
	tr, err := t.begin(ctx, plan)
	switch {
	case err != nil:
		return err
	case tr == nil: // what there was to do has been done meanwhile
		return g.reportNothing(plan, began)
	case o.detach && tr.Outcome == status.OutcomeRunning:
		return g.reportBegun(fmt.Sprintf("%s has begun; follow it with %s --watch", r.Mode, g.commandLine("mode")), tr, began)
	}
	tr, err = t.follow(ctx, tr, o.timeout)
	if err != nil {
		return err
	}
	return g.reportEnd(tr)
}

// attach is what every command that follows a transition begins with. Neither Ctrl-C nor the end of the terminal ends it
// without a word.
func (g *globals) attach(ctx context.Context, timeout time.Duration) (*target, context.Context, context.CancelFunc, error) {
	if timeout < 0 {
		return nil, nil, nil, failf(exitUsage, "", "cannot follow for %v: --timeout must not be below 0", timeout)
	}
	t, err := g.target()
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, stop := unhangable(ctx)
	return t, ctx, stop, nil
}

// plan asks for the plan, which may take as long as reading all of the data does.
func (t *target) plan(ctx context.Context, r status.ModeRequest) (*status.Plan, error) {
	if _, err := t.client.Version(ctx); err != nil { // a daemon that hangs is not waited for that long
		return nil, t.explain(err)
	}
	var p *status.Plan
	err := t.g.whileTelling("making the plan", func() (err error) {
		p, err = t.client.PlanMode(ctx, r)
		return err
	})
	return p, t.explain(err)
}

// confirmPlan shows the plan and has it confirmed; with yes it only shows what speaks against it.
func (g *globals) confirmPlan(ctx context.Context, p *status.Plan, yes bool) error {
	if yes {
		for _, w := range p.Warnings {
			fmt.Fprintln(g.err, "warning: "+printable(w))
		}
		return nil
	}
	question, word := "Go on? Type yes: ", "yes"
	if p.Confirm != "" {
		question, word = fmt.Sprintf("Go on? Type the ID of the cluster, %s: ", p.Confirm), p.Confirm
	}
	remedy := "look at it with --plan, and give --yes where nobody can be asked"
	return g.ask(ctx, planText(p, g.self(), g.palette(g.err))+"\n"+question, word, remedy)
}

func (t *target) begin(ctx context.Context, p *status.Plan) (*status.Transition, error) {
	confirm := p.Confirm
	if confirm == "" {
		confirm = "yes"
	}
	tr, err := t.client.ChangeMode(ctx, p.Request, confirm)
	if errors.Is(err, context.Canceled) { // the order may have been read already
		return nil, failf(exitInterrupted, t.g.commandLine("mode"), "interrupted; etcdsup mode shows whether %s has begun", p.Request.Mode)
	}
	return tr, t.explain(err)
}

func (g *globals) cancelMode(ctx context.Context, o modeOptions) error {
	t, ctx, stop, err := g.attach(ctx, o.timeout)
	if err != nil {
		return err
	}
	defer stop()
	began := time.Now()
	tr, err := t.client.CancelMode(ctx)
	switch {
	case err != nil:
		return t.explain(err)
	case tr == nil:
		return g.reportOutcome(modeOutcome{Result: "the mode is normal: nothing is under way", Took: time.Since(began)})
	case o.detach:
		return g.reportBegun(fmt.Sprintf("%s is being rolled back; follow it with %s --watch", tr.Request.Mode, g.commandLine("mode")), tr, began)
	}
	tr, err = t.follow(ctx, tr, o.timeout)
	if err != nil {
		return err
	}
	return g.reportCancelled(tr)
}

func (g *globals) showMode(ctx context.Context, watch bool, timeout time.Duration) error {
	t, ctx, stop, err := g.attach(ctx, timeout)
	if err != nil {
		return err
	}
	defer stop()
	m, err := t.client.Modes(ctx)
	switch {
	case err != nil:
		return t.explain(err)
	case watch && m.Now != nil:
		return t.watchMode(ctx, m.Now, timeout)
	case g.json():
		return g.printJSON(m)
	}
	return g.print(modeText(t.cfg.Instance, m, modeView{g.palette(g.out), time.Now(), g.self()}))
}

// watchMode follows what is under way, whoever began it.
func (t *target) watchMode(ctx context.Context, now *status.Transition, timeout time.Duration) error {
	tr, err := t.follow(ctx, now, timeout)
	if err != nil {
		return err
	}
	return t.g.reportEnd(tr)
}
