package main

import (
	"context"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
	"github.com/spf13/cobra"
)

func newRestartCmd(g *globals) *cobra.Command {
	var opts orderOptions
	cmd := &cobra.Command{
		Use:   "restart",
		Short: "Stop etcd, start it again and wait until it is ready",
		Long: `Stop etcd as etcdsup stop does, start it again and wait until the new process is ready.
An etcd that is down is started.`,
		Example: `  etcdsup restart
  etcdsup restart --timeout 10m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return g.runOrder(cmd.Context(), restartOrder(), opts) },
	}
	opts.addFlags(cmd, 5*time.Minute)
	return cmd
}

func restartOrder() order {
	return order{
		verb:    "restart",
		ongoing: "restarting",
		send:    func(c *control.Client, ctx context.Context) (*status.Status, error) { return c.Restart(ctx) },
		already: func(*status.Status) (string, bool) { return "", false },
		done:    restartDone,
		success: func(st *status.Status) string { return "etcd is restarted and ready" + withPID(st) },
	}
}
