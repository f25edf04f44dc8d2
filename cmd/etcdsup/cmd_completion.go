package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
)

// shell is one that a completion script is written for.
type shell struct {
	name   string
	script func(*cobra.Command, io.Writer) error
	use    string // where the script goes
}

var shells = []shell{
	{"bash", func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"etcdsup completion bash > /etc/bash_completion.d/etcdsup"},
	{"zsh", (*cobra.Command).GenZshCompletion, `etcdsup completion zsh > "${fpath[1]}/_etcdsup"`},
	{"fish", func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
		"etcdsup completion fish > ~/.config/fish/completions/etcdsup.fish"},
}

func newCompletionCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "completion bash|zsh|fish",
		Short:                 "Print the completion script of a shell",
		Long:                  "Print a script by which the shell completes commands, flags and the names of the instances of this host.",
		Args:                  cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			i := slices.IndexFunc(shells, func(s shell) bool { return s.name == args[0] })
			return shells[i].script(cmd.Root(), g.out)
		},
	}
	for _, s := range shells {
		cmd.ValidArgs = append(cmd.ValidArgs, s.name)
		cmd.Example += fmt.Sprintf("  %s\n", s.use)
	}
	return cmd
}
