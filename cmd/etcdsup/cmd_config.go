package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

func newConfigCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, show and explain the configuration",
		Long: `Check, show and explain the configuration: one YAML file, ETCDSUP_* variables and --set, a later one before an
earlier one. Without any of them etcdsup runs one etcd on loopback.`,
		Example: `  etcdsup config example > /etc/etcdsup/default.yaml
  etcdsup config check
  etcdsup config show`,
	}
	return group(cmd, newConfigCheckCmd(g), newConfigShowCmd(g), newConfigExampleCmd(g), newConfigReferenceCmd(g))
}

// addSetFlag gives a command the flag --set KEY=VALUE, which overrides the file and the environment.
func addSetFlag(cmd *cobra.Command) *[]string {
	// Not a slice flag: that would take etcd's comma-separated values apart.
	set := cmd.Flags().StringArray("set", nil, "set a key of the configuration, such as log.max_size=1GiB (repeatable)")
	mustRegister(cmd.RegisterFlagCompletionFunc("set", func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return completeSetting(typed)
	}))
	return set
}

// completeSetting offers the keys, and behind the "=" the values where there is a choice.
func completeSetting(typed string) ([]string, cobra.ShellCompDirective) {
	name, _, hasValue := strings.Cut(typed, "=")
	var offers []string
	for _, k := range config.Keys() {
		switch {
		case hasValue && k.Name == name:
			for _, v := range k.Values() {
				offers = append(offers, name+"="+v)
			}
		case !hasValue && strings.HasPrefix(k.Setting(), typed):
			offers = append(offers, cobra.CompletionWithDesc(k.Setting(), k.Type+", default "+k.DefaultText()))
		}
	}
	return offers, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

func newConfigCheckCmd(g *globals) *cobra.Command {
	var set *[]string
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Find every fault of the configuration",
		Long: `Find every fault of the configuration at once, each with its line and what to do. Beside the file itself it is
checked whether the etcd to run takes its flags and fits the data that is there, folders can be written, files
read, certificates are what their use asks for, and secrets are kept from others. Where the daemon runs, or the data
can be read, it is also told when the cluster lists this member with other peer URLs than are configured. Nothing is
started or changed. Exit code 6: there are faults.`,
		Example: `  etcdsup config check
  etcdsup config check ./new.yaml
  etcdsup config check -o json | jq -r '.problems[] | "\(.line): \(.what)"'`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			src := g.source()
			src.Overrides = *set
			if len(args) == 1 {
				src.File, src.FileRequired = args[0], true
			}
			return g.checkConfig(cmd.Context(), src)
		},
	}
	set = addSetFlag(cmd)
	return cmd
}

// configCheck is the answer of "config check -o json".
type configCheck struct {
	OK       bool            `json:"ok"`
	File     string          `json:"file,omitempty"` // empty: none was read
	Problems config.Problems `json:"problems"`
	Warnings config.Problems `json:"warnings,omitempty"` // worth knowing, and no fault
	Checked  []string        `json:"checked"`
	Notices  []status.Fault  `json:"notices,omitempty"` // what the cluster does not have as it is configured
}

func (g *globals) checkConfig(ctx context.Context, src config.Source) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	var answer configCheck
	if err := g.whileTelling("checking the configuration, for which etcd is asked for its flags", func() error {
		answer = g.examined(ctx, src)
		return ctx.Err()
	}); err != nil {
		return err
	}
	if g.json() {
		if err := g.printJSON(answer); err != nil || answer.OK {
			return err
		}
		return &failure{code: exitConfig, err: answer.Problems, quiet: true}
	}
	if len(answer.Warnings) > 0 {
		fmt.Fprint(g.err, "worth knowing:\n"+answer.Warnings.Pretty())
	}
	for _, n := range answer.Notices {
		fmt.Fprintf(g.err, "notice: %s\n  → %s\n", printable(n.What), printable(n.Remedy))
	}
	if !answer.OK {
		return answer.Problems
	}
	return g.print("ok: " + strings.Join(answer.Checked, "; ") + "\n")
}

// examined is all that can be found out about the configuration.
func (g *globals) examined(ctx context.Context, src config.Source) configCheck {
	c, found := config.Examine(ctx, src, builtinEtcd())
	broken, warnings := problems(c, faultsOf(ctx, c))
	answer := configCheck{File: c.File, Problems: config.Problems{}, Warnings: warnings, Checked: checked(c), Notices: g.notices(ctx, c)}
	answer.Problems = append(answer.Problems, unsaid(found, broken)...)
	answer.OK = len(answer.Problems) == 0
	return answer
}

// unsaid adds problems with settings of which nothing was said yet.
func unsaid(found, further config.Problems) config.Problems {
	known := len(found)
	for _, p := range further {
		if !slices.ContainsFunc(found[:known], func(f config.Problem) bool { return f.Key == p.Key }) {
			found = append(found, p)
		}
	}
	return found
}

// notices say what the cluster does not have as it is configured, as the running daemon knows it, or else the data. A
// configuration that differs is none with a fault: it has to be possible to change it.
func (g *globals) notices(ctx context.Context, c *config.Config) []status.Fault {
	n := status.PeerURLNotice(peerURLs(c), listedAs(ctx, c))
	if n == nil {
		return nil
	}
	return []status.Fault{{What: n.What, Remedy: strings.Replace(n.Remedy, "etcdsup ", g.self()+" ", 1)}}
}

