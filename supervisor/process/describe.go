package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Description is how a process of anybody's was started, as /proc tells it.
type Description struct {
	ID      ID
	PPID    int // its parent now
	Session int
	Name    string   // the kernel's short one
	Command []string // its arguments
	Env     []string // NAME=value; nil: it may not be read
	Dir     string   // working directory; empty: it may not be read
	Exe     string   // path of the executable; empty: it may not be read, or the file is deleted
	UID     int      // effective
	GID     int
	Groups  []int  // supplementary
	Umask   int    // -1: it may not be read
	Cgroup  string // of the unified hierarchy, or of systemd's own; empty: none
}

// Describe describes the process that has this PID now. The error is ErrGone when there is none, or when it died, or was
// replaced, while it was looked at.
func Describe(pid int) (Description, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return Description{}, adoptError(ID{PID: pid}, err)
	}
	defer unix.Close(fd)
	id, s, err := readID(pid, fd)
	if err != nil {
		return Description{}, err
	}
	d := Description{ID: id, PPID: s.ppid, Session: s.session, Name: s.comm}
	if err := d.read(pid); err != nil {
		return Description{}, err
	}
	if err := sendSignal(fd, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return Description{}, fmt.Errorf("cannot look at process %d: %w", pid, ErrGone)
	}
	return d, nil
}

func (d *Description) read(pid int) error {
	command, err := readProc(pid, "cmdline")
	if err != nil {
		return err
	}
	d.Command = zeroEnded(command)
	if env, err := readProc(pid, "environ"); err == nil {
		d.Env = zeroEnded(env)
	}
	d.Dir, _ = os.Readlink(procPath(pid, "cwd")) // another user's may not be read
	if exe, err := os.Readlink(procPath(pid, "exe")); err == nil && !strings.HasSuffix(exe, " (deleted)") {
		d.Exe = exe
	}
	d.readRights(pid)
	if b, err := readProc(pid, "cgroup"); err == nil {
		d.Cgroup = cgroupPath(string(b))
	}
	return nil
}

func zeroEnded(b []byte) []string {
	b = bytes.TrimSuffix(b, []byte{0})
	if len(b) == 0 {
		return nil
	}
	return strings.Split(string(b), "\x00")
}

// readRights reads what it may do and what its files get: -1 where that cannot be read.
func (d *Description) readRights(pid int) {
	d.UID, d.GID, d.Umask = -1, -1, -1
	b, err := readProc(pid, "status")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		f := strings.Fields(rest)
		switch {
		case name == "Uid" && len(f) > 1:
			d.UID = statusNumber(f[1], 10)
		case name == "Gid" && len(f) > 1:
			d.GID = statusNumber(f[1], 10)
		case name == "Umask" && len(f) > 0:
			d.Umask = statusNumber(f[0], 8)
		case name == "Groups":
			for _, g := range f {
				d.Groups = append(d.Groups, statusNumber(g, 10))
			}
		}
	}
}

// statusNumber is one that the kernel wrote.
func statusNumber(text string, base int) int {
	n, err := strconv.ParseInt(text, base, 64)
	if err != nil {
		return -1
	}
	return int(n)
}

func cgroupPath(text string) string {
	path := ""
	for line := range strings.Lines(text) {
		number, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, p, _ := strings.Cut(rest, ":")
		if number == "0" && controllers == "" || path == "" && controllers == "name=systemd" {
			path = p
		}
	}
	return path
}

// Lineage is the process and those that it descends from, up to PID 1, which is the last.
func Lineage(pid int) ([]Description, error) {
	var all []Description
	for pid > 0 {
		d, err := Describe(pid)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
		pid = d.PPID
	}
	return all, nil
}

// Descendants are the living processes that came out of this one, children before their own children.
func Descendants(pid int) []int {
	children := map[int][]int{}
	for p := range pids() {
		if s, err := readStat(p); err == nil && !s.dead() {
			children[s.ppid] = append(children[s.ppid], p)
		}
	}
	var all []int
	for next := slices.Clone(children[pid]); len(next) > 0; {
		all = append(all, next[0])
		next = append(next[1:], children[next[0]]...)
	}
	return all
}
