package install

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/kardianos/service"

	"github.com/etcdsup/etcdsup/config"
)

//go:embed scripts
var scriptFiles embed.FS

// scripts are read when they are wanted: a daemon has no use for them.
var scripts = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{"quote": shellQuote}).ParseFS(scriptFiles, "scripts/*"))
})

// kind is one of the managers that read one file a service. The library writes that file, from our text, and knows how the
// service is had started at boot, started and stopped.
type kind struct {
	platform string                  // the library's name
	title    string                  // that people know
	text     string                  // of scripts
	option   string                  // by which the library takes the text
	path     string                  // of the file, with %s for the service
	links    []string                // patterns of what starts it at boot, likewise; none: the file does
	runs     func(first string) bool // whether this is what runs, by the name of process 1
	control  string                  // the program that starts and stops it; empty: the file does
	restarts bool                    // it starts an etcdsup that has died
}

var kinds = []kind{
	{"linux-openrc", "OpenRC", "openrc.sh", "OpenRCScript", "/etc/init.d/%s", []string{"/etc/runlevels/*/%s"},
		func(string) bool { return exists("/run/openrc/softlevel") }, "", true},
	{"unix-systemv", "SysV init", "sysv.sh", "SysvScript", "/etc/init.d/%s", []string{"/etc/rc[2-5].d/S??%s", "/etc/rc[016].d/K??%s"},
		func(first string) bool { return first == "init" && exists("/etc/rc2.d") }, "", false},
	{"linux-rcs", "BusyBox init", "sysv.sh", "RCSScript", "/etc/init.d/%s", []string{"/etc/rc.d/S??%s"},
		func(first string) bool { return first == "init" && exists("/etc/rc.d") }, "", false},
	{"linux-procd", "procd", "procd.sh", "SysvScript", "/etc/init.d/%s", []string{"/etc/rc.d/S??%s", "/etc/rc.d/K??%s"},
		func(first string) bool { return first == "procd" }, "", true},
	{"linux-upstart", "Upstart", "upstart.conf", "UpstartScript", "/etc/init/%s.conf", nil,
		func(first string) bool { return first == "init" }, "initctl", true},
}

// script is what the texts are filled with.
type script struct {
	Name, Instance, Binary, User, Group string
}

// Head names what the text was made of, so that it can be made again and compared.
func (s script) Head() string {
	return fmt.Sprintf("Made by etcdsup install, for user %s, group %s, binary %s", s.User, s.Group, s.Binary)
}

// Select is how the instance is named to etcdsup.
func (s script) Select() string {
	if s.Instance == config.DefaultInstance {
		return ""
	}
	return " -i " + s.Instance
}

// Base is the folder that the service has for itself.
func (s script) Base() string { return filepath.Join(StateDir, s.Instance) }

var headLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^# Made by etcdsup install, for user (\S+), group (\S+), binary (.*)$`)
})

// parseHead is what a file of ours was made of, as far as it says; ok is false where it is none.
func parseHead(text string) (s script, ok bool) {
	m := headLine().FindStringSubmatch(text)
	if m == nil {
		return script{}, false
	}
	return script{User: m[1], Group: m[2], Binary: m[3]}, true
}

// shellQuote makes one word of a text for a shell; for Upstart too, whose exec is a shell's where it has quotes.
func shellQuote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// scripted is a manager of that kind on this host.
type scripted struct{ kind }

func (m scripted) title() string { return m.kind.title }

func (scripted) name(instance string) string {
	if instance == config.DefaultInstance {
		return "etcdsup"
	}
	return "etcdsup-" + instance
}

func (m scripted) instances() []string {
	var names []string
	if exists(m.file("etcdsup")) {
		names = append(names, config.DefaultInstance)
	}
	before, after, _ := strings.Cut(m.file("etcdsup-*"), "*")
	files, _ := filepath.Glob(m.file("etcdsup-*")) // the pattern is a good one
	for _, f := range files {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(f, before), after))
	}
	return names
}

func (m scripted) file(name string) string { return fmt.Sprintf(m.path, name) }

func (m scripted) render(s script) string {
	var b strings.Builder
	if err := scripts().ExecuteTemplate(&b, m.text, s); err != nil {
		panic(err) // a mistake in our own text, which the tests read
	}
	return b.String()
}

func (m scripted) installedUser(instance string) string {
	s, _ := parseHead(readText(m.file(m.name(instance))))
	return s.User
}

// program is what the library needs to know of us. It never runs it: etcdsup run has no use for the library's loop.
type program struct{}

func (program) Start(service.Service) error { return nil }
func (program) Stop(service.Service) error  { return nil }

