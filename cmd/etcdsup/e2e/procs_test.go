package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// proc is a living process.
type proc struct {
	pid  int
	argv []string
}

func (p proc) String() string { return fmt.Sprintf("%d %q", p.pid, p.argv) }

// processesOf are those whose command line names the text, but for the followers of its log: they are the test's own.
func processesOf(text string) []proc {
	return slices.DeleteFunc(processesNaming(text), func(p proc) bool { return slices.Contains(p.argv, "-f") })
}

// processesNaming are those in whose command line the text stands. The dead ones have none.
func processesNaming(text string) (found []proc) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !bytes.Contains(line, []byte(text)) {
			continue
		}
		found = append(found, proc{pid, strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")})
	}
	return found
}

// etcds are the etcds, or stand-ins, on a data folder.
func etcds(data string) []int {
	var pids []int
	for _, p := range processesNaming("--data-dir=" + data) {
		if filepath.Base(p.argv[0]) != "etcdsup" {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

func (in *instance) expectOneEtcd(pid int) {
	in.t.Helper()
	if all := etcds(in.data); len(all) != 1 || all[0] != pid {
		in.t.Fatalf("etcds on %s: %v, not %d alone", in.data, all, pid)
	}
}

// childrenOf are the children of all threads of a process.
func childrenOf(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, l := range lists {
		for _, f := range strings.Fields(readAll(l)) {
			if child, err := strconv.Atoi(f); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// stands tells that each thread of a process is stopped.
func stands(pid int) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, f := range files {
		if text := readAll(f); text != "" && !strings.Contains(text, "\nState:\tT") {
			return false
		}
	}
	return len(files) > 0
}

// usage is what a process holds of the machine.
type usage struct{ rssKB, fds, threads int }

func usageOf(t *testing.T, pid int) (u usage) {
	t.Helper()
	for line := range strings.Lines(readAll(fmt.Sprintf("/proc/%d/status", pid))) {
		f := strings.Fields(line)
		switch f[0] {
		case "VmRSS:":
			u.rssKB, _ = strconv.Atoi(f[1])
		case "Threads:":
			u.threads, _ = strconv.Atoi(f[1])
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	u.fds = len(fds)
	return u
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
}
