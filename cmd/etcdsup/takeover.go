package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/config/hostconf"
	"github.com/etcdsup/etcdsup/packaging/install"
	"github.com/etcdsup/etcdsup/supervisor/cluster"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// takeOver is a change-over from what keeps etcd today to the service. What is exported is its record on disk, which a
// later call goes on with.
type takeOver struct {
	Instance string              `json:"instance"`
	Began    time.Time           `json:"began"`
	Step     takeOverStep        `json:"step"`    // that was begun last
	Touched  bool                `json:"touched"` // etcd may have been stopped
	Etcd     process.Description `json:"etcd"`
	Keeper   etcdKeeper          `json:"keeper"`
	Before   *cluster.Proof      `json:"before"`
	Config   string              `json:"config"` // the file
	DataDir  string              `json:"data_dir"`
	Draft    string              `json:"draft_sha256"`        // of the configuration that is written there
	Aside    string              `json:"set_aside,omitempty"` // what was there before; it may not be there yet
	Stays    bool                `json:"stays,omitempty"`     // the same was there before
	Moved    string              `json:"moved,omitempty"`     // where the new one is after the way back; it may not be there yet

	g        *globals
	file     string // of the record
	found    *hostconf.Found
	draft    *draft
	plan     *install.Plan
	ours     bool     // the file there is the draft of an earlier call
	temp     string   // the configuration, where install takes it from
	atBoot   []string // what starts it at boot
	warnings []string
	asker    asker
	stopped  time.Time
	downtime time.Duration
	after    *cluster.Proof
	told     []string // steps that are done
}

// prepareTakeOver finds out everything, and changes nothing but for a file of its own in a temporary folder.
func (g *globals) prepareTakeOver(ctx context.Context, o initOptions, recorded *takeOver) (*takeOver, error) {
	d, err := etcdAt(o.takeOver)
	if err != nil {
		return nil, err
	}
	if d.Exe == "" {
		return nil, failf(exitFailure, "put the executable back where it was, and restart etcd by it first",
			"cannot take over process %d: the executable that it runs is deleted, so etcd could not be started again", d.ID.PID)
	}
	if err := g.instanceIsFree(ctx, recorded); err != nil {
		return nil, err
	}
	line, err := process.Lineage(d.ID.PID)
	if err != nil {
		return nil, err
	}
	t := &takeOver{g: g, Began: time.Now(), Etcd: d}
	if t.Keeper, err = findKeeper(line, thisKeeperHost(ctx)); err != nil {
		return nil, err
	}
	if err := t.Keeper.sparesUs(os.Getpid()); err != nil {
		return nil, err
	}
	t.Keeper.Outputs = outputsOf(t.Keeper.Process.ID.PID)
	if err := t.prepareConfig(ctx, o, recorded); err != nil {
		return nil, err
	}
	if err := t.prepareInstall(ctx, o); err != nil {
		return nil, err
	}
	if t.Before, err = t.proof(ctx); err != nil {
		return nil, failf(exitFailure, proofRemedy(err), "cannot take over process %d: %w", d.ID.PID, err)
	}
	t.atBoot = bootStarters(t.traces(), t.Keeper)
	if unit := bootUnit(d, t.Keeper, thisKeeperHost(ctx)); unit != "" {
		t.atBoot = append(t.atBoot, unit)
	}
	return t, nil
}

// instanceIsFree keeps a service that another etcd may have from being rewritten, and from being removed on the way back.
// One that a take-over on record has made is its own.
func (g *globals) instanceIsFree(ctx context.Context, recorded *takeOver) error {
	if recorded != nil {
		return nil
	}
	service, err := install.Standing(ctx, g.instanceName())
	if err != nil {
		return explainInstall(err)
	}
	if service == "" {
		return nil
	}
	return failf(exitFailure, "name another instance with -i NAME, or take that service off the host first: "+g.commandLine("uninstall"),
		"cannot take over as instance %q: its service %s is there already", g.instanceName(), service)
}

func (t *takeOver) prepareConfig(ctx context.Context, o initOptions, recorded *takeOver) (err error) {
	if t.found, err = hostconf.FromProcess(asRunning(t.Etcd), thisHost()); err != nil {
		return withRemedy(err)
	}
	if t.draft, err = t.g.draft(ctx, t.found); err != nil {
		return err
	}
	if len(t.draft.problems) > 0 {
		return t.draft.problems
	}
	t.Config, t.DataDir = t.draft.file, t.draft.config.DataDir()
	t.Draft = sum([]byte(t.draft.text))
	there, err := os.ReadFile(t.Config)
	t.meets(there, err == nil, recorded)
	if err == nil && !t.Stays && !t.ours && !o.replace {
		return failf(exitFailure, "--replace sets it aside first", "cannot write %s: it exists", t.Config)
	}
	t.asker = newAsker(t.draft.config)
	return nil
}

// meets says what the configuration that is there already is to it: nobody else's where an earlier call has written it, and
// then what was there before that call is what there was.
func (t *takeOver) meets(there []byte, exists bool, recorded *takeOver) {
	switch {
	case !exists:
	case recorded != nil && recorded.Draft == sum(there):
		t.ours, t.Aside, t.Stays = true, recorded.Aside, recorded.Stays
	default:
		t.Stays = t.Draft == sum(there)
	}
}