func (m scripted) service(name, binary, text string) (service.Service, error) {
	s, err := service.New(program{}, &service.Config{
		Name: name, DisplayName: name, Description: "etcd, supervised by etcdsup", Executable: binary,
		Option: service.KeyValue{m.option: text},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot use %s: %w", m.kind.title, err)
	}
	return s, nil
}

func (m scripted) plan(ctx context.Context, p *planner) {
	name := p.Plan.Service
	text := m.render(script{Name: name, Instance: p.Instance, Binary: p.Binary, User: p.account.name, Group: p.account.group})
	f := file{path: m.file(name), text: []byte(text), keep: ConfigDir}
	c, needed, err := f.change()
	switch {
	case err != nil:
		p.fault("mend that", "cannot compare the script: %s", err)
		return
	case needed:
		if c.Kept != "" {
			p.makeFolder(ConfigDir, 0o755, false)
		}
	case !m.isEnabled(ctx, name):
		c = Change{What: "have " + name + " started at boot", New: true}
	default:
		m.tellLimits(p)
		return
	}
	kept := c.Kept
	c.do = func(context.Context) error { return m.put(name, p.Binary, text, kept) }
	p.change(c)
	m.tellLimits(p)
}

// put has the library write the file, which it does only where there is none, and have it started at boot.
func (m scripted) put(name, binary, text, kept string) error {
	path := m.file(name)
	if err := m.clear(path, kept); err != nil {
		return err
	}
	s, err := m.service(name, binary, text)
	if err != nil {
		return err
	}
	if err := s.Install(); err != nil {
		return err
	}
	if err := syncFile(path); err != nil {
		return err
	}
	return m.syncLinks(name)
}

// clear makes room for a file: what is there is kept under the name, or is what will be written again.
func (m scripted) clear(path, kept string) error {
	if !exists(path) {
		return nil
	}
	if kept == "" {
		return os.Remove(path)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := (file{path: kept, text: old, mode: 0o644}).write(""); err != nil {
		return err
	}
	return os.Remove(path)
}

func (m scripted) linksOf(name string) []string {
	var all []string
	for _, pattern := range m.links {
		found, _ := filepath.Glob(fmt.Sprintf(pattern, name)) // the pattern is a good one
		all = append(all, found...)
	}
	return all
}

func (m scripted) isEnabled(_ context.Context, name string) bool {
	return len(m.linksOf(name)) > 0 || len(m.links) == 0 && exists(m.file(name))
}

// syncLinks makes the links of the runlevels, or their absence, outlive a power cut.
func (m scripted) syncLinks(name string) error {
	for _, pattern := range m.links {
		dirs, _ := filepath.Glob(filepath.Dir(fmt.Sprintf(pattern, name))) // the pattern is a good one
		for _, dir := range dirs {
			if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// tellLimits says what systemd would give.
func (m scripted) tellLimits(p *planner) {
	if !m.restarts {
		p.note("%s does not start etcdsup again when it dies: etcd goes on, but nobody looks after it until the next %s start", m.kind.title, p.Plan.Service)
	}
	p.note("%s finds no hung etcdsup, keeps no output where etcdsup and etcd die at once, gives etcd no cgroup of its own and no sandbox", m.kind.title)
}

func (m scripted) start(ctx context.Context, name string) error {
	if m.isActive(ctx, name) {
		return nil
	}
	return m.ask(ctx, name, "start")
}

// ask has the service started or stopped. The library does the same, but does not tell what was said when it fails.
func (m scripted) ask(ctx context.Context, name, verb string) error {
	command := []string{m.file(name), verb}
	if m.control != "" {
		command = []string{m.control, verb, name}
	}
	_, err := run(ctx, command[0], command[1:]...)
	return err
}

func (m scripted) isActive(_ context.Context, name string) bool {
	s, err := m.service(name, "", "")
	if err != nil {
		return false
	}
	st, err := s.Status()
	return err == nil && st == service.StatusRunning
}

// owns goes by the PID file, which is etcdsup's, or that of the one who starts it again.
func (m scripted) owns(pid int, name string) bool {
	first, err := strconv.Atoi(strings.TrimSpace(readText("/run/" + name + ".pid")))
	return err == nil && (pid == first || parent(pid) == first)
}

// parent is the PID of a process's parent, 0 where it is not known.
func parent(pid int) int {
	stat := readText(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // the name before may hold anything
	if len(fields) < 2 {
		return 0
	}
	n, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return n
}

func (m scripted) planRemoval(ctx context.Context, p *Plan, instance string) {
	name, path := p.Service, m.file(p.Service)
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	if m.isActive(ctx, name) {
		p.change(Change{What: "stop " + name + ", and etcd with it", do: func(ctx context.Context) error { return m.ask(ctx, name, "stop") }})
	}
	c := Change{What: "remove " + path}
	s, ok := parseHead(string(text))
	s.Name, s.Instance = name, instance
	if !ok || m.render(s) != string(text) {
		c.Kept = asideName(ConfigDir, filepath.Base(path), time.Now())
	}
	kept := c.Kept
	c.do = func(context.Context) error { return m.remove(name, path, kept) }
	p.change(c)
}

func (m scripted) remove(name, path, kept string) error {
	if kept != "" {
		if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := (file{path: kept, text: text, mode: 0o644}).write(""); err != nil {
			return err
		}
	}
	s, err := m.service(name, "", "")
	if err != nil {
		return err
	}
	if err := s.Uninstall(); err != nil {
		return err
	}
	for _, link := range m.linksOf(name) { // the library leaves those of init scripts
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return m.syncLinks(name)
}
