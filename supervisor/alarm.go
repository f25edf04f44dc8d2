package supervisor

import (
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Alarm is a timer for one goroutine that waits, set by another. It may go off once more just after it was set anew
// or stopped.
type Alarm interface {
	// Wait returns true when the alarm goes off, false once it is closed.
	Wait() bool
	// Set lets it go off once, after d.
	Set(d time.Duration)
	// Stop keeps it from going off.
	Stop()
	// Close ends Wait. It may be called more than once.
	Close()
}

// quietAlarm is a timerfd in Go's poller. A Go timer would do, but each firing of one wakes the runtime's monitor
// thread too, which then polls until all is idle again: several times the wake-ups of a daemon that is at rest.
type quietAlarm struct {
	file *os.File
	once sync.Once
}

// NewQuietAlarm makes an alarm that wakes an idle process as little as can be. It goes by the monotonic clock.
func NewQuietAlarm() (Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make a timer for health probes: %w", err)
	}
	return &quietAlarm{file: os.NewFile(uintptr(fd), "timerfd")}, nil
}

func (a *quietAlarm) Wait() bool {
	conn, err := a.file.SyscallConn()
	return err == nil && conn.Read(wentOff) == nil
}

// wentOff takes the firing; false makes the poller wait for it. A raw call, as reading never blocks: an ordinary one
// would let the runtime look for other work.
func wentOff(fd uintptr) bool {
	var times [8]byte
	_, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&times)), uintptr(len(times)))
	return errno != unix.EAGAIN && errno != unix.EINTR
}

func (a *quietAlarm) Set(d time.Duration) { a.set(max(d, 1)) } // 0 would stop it
func (a *quietAlarm) Stop()               { a.set(0) }

func (a *quietAlarm) set(d time.Duration) {
	conn, err := a.file.SyscallConn()
	if err != nil {
		return // closed
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	_ = conn.Control(func(fd uintptr) { _ = unix.TimerfdSettime(int(fd), 0, &spec, nil) }) // fails only for a bad time
}

func (a *quietAlarm) Close() { a.once.Do(func() { _ = a.file.Close() }) }

// timerAlarm is an alarm of a Go timer: it follows the fake time of tests.
type timerAlarm struct {
	timer *time.Timer
	end   chan struct{}
	once  sync.Once
}

// NewAlarm makes an ordinary alarm.
func NewAlarm() Alarm {
	a := &timerAlarm{timer: time.NewTimer(time.Hour), end: make(chan struct{})}
	a.timer.Stop()
	return a
}

func (a *timerAlarm) Wait() bool {
	select {
	case <-a.end:
		return false
	default:
	}
	select {
	case <-a.timer.C:
		return true
	case <-a.end:
		return false
	}
}

func (a *timerAlarm) Set(d time.Duration) { a.timer.Reset(d) }
func (a *timerAlarm) Stop()               { a.timer.Stop() }

func (a *timerAlarm) Close() {
	a.once.Do(func() {
		a.timer.Stop()
		close(a.end)
	})
}
