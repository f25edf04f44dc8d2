package process

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// BecomeSubreaper makes orphans among our descendants our children. It is what keeps hold of a process that left
// its parent, its session and its environment behind; it lasts until this process ends, across exec.
func BecomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot become the reaper of orphans: %w", err)
	}
	return nil
}

// family holds the children that some Proc waits for. It is one per process, as the list of children is.
var family = children{procs: map[*Proc]int{}}

type children struct {
	mu    sync.RWMutex // held shared from before fork until the child is known, exclusively to reap
	mapMu sync.Mutex
	procs map[*Proc]int // to the PID; few: etcd, and a job now and then
}

// fork runs start, which makes p's process, with no reaper about.
func (c *children) fork(p *Proc, start func() (int, error)) (int, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	pid, err := start()
	if err == nil {
		c.add(p)
	}
	return pid, err
}

func (c *children) add(p *Proc) {
	c.mapMu.Lock()
	defer c.mapMu.Unlock()
	c.procs[p] = p.PID()
}

func (c *children) remove(p *Proc) {
	c.mapMu.Lock()
	defer c.mapMu.Unlock()
	delete(c.procs, p)
}

func (c *children) known(pid int) bool {
	c.mapMu.Lock()
	defer c.mapMu.Unlock()
	for _, known := range c.procs {
		if known == pid {
			return true
		}
	}
	return false
}

// Orphan is a descendant that came to us when its parent died, and has ended since.
type Orphan struct {
	PID     int
	Command string // short name
	Exit    Exit
}

// Reap takes away the zombies among our children that nobody waits for: descendants of etcd whose parents died
// before them. It does not block, and leaves alone every child that a [Proc] stands for, and every child in our
// own session, which os/exec may be waiting for: what came out of etcd is never in our session.
func Reap() []Orphan {
	family.mu.Lock()
	defer family.mu.Unlock()
	if info, err := waitid(unix.P_ALL, 0, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT); err != nil || info.pid == 0 {
		return nil // no zombie at all: spare the walk
	}
	self, session := os.Getpid(), ownSession()
	var found []Orphan
	for pid := range pids() {
		s, err := readStat(pid)
		if err != nil || s.ppid != self || s.state != 'Z' || s.session == session || family.known(pid) {
			continue
		}
		info, err := waitid(unix.P_PID, pid, unix.WEXITED|unix.WNOHANG)
		if err == nil && info.pid != 0 {
			found = append(found, Orphan{PID: pid, Command: s.comm, Exit: exitOf(info)})
		}
	}
	return found
}

func ownSession() int {
	sid, err := unix.Getsid(0)
	if err != nil {
		return -1
	}
	return sid
}

// ReapWhenever reaps orphans, at once and then each time that wait returns true, until it returns false; each orphan is
// given to report, which may be nil. After a re-exec, adopt the child that survived it first: until then nothing tells
// its zombie from an orphan's.
//
// It goes without SIGCHLD: catching that would wake three threads more at each death of etcd, just when the next start
// wants the processors. A zombie that waits costs nobody anything.
func ReapWhenever(wait func() bool, report func(Orphan)) {
	for {
		for _, o := range Reap() {
			if report != nil {
				report(o)
			}
		}
		if !wait() {
			return
		}
	}
}
