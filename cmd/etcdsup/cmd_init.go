package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/config/hostconf"
)

// initOptions is what "init" was asked for.
type initOptions struct {
	from    string
	kind    string
	pid     int
	print   bool
	replace bool

	takeOver int // process; 0: not asked for
	plan     bool
	yes      bool
	back     bool
	user     string
	timeout  time.Duration
}

func newInitCmd(g *globals) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a complete configuration, also from what starts etcd on this host today",
		Long: `Write a complete configuration file with comments: that of the instance, or the one of --config. One that exists is
never overwritten; with --replace it is set aside first, and named.

With --from its values come from what starts etcd here today: a start script, an etcd.conf.yml, a file of ETCD_*
variables such as /etc/default/etcd, or a unit of systemd, which can also be named as etcd.service. With --from-pid
they come from the command line, the environment and the working directory of an etcd that runs, or of the one below
its supervise. A script is read, never run. It is said line by line what went where, and what was not taken and why;
the flag force-new-cluster, for one, is always left out.

With --take-over the whole change-over is made: the configuration is written from the running etcd, the service
installed, what keeps etcd today (supervise, runsv, s6-supervise, supervisord, a unit, a script) is made to leave it alone,
etcd is stopped in order, the service started, and proven to have the same member with the same data. If it has not, the
old way is put back. --plan only shows what would be done. Where it was cut off, the same command goes on with it, and
--back puts the old way back. Exit code 10: it was put back.

Otherwise the result is checked as by "config check", and its faults are shown. Exit code 6: there are faults; the file is
written all the same.`,
		Example: `  etcdsup init
  etcdsup init --from /home/work/etcd/start-etcd.sh --print
  etcdsup init --from etcd.service
  etcdsup init --from-pid $(pgrep -x etcd)
  etcdsup init --take-over $(pgrep -x etcd) --plan
  etcdsup init --take-over $(pgrep -x etcd) --yes
  etcdsup init --back`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			changed := cmd.Flags().Changed
			if o.back || changed("take-over") {
				return g.takeOver(cmd.Context(), o)
			}
			for _, name := range []string{"plan", "yes", "user", "timeout"} {
				if changed(name) {
					return failf(exitUsage, "name the process that runs etcd: init --take-over $(pgrep -x etcd)", "cannot use --%s alone: it is for --take-over", name)
				}
			}
			return g.init(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "script, unit or file that starts etcd on this host today")
	f.StringVar(&o.kind, "from-kind", "", "what --from is: "+strings.Join(kindNames(), ", ")+" (default: recognised)")
	f.IntVar(&o.pid, "from-pid", 0, "process of an etcd that runs, or of its supervise")
	f.BoolVar(&o.print, "print", false, "write nothing, and print the configuration instead; so does --config -")
	f.BoolVar(&o.replace, "replace", false, "set a file that exists aside, and write a new one")
	f.IntVar(&o.takeOver, "take-over", 0, "change over to the service: process of the etcd that runs, or of its supervise")
	f.BoolVar(&o.plan, "plan", false, "with --take-over or --back: only show what would be done")
	f.BoolVarP(&o.yes, "yes", "y", false, "with --take-over or --back: do not ask")
	f.BoolVar(&o.back, "back", false, "put the old way back, after a --take-over that was cut off")
	f.StringVar(&o.user, "user", "", "with --take-over: run the service as this `USER` (default: the owner of the data)")
	f.DurationVarP(&o.timeout, "timeout", "t", 2*time.Minute, "with --take-over: put the old way back when etcd is not ready after this long")
	mustRegister(cmd.RegisterFlagCompletionFunc("from-kind", cobra.FixedCompletions(kindNames(), cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func kindNames() []string {
	all := make([]string, len(hostconf.Kinds))
	for i, k := range hostconf.Kinds {
		all[i] = string(k)
	}
	return all
}

// initOutcome is the answer of "init -o json".
type initOutcome struct {
	File     string          `json:"file"`                // empty: it was only printed
	Written  bool            `json:"written"`             // false: it was there with the same content, or was only printed
	Aside    string          `json:"set_aside,omitempty"` // where the old file is now
	Text     string          `json:"text,omitempty"`      // the configuration, where it was only printed
	From     *hostconf.Found `json:"from,omitempty"`
	OK       bool            `json:"ok"`
	Problems config.Problems `json:"problems"`
	Warnings config.Problems `json:"warnings,omitempty"`
}

func (g *globals) init(ctx context.Context, o initOptions) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	if g.configFile == "-" {
		g.configFile, o.print = "", true
	}
	found, err := o.read()
	if err != nil {
		return err
	}
	d, err := g.draft(ctx, found)
	if err != nil {
		return err
	}
	out := initOutcome{From: masked(found), OK: len(d.problems) == 0, Problems: d.problems, Warnings: d.warnings}
	if out.Problems == nil {
		out.Problems = config.Problems{}
	}
	if o.print {
		out.Text = d.text
	} else {
		out.File = d.file
		if out.Written, out.Aside, err = d.write(o.replace); err != nil {
			return err
		}
	}
	return g.tellInit(out)
}

// read reads what is there; nil: nothing was named.
func (o initOptions) read() (*hostconf.Found, error) {
	switch {
	case o.from != "" && o.pid != 0:
		return nil, failf(exitUsage, "name the file, or the process", "cannot read both --from and --from-pid")
	case o.print && o.replace:
		return nil, failf(exitUsage, "leave one of them out", "cannot use --print with --replace: nothing is written")
	case o.kind != "" && !slices.Contains(kindNames(), o.kind):
		return nil, failf(exitUsage, "write one of "+strings.Join(kindNames(), ", "), "cannot read as %q: there is no such kind", o.kind)
	case o.kind != "" && o.from == "":
		return nil, failf(exitUsage, "name the file with --from", "cannot use --from-kind alone: it says what --from is")
	case o.pid < 0:
		return nil, failf(exitUsage, "pgrep -a etcd lists those that run", "cannot read process %d: there is none of this number", o.pid)
	case o.pid != 0:
		d, err := etcdAt(o.pid)
		if err != nil {
			return nil, err
		}
		found, err := hostconf.FromProcess(asRunning(d), thisHost())
		return found, withRemedy(err)
	case o.from != "":
		path, err := filepath.Abs(unitPath(o.from))
		if err != nil {
			return nil, err
		}
		found, err := hostconf.Read(path, hostconf.Kind(o.kind), thisHost())
		return found, withRemedy(err)
	}
	return nil, nil
}

// unitPath is where systemd has a unit that is named without a folder.
func unitPath(name string) string {
	if strings.Contains(name, "/") || !strings.HasSuffix(name, ".service") {
		return name
	}
	for _, folder := range slices.Backward(hostconf.UnitFolders) {
		if path := filepath.Join(folder, name); exists(path) {
			return path
		}
	}
	return name
}

// withRemedy shows the remedy of a fault apart from it.
func withRemedy(err error) error {
	if f, ok := errors.AsType[*hostconf.Fault](err); ok {
		return &failure{code: exitFailure, err: f.Err, remedy: f.Remedy}
	}
	return err
}
