package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/config/hostconf"
	"github.com/etcdsup/etcdsup/packaging/install"
	"github.com/etcdsup/etcdsup/supervisor/cluster"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// takeOverOutcome is the answer of "init --take-over -o json".
type takeOverOutcome struct {
	Result   string          `json:"result"` // the sentence that people read
	Done     bool            `json:"done"`   // with --plan it is not
	Keeper   string          `json:"keeper"` // what keeps etcd without etcdsup
	From     *hostconf.Found `json:"from,omitempty"`
	Plan     *install.Plan   `json:"plan,omitempty"`
	AtBoot   []string        `json:"at_boot,omitempty"` // lines that start etcd in the old way at boot
	Before   *cluster.Proof  `json:"before,omitempty"`
	After    *cluster.Proof  `json:"after,omitempty"`
	Steps    []string        `json:"steps,omitempty"`
	Warnings []string        `json:"warnings,omitempty"`
	Downtime time.Duration   `json:"downtime_ns"` // from the first signal until etcd is ready again
}

// takeOver is "init --take-over".
func (g *globals) takeOver(ctx context.Context, o initOptions) error {
	if _, err := g.service(installOptions{}); err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	if !o.plan {
		only, err := onlyTakeOver(takeOverLock)
		if err != nil {
			return err
		}
		defer only.Close() // which unlocks
	}
	t, err := g.beginTakeOver(ctx, o)
	if err != nil {
		return err
	}
	defer t.forget()
	if o.back {
		return t.putBackByHand(ctx, o)
	}
	if o.plan {
		return t.tellPlan(t.planText())
	}
	if !o.yes {
		if err := g.confirm(ctx, t.planText()); err != nil {
			return err
		}
	}
	if err := t.run(ctx, o.timeout); err != nil {
		return err
	}
	result := fmt.Sprintf("etcd is kept by %s now, and was down for %s", t.plan.Service, humanDuration(t.downtime))
	if t.stopped.IsZero() {
		result = fmt.Sprintf("etcd is kept by %s now", t.plan.Service)
	}
	return t.tell(result)
}

// beginTakeOver goes on with the one that is on record, or prepares a new one.
func (g *globals) beginTakeOver(ctx context.Context, o initOptions) (*takeOver, error) {
	t, err := g.recordedTakeOver(g.instanceName())
	switch {
	case err != nil:
		return nil, err
	case t == nil && o.back:
		return nil, failf(exitFailure, "", "cannot put anything back: no take-over of instance %q is on record", g.instanceName())
	case t == nil || !o.back && t.startsAnew(o.takeOver):
		return g.prepareTakeOver(ctx, o, t)
	}
	if !g.json() {
		fmt.Fprintf(g.err, "a take-over that began at %s is on record, with %q as its last step\n", t.Began.Local().Format(time.DateTime), t.Step)
	}
	if t.Step == stepBack && !o.back {
		return nil, failf(exitFailure, g.commandLine("init --back"), "cannot go on with the take-over: it is on its way back")
	}
	return t, nil
}

// startsAnew: nothing of etcd was touched yet, or the host was rebooted since and an etcd runs in the old way again.
func (t *takeOver) startsAnew(pid int) bool {
	if t.Step == stepInstall {
		return true
	}
	_, err := etcdAt(pid)
	return err == nil && t.Etcd.ID.BootID != process.BootID()
}

// tellPlan answers --plan.
func (t *takeOver) tellPlan(text string) error {
	const result = "nothing was changed"
	if t.g.json() {
		return t.g.printJSON(t.outcome(result, false))
	}
	return t.g.print(text + result + "\n")
}

func (t *takeOver) outcome(result string, done bool) takeOverOutcome {
	return takeOverOutcome{Result: result, Done: done, Keeper: t.Keeper.Title, From: masked(t.found), Plan: t.plan, AtBoot: t.atBoot,
		Before: t.Before, After: t.after, Steps: t.told, Warnings: t.warnings, Downtime: t.downtime}
}

func (t *takeOver) tell(result string) error {
	if t.g.json() {
		return t.g.printJSON(t.outcome(result, true))
	}
	for _, w := range t.warnings {
		fmt.Fprintf(t.g.err, "notice: %s\n", printable(w))
	}
	return t.g.print(result + "\n" + t.bootText())
}

func (t *takeOver) bootText() string {
	if len(t.atBoot) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("take these out, or etcd is started in the old way too at the next boot, and one of the two will not get the data:\n")
	for _, line := range t.atBoot {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	return b.String()
}

// planText is what will be done, in its order.
func (t *takeOver) planText() string {
	if t.plan == nil {
		return fmt.Sprintf("the take-over goes on behind %q: %s is released, etcd stopped, the service started and proven\n", t.Step, t.Keeper.Title)
	}
	var b strings.Builder
	b.WriteString(foundText(t.found))
	fmt.Fprintf(&b, "take over etcd, process %d, %s\n", t.Etcd.ID.PID, commandLine(t.Etcd))
	fmt.Fprintf(&b, "  it is member %s of cluster %s, at revision %d with %d keys\n", t.Before.MemberID, t.Before.ClusterID, t.Before.Revision, t.Before.Keys)
	fmt.Fprintf(&b, "  it is kept by %s\n", printable(t.Keeper.Title))
	for i, step := range t.stepsText() {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, step)
	}
	for _, w := range t.plan.Warnings {
		fmt.Fprintf(&b, "  notice: %s\n", printable(w.What))
	}
	return b.String() + t.bootText()
}

func (t *takeOver) stepsText() []string {
	service := fmt.Sprintf("install %s as user %s, without starting it", t.plan.Service, t.plan.User)
	for _, c := range t.plan.Changes {
		service += "\n       " + c.What + keptText(c)
	}
	steps := []string{service}
	switch t.Keeper.Kind {
	case keptByNobody:
		steps = append(steps, "send SIGTERM to etcd and wait for its end; from here on etcd is down")
	default:
		steps = append(steps, "have "+printable(t.Keeper.Title)+" leave etcd alone; from here on etcd is down", "send SIGTERM to etcd, if it lives on, and wait for its end")
	}
	steps = append(steps, "start "+t.plan.Service+", which starts etcd on "+t.draft.config.DataDir(),
		"prove that it is the same member with the same data; if not, put the old way back")
	if t.Keeper.Kind == keptByFIFO && t.Keeper.Under == "" {
		steps = append(steps, "end "+t.Keeper.Title)
	}
	return steps
}
