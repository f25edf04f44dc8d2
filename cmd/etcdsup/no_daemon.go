package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/etcdsup/etcdsup/packaging/install"
	"github.com/etcdsup/etcdsup/supervisor"
)

// noDaemon says that nobody listens, and whether etcd lives all the same: it outlives its supervisor.
func (t *target) noDaemon(err error) error {
	rec, _ := supervisor.PeekRecord(t.cfg.StateDir())
	if pid := lockedBy(lockPath(t.cfg)); pid != 0 {
		f := failf(exitNoDaemon, fmt.Sprintf("try again: it is just beginning or ending, or its socket was removed and is made anew within a minute; else see %s, or ps %d",
			t.g.commandLine("logs --self"), pid), "etcdsup runs for instance %q, PID %d, but cannot be asked: %w", t.cfg.Instance, pid, err)
		f.pid = pid
		return f
	}
	if place := t.elsewhereOnHost(); place != "" {
		return failf(exitNoDaemon, "sudo "+t.g.helpFor, "etcdsup is not running for instance %q of user %s; the one of this host has its folder in %s: %w",
			t.cfg.Instance, userName(os.Geteuid()), place, err)
	}
	remedy := t.noDaemonRemedy(rec)
	if pid := livingEtcd(t.cfg); pid != 0 {
		f := failf(exitNoDaemon, strings.Replace(remedy, "start it:", "take it over:", 1),
			"etcdsup is not running for instance %q, but its etcd lives, PID %d: %w", t.cfg.Instance, pid, err)
		f.pid = pid
		return f
	}
	return failf(exitNoDaemon, remedy, "etcdsup is not running for instance %q: %w", t.cfg.Instance, err)
}

// elsewhereOnHost is the folder of the host's own instance of the name, where that is what a user means who is not root, has
// none and named no other place. Empty: there is none.
func (t *target) elsewhereOnHost() string {
	named := t.g.or(t.g.dir, "ETCDSUP_DIR") != "" || t.cfg.File != ""
	_, err := os.Stat(t.cfg.Dir)
	if os.Geteuid() == 0 || named || err == nil {
		return ""
	}
	place := install.Service{Instance: t.cfg.Instance}.BaseDir()
	_, err = os.Stat(filepath.Join(place, "run", "control.sock"))
	if err == nil || errors.Is(err, fs.ErrPermission) {
		return place
	}
	return ""
}

// noDaemonRemedy names the command that the daemon was last run with, where that is on record.
func (t *target) noDaemonRemedy(rec supervisor.Record) string {
	start := t.g.commandLine("run")
	if rec.Command != "" && t.g.configFile == "" {
		start = rec.Command + " run"
	}
	if unit := t.unit(); unit != "" {
		if endsAgainAndAgain(unit) {
			return "systemd starts it again each time that it ends; see why it ends: journalctl -u " + unit + " -n 20"
		}
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

// endsAgainAndAgain tells whether systemd is about to start the service again.
func endsAgainAndAgain(unit string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	properties, err := tool(ctx, "systemctl", "show", "-p", "ActiveState", "-p", "SubState", "-p", "Result", unit)
	return err == nil && isToStart(strings.Split(properties, "\n"))
}

// isToStart reads what systemd shows of a service that nobody can ask: it is on its way up, or waits for that in what
// follows on a failure.
func isToStart(properties []string) bool {
	has := func(property string) bool { return slices.Contains(properties, property) }
	return has("ActiveState=activating") || has("SubState=stop-post") && !has("Result=success")
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
