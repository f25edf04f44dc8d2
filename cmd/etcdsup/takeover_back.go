package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/packaging/install"
)

// putBackByHand is "init --back".
func (t *takeOver) putBackByHand(ctx context.Context, o initOptions) (err error) {
	if t.plan, err = install.PrepareRemoval(ctx, t.Instance); err != nil {
		return explainInstall(err)
	}
	text := t.backText()
	if o.plan {
		return t.tellPlan(text)
	}
	if !o.yes {
		if err := t.g.confirm(ctx, text); err != nil {
			return err
		}
	}
	t.stopped = time.Now()
	if err := t.back(context.WithoutCancel(ctx)); err != nil {
		return failf(exitFailure, "once that is mended, the same command goes on with it", "cannot put the old way back: %w", err)
	}
	t.downtime = time.Since(t.stopped)
	return t.tell(t.Keeper.Title + " runs etcd again as before")
}

// backText is what will be done to put the old way back, in its order.
func (t *takeOver) backText() string {
	var steps []string
	for _, c := range t.plan.Changes {
		steps = append(steps, c.What)
	}
	if exists(t.Config) {
		steps = append(steps, "set "+t.Config+" aside")
	}
	if t.Aside != "" {
		steps = append(steps, "put "+t.Aside+" back as "+t.Config)
	}
	lives := alive(t.Etcd.ID)
	switch {
	case lives && !t.Touched:
		steps = append(steps, fmt.Sprintf("leave etcd, process %d, alone: it was not touched", t.Etcd.ID.PID))
	case lives:
		steps = append(steps, fmt.Sprintf("stop etcd, process %d", t.Etcd.ID.PID))
		fallthrough
	default:
		steps = append(steps, "have etcd started again by "+t.Keeper.Title)
	}
	steps = append(steps, "prove that it is the same member with the same data")
	var b strings.Builder
	fmt.Fprintf(&b, "put the old way back, in which %s runs etcd\n", printable(t.Keeper.Title))
	for i, step := range steps {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, printable(step))
	}
	return b.String()
}

// putBack undoes what was done: the service is taken off the host, the configuration set aside, and etcd started as before.
func (t *takeOver) putBack(ctx context.Context, cause error) error {
	if !t.g.json() {
		fmt.Fprintf(t.g.err, "it does not work, and the old way is put back: %v\n", cause)
	}
	t.after = nil
	if err := t.back(ctx); err != nil {
		return failf(exitFailure, "once that is mended: "+t.g.commandLine("init --back"),
			"cannot put the old way back: %w; it was to be put back because: %w", err, cause)
	}
	if !t.stopped.IsZero() {
		t.downtime = time.Since(t.stopped)
	}
	return &failure{code: exitRolledBack, err: fmt.Errorf("cannot take over: %w; %s runs etcd again as before, after %s without it", cause, t.Keeper.Title, humanDuration(t.downtime))}
}

func (t *takeOver) back(ctx context.Context) error {
	if err := t.begin(stepBack); err != nil {
		return err
	}
	removal, err := install.PrepareRemoval(ctx, t.Instance)
	if err != nil {
		return explainInstall(err)
	}
	if err := t.g.apply(ctx, removal); err != nil {
		return err
	}
	if err := t.configBack(); err != nil {
		return err
	}
	if err := t.resume(ctx); err != nil {
		return err
	}
	now, err := t.proof(ctx)
	if err != nil {
		return err
	}
	if err := t.same(ctx, now); err != nil {
		return err
	}
	t.say("started etcd in the old way: the same member, revision %d", now.Revision)
	return t.close()
}

// resume starts etcd in the old way, unless it was never stopped. One that was asked to end and has not is waited for: a
// second one could not have its data.
func (t *takeOver) resume(ctx context.Context) error {
	if !t.Touched && alive(t.Etcd.ID) {
		return nil
	}
	if err := t.g.whileTelling("stopping etcd", func() error { return t.stopEtcd(ctx) }); err != nil {
		return err
	}
	return t.Keeper.resume(ctx)
}

// configBack sets the new configuration aside and puts the one from before in its place.
func (t *takeOver) configBack() error {
	if exists(t.Config) {
		aside := t.Config + ".take-over-" + time.Now().UTC().Format("20060102T150405.000Z")
		if err := renameNew(t.Config, aside); err != nil {
			return fmt.Errorf("cannot set %s aside: %w", t.Config, err)
		}
		t.say("set the new configuration aside as %s", aside)
	}
	if t.Aside == "" {
		return nil
	}
	text, err := os.ReadFile(t.Aside)
	if err != nil {
		return err
	}
	d := draft{file: t.Config, text: string(text), secret: true}
	_, _, err = d.write(false)
	return err
}
