package main

import (
	"context"
	"fmt"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
	"github.com/spf13/cobra"
)

func newStartCmd(g *globals) *cobra.Command {
	var opts orderOptions
	var accept bool
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Start etcd and wait until it is ready",
		Long: `Want etcd up, now and after a reboot, and wait until it is ready. Also takes a held etcd and one that waits
before its next start: it is started at once. An etcd that is ready is left alone.

An etcd is held when its data directory is not the one that is on record: empty, another cluster's, or older. With
--accept-data that directory is the one that is meant from now on; what was known of the one before is forgotten.

This is a request to the daemon; the daemon itself is started by etcdsup run or by the init system.`,
		Example: `  etcdsup start
  etcdsup start --timeout 10m     a big database takes its time
  etcdsup start --no-wait
  etcdsup start --accept-data     this directory is meant`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := startOrder()
			if accept {
				o.send = func(c *control.Client, ctx context.Context) (*status.Status, error) { return acceptAndStart(ctx, c) }
			}
			return g.runOrder(cmd.Context(), o, opts)
		},
	}
	opts.addFlags(cmd, 2*time.Minute)
	cmd.Flags().BoolVar(&accept, "accept-data", false, "take the data directory as it is for the one that is meant")
	return cmd
}

func acceptAndStart(ctx context.Context, c *control.Client) (*status.Status, error) {
	if _, err := c.AcceptData(ctx); err != nil {
		return nil, err
	}
	return c.Start(ctx)
}

func startOrder() order {
	return order{
		verb:    "start",
		ongoing: "starting",
		send:    func(c *control.Client, ctx context.Context) (*status.Status, error) { return c.Start(ctx) },
		already: func(st *status.Status) (string, bool) {
			return "etcd is ready already" + withPID(st), st.Ready && st.Goal == status.GoalUp && st.State != status.StateStopping
		},
		done: func(st, _ *status.Status) bool {
			return st.Ready && st.Goal == status.GoalUp && st.State != status.StateStopping
		},
		success: func(st *status.Status) string { return "etcd is ready" + withPID(st) },
	}
}

func withPID(st *status.Status) string {
	if st.Process == nil {
		return ""
	}
	return fmt.Sprintf(", PID %d", st.Process.PID)
}
