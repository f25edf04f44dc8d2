package process

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Replacement is another executable that this process becomes: with the same PID and the same children, whose ends are
// still told to it.
type Replacement struct {
	Exe  *os.File // open for reading
	Args []string // argv, argv[0] included
	Env  []string
	// Keep are descriptors that stay open under their numbers. All others are closed by the kernel.
	Keep []int
	// Last is called when signals are held back and nothing can come between it and the exec any more. Its error calls the
	// exec off. It must not start a process.
	Last func() error
}

// held are the signals that wait while nobody is there to take them: by default each of them ends a process.
var held = []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1}

// Replace becomes the other executable, and returns only if that fails: then all is as before, and the error says why.
//
// All threads but this one are ended by the kernel at whatever they are doing, as by SIGKILL. Signals that come between
// the two wait until the Go runtime of the new one has begun, some milliseconds later: it lets go of those that would end
// the process, and what has not been asked for by signal.Notify by then, in the earliest of the packages, does.
func Replace(r Replacement) error {
	// No process may be born meanwhile: it would inherit what is marked for the exec.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	defer passOn(r.Keep, false)
	passOn(r.Keep, true)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer holdBack(unix.SIG_UNBLOCK)
	holdBack(unix.SIG_BLOCK)
	if r.Last != nil {
		if err := r.Last(); err != nil {
			return err
		}
	}
	err := syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", r.Exe.Fd()), r.Args, r.Env)
	return fmt.Errorf("cannot execute %s: %w", r.Exe.Name(), err)
}

// holdBack has signals wait in this thread, whose mask is the one that is inherited, or not any more. Until the kernel has
// ended the other threads one of them may still take a signal; it is lost then.
func holdBack(how int) {
	var mask unix.Sigset_t
	for _, s := range held {
		mask.Val[(s-1)/64] |= 1 << (uint(s-1) % 64)
	}
	_ = unix.PthreadSigmask(how, &mask, nil) // fails only for a bad how or address
}

// passOn has the descriptors survive an exec, or not.
func passOn(fds []int, on bool) {
	flag := unix.FD_CLOEXEC
	if on {
		flag = 0
	}
	for _, fd := range fds {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, flag) // fails only for one that is not open
	}
}

// Inherited takes what [Replacement.Keep] passed on: it is closed at the next exec, and given to no child. The error
// names the first that is not open.
func Inherited(fds []int) error {
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return fmt.Errorf("cannot take over descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// Self is the identity of this process.
func Self() (ID, error) {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return ID{}, fmt.Errorf("cannot tell who we are: %w", err)
	}
	defer unix.Close(fd)
	id, _, err := readID(os.Getpid(), fd)
	return id, err
}
