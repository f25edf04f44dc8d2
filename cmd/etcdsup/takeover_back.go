package main

import (
	"bytes"
	"context"
	"errors"
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
	if runs, err := t.back(context.WithoutCancel(ctx)); err != nil {
		return failf(exitFailure, "once that is mended, the same command goes on with it", "%w", t.backError(runs, err))
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
	if exists(t.Config) && !t.configStays() && t.newConfig() == t.Config {
		steps = append(steps, "set "+t.Config+" aside")
	}
	if t.Aside != "" && !t.configStays() {
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
	if runs, err := t.back(ctx); err != nil {
		return failf(exitFailure, "once that is mended: "+t.g.commandLine("init --back"),
			"%w; it was to be put back because: %w", t.backError(runs, err), cause)
	}
	if !t.stopped.IsZero() {
		t.downtime = time.Since(t.stopped)
	}
	return &failure{code: exitRolledBack, err: fmt.Errorf("cannot take over: %w; %s runs etcd again as before, after %s without it", cause, t.Keeper.Title, humanDuration(t.downtime))}
}

// back puts the old way back. Once etcd was touched nothing keeps it from being started: what else does not work, such as
// to write the step down where the disk is full, is told at the end, and the record stays for another "init --back". runs:
// etcd was proven to run in the old way.
func (t *takeOver) back(ctx context.Context) (runs bool, err error) {
	err = t.begin(stepBack)
	if err != nil && !t.Touched {
		return false, err
	}
	active, removeErr := t.removeService(ctx)
	err = errors.Join(err, removeErr, t.configBack())
	if active {
		return false, errors.Join(err, errors.New("the service runs on, so that etcd cannot have its data in the old way"))
	}
	err = errors.Join(err, t.resume(ctx))
	now, proofErr := t.proof(ctx)
	if proofErr == nil {
		proofErr = t.same(ctx, now)
	}
	if proofErr != nil {
		return false, errors.Join(err, proofErr)
	}
	t.say("started etcd in the old way: the same member, revision %d", now.Revision)
	if err != nil {
		return true, err
	}
	return true, t.close()
}

// removeService takes the service off the host, and tells whether it runs all the same.
func (t *takeOver) removeService(ctx context.Context) (active bool, err error) {
	removal, err := install.PrepareRemoval(ctx, t.Instance)
	if err != nil {
		return false, explainInstall(err) // without a service manager there is no service
	}
	err = t.g.apply(ctx, removal)
	return err != nil && removal.IsActive(ctx), err
}

// resume starts etcd in the old way, unless it was never stopped. One that was asked to end and has not is waited for: a
// second one could not have its data.
func (t *takeOver) resume(ctx context.Context) error {
	if !t.Touched && alive(t.Etcd.ID) {
		return nil
	}
	err := t.g.whileTelling("stopping etcd", func() error { return t.stopEtcd(ctx) })
	if err != nil && t.Keeper.spawns() {
		return err
	}
	if pid := t.heldBy(); err == nil && pid != 0 {
		t.say("left process %d alone, which has the data in %s already", pid, t.DataDir)
		return nil
	}
	return errors.Join(err, t.Keeper.resume(ctx))
}

// backError is why the old way is not back, or not all of it.
func (t *takeOver) backError(runs bool, err error) error {
	if runs {
		return fmt.Errorf("cannot put all of the old way back: %w; %s runs etcd again as before, the same member with the same data", inOneLine(err), t.Keeper.Title)
	}
	return fmt.Errorf("cannot put the old way back: %w", inOneLine(err))
}

// inOneLine has errors that were joined in one line.
func inOneLine(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	all := joined.Unwrap()
	one := inOneLine(all[0])
	for _, next := range all[1:] {
		one = fmt.Errorf("%w; %w", one, inOneLine(next))
	}
	return one
}

// configBack sets the new configuration aside and puts the one from before in its place. Where that was not set aside yet, it
// is the one that is there.
func (t *takeOver) configBack() error {
	if t.configStays() {
		return nil
	}
	if t.Aside == "" {
		return t.setConfigAside()
	}
	before, err := os.ReadFile(t.Aside)
	if err != nil {
		return fmt.Errorf("cannot put the configuration from before back: %w", err)
	}
	if there, err := os.ReadFile(t.Config); err == nil && bytes.Equal(there, before) {
		return nil // by an earlier way back
	}
	if err := t.setConfigAside(); err != nil {
		return err
	}
	d := draft{file: t.Config, text: string(before), secret: true}
	_, _, err = d.write(false)
	return err
}

// configStays: what is there was there before.
func (t *takeOver) configStays() bool { return t.Stays || t.Aside != "" && !exists(t.Aside) }

// setConfigAside writes down where to before it does, so that another "init --back" knows etcd by it. That this cannot be
// written down keeps it from nothing.
func (t *takeOver) setConfigAside() error {
	if !exists(t.Config) || t.newConfig() != t.Config {
		return nil
	}
	t.Moved = t.Config + ".take-over-" + time.Now().UTC().Format("20060102T150405.000Z")
	recordErr := t.begin(stepBack)
	if err := renameNew(t.Config, t.Moved); err != nil {
		return errors.Join(recordErr, fmt.Errorf("cannot set %s aside: %w", t.Config, err))
	}
	t.say("set the new configuration aside as %s", t.Moved)
	if !t.Touched {
		return recordErr
	}
	return nil // it was told before
}
