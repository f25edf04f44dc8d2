package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/packaging/install"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// installOptions are the flags of install.
type installOptions struct {
	verb    string // of the command, where it is not install
	user    string
	now     bool
	diff    bool
	timeout time.Duration
	yields  func(pid int) bool // processes that are ended before the service starts
}

func newInstallCmd(g *globals) *cobra.Command {
	var o installOptions
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Make etcdsup a service of this host",
		Long: `Make this etcdsup a service that starts at boot: the system user, the folders, the configuration's place and rights, and
what the service manager reads. For the default instance that is etcdsup.service, for others etcdsup@NAME.service.

Before anything is changed, everything that would keep the service from starting is looked for and told at once. What is
there already is left alone, so a second run changes nothing. A file that differs is shown, replaced in one step, and
kept beside its place; drop-ins of your own are never touched.

With --config the file becomes the configuration of the service, /etc/etcdsup/NAME.yaml. Exit code 6: the configuration
has faults; 7: this needs root; 12: there is no service manager.`,
		Example: `  etcdsup install --now                          the default instance, at once
  etcdsup install --diff                         only show what would be changed
  etcdsup install --config ./etcd.yaml --user kv --now
  etcdsup -i events install --now                a second etcd on this host`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.noneEmpty(cmd, "user"); err != nil {
				return err
			}
			return g.install(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.user, "user", "", "run etcd as this system `USER`, made where there is none (default: the one of the installed service, or etcd)")
	f.BoolVar(&o.now, "now", false, "start it too, and wait until etcd is ready")
	f.BoolVar(&o.diff, "diff", false, "only show what would be changed")
	f.DurationVarP(&o.timeout, "timeout", "t", 2*time.Minute, "with --now: give up waiting after this long, with exit code 4; the service goes on")
	noFiles(cmd, "user", "timeout")
	return cmd
}

// installation is the JSON of install and uninstall.
type installation struct {
	Result string         `json:"result"` // the sentence that people read
	Took   time.Duration  `json:"took_ns"`
	Plan   *install.Plan  `json:"plan"`
	Done   bool           `json:"done"` // the changes of the plan were made; with --diff they were not
	Status *status.Status `json:"status,omitempty"`
	Left   []leftover     `json:"left,omitempty"` // of uninstall: what stays on the host
}

// install is the whole command; take-over uses it too.
func (g *globals) install(ctx context.Context, o installOptions) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	began := time.Now()
	s, err := g.service(o)
	if err != nil {
		return err
	}
	p, err := install.Prepare(ctx, s)
	if err != nil {
		return explainInstall(err)
	}
	g.foreground(ctx, p, o.now)
	g.unseen(p)
	if o.diff {
		return g.showPlan(p, began)
	}
	if err := standsAgainst(p); err != nil {
		g.showWarnings(p)
		return err
	}
	if err := g.apply(ctx, p); err != nil {
		return err
	}
	g.showNotes(p)
	a := installation{Result: installedText(p), Plan: p, Done: true}
	if o.now {
		if a.Status, err = g.startService(ctx, p, o.timeout); err != nil {
			return err
		}
		a.Result += "; etcd is ready" + withPID(a.Status)
	}
	a.Took = time.Since(began)
	return g.tellInstalled(a, o.now)
}

// service is what the command line asks for.
func (g *globals) service(o installOptions) (install.Service, error) {
	verb := cmp.Or(o.verb, "install")
	if os.Geteuid() != 0 {
		return install.Service{}, failf(exitDenied, "sudo "+g.commandLine(verb), "cannot %s a service: only root may do that", verb)
	}
	if g.or(g.dir, "ETCDSUP_DIR") != "" {
		return install.Service{}, failf(exitUsage, "write it as dir: into the configuration",
			"cannot %s with --dir or ETCDSUP_DIR: the service has its folder from its configuration, so that every command finds it", verb)
	}
	if o.timeout <= 0 && o.now {
		return install.Service{}, failf(exitUsage, "", "cannot wait for %v: --timeout must be above 0", o.timeout)
	}
	binary, err := os.Executable()
	if err != nil {
		return install.Service{}, fmt.Errorf("cannot tell which binary this is: %w", err)
	}
	s := install.Service{Binary: binary, User: o.user, Start: o.now, Yields: o.yields}
	s.Instance = cmp.Or(g.or(g.instance, "ETCDSUP_INSTANCE"), config.DefaultInstance)
	if !config.IsInstanceName(s.Instance) {
		return s, failf(exitUsage, "name it with letters, digits, '.', '_' and '-'", "cannot %s the instance %q: it is no name for one", verb, s.Instance)
	}
	s.Own = livingEtcd
	if file := g.or(g.configFile, "ETCDSUP_CONFIG"); file != "" {
		if s.Config, err = filepath.Abs(file); err != nil {
			return s, fmt.Errorf("cannot tell where %s is: %w", file, err)
		}
	}
	return s, nil
}

