package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// newLogsRotateCmd hangs under logs.
func newLogsRotateCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Close etcd's log file, keep it as an archive and go on in a new one",
		Long: `Close etcd's log file, keep it as an archive and go on in a new one. etcd does not notice, and no line is lost or cut.
It is seldom needed: rotation by size and age goes on by itself.`,
		Example: `  etcdsup logs rotate`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := g.target()
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			st, err := t.client.RotateLog(ctx)
			if err != nil {
				return t.explain(err)
			}
			if g.json() {
				return g.printJSON(st.Log)
			}
			return g.print(fmt.Sprintf("rotated: %s is a new file\n", st.Log.File))
		},
	}
}
