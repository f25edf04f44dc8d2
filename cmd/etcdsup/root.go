package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// streams are where a command reads and writes, so that tests can give it their own.
type streams struct {
	in       io.Reader
	out, err io.Writer
	env      []string  // as os.Environ gives it
	program  string    // how the user would type this program's name; empty: etcdsup
	handed   *handover // what the etcdsup before us in this process has left; nil: there was none
}

func standardStreams(handed *handover) streams {
	return streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Environ(), program: programName(handed), handed: handed}
}

// programName is what the user has to type to get this very executable: its plain name where the shell finds it. Within
// an upgrade it is the name that the executable will have.
func programName(handed *handover) string {
	exe, err := os.Executable()
	if err != nil {
		return "etcdsup"
	}
	found, err := exec.LookPath("etcdsup")
	switch {
	case err == nil && (handed != nil && handed.Path == found || sameFile(found, exe)):
		return "etcdsup"
	case strings.Contains(exe, "/go-build"): // where go run puts it
		return "go run ./cmd/etcdsup"
	}
	return os.Args[0]
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// The forms of output that every command knows.
const (
	outputText = "text"
	outputJSON = "json"
)

// globals are the flags that every command has, and what the command line has come to.
type globals struct {
	streams
	configFile string
	instance   string
	dir        string
	output     string // outputText or outputJSON; commands that know more forms have their own flag

	overrides []string // of --set, where a command has it

	running bool   // the command line was accepted: what goes wrong from here is no fault of usage
	helpFor string // the command whose help is worth naming

	unprinted printed // what was printed without being asked whether it could be: help and version

	stay func(context.Context) error // what the command comes to when it is one that does not end by itself
}

// printed remembers the first fault of what is written by it.
type printed struct {
	to  io.Writer
	err error
}

func (p *printed) Write(text []byte) (int, error) {
	n, err := p.to.Write(text)
	if err != nil && p.err == nil {
		p.err = cannotPrint(err)
	}
	return n, err
}

// commands is the one list of commands; help, completion and docs derive from it.
var commands = []func(*globals) *cobra.Command{
	newRunCmd,
	newStatusCmd,
	newStartCmd,
	newStopCmd,
	newRestartCmd,
	newReloadCmd,
	newUpgradeCmd,
	newHistoryCmd,
	newLogsCmd,
	newInspectCmd,
	newModeCmd,
	newMemberCmd,
	newVersionCmd,
	newInitCmd,
	newConfigCmd,
	newCompletionCmd,
	newManCmd,
	newInstallCmd,
	newUninstallCmd,
	newAfterStopCmd,
	newCanTakeOverCmd,
}

// topics are the help pages that belong to no command.
var topics = []func(*globals) *cobra.Command{
	newExitCodesTopic,
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, s streams) int {
	g := &globals{streams: s, helpFor: "etcdsup"}
	err := obey(ctx, g, args)
	if g.unprinted.err != nil {
		err = g.unprinted.err
	}
	if err == nil && g.stay != nil {
		err = g.stay(ctx)
	}
	if err != nil && wantsJSON(args) {
		g.output = outputJSON
	}
	return exitCode(g, err)
}

// wantsJSON looks for -o json where flags were not read, as beside an unknown command, or are a command's own.
func wantsJSON(args []string) bool {
	for i, arg := range args {
		switch arg {
		case "--":
			return false
		case "-o", "--output":
			if i+1 < len(args) && args[i+1] == outputJSON {
				return true
			}
		case "-o" + outputJSON, "-o=" + outputJSON, "--output=" + outputJSON:
			return true
		}
	}
	return false
}

// obey carries out what the command line says, but for what stays: nobody holds the commands any longer when it returns.
func obey(ctx context.Context, g *globals, args []string) error {
	root := newRoot(g)
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

func newRoot(g *globals) *cobra.Command {
	root := &cobra.Command{
		Use:           "etcdsup",
		Version:       thisVersion().Version,
		Short:         "Supervise one etcd: run it, keep its log, watch it, bring it back",
		SilenceUsage:  true,
		SilenceErrors: true,
		Example: `  etcdsup run                    run etcd here and now, in the foreground
  etcdsup status                 how it is
  etcdsup restart                and again
  etcdsup -i events status       the same for another etcd of this host`,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}, // ours has examples
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return g.begin(cmd) },
	}
	root.SetIn(g.in)
	g.unprinted.to = g.out
	root.SetOut(&g.unprinted)
	root.SetErr(g.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		g.helpFor = cmd.CommandPath()
		return err
	})
	g.addFlags(root)
	for _, c := range slices.Concat(commands, topics) {
		root.AddCommand(c(g))
	}
	g.explainArgs(root)
	mendHelp(root)
	return root
}

// mendHelp makes help of what does not exist an error, which it is not by itself, and gives it an example.
func mendHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, err := root.Find([]string{"help"})
	mustRegister(err)
	help.Example = "  etcdsup help mode join"
	help.Args = func(_ *cobra.Command, args []string) error {
		_, unknown, err := root.Find(args)
		if err == nil && len(unknown) > 0 {
			err = fmt.Errorf("cannot help with %q: there is no such command", strings.Join(args, " "))
		}
		return err
	}
}

// explainArgs makes each command that refuses its arguments say how it is typed, and whose help to see.
func (g *globals) explainArgs(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		g.explainArgs(c)
		check := c.Args
		if check == nil {
			continue
		}
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err == nil {
				return nil
			}
			g.helpFor = c.CommandPath()
			if c.HasSubCommands() {
				return err
			}
			return fmt.Errorf("cannot run %q: it is typed as %s", strings.Join(append([]string{c.CommandPath()}, args...), " "), c.UseLine())
		}
	}
}

func (g *globals) addFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVarP(&g.configFile, "config", "c", "", "configuration file (default: the instance's own, if it exists)")
	f.StringVarP(&g.instance, "instance", "i", "", `which etcd of this host (default "default")`)
	f.StringVar(&g.dir, "dir", "", "base folder of the instance")
	f.StringVarP(&g.output, "output", "o", outputText, "text or json")
	mustRegister(root.RegisterFlagCompletionFunc("instance", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return g.instances(), cobra.ShellCompDirectiveNoFileComp
	}))
	mustRegister(root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputText, outputJSON}, cobra.ShellCompDirectiveNoFileComp)))
	mustRegister(root.RegisterFlagCompletionFunc("config", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
	}))
	mustRegister(root.MarkPersistentFlagDirname("dir"))
}

// group makes a command that only holds others refuse what is none of them.
func group(cmd *cobra.Command, members ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(members...)
	cmd.SuggestionsMinimumDistance = 2 // letters that may be wrong
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			text += fmt.Sprintf(": did you mean %q", near[0])
		}
		return errors.New(text)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// mustRegister is for completions of flags that stand a line above: their absence is a mistake of ours.
func mustRegister(err error) {
	if err != nil {
		panic(err)
	}
}

// begin is the last check of the command line before a command runs.
func (g *globals) begin(cmd *cobra.Command) error {
	g.helpFor = cmd.CommandPath()
	if g.output != outputText && g.output != outputJSON {
		form := g.output
		g.output = outputText
		return fmt.Errorf("cannot print as %q: -o takes text or json", form)
	}
	g.running = true
	return nil
}

func newExitCodesTopic(*globals) *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit code of a command means",
		Long:  exitCodeHelp(),
	}
}