// unseen tells of variables that the commands in this shell go by, and the service does not.
func (g *globals) unseen(p *install.Plan) {
	for _, kv := range g.env {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "ETCDSUP_") && !slices.Contains([]string{"ETCDSUP_INSTANCE", "ETCDSUP_CONFIG"}, name) {
			p.Warnings = append(p.Warnings, status.Fault{What: "the service does not see " + name + " of this shell", Remedy: "write what it says into " + install.ConfigDir})
		}
	}
}

func explainInstall(err error) error {
	if errors.Is(err, install.ErrNoManager) {
		return failf(exitNoManager, "in a container, or under another supervisor, have it run: etcdsup run, as the user that etcd is to run as; "+
			"SIGTERM stops etcd in order, and its exit code says why it ended: etcdsup help exit-codes",
			"cannot install a service: %w", err)
	}
	return err
}

// standsAgainst is all that stands against the plan, as one error.
func standsAgainst(p *install.Plan) error {
	switch {
	case len(p.Problems) > 0 && len(p.Faults) == 0:
		return &failure{code: exitConfig, err: p.Problems}
	case len(p.Problems) > 0:
		faults := p.Faults
		for _, f := range p.Problems {
			faults = append(faults, status.Fault{What: f.Error(), Remedy: f.Remedy})
		}
		return &failure{code: exitConfig, err: errors.New("cannot install: " + faults[0].What), remedy: faults[0].Remedy, faults: faults}
	case len(p.Faults) > 0:
		return &failure{code: exitFailure, err: errors.New("cannot install: " + p.Faults[0].What), remedy: p.Faults[0].Remedy, faults: p.Faults}
	}
	return nil
}

// apply makes the changes and tells of each.
func (g *globals) apply(ctx context.Context, p *install.Plan) error {
	if !g.json() {
		g.showWarnings(p)
	}
	said := func(c install.Change) {
		if g.json() {
			return
		}
		if !c.New {
			fmt.Fprint(g.err, c.Diff)
		}
		fmt.Fprintf(g.err, "  done: %s%s\n", c.What, keptText(c))
	}
	err := g.whileTelling("changing this host", func() error { return p.Apply(ctx, said) })
	if errors.Is(err, context.Canceled) {
		return failf(exitInterrupted, "the same command goes on with it", "interrupted: what was done is above, and stays")
	}
	return err
}

func (g *globals) showNotes(p *install.Plan) {
	if g.json() {
		return
	}
	for _, n := range p.Notes {
		fmt.Fprintln(g.err, "  "+n)
	}
}

func keptText(c install.Change) string {
	if c.Kept == "" {
		return ""
	}
	return "; what was there is kept as " + c.Kept
}

func (g *globals) showWarnings(p *install.Plan) {
	if g.json() {
		return
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(g.err, "notice: %s\n", printable(w.What))
		if w.Remedy != "" {
			fmt.Fprintf(g.err, "  → %s\n", printable(w.Remedy))
		}
	}
}

// showPlan is --diff: nothing is changed, and a refusal is part of the answer.
func (g *globals) showPlan(p *install.Plan, began time.Time) error {
	text := "nothing was changed"
	if len(p.Changes) == 0 {
		text = "nothing is to be changed"
	}
	if g.json() {
		if err := g.printJSON(installation{Result: text, Took: time.Since(began), Plan: p}); err != nil {
			return err
		}
		return quietly(standsAgainst(p))
	}
	g.showWarnings(p)
	if err := g.print(changesText(p) + text + "\n"); err != nil {
		return err
	}
	return standsAgainst(p)
}

// quietly is for an error that the answer has told already.
func quietly(err error) error {
	if f, ok := errors.AsType[*failure](err); ok {
		f.quiet = true
	}
	return err
}

func changesText(p *install.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, as user %s, by %s\n", p.Service, p.User, p.Manager)
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "  would %s%s\n%s", c.What, strings.Replace(keptText(c), "is kept", "would be kept", 1), c.Diff)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "  %s\n", n)
	}
	return b.String()
}

func installedText(p *install.Plan) string {
	if len(p.Changes) == 0 {
		return fmt.Sprintf("%s is installed already, and nothing was changed", p.Service)
	}
	return fmt.Sprintf("%s is installed and starts at boot, as user %s", p.Service, p.User)
}

func (g *globals) tellInstalled(a installation, started bool) error {
	if g.json() {
		return g.printJSON(a)
	}
	if err := g.print(fmt.Sprintf("%s (took %s)\n", a.Result, humanDuration(a.Took))); err != nil || started {
		return err
	}
	if a.Plan.Active {
		return g.print("  it runs already; see how it is  " + g.commandLine("status") + "\n")
	}
	return g.print("  start it  " + g.commandLine("install --now") + "\n")
}
