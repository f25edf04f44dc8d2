package logsink

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stuckAfter is how long the pump may be in one file operation before the
	// guard takes in its stead.
	stuckAfter = 15 * time.Millisecond
	// reliefTick is how often it takes then: a pipe of 1 MiB holds what a
	// child writes in that time at 200 MB/s.
	reliefTick = 5 * time.Millisecond
	// keepWarm is the memory not given back when a burst of output is over.
	keepWarm = 32 << 10
)

var epoch = time.Now()

func monotonic() int64 { return int64(time.Since(epoch)) + 1 }

// guard keeps the child from being held up by the pump. Its timer runs only
// while the pump is busy, or was when it last looked: without output there are
// no wake-ups.
type guard struct {
	*Sink
	timer int
	file  *os.File // the timer again, for waiting without a thread
	armed atomic.Bool
	// fullSince is when the guard first found the pipe full and no block
	// free, with no byte written to the file since.
	fullSince   time.Time
	fullWritten uint64
	lastWritten uint64
}

func newGuard(s *Sink) (*guard, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cannot make a timer descriptor: %w", err)
	}
	return &guard{Sink: s, timer: fd, file: os.NewFile(uintptr(fd), "guard's timer"), lastWritten: s.led.written.Load()}, nil
}

func (g *guard) close() { _ = g.file.Close() }

// watch is called by the pump after it has set busySince.
func (g *guard) watch() {
	if !g.armed.Load() {
		g.arm(stuckAfter)
	}
}

func (g *guard) arm(d time.Duration) {
	g.armed.Store(true)
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	_ = unix.TimerfdSettime(g.timer, 0, &spec, nil) // no way to fail with these arguments
}

// kick wakes the guard so that it sees that the sink is closing.
func (g *guard) kick() { g.arm(1) }

// run waits for the timer and looks at the pump. It ends when the sink is
// closing and the pump is not stuck.
func (g *guard) run() {
	var expired [8]byte
	for {
		_, _ = g.file.Read(expired[:])
		if g.closing.Load() {
			return
		}
		g.look()
	}
}

func (g *guard) look() {
	since := g.busySince.Load()
	switch {
	case since != 0 && time.Duration(monotonic()-since) >= stuckAfter:
		g.relieve()
		g.arm(reliefTick)
	case since != 0 || g.moved():
		g.arm(stuckAfter)
	default:
		g.rest()
	}
}

// moved tells whether anything was written since the last look.
func (g *guard) moved() bool {
	w := g.led.written.Load()
	moved := w != g.lastWritten
	g.lastWritten = w
	return moved
}

// rest stops the timer after a last look for a pump that has just become busy
// and saw the timer still armed.
func (g *guard) rest() {
	g.mu.Lock()
	g.led.trim(keepWarm)
	g.mu.Unlock()
	g.armed.Store(false)
	if g.busySince.Load() != 0 {
		g.arm(stuckAfter)
	}
}

// relieve takes what is in the pipe into further blocks.
func (g *guard) relieve() {
	for range maxBlocks {
		g.mu.Lock()
		n, more, err := g.in.take()
		if n == 0 && more && err == nil {
			more = g.overflow()
		} else if n > 0 && !g.dropping.Load() {
			g.fullSince = time.Time{}
		}
		g.mu.Unlock()
		if !more || err != nil {
			return
		}
	}
}

// overflow drops the oldest block once the pipe has been full for 2/5 of
// MaxWait without progress, and from then on at once until the file takes
// something. It reports whether there is room now. The caller holds mu.
func (g *guard) overflow() bool {
	wait := g.opts.Load().MaxWait
	if wait < 0 {
		return false
	}
	if g.dropping.Load() {
		return g.dropOldest()
	}
	now := time.Now()
	w := g.led.written.Load()
	if g.fullSince.IsZero() || w != g.fullWritten {
		if g.in.full() {
			g.fullSince, g.fullWritten = now, w
		}
		return false
	}
	return now.Sub(g.fullSince) >= wait*2/5 && g.dropOldest()
}
