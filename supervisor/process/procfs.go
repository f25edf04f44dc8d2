package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// userHZ is the unit of the tick counts in /proc/PID/stat. The kernel fixes it at 100 for amd64 and arm64
// whatever its own timer frequency is.
const userHZ = 100

// kthread is PF_KTHREAD: the flag of a kernel thread in /proc/PID/stat.
const kthread = 0x00200000

// stat is what this package needs of /proc/PID/stat.
type stat struct {
	pid     int
	comm    string
	state   byte // R running, S sleeping, D disk sleep, T stopped, t traced, Z zombie, X dead
	ppid    int
	session int
	flags   uint64
	utime   uint64 // ticks
	stime   uint64 // ticks
	threads int
	start   uint64 // ticks since boot
	rss     int64  // pages
	exit    int    // of a zombie: its wait(2) status; -1 on kernels that do not tell, 0 when we may not know
}

// dead reports whether nothing of the process runs any more; a zombie only waits for its parent.
func (s stat) dead() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

// readStat reads /proc/PID/stat. The error is ErrGone when there is no such process.
func readStat(pid int) (stat, error) {
	b, err := readProc(pid, "stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(b))
}

// parseStat takes the line apart from its last ")": the command name before it may hold spaces and parentheses.
func parseStat(line string) (stat, error) {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("cannot read process state: no command name in %q", line)
	}
	f := strings.Fields(line[end+1:])
	if len(f) < 22 || len(f[0]) != 1 {
		return stat{}, fmt.Errorf("cannot read process state: %d fields in %q", len(f), line)
	}
	var bad error
	num := func(s string) int64 {
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if err != nil && bad == nil {
			bad = fmt.Errorf("cannot read process state: %w", err)
		}
		return n
	}
	s := stat{
		pid: int(num(line[:open])), comm: line[open+1 : end], state: f[0][0],
		ppid: int(num(f[1])), session: int(num(f[3])), flags: uint64(num(f[6])),
		utime: uint64(num(f[11])), stime: uint64(num(f[12])), threads: int(num(f[17])),
		start: uint64(num(f[19])), rss: num(f[21]), exit: -1,
	}
	if len(f) > 49 {
		s.exit = int(num(f[49]))
	}
	return s, bad
}

// readProc reads one file of /proc/PID whole. The error is ErrGone when the process is not there.
func readProc(pid int, name string) ([]byte, error) {
	b, err := os.ReadFile(procPath(pid, name))
	if err != nil {
		return nil, procError(pid, name, err)
	}
	return b, nil
}

func procPath(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}

// procError turns the two ways in which /proc says "no such process" into ErrGone.
func procError(pid int, name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot read %s of process %d: %w", name, pid, ErrGone)
	}
	return fmt.Errorf("cannot read %s of process %d: %w", name, pid, err)
}

// exeOf gives device and inode of the executable that the process runs, even when the file is deleted by now.
func exeOf(pid int) (dev, ino uint64, err error) {
	var st unix.Stat_t
	if err := unix.Stat(procPath(pid, "exe"), &st); err != nil {
		return 0, 0, procError(pid, "exe", err)
	}
	return st.Dev, st.Ino, nil
}

// commandOf gives the command line, blanks between the arguments; the short name when there is none to be read.
func commandOf(pid int) string {
	b, err := readProc(pid, "cmdline")
	if err == nil && len(b) > 0 {
		return string(bytes.ReplaceAll(bytes.TrimRight(b, "\x00"), []byte{0}, []byte{' '}))
	}
	if b, err = readProc(pid, "comm"); err == nil {
		return strings.TrimSpace(string(b))
	}
	return ""
}

// hasEnv reports whether the process was started with exactly this NAME=value in its environment.
func hasEnv(pid int, entry string) bool {
	b, err := readProc(pid, "environ")
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(b, []byte{0}) {
		if string(v) == entry {
			return true
		}
	}
	return false
}

// pids yields every process that /proc shows, in the order of /proc: ascending PIDs, so that a child which is
// born during the walk is mostly met by it.
func pids() iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, name := range dirNames("/proc") {
			pid, err := strconv.Atoi(name)
			if err == nil && !yield(pid) {
				return
			}
		}
	}
}

// fdsOf gives the numbers of the process's open file descriptors, none when they may not be read.
func fdsOf(pid int) []int {
	var fds []int
	for _, name := range dirNames(procPath(pid, "fd")) {
		if fd, err := strconv.Atoi(name); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

// dirNames lists a directory as far as it can be read: of a process that dies meanwhile, less is left.
func dirNames(dir string) []string {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	return names
}
