package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdsup/etcdsup/config/hostconf"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// keptByUnit is a service of systemd whose main process etcd is, or descends from: it is stopped as a whole. nil: there is
// none, or what is closer to etcd starts it again.
func keptByUnit(line []process.Description, h keeperHost) (*etcdKeeper, error) {
	unit := unitOf(line[0].Cgroup)
	if unit == "" {
		return nil, usersUnit(line[0].Cgroup)
	}
	main, err := strconv.Atoi(h.property(unit, "MainPID"))
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // no unit is not an error
	}
	i := slices.IndexFunc(line, func(d process.Description) bool { return d.ID.PID == main && main > 1 })
	if i < 0 || startsMore(keeperName(line[i])) || hasCloserKeeper(line, i) {
		return nil, nil //nolint:nilnil // likewise
	}
	if others := notOfEtcd(h.inUnit(unit, main), line[:i+1], h.descendants(line[0].ID.PID)); len(others) > 0 {
		return nil, failf(exitFailure, "have etcd started by a unit of its own first, or stop it and go the way of docs/take-over.md by hand",
			"cannot stop the unit %s: it runs more than etcd: %s", unit, strings.Join(others, "; "))
	}
	if err := staysStopped(unit, h); err != nil {
		return nil, err
	}
	return &etcdKeeper{Kind: keptBySystemd, Title: "the unit " + unit, Process: line[i], Child: line[0].ID, Name: unit,
		Enabled: h.enabled(unit)}, nil
}

// usersUnit refuses a unit of a person's own manager: the host's does not know it.
func usersUnit(cgroup string) error {
	unit := path.Base(cgroup)
	if !strings.HasSuffix(unit, ".service") || strings.HasPrefix(unit, "user@") || !strings.Contains(cgroup, "/user.slice/") {
		return nil
	}
	return failf(exitFailure, "as that user: systemctl --user disable --now "+unit+"; then start etcd in another way, and go on with that one",
		"cannot stop the unit %s: it is one of a user's own systemd", unit)
}

// staysStopped refuses a unit that could not be put back, or that others would start again, or that would take others
// with it.
func staysStopped(unit string, h keeperHost) error {
	file := h.property(unit, "FragmentPath")
	own := "/etc/systemd/system/" + unit
	target := h.linkTo(own)
	switch {
	case h.property(unit, "UnitFileState") == "transient" || h.property(unit, "Transient") == "yes":
		return failf(exitFailure, "copy "+file+" to "+own+" first, systemctl daemon-reload, and stop and start it once",
			"cannot put the unit %s back once it is stopped: it is transient", unit)
	case filepath.IsAbs(target) && !slices.Contains(hostconf.UnitFolders, filepath.Dir(target)):
		return failf(exitFailure, "cp --remove-destination "+target+" "+own+" && systemctl daemon-reload",
			"cannot put the unit %s back once it is disabled: it is a link to %s, which goes with that", unit, target)
	case strings.HasPrefix(h.property(unit, "UnitFileState"), "linked"): // below /run
		return failf(exitFailure, "copy "+file+" to "+own+" first, and systemctl daemon-reload",
			"cannot put the unit %s back once it is disabled: it is a link, which goes with that", unit)
	}
	var others []string
	for _, name := range []string{"RequiredBy", "WantedBy", "BoundBy", "RequisiteOf", "UpheldBy", "TriggeredBy"} {
		for _, by := range strings.Fields(h.property(unit, name)) {
			if !strings.HasSuffix(by, ".target") && !slices.Contains(others, by) {
				others = append(others, by)
			}
		}
	}
	if len(others) == 0 {
		return nil
	}
	return failf(exitFailure, "have them name etcdsup.service instead (systemctl edit NAME), then again",
		"cannot leave the unit %s stopped: others need it, would end with it, and would start it again: %s", unit, strings.Join(others, ", "))
}

// releaseUnit has systemd stop it, and not start it at boot. One that cannot be disabled is told of where it cannot be
// stopped either.
func (k *etcdKeeper) releaseUnit(ctx context.Context) error {
	_, enableErr := tool(ctx, "systemctl", "disable", k.Name)
	if err := k.stopUnit(ctx); err != nil {
		return errors.Join(err, enableErr)
	}
	return nil
}

