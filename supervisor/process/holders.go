package process

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Holder is a living process that holds a lock.
type Holder struct {
	PID     int
	Command string    // command line
	Since   time.Time // start of the process, wall clock
}

// HeldError says that a lock is held by others. Holders is empty when they cannot be seen: processes of another
// user or container.
type HeldError struct {
	Dir     string // the file or directory that is locked
	Holders []Holder
}

// Error names the first holder, the oldest.
func (e *HeldError) Error() string {
	if len(e.Holders) == 0 {
		return fmt.Sprintf("cannot lock %s: held by a process that cannot be seen from here", e.Dir)
	}
	h := e.Holders[0]
	text := fmt.Sprintf("cannot lock %s: held by process %d (%s)", e.Dir, h.PID, h.Command)
	if n := len(e.Holders) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// Adoptable is a living etcd that an earlier etcdsup started.
type Adoptable struct {
	ID      ID
	Command string // command line
	LockFD  int    // its descriptor with the start lock, for [Proc.Dup]
}

// forkWait is how long FindHolders gives a process between fork and exec, which has our environment still.
const forkWait = 250 * time.Millisecond

// FindHolders finds the living processes that hold the start lock of lockDir and carry the token of a [Cage] in
// their environment, the oldest first: that one is etcd, the others descend from it. It is for the start after
// we were killed between fork and record.
func FindHolders(lockDir, token string) []Adoptable {
	fd, err := openFD(lockDir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil || token == "" {
		return nil
	}
	defer unix.Close(fd)
	file, err := fileOf(fd)
	if err != nil {
		return nil
	}
	for deadline := BootTime() + forkWait; ; time.Sleep(5 * time.Millisecond) {
		found, others := adoptables(file, token)
		if len(found) > 0 || others == 0 || BootTime() > deadline {
			return found
		}
	}
}

// adoptables walks over all processes once; others counts the holders without token.
func adoptables(file fileID, token string) (found []Adoptable, others int) {
	for pid := range pids() {
		lockFD := file.lockFD(pid)
		if lockFD < 0 || pid == os.Getpid() {
			continue
		}
		id, err := living(pid)
		if err != nil {
			continue
		}
		if !hasEnv(pid, tokenEntry(token)) {
			others++
			continue
		}
		found = append(found, Adoptable{ID: id, Command: commandOf(pid), LockFD: lockFD})
	}
	slices.SortFunc(found, func(a, b Adoptable) int {
		return cmp.Or(cmp.Compare(a.ID.StartTicks, b.ID.StartTicks), cmp.Compare(a.ID.PID, b.ID.PID))
	})
	return found, others
}

// living gives the identity of the process under this PID, unless it is dead.
func living(pid int) (ID, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return ID{}, err
	}
	defer unix.Close(fd)
	id, s, err := readID(pid, fd)
	if err == nil && s.dead() {
		err = ErrGone
	}
	return id, err
}

// fileID names a file whatever its path.
type fileID struct{ dev, ino uint64 }

func fileOf(fd int) (fileID, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return fileID{dev: st.Dev, ino: st.Ino}, err
}

// openIn gives the descriptors under which the process has the file open.
func (f fileID) openIn(pid int) []int {
	var fds []int
	for _, fd := range fdsOf(pid) {
		var st unix.Stat_t
		if unix.Stat(procPath(pid, "fd/"+strconv.Itoa(fd)), &st) == nil && st.Dev == f.dev && st.Ino == f.ino {
			fds = append(fds, fd)
		}
	}
	return fds
}

// lockFD gives the process's descriptor that carries a lock on the file, or -1. Having the file open is not
// enough: a shell or a backup in the data directory has that too.
func (f fileID) lockFD(pid int) int {
	for _, fd := range f.openIn(pid) {
		if carriesLock(pid, fd) {
			return fd
		}
	}
	return -1
}

// carriesLock reads fdinfo, where the kernel shows the locks of this very open file.
func carriesLock(pid, fd int) bool {
	b, err := readProc(pid, "fdinfo/"+strconv.Itoa(fd))
	return err == nil && bytes.Contains(b, []byte("\nlock:")) && bytes.Contains(b, []byte("FLOCK"))
}

// holdersOf finds who holds a lock on the file behind our descriptor fd, the oldest first.
func holdersOf(fd int) []Holder {
	file, err := fileOf(fd)
	if err != nil {
		return nil
	}
	var found []stat
	for pid := range pids() {
		if s, err := readStat(pid); err == nil && file.lockFD(pid) >= 0 {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		found = listedHolders(file.ino)
	}
	slices.SortFunc(found, func(a, b stat) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.pid, b.pid))
	})
	holders := make([]Holder, len(found))
	for i, s := range found {
		holders[i] = Holder{PID: s.pid, Command: commandOf(s.pid), Since: tickTime(s.start)}
	}
	return holders
}

// listedHolders asks /proc/locks, which shows other users' locks too. It names the process that took the lock:
// the one that inherited it is not listed. The device is not compared: stat gives another one on btrfs.
func listedHolders(ino uint64) []stat {
	b, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil
	}
	var found []stat
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line) // 1: FLOCK ADVISORY WRITE 708 fe:00:1234 0 EOF
		if len(f) < 6 || f[1] != "FLOCK" || !strings.HasSuffix(f[5], ":"+strconv.FormatUint(ino, 10)) {
			continue
		}
		pid, err := strconv.Atoi(f[4])
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil && !s.dead() {
			found = append(found, s)
		}
	}
	return found
}
