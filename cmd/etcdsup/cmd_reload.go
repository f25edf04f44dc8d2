package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

func newReloadCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Read the configuration again",
		Long: `Have the daemon read its configuration again. What needs no restart is in force at once; what waits for a restart
of etcd, or of etcdsup itself, is named. With any fault in it the old configuration stays, and nothing changes.`,
		Example: `  etcdsup reload
  etcdsup config check && etcdsup reload -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := g.target()
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			r, err := t.client.Reload(ctx)
			if err != nil {
				return t.explain(err)
			}
			if g.json() {
				return g.printJSON(r)
			}
			return g.print(reloadText(g, r))
		},
	}
}

func reloadText(g *globals, r *status.Reload) string {
	var b strings.Builder
	what := r.File
	if what == "" {
		what = "defaults, environment and flags"
	}
	fmt.Fprintf(&b, "reloaded: %s\n", what)
	for _, row := range []struct {
		keys []string
		text string
	}{
		{r.Applied, "in force now:                 "},
		{r.Etcd, "waits for a restart of etcd:  "},
		{r.Daemon, "waits for the next etcdsup:   "},
	} {
		if len(row.keys) > 0 {
			fmt.Fprintf(&b, "  %s%s\n", row.text, strings.Join(row.keys, ", "))
		}
	}
	switch {
	case len(r.Etcd) > 0:
		fmt.Fprintf(&b, "next: %s\n", g.commandLine("restart"))
	case len(r.Applied)+len(r.Daemon) == 0:
		b.WriteString("nothing has changed\n")
	}
	return b.String()
}
