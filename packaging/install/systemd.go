package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/packaging"
)

// systemd writes the unit itself: the library would not replace one that is there, nor write it in one step.
type systemd struct {
	dir string // of the units that this host has of its own
}

// packagedDirs are where packages put units, the first found counts.
var packagedDirs = []string{"/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

func (systemd) title() string { return "systemd" }

func (systemd) name(instance string) string {
	if instance == config.DefaultInstance {
		return "etcdsup.service"
	}
	return "etcdsup@" + instance + ".service"
}

// fileName is that of the unit's file: of an instance it is the template's.
func fileName(name string) string {
	before, _, isInstance := strings.Cut(name, "@")
	if isInstance {
		return before + "@.service"
	}
	return name
}

// unit is the one that the service needs. A template is shared: where other instances use it, its user stays theirs, and
// this one's stands in a drop-in.
func (m systemd) unit(p *planner) packaging.Unit {
	u := packaging.Unit{Binary: p.Binary, User: p.account.name, Group: p.account.group}
	if p.Instance == config.DefaultInstance {
		return u
	}
	u.Template = true
	if len(m.others(p.Plan.Service)) > 0 {
		text, _ := m.read(fileName(p.Plan.Service))
		u.User = firstOf(setting(text, "User"), u.User)
		u.Group = firstOf(setting(text, "Group"), u.Group)
	}
	return u
}

// others are the services of the same template that are enabled, but for this one.
func (m systemd) others(name string) []string {
	links, _ := filepath.Glob(filepath.Join(m.dir, "*.wants", "etcdsup@*.service")) // the pattern is a good one
	var names []string
	for _, link := range links {
		if n := filepath.Base(link); n != name && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

func (m systemd) instances() []string {
	var names []string
	if links, _ := filepath.Glob(filepath.Join(m.dir, "*.wants", "etcdsup.service")); len(links) > 0 { // the pattern is a good one
		names = append(names, config.DefaultInstance)
	}
	for _, unit := range m.others("") {
		_, instance, _ := strings.Cut(strings.TrimSuffix(unit, ".service"), "@")
		names = append(names, instance)
	}
	return names
}

// read is the text of a unit's file as systemd finds it, and where.
func (m systemd) read(file string) (text, path string) {
	for _, dir := range append([]string{m.dir}, packagedDirs...) {
		path := filepath.Join(dir, file)
		if b, err := os.ReadFile(path); err == nil {
			return string(b), path
		}
	}
	return "", ""
}

func (m systemd) plan(ctx context.Context, p *planner) {
	u := m.unit(p)
	p.Homes = p.Homes || m.showsHomes(p.Plan.Service)
	d := dropIn{config: p.ConfigFile(), homes: p.Homes && p.needsHomes(), mounts: p.folders.mounts}
	d.writable, d.runtime = splitRuntime(p.folders.writable)
	if u.User != p.account.name {
		d.user, d.group = p.account.name, p.account.group
	}
	before := len(p.Changes)
	m.planUnit(p, u)
	m.planDropIn(p, d)
	m.checkSandbox(p)
	changed := len(p.Changes) > before
	if changed || m.property(ctx, p.Plan.Service, "NeedDaemonReload") == "yes" {
		p.change(Change{What: "have systemd read its units again", do: func(ctx context.Context) error { return systemctl(ctx, "daemon-reload") }})
	}
	m.planEnable(ctx, p)
	if changed && m.isActive(ctx, p.Plan.Service) {
		p.note("%s runs, and goes on by the unit that it was started with; systemctl restart %s stops etcd and starts it by the new one", p.Plan.Service, p.Plan.Service)
	}
}

func (m systemd) planUnit(p *planner, u packaging.Unit) {
	path := filepath.Join(m.dir, u.Name())
	if target, err := os.Readlink(path); err == nil && target == os.DevNull {
		p.fault("systemctl unmask "+u.Name(), "cannot write %s: the unit is masked", path)
		return
	}
	if text, from := m.read(u.Name()); text == u.Text() && from != path {
		p.note("%s of the package is as it is to be, and stays", from)
		return
	}
	c, needed, err := file{path: path, text: []byte(u.Text()), mode: 0o644}.change()
	if err != nil {
		p.fault("mend that", "cannot compare the unit: %s", err)
		return
	}
	if !needed {
		return
	}
	if others := m.others(p.Plan.Service); u.Template && len(others) > 0 && !c.New {
		p.note("%s is also the unit of %s", path, strings.Join(others, ", "))
	}
	if _, from := m.read(u.Name()); c.New && from != "" {
		p.note("%s takes the place of the package's %s, and changes that a new package brings do not reach it", path, from)
	}
	p.change(c)
}

// planDropIn writes what this host's configuration needs beyond the unit, and names what others wrote.
func (m systemd) planDropIn(p *planner, d dropIn) {
	path := m.dropInPath(p.Plan.Service)
	text := d.text()
	if text == "" {
		m.planDropInRemoval(&p.Plan, path)
	} else {
		c, needed, err := file{path: path, text: []byte(text), mode: 0o644}.change()
		if err != nil {
			p.fault("mend that", "cannot compare the drop-in: %s", err)
		} else if needed {
			p.makeFolder(filepath.Dir(path), 0o755, false)
			p.change(c)
		}
	}
	for _, name := range m.dropIns(p.Plan.Service) {
		if name != path {
			p.note("the drop-in %s stays as it is", name)
		}
	}
}

func (m systemd) dropInPath(name string) string {
	return filepath.Join(m.dir, name+".d", dropInName)
}

// dropIns are the files that change the unit, in systemd's order: of two with the same name the first folder's counts.
func (m systemd) dropIns(name string) []string {
	dirs := append([]string{m.dir, "/run/systemd/system"}, packagedDirs...)
	found := map[string]string{}
	for _, unit := range slices.Compact([]string{name, fileName(name)}) {
		for _, dir := range dirs {
			files, _ := filepath.Glob(filepath.Join(dir, unit+".d", "*.conf")) // the pattern is a good one
			for _, f := range files {
				if base := filepath.Base(f); found[base] == "" {
					found[base] = f
				}
			}
		}
	}
	var paths []string
	for _, path := range found {
		paths = append(paths, path)
	}
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	return paths
}

// effective is the value of a setting after all drop-ins, but for ours.
func (m systemd) effective(name, key, value string) string {
	for _, path := range m.dropIns(name) {
		text, err := os.ReadFile(path)
		if v := setting(string(text), key); err == nil && v != "" && path != m.dropInPath(name) {
			value = v
		}
	}
	return value
}

func (m systemd) installedUser(instance string) string {
	name := m.name(instance)
	if text, err := os.ReadFile(m.dropInPath(name)); err == nil {
		if user := setting(string(text), "User"); user != "" {
			return user
		}
	}
	text, _ := m.read(fileName(name))
	return setting(text, "User")
}

// checkSandbox finds what the configuration names and the unit hides.
func (m systemd) checkSandbox(p *planner) {
	if p.Plan.Config == nil {
		return
	}
	unit := packaging.Unit{}.Text()
	home := m.effective(p.Plan.Service, "ProtectHome", setting(unit, "ProtectHome"))
	tmp := m.effective(p.Plan.Service, "PrivateTmp", setting(unit, "PrivateTmp"))
	for _, n := range namedPaths(p.Plan.Config) {
		before := len(p.Faults)
		if dir := isIn(n.path, homes); dir != "" && isYes(home) && !p.Homes {
			p.fault(movePath(p.Instance, n.key)+", or give the unit a drop-in with ProtectHome=no: systemctl edit "+p.Plan.Service,
				"cannot use %s for %s: the service is kept out of %s", n.path, n.key, dir)
		}
		if dir := isIn(n.path, temporary); dir != "" && isYes(tmp) {
			p.fault(movePath(p.Instance, n.key), "cannot use %s for %s: the service has a %s of its own, which goes with it", n.path, n.key, dir)
		}
		if len(p.Faults) > before { // once this is mended, it is another path
			p.Problems = slices.DeleteFunc(p.Problems, func(f config.Problem) bool { return f.Key == n.key })
		}
	}
}

// showsHomes tells whether an earlier installation let the service see people's folders.
func (m systemd) showsHomes(name string) bool {
	text, err := os.ReadFile(m.dropInPath(name))
	return err == nil && setting(string(text), "ProtectHome") != ""
}

// needsHomes tells whether anything that the configuration names is in people's folders.
func (p *planner) needsHomes() bool {
	return p.Plan.Config != nil && slices.ContainsFunc(namedPaths(p.Plan.Config), func(n namedPath) bool { return isIn(n.path, homes) != "" })
}

func movePath(instance, key string) string {
	if isIn(key, []string{"etcd.args.data-dir"}) != "" {
		return "stop etcd, move the directory to " + filepath.Join(StateDir, instance, "data") + " and leave " + key + " out"
	}
	return "move it to a folder such as /etc/etcdsup or /var/lib/etcdsup, and name it there"
}

func isYes(value string) bool {
	return slices.Contains([]string{"yes", "true", "on", "1"}, strings.ToLower(value))
}

// namedPath is a path that the configuration has, and the setting that has it.
type namedPath struct{ key, path string }

func namedPaths(c *config.Config) []namedPath {
	all := []namedPath{
		{"dir", c.Dir}, {"log.dir", c.Log.Dir}, {"control.socket", c.Control.Socket}, {"etcd.binary", c.Etcd.Binary},
		{"cluster.cacert", c.Cluster.CACert}, {"cluster.cert", c.Cluster.Cert}, {"cluster.key", c.Cluster.Key}, {"cluster.password_file", c.Cluster.PasswordFile},
	}
	for _, a := range c.Etcd.Args {
		all = append(all, namedPath{"etcd.args." + a.Name, a.Value()})
	}
	all = slices.DeleteFunc(all, func(n namedPath) bool { return !filepath.IsAbs(n.path) })
	derived := func(n namedPath) bool { return n.key != "dir" && c.Origin(n.key).From == config.FromDerived }
	return slices.DeleteFunc(all, derived) // said once, of the folder that they follow from
}

func (m systemd) planEnable(ctx context.Context, p *planner) {
	name := p.Plan.Service
	if m.isEnabled(ctx, name) {
		return
	}
	p.change(Change{What: "enable " + name, New: true, do: func(ctx context.Context) error {
		if err := systemctl(ctx, "enable", name); err != nil {
			return err
		}
		return m.syncWants(name)
	}})
}

// syncWants makes the links of "enable" or their absence outlive a power cut. Those of other targets are drop-ins' doing.
func (m systemd) syncWants(name string) error {
	links, _ := filepath.Glob(filepath.Join(m.dir, "*.wants")) // the pattern is a good one
	for _, dir := range append(links, m.dir) {
		if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot make sure of %s: %w", name, err)
		}
	}
	return nil
}

func systemctl(ctx context.Context, args ...string) error {
	_, err := run(ctx, "systemctl", args...)
	return err
}

func (systemd) property(ctx context.Context, name, property string) string {
	value, _ := run(ctx, "systemctl", "show", "--value", "-p", property, name) // nothing is known then
	return value
}

func (m systemd) isActive(ctx context.Context, name string) bool {
	return slices.Contains([]string{"active", "activating", "reloading"}, m.property(ctx, name, "ActiveState"))
}

func (systemd) isEnabled(ctx context.Context, name string) bool {
	state, _ := run(ctx, "systemctl", "is-enabled", name) // of a unit that is not enabled it says so by its status
	return state == "enabled"
}

// start has systemd say why when it fails: what it calls the result, and the service's own last lines.
func (m systemd) start(ctx context.Context, name string) error {
	err := systemctl(ctx, "start", name)
	if err == nil || ctx.Err() != nil {
		return firstError(ctx.Err(), err)
	}
	why := "systemd says " + m.property(ctx, name, "Result")
	if m.isActive(ctx, name) { // the result of the one before is gone
		why = "it has ended, and systemd starts it again"
	}
	lines, _ := run(ctx, "journalctl", "-u", name, "-n", "20", "-o", "cat", "--no-pager") // there may be no journal
	return fmt.Errorf("%s; the last lines of %s:\n%s", why, name, lines)
}

// owns looks at the cgroup: a service's processes stay in its own, or below it.
func (systemd) owns(pid int, name string) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && inCgroup(string(text), name)
}

func inCgroup(cgroups, name string) bool {
	for line := range strings.Lines(cgroups) {
		if slices.Contains(strings.Split(strings.TrimSpace(line), "/"), name) {
			return true
		}
	}
	return false
}
