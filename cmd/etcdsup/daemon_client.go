package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// target is the daemon that a command is for: what the configuration says of it, and the way to reach it.
type target struct {
	g      *globals
	cfg    *config.Config
	client *control.Client
}

func (g *globals) target() (*target, error) {
	c, err := g.config()
	if err != nil {
		if c = g.runningDespite(err); c == nil {
			return nil, err
		}
	}
	return &target{g: g, cfg: c, client: control.NewClient(c.Control.Socket)}, nil
}

// runningDespite lets a faulty file not stand between an operator and the daemon that still runs by the file's
// version of before: when somebody answers where the socket is by default, that is taken. It returns nil when not. Where
// a file was named, and no folder, it must be the one that the daemon runs by: a slip of the pen is not to stop another.
func (g *globals) runningDespite(fault error) *config.Config {
	problems, ok := errors.AsType[config.Problems](fault)
	if !ok {
		return nil
	}
	src := g.source()
	src.File, src.FileRequired = os.DevNull, true
	c, err := config.Load(src)
	if err != nil {
		return nil
	}
	runsBy, ok := configOf(c.Control.Socket)
	if !ok || g.namesFile() && !samePath(g.or(g.configFile, "ETCDSUP_CONFIG"), runsBy) {
		return nil
	}
	fmt.Fprintf(g.err, "etcdsup: the configuration has %s, see etcdsup config check; asking the daemon at %s\n",
		count(len(problems), "fault"), c.Control.Socket)
	return c
}

// explain gives an error of the client its exit code and its remedy.
func (t *target) explain(err error) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, control.ErrNoDaemon):
		return t.noDaemon(err)
	case errors.Is(err, control.ErrSilent):
		return failf(exitFailure, "see its own log; if it is stopped, kill -CONT it", "instance %q: %w", t.cfg.Instance, err)
	}
	e, ok := errors.AsType[*control.Error](err)
	switch {
	case ok && e.Code == control.CodeDenied:
		return failf(exitDenied, e.Remedy, "cannot use %s: %w", t.client.Socket(), err)
	case errors.Is(err, control.ErrDenied):
		return failf(exitDenied, "run it as root or as the user that etcdsup runs as, or have control.group set", "cannot use instance %q: %w", t.cfg.Instance, err)
	case ok:
		return &failure{code: exitFailure, err: err, remedy: e.Remedy, faults: e.Faults}
	}
	return err
}

// noDaemon says that nobody listens, and whether etcd lives all the same: it outlives its supervisor.
func (t *target) noDaemon(err error) error {
	rec, _ := supervisor.PeekRecord(t.cfg.StateDir())
	if pid := lockedBy(filepath.Join(t.cfg.StateDir(), "lock")); pid != 0 {
		return failf(exitNoDaemon, fmt.Sprintf("try again: it is just beginning or ending, or its socket was removed and is made anew within a minute; else see %s, or ps %d",
			t.g.commandLine("logs --self"), pid), "etcdsup runs for instance %q, PID %d, but cannot be asked: %w", t.cfg.Instance, pid, err)
	}
	remedy := t.noDaemonRemedy(rec)
	if rec.Run != nil {
		if p, adoptErr := process.Adopt(rec.Run.ID); adoptErr == nil {
			p.Close()
			return failf(exitNoDaemon, strings.Replace(remedy, "start it:", "take it over:", 1),
				"etcdsup is not running for instance %q, but its etcd lives, PID %d: %w", t.cfg.Instance, rec.Run.ID.PID, err)
		}
	}
	return failf(exitNoDaemon, remedy, "etcdsup is not running for instance %q: %w", t.cfg.Instance, err)
}

// noDaemonRemedy names the command that the daemon was last run with, where that is on record.
func (t *target) noDaemonRemedy(rec supervisor.Record) string {
	start := t.g.commandLine("run")
	if rec.Command != "" && t.g.configFile == "" {
		start = rec.Command + " run"
	}
	if unit := t.unit(); unit != "" {
		start = "systemctl start " + unit + ", or in the foreground: " + start
	}
	return "start it: " + start + t.elsewhere()
}

// unit is the systemd service of the instance, empty when none is installed.
func (t *target) unit() string {
	file, name := "etcdsup@.service", "etcdsup@"+t.cfg.Instance
	if t.cfg.Instance == "default" {
		file, name = "etcdsup.service", "etcdsup"
	}
	for _, dir := range []string{"/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return name
		}
	}
	return ""
}

// commandLine is how the user would type the verb for the same instance.
func (g *globals) commandLine(verb string) string { return g.self() + " " + verb }

// self is how the user would type this program for the same instance, up to the verb.
func (g *globals) self() string {
	words := []string{cmp.Or(g.program, "etcdsup")}
	for _, f := range []struct{ flag, value string }{{"-c", g.configFile}, {"-i", g.instance}, {"--dir", g.dir}} {
		if f.value != "" {
			words = append(words, f.flag, f.value)
		}
	}
	return strings.Join(words, " ")
}

// elsewhere hints at the one other instance that runs, when none was named.
func (t *target) elsewhere() string {
	if t.g.or(t.g.instance, "ETCDSUP_INSTANCE") != "" {
		return ""
	}
	named := t.g.or(t.g.dir, "ETCDSUP_DIR") != "" // -i would not change the folder then
	var alive []string
	for name, socket := range sockets(t.cfg) {
		if name != t.cfg.Instance && answers(socket) {
			flag := "-i " + name
			if named {
				flag = "--dir " + shellWord(filepath.Dir(filepath.Dir(socket)))
			}
			alive = append(alive, flag)
		}
	}
	slices.Sort(alive)
	switch len(alive) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("; or did you mean the instance that runs here: %s", alive[0])
	}
	return "; or did you mean one of those that run here: " + strings.Join(alive, ", ")
}

func answers(socket string) bool {
	_, ok := configOf(socket)
	return ok
}

// namesFile: the file alone says which daemon is meant.
func (g *globals) namesFile() bool {
	return g.or(g.configFile, "ETCDSUP_CONFIG") != "" && g.or(g.dir, "ETCDSUP_DIR") == ""
}

// configOf asks the daemon of a socket for the file that it runs by; empty: it has none. ok: somebody answers.
func configOf(socket string) (file string, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	st, err := control.NewClient(socket).Status(ctx, false)
	if err != nil {
		return "", false
	}
	return st.Config.File, true
}

// samePath tells whether two paths lead to one file, or would if it were there.
func samePath(a, b string) bool {
	at, err := filepath.Abs(a)
	return err == nil && b != "" && at == filepath.Clean(b) || sameFile(a, b)
}

// instances are the names to complete --instance with.
func (g *globals) instances() []string {
	c, err := g.config()
	if err != nil {
		return nil
	}
	var names []string
	for name := range sockets(c) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// interruptible ends with the caller's context, with Ctrl-C and with SIGTERM, all as context.Canceled.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
}
