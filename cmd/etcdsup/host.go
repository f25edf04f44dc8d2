package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdsup/etcdsup/config/hostconf"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// thisHost is the host as hostconf asks it.
func thisHost() hostconf.Host {
	return hostconf.Host{ReadFile: os.ReadFile, Glob: glob, Hostname: hostName, LookPath: lookPath}
}

func glob(pattern string) []string {
	found, _ := filepath.Glob(pattern) // only a bad pattern is an error, and ours are not
	return found
}

// hostName asks the very command that scripts ask, so that the answer is what they get.
func hostName(option string) (string, bool) {
	if option == "" {
		name, err := os.Hostname()
		return name, err == nil
	}
	out, err := exec.Command("hostname", option).Output()
	return strings.TrimSpace(string(out)), err == nil
}

// usualPath is what a script has without an environment of its own.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func lookPath(name, path string) (string, bool) {
	for _, folder := range filepath.SplitList(cmp.Or(path, usualPath)) {
		file := filepath.Join(folder, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && filepath.IsAbs(file) {
			return file, true
		}
	}
	return "", false
}

// etcdAt is the etcd that pid is, or the one that runs below it where pid is of what supervises it. One of etcdsup's is
// refused: its executable is etcdsup itself most often, which as etcd.binary would not start.
func etcdAt(pid int) (process.Description, error) {
	d, err := anyEtcdAt(pid)
	if err != nil {
		return d, err
	}
	line, _ := process.Lineage(d.ID.PID) // where others' processes are hidden, what is seen of etcd has to do
	if keptByEtcdsup(d, line) {
		return d, failf(exitFailure, "etcdsup status", "cannot take etcd, process %d, from what keeps it: etcdsup keeps it already", d.ID.PID)
	}
	return d, nil
}

// keptByEtcdsup goes by the processes that it descends from, by its unit, and by its executable: an etcdsup that was killed
// leaves an etcd that has nothing else of it.
func keptByEtcdsup(etcd process.Description, line []process.Description) bool {
	const us = "etcdsup"
	return strings.HasPrefix(unitOf(etcd.Cgroup), us) || strings.HasPrefix(filepath.Base(etcd.Exe), us) ||
		slices.ContainsFunc(line, func(d process.Description) bool {
			return strings.HasPrefix(keeperName(d), us) && slices.Contains(d.Command, "run")
		})
}

// anyEtcdAt is the same, whoever keeps it. What starts all that runs on a host keeps none of it.
func anyEtcdAt(pid int) (process.Description, error) {
	d, err := process.Describe(pid)
	if err != nil {
		return d, failf(exitFailure, "pgrep -a etcd lists those that run", "cannot find an etcd at process %d: %w", pid, err)
	}
	if hostconf.IsEtcd(d.Command) {
		return d, nil
	}
	if slices.Contains(sessionEnds, keeperName(d)) {
		return d, failf(exitFailure, "pgrep -a etcd lists those that run", "cannot find an etcd at process %d: it is %s, and no keeper of etcd", pid, commandLine(d))
	}
	var found []process.Description
	for _, below := range process.Descendants(pid) {
		if b, err := process.Describe(below); err == nil && hostconf.IsEtcd(b.Command) {
			found = append(found, b)
		}
	}
	switch len(found) {
	case 0:
		return d, failf(exitFailure, "pgrep -a etcd lists those that run",
			"cannot find an etcd at process %d: it is %s, and none runs below it", pid, commandLine(d))
	case 1:
		return found[0], nil
	}
	return d, failf(exitFailure, fmt.Sprintf("name the etcd itself, such as %d", found[0].ID.PID), "cannot tell which etcd is meant: %d run below process %d", len(found), pid)
}

// commandLine is a process as people know it.
func commandLine(d process.Description) string {
	if len(d.Command) == 0 {
		return "[" + d.Name + "]"
	}
	return clip(printable(strings.Join(d.Command, " ")), 100)
}

// asRunning is a process as hostconf takes it.
func asRunning(d process.Description) hostconf.Running {
	return hostconf.Running{PID: d.ID.PID, Command: d.Command, Env: d.Env, Dir: d.Dir, Exe: d.Exe, User: userName(d.UID)}
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}
