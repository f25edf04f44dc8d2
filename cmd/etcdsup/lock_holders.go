package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"golang.org/x/sys/unix"
)

// lockHolders names the processes that hold a lock on any of the files. It asks the kernel's list of locks: taking a
// lock to find out, if only for a moment, could make an etcd fail that starts just then. Processes of another PID
// namespace are not in that list.
func lockHolders(files []string) []datadir.Holder {
	inodes := map[string][]unix.Stat_t{}
	for _, path := range files {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil {
			key := strconv.FormatUint(st.Ino, 10)
			inodes[key] = append(inodes[key], st)
		}
	}
	list, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil
	}
	var pids []int
	for line := range strings.Lines(string(list)) {
		pid, inode, ok := parseLock(line)
		if ok && !slices.Contains(pids, pid) && slices.ContainsFunc(inodes[inode], func(st unix.Stat_t) bool { return hasOpen(pid, st) }) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	var holders []datadir.Holder
	for _, pid := range pids {
		holders = append(holders, datadir.Holder{PID: pid, Command: commandLineOf(pid)})
	}
	return holders
}

// lockedBy is the PID of a process that holds the lock on a file; 0: none does, or none can be seen.
func lockedBy(file string) int {
	if holders := lockHolders([]string{file}); len(holders) > 0 {
		return holders[0].PID
	}
	return 0
}

// parseLock takes a line like "1: FLOCK  ADVISORY  WRITE 708 fe:00:1234 0 EOF" apart. A line with an arrow is of a
// process that waits for the lock.
func parseLock(line string) (pid int, inode string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 6 || f[1] == "->" {
		return 0, "", false
	}
	pid, err := strconv.Atoi(f[4])
	return pid, f[5][strings.LastIndexByte(f[5], ':')+1:], err == nil && pid > 0
}

// hasOpen tells whether the process has this very file open: the list of locks names a device of which stat gives
// another number on some file systems. Where we may not look, the number of the inode has to do.
func hasOpen(pid int, want unix.Stat_t) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return !os.IsNotExist(err)
	}
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		var st unix.Stat_t
		return unix.Stat(dir+"/"+e.Name(), &st) == nil && st.Dev == want.Dev && st.Ino == want.Ino
	})
}

func commandLineOf(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}
