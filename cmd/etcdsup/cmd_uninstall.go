package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/packaging/install"
)

func newUninstallCmd(g *globals) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Stop the service and remove it; configuration, data and logs stay",
		Long: `Stop the service of the instance, and etcd with it, disable it and take what install wrote for the service manager off
this host. Configuration, data, logs and the system user stay, and are named. Drop-ins of your own stay too, and a unit
that was edited is kept under another name.

Where no such service is installed, nothing is done. Without --yes it asks.`,
		Example: `  etcdsup uninstall
  etcdsup -i events uninstall --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return g.uninstall(cmd.Context(), yes) },
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (g *globals) uninstall(ctx context.Context, yes bool) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	began := time.Now()
	s, err := g.service(installOptions{verb: "uninstall"})
	if err != nil {
		return err
	}
	p, err := install.PrepareRemoval(ctx, s.Instance)
	if err != nil {
		return explainInstall(err)
	}
	a := installation{Result: p.Service + " is not installed, and nothing was changed", Plan: p}
	if len(p.Changes) > 0 {
		if !yes {
			if err := g.confirm(ctx, removalText(p)); err != nil {
				return err
			}
		}
		if err := g.apply(ctx, p); err != nil {
			return err
		}
		a.Result, a.Done = p.Service+" is removed", true
	}
	a.Left, a.Took = leftBehind(s, p.User), time.Since(began)
	return g.tellRemoved(a)
}

func removalText(p *install.Plan) string {
	var b strings.Builder
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "  %s\n", c.What)
	}
	return b.String()
}

func (g *globals) tellRemoved(a installation) error {
	if g.json() {
		return g.printJSON(a)
	}
	g.showNotes(a.Plan)
	text := fmt.Sprintf("%s (took %s)\n", a.Result, humanDuration(a.Took))
	for _, l := range a.Left {
		stays := "stays"
		if l.What == leftUser {
			stays = "stays where it was made"
		}
		text += fmt.Sprintf("  %-14s %s %s\n", l.What, l.Name, stays)
	}
	return g.print(text)
}

// leftover is what uninstall leaves.
type leftover struct {
	What string `json:"what"` // such as "data"
	Name string `json:"name"` // its path; of the user, the name
}

const leftUser = "user"

// leftBehind is what uninstall leaves, as far as it is there.
func leftBehind(s install.Service, user string) []leftover {
	all := []leftover{{"configuration", s.ConfigFile()}, {"everything else", s.BaseDir()}}
	src := config.Source{Instance: s.Instance, Env: install.Environment()}
	if c, err := config.Load(src); err == nil {
		all = []leftover{{"configuration", c.File}, {"data", c.DataDir()}, {"WAL", c.Arg("wal-dir")}, {"logs", c.Log.Dir}, {"records", c.StateDir()}}
	}
	all = slices.DeleteFunc(all, func(l leftover) bool { return !isThere(l.Name) })
	return append(all, leftover{leftUser, user})
}
