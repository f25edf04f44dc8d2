package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// newAfterStopCmd is what the unit runs when etcdsup has ended. The unit leaves all other processes alone, so that etcd
// outlives a crash of etcdsup; here those ends are told from the ones that were asked for, after which nothing may be
// left.
func newAfterStopCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:    "after-stop",
		Hidden: true,
		Short:  "For the unit's ExecStopPost: end what a requested stop has left, and leave etcd alone after a crash",
		Long: `For the unit's ExecStopPost. systemd says in SERVICE_RESULT how etcdsup has ended. After a stop that was asked for, or
one that took too long, all that is left of etcd is ended; after a crash etcd is left to the next etcdsup. After several
starts in a row that came to nothing it waits before it ends, up to 10 s: the unit itself has no delay.`,
		Example: `  SERVICE_RESULT=timeout etcdsup after-stop`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return g.afterStop(cmd.Context()) },
	}
}

func (g *globals) afterStop(ctx context.Context) error {
	cfg, err := g.config()
	result := g.getenv("SERVICE_RESULT")
	switch {
	case err != nil && !systemdStopped(result): // that may be why it has ended
		return errors.Join(err, g.brake(ctx))
	case err != nil:
		return err
	case !stopWasAsked(cfg, result):
		return errors.Join(g.print(fmt.Sprintf("etcdsup ended by itself (%s): etcd is left alone\n", result)), g.brake(ctx))
	}
	lock, err := lockSoon(process.LockFile, lockPath(cfg))
	if _, held := errors.AsType[*process.HeldError](err); held {
		return g.print("another etcdsup runs for this instance: etcd is left to it\n")
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	return g.endLeftovers(ctx, cfg)
}

// stopWasAsked tells an orderly end from a crash. A crash in the midst of an orderly end counts as that end.
func stopWasAsked(cfg *config.Config, result string) bool {
	_, err := os.Stat(leavingFile(cfg))
	return systemdStopped(result) || err == nil
}

// systemdStopped tells by what systemd says of an end that it was a stop: one in order, or one that took too long.
func systemdStopped(result string) bool { return result == "success" || result == "timeout" }

// endLeftovers ends the etcd on record in order, and then all that came out of it.
func (g *globals) endLeftovers(ctx context.Context, cfg *config.Config) error {
	rec, ok := supervisor.PeekRecord(cfg.StateDir())
	if !ok || rec.Run == nil {
		return nil
	}
	cage, err := process.NewCage(process.CageSpec{
		Instance: cfg.Instance, Token: rec.Token, Cgroup: rec.Run.Cgroup, Child: rec.Run.ID, Seen: rec.SavedAt,
	})
	if err != nil {
		fmt.Fprintln(g.err, "etcdsup:", err)
	}
	defer cage.Close()
	if p, err := process.Adopt(rec.Run.ID); err == nil {
		if err := g.endInOrder(ctx, p, cfg.Stop.Grace); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	left, err := cage.Kill(ctx)
	if err != nil {
		return fmt.Errorf("cannot end what etcd has left, %d processes: %w", len(left), err)
	}
	return nil
}

const (
	killTime = 10 * time.Second       // for SIGKILL to have its effect
	endLook  = 100 * time.Millisecond // between two looks at an etcd that ends
)

// endInOrder gives etcd the time that it needs for a clean end.
func (g *globals) endInOrder(ctx context.Context, p *process.Proc, grace time.Duration) error {
	if err := p.Signal(unix.SIGTERM); err != nil {
		return nil // it has ended
	}
	if err := g.print(fmt.Sprintf("etcd, PID %d, was left: ending it\n", p.PID())); err != nil {
		return err
	}
	tick := time.NewTicker(endLook)
	defer tick.Stop()
	for end := time.Now().Add(grace); time.Now().Before(end) && p.Signal(0) == nil; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