// patientStop has systemd wait for etcd as long as we do, and kill nothing then.
var patientStop = fmt.Sprintf("# Written by etcdsup init --take-over for one stop.\n[Service]\nTimeoutStopSec=%d\nSendSIGKILL=no\n", int(stopTime.Seconds()))

// stopUnit stops it by a drop-in that goes with the stop, and at the latest with the next boot.
func (k *etcdKeeper) stopUnit(ctx context.Context) error {
	dropIn := filepath.Join("/run/systemd/system", k.Name+".d", "zz-etcdsup-take-over.conf")
	if err := os.MkdirAll(filepath.Dir(dropIn), 0o755); err != nil {
		return fmt.Errorf("cannot have systemd wait for etcd's end: %w", err)
	}
	defer func() {
		_ = os.Remove(dropIn)
		_ = os.Remove(filepath.Dir(dropIn)) // with other drop-ins in it, it stays
		_, _ = tool(ctx, "systemctl", "daemon-reload")
	}()
	if err := os.WriteFile(dropIn, []byte(patientStop), 0o644); err != nil {
		return fmt.Errorf("cannot have systemd wait for etcd's end: %w", err)
	}
	if _, err := tool(ctx, "systemctl", "daemon-reload"); err != nil {
		return err
	}
	_, err := tool(ctx, "systemctl", "stop", k.Name)
	return err
}

// resumeUnit starts it whether or not it can be had at boot as before: etcd comes first.
func (k *etcdKeeper) resumeUnit(ctx context.Context) error {
	var enableErr error
	if k.Enabled {
		_, enableErr = tool(ctx, "systemctl", "enable", k.Name)
	}
	_, err := tool(ctx, "systemctl", "start", k.Name)
	return errors.Join(err, enableErr)
}

// scanners start keepers, one for each of their folders.
var scanners = []string{"svscan", "runsvdir", "s6-svscan"}

// startsMore tells of a unit's main process that it starts other things than etcd too.
func startsMore(name string) bool {
	return slices.Contains(scanners, name) || slices.Contains(sessionEnds, name)
}

// hasCloserKeeper: a keeper below the main process would start etcd again by itself, and the main process looks after more.
// A supervisord has a command for one program also where it is the main process.
func hasCloserKeeper(line []process.Description, main int) bool {
	for i, d := range line[:main+1] {
		name := keeperName(d)
		if i > 0 && (name == "supervisord" || i < main && slices.Contains(fifoKeepers, name)) {
			return true
		}
	}
	return false
}

// logFilters take etcd's output, or wait for its next start, and end with it.
var logFilters = []string{"tee", "logger", "cat", "multilog", "svlogd", "cronolog", "rotatelogs", "systemd-cat", "sleep"}

// notOfEtcd are those of a unit's processes that neither lead to etcd, nor come out of it, nor take its output.
func notOfEtcd(all, lineage []process.Description, below []int) (others []string) {
	for _, d := range all {
		leads := slices.ContainsFunc(lineage, func(l process.Description) bool { return l.ID.PID == d.ID.PID })
		if !leads && !slices.Contains(below, d.ID.PID) && !slices.Contains(logFilters, keeperName(d)) {
			others = append(others, fmt.Sprintf("process %d (%s)", d.ID.PID, commandLine(d)))
		}
	}
	return others
}

// unitOf is the service whose cgroup that is. Those of sessions are not services of the host.
func unitOf(cgroup string) string {
	parts := strings.Split(cgroup, "/")
	for _, p := range slices.Backward(parts) {
		if strings.HasSuffix(p, ".service") && !strings.HasPrefix(p, "user@") && !slices.Contains(parts, "user.slice") {
			return p
		}
	}
	return ""
}

// processesIn are those that stopping a unit ends: all in its cgroup, and what its main process has started.
func processesIn(unit string, main int) (all []process.Description) {
	started := process.Descendants(main)
	for _, pid := range process.Descendants(1) {
		d, err := process.Describe(pid)
		if err == nil && (unitOf(d.Cgroup) == unit || slices.Contains(started, pid)) { // one that is gone needs no stopping
			all = append(all, d)
		}
	}
	return all
}
