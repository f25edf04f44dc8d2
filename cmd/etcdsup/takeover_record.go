package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/packaging/install"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// takeOverStep is where a take-over is.
type takeOverStep string

// The steps, in their order.
const (
	stepInstall takeOverStep = "install" // nothing of etcd was touched
	stepRelease takeOverStep = "release" // from here on etcd may be down
	stepStop    takeOverStep = "stop"
	stepStart   takeOverStep = "start"
	stepProve   takeOverStep = "prove"
	stepBack    takeOverStep = "back" // the old way is being put back
	stepDone    takeOverStep = "done"
)

// takeOverFile is the record of an instance. It is root's: the folder of the instance belongs to the service.
func takeOverFile(instance string) string {
	return filepath.Join(install.StateDir, instance+".take-over.json")
}

// takeOverLock is held by the one take-over of the host: two, also of two instances, could be of the same etcd. It is not
// beside the record, for a way back has to do without that folder.
const takeOverLock = "/run/etcdsup.take-over.lock"

// onlyTakeOver is held until the command ends.
func onlyTakeOver(path string) (*os.File, error) {
	lock, err := process.LockFile(path)
	held, ok := errors.AsType[*process.HeldError](err)
	if !ok || len(held.Holders) == 0 {
		return lock, err
	}
	return nil, failf(exitFailure, "wait for its end, and look at what it has done", "cannot begin: another take-over runs on this host: process %d (%s)",
		held.Holders[0].PID, held.Holders[0].Command)
}

func readTakeOver(file string) (*takeOver, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var t takeOver
	if err := json.Unmarshal(b, &t); err != nil {
		return nil, failf(exitFailure, "move it away once you have read it", "cannot read the record of a take-over in %s: %w", file, err)
	}
	t.file = file
	return &t, nil
}

// begin writes down a step before its effect, down to the disk: whoever comes after a power cut knows where it was.
func (t *takeOver) begin(step takeOverStep) error {
	t.Step = step
	b, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write down the take-over: %w", err)
	}
	file := t.file
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("cannot write down the take-over: %w", err)
	}
	temp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".")
	if err != nil {
		return fmt.Errorf("cannot write down the take-over: %w", err)
	}
	_, err = temp.Write(append(b, '\n')) // with etcd's environment in it, so for root alone: mode 0600
	if err = errors.Join(err, temp.Sync(), temp.Close()); err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(temp.Name()) // half of a record
		return fmt.Errorf("cannot write down the take-over: %w", err)
	}
	return syncDir(filepath.Dir(file))
}

// close keeps the record under a name that says that it is over.
func (t *takeOver) close() error {
	file := t.file
	over := strings.TrimSuffix(file, ".json") + "." + time.Now().UTC().Format("20060102T150405.000Z") + ".json"
	if err := os.Rename(file, over); err != nil {
		return fmt.Errorf("cannot set the record of the take-over aside: %w", err)
	}
	return syncDir(filepath.Dir(file))
}

// bootFiles are where hosts start things at boot, but for units that are etcdsup's.
var bootFiles = []string{
	"/etc/rc.local", "/etc/rc.d/rc.local", "/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/*", "/var/spool/cron/crontabs/*",
	"/etc/inittab", "/etc/init.d/*", "/etc/systemd/system/*.service", "/etc/systemd/system/*/*.conf", "/lib/systemd/system/etcd*.service",
	"/etc/profile.d/*", "/etc/supervisor/conf.d/*", "/etc/supervisord.d/*",
}

// bootStarters are the lines of those files that have one of the traces in them. The unit that is disabled is none.
func bootStarters(traces []string, k etcdKeeper) (found []string) {
	for _, pattern := range bootFiles {
		for _, file := range glob(pattern) {
			if isOwnFile(file) || k.Kind == keptBySystemd && isOfUnit(file, k.Name) {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil || len(text) > 1<<20 {
				continue
			}
			for i, line := range bytes.Split(text, []byte("\n")) {
				if s := strings.TrimSpace(string(line)); !strings.HasPrefix(s, "#") && containsAny(s, traces) {
					found = append(found, fmt.Sprintf("%s:%d: %s", file, i+1, clip(printable(s), 100)))
				}
			}
		}
	}
	return found
}

// isOwnFile tells of etcdsup's units and of what is below their folders for drop-ins.
func isOwnFile(file string) bool {
	return strings.HasPrefix(filepath.Base(file), "etcdsup") || strings.HasPrefix(filepath.Base(filepath.Dir(file)), "etcdsup")
}

// isOfUnit tells of the unit's file, of its drop-ins, and of links to it, which go when it is disabled.
func isOfUnit(file, unit string) bool {
	target, err := filepath.EvalSymlinks(file)
	return strings.Contains(file, "/"+unit) || err == nil && filepath.Base(target) == unit
}

// bootUnit is the unit that has started etcd and left it to itself, as one of the type oneshot that remains, or of an init
// script; empty: none has.
func bootUnit(etcd process.Description, k etcdKeeper, h keeperHost) string {
	unit := unitOf(etcd.Cgroup)
	if unit == "" || k.Kind == keptBySystemd || h.property(unit, "MainPID") != "0" {
		return ""
	}
	return fmt.Sprintf("the unit %s, which has started it: systemctl disable %s", unit, unit)
}

func containsAny(line string, traces []string) bool {
	for _, t := range traces {
		if t != "" && strings.Contains(line, t) {
			return true
		}
	}
	return false
}
