package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/spf13/cobra"
)

func newInspectCmd(g *globals) *cobra.Command {
	var walDir string
	cmd := &cobra.Command{
		Use:   "inspect [DIR|SNAPSHOT]",
		Short: "Look at a data directory or a snapshot: whose it is, how far, and what is wrong with it",
		Long: `Look at an etcd data directory, or at a snapshot file, and say on one screen whose it is, how far it is, which etcd
may open it, and what is wrong with it. Without an argument it is the data directory of the instance.

It only reads: no lock, no repair, no daemon. So it works on a read-only mount, on a copy, and while etcd runs; then
the report says so, and its later rows may be a moment newer than the ones above.

The exit code is 9 when something speaks against starting etcd on this data, and 1 when it cannot be read.`,
		Example: `  etcdsup inspect
  etcdsup inspect /var/lib/etcd
  etcdsup inspect /backup/etcd-2026-11-22.db
  etcdsup inspect -o json | jq -r '.findings[] | select(.severity == "held") | .title'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path, o, err := g.inspected(args)
			if err != nil {
				return err
			}
			if walDir != "" {
				o.WALDir = walDir
			}
			o.Holders = lockHolders
			return g.inspect(path, o)
		},
	}
	cmd.Flags().StringVar(&walDir, "wal-dir", "", "where the WAL is, if it is not inside the directory")
	mustRegister(cmd.MarkFlagDirname("wal-dir"))
	return cmd
}

// inspected is what to look at: the argument, or what the instance has for its data, with what is on record of that.
func (g *globals) inspected(args []string) (path string, o datadir.Options, err error) {
	if len(args) == 1 {
		return args[0], o, nil
	}
	c, err := g.config()
	if err != nil {
		return "", o, err
	}
	o.WALDir = c.Arg("wal-dir")
	if mark, ok := supervisor.PeekMark(c.StateDir()); ok {
		known := mark.Known()
		o.Known = &known
	}
	return c.DataDir(), o, nil
}

func (g *globals) inspect(path string, o datadir.Options) error {
	r, err := datadir.Look(path, o)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return failf(exitFailure, "run it as root or as the user that etcd runs as", "%w", err)
	case errors.Is(err, fs.ErrNotExist):
		return failf(exitFailure, "name a data directory or a snapshot file", "%w", err)
	case err != nil:
		return err
	}
	if g.json() {
		err = g.printJSON(r)
	} else {
		err = g.print(inspectText(r, g.palette(g.out)))
	}
	if err != nil {
		return err
	}
	if r.Held() {
		return &failure{code: exitFindings, err: fmt.Errorf("cannot start etcd on %s: see the findings", path), quiet: true}
	}
	return nil
}