func sum(text []byte) string { return fmt.Sprintf("%x", sha256.Sum256(text)) }

// prepareInstall plans the service, which runs as the owner of the data unless another user is named.
func (t *takeOver) prepareInstall(ctx context.Context, o initOptions) error {
	user := o.user
	if user == "" {
		owner, err := ownerOf(t.draft.config.DataDir())
		if err != nil {
			return err
		}
		user = owner
	}
	s, err := t.g.service(installOptions{user: user, now: true, timeout: o.timeout, yields: t.yields})
	if err != nil {
		return err
	}
	if t.temp, err = t.draft.inTemporaryFolder(); err != nil {
		return err
	}
	t.Instance, t.file = s.Instance, takeOverFile(s.Instance)
	s.Config, s.Homes = t.temp, true
	if t.Config != s.ConfigFile() {
		return failf(exitUsage, "leave --config out", "cannot take over with the configuration in %s: the service has it in %s", t.Config, s.ConfigFile())
	}
	if t.plan, err = install.Prepare(ctx, s); err != nil {
		return explainInstall(err)
	}
	t.g.foreground(ctx, t.plan, true)
	t.g.unseen(t.plan)
	for i, p := range t.plan.Problems {
		if p.File == t.temp {
			t.plan.Problems[i].File = t.Config
		}
	}
	return standsAgainst(t.plan)
}

// yields: what holds the ports and the data now is gone when the service starts.
func (t *takeOver) yields(pid int) bool {
	return pid == t.Etcd.ID.PID || slices.Contains(process.Descendants(t.Keeper.Process.ID.PID), pid)
}

func ownerOf(dir string) (string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("cannot tell whose the data is: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("cannot tell whose the data in %s is", dir)
	}
	name := userName(int(st.Uid))
	if name == strconv.Itoa(int(st.Uid)) {
		return "", failf(exitFailure, "name one with --user, and give the data to it while etcd is stopped",
			"cannot run the service as the owner of %s: this host has no user of the number %s", dir, name)
	}
	return name, nil
}

// inTemporaryFolder writes the text where only root can read it.
func (d *draft) inTemporaryFolder() (string, error) {
	folder, err := os.MkdirTemp("", "etcdsup-take-over-")
	if err != nil {
		return "", fmt.Errorf("cannot write the configuration: %w", err)
	}
	file := filepath.Join(folder, filepath.Base(d.file))
	return file, os.WriteFile(file, []byte(d.text), 0o600)
}

// forget takes the temporary file away.
func (t *takeOver) forget() {
	if t.temp != "" {
		_ = os.RemoveAll(filepath.Dir(t.temp)) // a copy of what is in its place by then
	}
}

// traces are what a line that starts this etcd would have in it.
func (t *takeOver) traces() []string {
	all := []string{t.Etcd.Exe, t.draft.config.DataDir()}
	for _, d := range []process.Description{t.Etcd, t.Keeper.Process} {
		if d.Dir != "/" && d.Dir != "" {
			all = append(all, d.Dir)
		}
		for _, a := range d.Command {
			if filepath.IsAbs(a) && !slices.Contains([]string{"/bin/sh", "/bin/bash", "/usr/bin/sudo"}, a) {
				all = append(all, a)
			}
		}
	}
	return all
}

// state of a record that is there already: nil where there is none.
func (g *globals) recordedTakeOver(instance string) (*takeOver, error) {
	t, err := readTakeOver(takeOverFile(instance))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // no record is not an error
	}
	if err != nil {
		return nil, err
	}
	t.g = g
	c, err := t.etcdsConfig()
	if err != nil {
		return nil, err
	}
	t.asker = newAsker(c)
	return t, nil
}

// etcdsConfig says how etcd is asked: the configuration that was written for it, or where that cannot be read, or is not there
// yet, what the etcd from before was started with. A broken file is no reason to leave a host without etcd.
func (t *takeOver) etcdsConfig() (*config.Config, error) {
	src := config.Source{File: t.newConfig(), FileRequired: true, Instance: t.Instance, Env: append(install.Environment(), t.g.clusterUser()...)}
	if t.Stays || !t.configStays() {
		if c, problems := config.Read(src); len(problems) == 0 {
			return c, nil
		}
	}
	found, err := hostconf.FromProcess(asRunning(t.Etcd), thisHost())
	if err != nil {
		return nil, withRemedy(err)
	}
	src.Text = []byte(config.Filled(draftHead(found), t.g.values(found)))
	c, problems := config.Read(src)
	if len(problems) > 0 {
		return nil, problems
	}
	return c, nil
}

// clusterUser are the variables by which etcd is asked, which the service does not have.
func (g *globals) clusterUser() []string {
	return slices.DeleteFunc(slices.Clone(g.env), func(kv string) bool { return !strings.HasPrefix(kv, "ETCDSUP_CLUSTER_") })
}

// newConfig is where the configuration of etcd under the service is.
func (t *takeOver) newConfig() string {
	if t.Moved != "" && exists(t.Moved) {
		return t.Moved
	}
	return t.Config
}

// instanceName is the one that the command line means.
func (g *globals) instanceName() string {
	return cmp.Or(g.or(g.instance, "ETCDSUP_INSTANCE"), config.DefaultInstance)
}