// listedAs is this member as far as it can be told here; nil: it cannot.
func listedAs(ctx context.Context, c *config.Config) *status.Member {
	if !c.Etcd.Verify {
		return nil
	}
	st, err := control.NewClient(c.Control.Socket).Status(ctx, true)
	if err == nil && st.Config.DataDir == c.DataDir() && st.Member != nil {
		return st.Member
	}
	r, err := datadir.Look(c.DataDir(), datadir.Options{WALDir: c.Arg("wal-dir")})
	if err != nil {
		return nil
	}
	for _, m := range r.Members {
		if m.Self {
			return &status.Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs}
		}
	}
	return nil
}

// checked says what the verdict rests on.
func checked(c *config.Config) []string {
	file := "no file, defaults only"
	if c.File != "" {
		file = c.File
	}
	words := []string{file}
	if c.Etcd.Verify {
		words = append(words, fmt.Sprintf("%s takes its %s", etcdName(c), count(len(c.Etcd.Args), "flag")))
	} else {
		words = append(words, "etcd.verify is false, so the flags were not asked about")
	}
	return append(words, "folders can be written, files read, and secrets are kept from others")
}

func etcdName(c *config.Config) string {
	if c.Etcd.Binary == "" {
		return "the built-in etcd"
	}
	return c.Etcd.Binary
}

// builtinEtcd runs this very executable as etcd; nil where it cannot be found, and its flags stay unchecked.
func builtinEtcd() config.Runner {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	return config.Program(self, "etcd")
}

func newConfigShowCmd(g *globals) *cobra.Command {
	var set *[]string
	cmd := &cobra.Command{
		Use:   "show [KEY|SECTION]...",
		Short: "Show every value and where it came from",
		Long: `Show what etcdsup runs by: every key with its value, and where that came from: default (the constant in the
documentation), derived (from other values), the line of the file, the variable, or the flag. Secrets are
not shown.`,
		Example: `  etcdsup config show
  etcdsup config show log etcd.args
  etcdsup config show -o json | jq -r '.[] | select(.origin.from == "file") | .key'`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return parts(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			src := g.source()
			src.Overrides = *set
			return g.showConfig(src, args)
		},
	}
	set = addSetFlag(cmd)
	return cmd
}

// parts are the sections and keys, in alphabetical order.
func parts() []string {
	all := map[string]bool{}
	for _, k := range config.Keys() {
		all[k.Name] = true
		if s := k.Section(); s != "" {
			all[s] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (g *globals) showConfig(src config.Source, wanted []string) error {
	c, err := config.Load(src)
	if err != nil {
		return err
	}
	settings, err := selected(c.Settings(), wanted)
	if err != nil {
		return err
	}
	if g.json() {
		return g.printJSON(settings)
	}
	rows := [][]string{{"KEY", "VALUE", "FROM"}}
	for _, s := range settings {
		rows = append(rows, []string{s.Key, dash(s.Value), s.Origin.String()})
	}
	return g.print(table(rows))
}

// selected keeps the settings that are wanted or lie below one that is; no wish means all.
func selected(all []config.Setting, wanted []string) ([]config.Setting, error) {
	if len(wanted) == 0 {
		return all, nil
	}
	kept := []config.Setting{}
	for _, name := range wanted {
		before := len(kept)
		for _, s := range all {
			if s.Key == name || strings.HasPrefix(s.Key, name+".") {
				kept = append(kept, s)
			}
		}
		if len(kept) == before && !slices.Contains(parts(), name) {
			return nil, &failure{code: exitUsage, err: errors.New("cannot show " + name + ": nothing of this name is set"), remedy: "etcdsup config show lists everything"}
		}
	}
	return kept, nil
}

func newConfigExampleCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "example",
		Short: "Print a complete configuration file with comments",
		Long: `Print a complete configuration file: every key with what it is for and its default. Loaded as it is, it changes
nothing.`,
		Example: `  etcdsup config example > /etc/etcdsup/default.yaml`,
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return g.print(config.Example()) },
	}
}

func newConfigReferenceCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "reference",
		Short: "Print the documentation of every key",
		Long:  "Print the documentation of every key as Markdown; with -o json, as the table that it is made from.",
		Example: `  etcdsup config reference | less
  etcdsup config reference -o json | jq -r '.[].variable'`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return g.printReference() },
	}
}

// keyReference is one key in "config reference -o json".
type keyReference struct {
	Key      string `json:"key"`
	Type     string `json:"type"`
	Form     string `json:"form"`
	Default  string `json:"default"`
	Constant bool   `json:"constant"` // the default is a value; otherwise words that say where it comes from
	Variable string `json:"variable"`
	Live     bool   `json:"live"`
	Doc      string `json:"doc"`
}

func (g *globals) printReference() error {
	if !g.json() {
		return g.print(config.Reference())
	}
	var all []keyReference
	for _, k := range config.Keys() {
		all = append(all, keyReference{k.Name, k.Type, k.Form, k.DefaultText(), k.Default != "", k.Variable(), k.Live, k.Doc})
	}
	return g.printJSON(all)
}
