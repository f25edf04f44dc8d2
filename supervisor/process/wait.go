package process

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Exit is how a process ended.
type Exit struct {
	Code    int         // exit code, when Signal is 0
	Signal  unix.Signal // the signal that ended it, or 0
	Core    bool        // it left a core dump
	Unknown bool        // nobody can tell: the parent of an adopted process was faster, on a kernel before 6.15
}

// String tells the end in words.
func (e Exit) String() string {
	switch {
	case e.Unknown:
		return "unknown exit status"
	case e.Signal != 0 && e.Core:
		return unix.SignalName(e.Signal) + " (core dumped)"
	case e.Signal != 0:
		return unix.SignalName(e.Signal)
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// reapGrace is how long the parent of an adopted process, usually init, may take to read a status that we are not
// allowed to see before it.
const reapGrace = time.Second

// Wait blocks until the process is dead and says how it died. It has one caller, and holds a thread: the kernel
// then wakes the very thread that goes on, without the detour over the runtime's poller.
func (p *Proc) Wait() Exit {
	fd, err := p.use()
	if err != nil {
		return Exit{Unknown: true}
	}
	defer p.unuse()
	defer p.dead.Store(true)
	if p.child {
		defer family.remove(p)
		if e, err := reap(unix.P_PIDFD, fd); err == nil {
			return e
		}
		// ECHILD: the status went to somebody else, against the rules of this package. Ask the kernel as for an
		// adopted process.
	}
	pollFor(fd, unix.POLLIN, -1)
	if e := p.exitFound(fd); !e.Unknown {
		return e
	}
	pollFor(fd, 0, reapGrace) // POLLHUP, which needs not be asked for, says that the parent has read the status
	return exitInfo(fd)
}

// exitFound finds the exit status of a dead process that is somebody else's child: in /proc as long as its parent
// has not read it, from the kernel afterwards. The second look covers a parent that reads it between the two.
func (p *Proc) exitFound(fd int) Exit {
	s, err := readStat(p.PID())
	if err == nil && s.state == 'Z' && s.start == p.ID().StartTicks && s.exit >= 0 && mayTrace(p.PID()) {
		return exitStatus(s.exit)
	}
	return exitInfo(fd)
}

// mayTrace reports whether the kernel shows us the protected fields of /proc/PID/stat; otherwise they read 0,
// which would pass for a clean exit.
func mayTrace(pid int) bool {
	_, err := os.Readlink(procPath(pid, "ns/pid"))
	return !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM)
}

// childInfo is the part of siginfo_t that waitid fills in, on 64-bit machines.
type childInfo struct {
	_      [2]int32
	code   int32
	_      int32
	pid    int32
	_      uint32
	status int32
	_      [100]byte
}

// The kernel writes 128 bytes; a smaller struct would be overrun.
var _ [128 - unsafe.Sizeof(childInfo{})]byte
var _ [unsafe.Sizeof(childInfo{}) - 128]byte

// reap waits for a child and takes its status.
func reap(idType, id int) (Exit, error) {
	info, err := waitid(idType, id, unix.WEXITED)
	if err != nil {
		return Exit{}, err
	}
	return exitOf(info), nil
}

func waitid(idType, id, options int) (childInfo, error) {
	var info childInfo
	for {
		err := unix.Waitid(idType, id, (*unix.Siginfo)(unsafe.Pointer(&info)), options, nil)
		if !errors.Is(err, unix.EINTR) {
			return info, err
		}
	}
}

// The values of si_code for SIGCHLD.
const (
	cldExited = 1
	cldDumped = 3
)

func exitOf(info childInfo) Exit {
	if info.code == cldExited {
		return Exit{Code: int(info.status)}
	}
	return Exit{Signal: unix.Signal(info.status), Core: info.code == cldDumped}
}

// exitInfo asks the kernel for the status of a dead process that was somebody else's child.
func exitInfo(pidfd int) Exit {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(pidfd, &info); err != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return Exit{Unknown: true}
	}
	return exitStatus(int(info.Exit_code))
}

// exitStatus takes a wait(2) status apart.
func exitStatus(status int) Exit {
	ws := unix.WaitStatus(uint32(status))
	if ws.Signaled() {
		return Exit{Signal: ws.Signal(), Core: ws.CoreDump()}
	}
	return Exit{Code: ws.ExitStatus()}
}

// pollFor waits until the pidfd has one of the events, or is hung up; limit < 0 is for ever.
func pollFor(pidfd int, events int16, limit time.Duration) {
	deadline := BootTime() + limit
	for {
		ms := -1
		if limit >= 0 {
			ms = max(0, int((deadline-BootTime()+time.Millisecond-1)/time.Millisecond))
		}
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: events}}, ms)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
