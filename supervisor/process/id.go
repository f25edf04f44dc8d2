package process

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrGone says that the process meant is dead, or was replaced by another one under the same PID.
var ErrGone = errors.New("the process is gone")

// ID names one process for ever. A PID is used again after a while; a PID with its start time is not, unless within
// one tick, by somebody who forces it; the number of its pidfd never is. The boot ID keeps apart the same numbers
// after a reboot.
type ID struct {
	BootID     string `json:"boot_id"`
	PID        int    `json:"pid"`
	StartTicks uint64 `json:"start_ticks"` // 1/100 s since boot
	ExeDev     uint64 `json:"exe_dev,omitempty"`
	ExeIno     uint64 `json:"exe_ino,omitempty"`   // 0 with ExeDev 0: unknown, and not compared
	PidfdIno   uint64 `json:"pidfd_ino,omitempty"` // unique until reboot; 0: a kernel before 6.9, and not compared
}

// String is the ID as logs show it.
func (id ID) String() string { return fmt.Sprintf("%d@%d", id.PID, id.StartTicks) }

// Age is how long ago the process started, by the boot clock: no change of the wall clock moves it. It is exact
// to 10 ms, and means nothing for the process of another boot.
func (id ID) Age() time.Duration {
	return BootTime() - time.Duration(id.StartTicks)*(time.Second/userHZ)
}

// Started is the wall-clock time of the process's start, for people only.
func (id ID) Started() time.Time { return tickTime(id.StartTicks) }

// readID gives the identity of whichever process has this PID now, which is the pidfd's unless it died. The
// executable stays unknown when it cannot be read: of a zombie, and of another user's process.
func readID(pid, pidfd int) (ID, stat, error) {
	s, err := readStat(pid)
	if err != nil {
		return ID{}, stat{}, err
	}
	id := ID{BootID: BootID(), PID: pid, StartTicks: s.start, PidfdIno: pidfdIno(pidfd)}
	if dev, ino, err := exeOf(pid); err == nil {
		id.ExeDev, id.ExeIno = dev, ino
	}
	return id, s, nil
}

// differs names the first thing in which the process found is not the one meant, "" when it is the same.
func (id ID) differs(found ID) string {
	switch {
	case id.BootID != found.BootID:
		return "the machine was started anew since"
	case id.StartTicks != found.StartTicks, id.hasIno() && found.hasIno() && id.PidfdIno != found.PidfdIno:
		return "another process has its PID"
	case id.hasExe() && found.hasExe() && (id.ExeDev != found.ExeDev || id.ExeIno != found.ExeIno):
		return "it runs another executable"
	}
	return ""
}

func (id ID) hasExe() bool { return id.ExeDev != 0 || id.ExeIno != 0 }

func (id ID) hasIno() bool { return id.PidfdIno != 0 }

// pidfdIno gives the inode of a pidfd where each process has one of its own, else 0.
func pidfdIno(pidfd int) uint64 {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(pidfd, &fs) != nil || fs.Type != unix.PID_FS_MAGIC || unix.Fstat(pidfd, &st) != nil {
		return 0
	}
	return st.Ino
}

// holds reports whether the process seen under the PID is the one meant.
func (id ID) holds(seen stat) bool {
	if id.PID != seen.pid || id.StartTicks != seen.start {
		return false
	}
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return id.differs(ID{BootID: BootID(), StartTicks: seen.start, PidfdIno: pidfdIno(fd)}) == ""
}

// BootID is the kernel's random name of this boot; a constant text on a kernel that has none to tell, so that
// records still compare equal there.
func BootID() string { return bootID() }

var bootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
})

// BootTime is the time since boot, suspension included. No change of the wall clock moves it.
func BootTime() time.Duration {
	var t unix.Timespec
	// A raw call, as it cannot block: an ordinary one wakes the runtime's monitor thread when all else is idle.
	_, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&t)), 0)
	if errno != 0 {
		panic(fmt.Sprintf("process: no boot clock: %v", errno)) // every kernel since 2.6.39 has it
	}
	return time.Duration(t.Nano())
}

// tickTime turns a start time of /proc/PID/stat into wall-clock time.
func tickTime(ticks uint64) time.Time {
	age := BootTime() - time.Duration(ticks)*(time.Second/userHZ)
	return time.Now().Add(-age).Truncate(time.Second / userHZ)
}
