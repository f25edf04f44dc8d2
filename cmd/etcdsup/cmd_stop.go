package main

import (
	"context"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
	"github.com/spf13/cobra"
)

func newStopCmd(g *globals) *cobra.Command {
	var opts orderOptions
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "Stop etcd and wait until nothing of it is left",
		Long: `Want etcd down, now and after a reboot, and wait until nothing of it is left: a leader hands over first, then
come SIGTERM, after the grace SIGQUIT for a stack dump, and SIGKILL. The daemon stays.

With watches open etcd takes some 7 s for a clean end; that is no fault.`,
		Example: `  etcdsup stop
  etcdsup stop --timeout 30s || etcdsup status
  etcdsup stop --no-wait`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return g.runOrder(cmd.Context(), stopOrder(), opts) },
	}
	opts.addFlags(cmd, 3*time.Minute)
	return cmd
}

func stopOrder() order {
	down := func(st *status.Status) bool {
		return st.Goal == status.GoalDown && st.State == status.StateDown && st.Process == nil
	}
	return order{
		verb:    "stop",
		ongoing: "stopping",
		send:    func(c *control.Client, ctx context.Context) (*status.Status, error) { return c.Stop(ctx) },
		already: func(st *status.Status) (string, bool) { return "etcd is down already", down(st) },
		done:    func(st, _ *status.Status) bool { return down(st) },
		success: stopped,
	}
}

func stopped(st *status.Status) string {
	if st.LastExit == nil || !st.LastExit.Asked {
		return "etcd is down"
	}
	return "etcd is down: " + exitText(st.LastExit)
}
