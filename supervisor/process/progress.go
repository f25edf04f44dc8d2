package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Progress is a set of counters of a process. Two of them, taken some time apart, tell a hung process from a slow
// one: a slow one moves at least one counter, or sits in disk sleep.
type Progress struct {
	State byte // R running, S sleeping, D disk sleep, T stopped, t traced, Z zombie; of the main thread
	Stuck bool // a thread is in disk sleep

	CPUTicks   uint64 // user and system time of all threads, 1/100 s
	ReadBytes  uint64 // asked of read(2) and the like, from files and sockets, cached or not
	WriteBytes uint64
	ReadCalls  uint64
	WriteCalls uint64
	DiskRead   uint64 // bytes that really came from a disk
	DiskWrite  uint64 // bytes that were sent towards a disk
}

// Stopped reports whether somebody stopped the process (SIGSTOP, a debugger): it is not hung, and waits for them.
func (p Progress) Stopped() bool { return p.State == 'T' || p.State == 't' }

// DiskSleep reports whether a thread waits for a device and cannot be ended by any signal. In a Go program that is
// hardly ever the main one.
func (p Progress) DiskSleep() bool { return p.Stuck }

// Since reports whether anything has moved since the earlier reading.
func (p Progress) Since(earlier Progress) bool {
	p.State, earlier.State, p.Stuck, earlier.Stuck = 0, 0, false, false
	return p != earlier
}

// Progress reads the counters. The I/O counters stay 0 when the kernel does not let us read them.
func (p *Proc) Progress() (Progress, error) {
	var g Progress
	err := p.look(func(pid, _ int) error {
		s, err := readStat(pid)
		if err != nil {
			return err
		}
		g.State, g.CPUTicks = s.state, s.utime+s.stime
		g.Stuck = anyInDiskSleep(pid)
		if b, err := readProc(pid, "io"); err == nil {
			g.readIO(string(b))
		}
		return nil
	})
	return g, err
}

func anyInDiskSleep(pid int) bool {
	for _, tid := range dirNames(procPath(pid, "task")) {
		b, err := readProc(pid, "task/"+tid+"/stat")
		if err != nil {
			continue // the thread has ended
		}
		if s, err := parseStat(string(b)); err == nil && s.state == 'D' {
			return true
		}
	}
	return false
}

func (p *Progress) readIO(text string) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		if err != nil {
			continue
		}
		switch key {
		case "rchar":
			p.ReadBytes = n
		case "wchar":
			p.WriteBytes = n
		case "syscr":
			p.ReadCalls = n
		case "syscw":
			p.WriteCalls = n
		case "read_bytes":
			p.DiskRead = n
		case "write_bytes":
			p.DiskWrite = n
		}
	}
}

// Usage is what a process uses now.
type Usage struct {
	RSS     int64         // resident memory, bytes
	Charged int64         // memory that its cgroup is charged for, bytes; 0: nobody counts it
	CPU     time.Duration // user and system time since its start
	Threads int
	Files   int // open file descriptors; 0 when they may not be read
}

// Usage reads what the process uses.
func (p *Proc) Usage() (Usage, error) {
	var u Usage
	err := p.look(func(pid, _ int) error {
		s, err := readStat(pid)
		if err != nil {
			return err
		}
		if s.dead() {
			return fmt.Errorf("cannot read usage of process %d: %w", pid, ErrGone)
		}
		u = Usage{
			RSS:     s.rss * int64(os.Getpagesize()),
			CPU:     time.Duration(s.utime+s.stime) * (time.Second / userHZ),
			Threads: s.threads,
			Files:   len(dirNames(procPath(pid, "fd"))),
		}
		return nil
	})
	return u, err
}
