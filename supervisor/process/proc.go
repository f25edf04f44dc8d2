package process

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Proc is one process, held by a pidfd: whatever becomes of its PID, a Proc never means another process.
// Its methods may be called from several goroutines; Wait has one caller.
type Proc struct {
	child     bool // waitid tells us its exit status
	started   bool // by us, with Start
	contained bool
	dead      atomic.Bool // Wait has returned

	idMu sync.Mutex
	id   ID

	fdMu   sync.Mutex
	fd     int // pidfd
	users  int // calls that use fd now
	closed bool
}

// Adopt takes hold of a running process that an earlier etcdsup has started, or that this very process started
// before it replaced itself by exec. The error is ErrGone when the process meant is dead or another one has its
// PID; nothing is signalled then. A zombie is adopted like a living process: its exit status can still be had.
func Adopt(id ID) (*Proc, error) {
	if id.BootID != BootID() || id.PID <= 0 {
		return nil, goneError(id, id.differs(ID{BootID: BootID(), StartTicks: id.StartTicks}))
	}
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err != nil {
		return nil, adoptError(id, err)
	}
	p := &Proc{fd: fd}
	// The order matters. The pidfd is open, so if the process meant is found under its PID now, it was there
	// when the pidfd was opened as well: it started long before.
	found, s, err := readID(id.PID, fd)
	if err == nil {
		if why := id.differs(found); why != "" {
			err = goneError(id, why)
		}
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	p.id = id
	if found.hasIno() {
		p.id.PidfdIno = found.PidfdIno
	}
	p.child = s.ppid == os.Getpid()
	if p.child {
		family.add(p)
	}
	return p, nil
}

func adoptError(id ID, err error) error {
	// A PID that is now a thread of another process gives EINVAL (ENOENT since Linux 6.15).
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return goneError(id, "")
	}
	return fmt.Errorf("cannot take hold of process %d: %w", id.PID, err)
}

func goneError(id ID, why string) error {
	if why == "" {
		return fmt.Errorf("cannot take over process %d: %w", id.PID, ErrGone)
	}
	return fmt.Errorf("cannot take over process %d: %w: %s", id.PID, ErrGone, why)
}

// ID is the identity under which the next etcdsup can adopt the process.
func (p *Proc) ID() ID {
	p.idMu.Lock()
	defer p.idMu.Unlock()
	return p.id
}

// Refresh reads the identity anew. A wrapper script that ends in exec changes the executable after Start, so a
// record that is to outlive us is best written once more when the process is ready.
func (p *Proc) Refresh() (ID, error) {
	var id ID
	err := p.look(func(pid, pidfd int) (err error) {
		id, _, err = readID(pid, pidfd)
		return err
	})
	if err != nil {
		return ID{}, err
	}
	p.idMu.Lock()
	defer p.idMu.Unlock()
	p.id = id
	return id, nil
}

// PID is the process ID, for people and for /proc; never signal by it.
func (p *Proc) PID() int { return p.ID().PID }

// Child reports whether the process is our child, so that Wait learns its exit status on every kernel.
func (p *Proc) Child() bool { return p.child }

// Contained reports whether Start put the process into the cgroup that was asked for.
func (p *Proc) Contained() bool { return p.contained }

// Signal sends sig. The error is ErrGone after death. Until Wait has returned, a zombie takes signals without
// effect or error, so nil does not mean that anybody was reached.
func (p *Proc) Signal(sig unix.Signal) error {
	fd, err := p.use()
	if err != nil {
		return err
	}
	defer p.unuse()
	if p.dead.Load() {
		err = ErrGone // a zombie still, when its parent is slow
	} else {
		err = sendSignal(fd, sig)
	}
	if err != nil {
		return fmt.Errorf("cannot send %s to process %d: %w", unix.SignalName(sig), p.PID(), err)
	}
	return nil
}

// Dup duplicates a file descriptor out of the process: the same open file, with its position, its flags and its
// locks. With it the pipe and the start lock of a running etcd are recovered after our own death. It needs the
// right to trace the process; the child of another process is out of reach where Yama restricts ptrace.
func (p *Proc) Dup(fd int) (*os.File, error) {
	pidfd, err := p.use()
	if err != nil {
		return nil, err
	}
	defer p.unuse()
	got, err := unix.PidfdGetfd(pidfd, fd, 0) // close-on-exec by itself
	if errors.Is(err, unix.ESRCH) {
		err = ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("cannot take descriptor %d of process %d: %w", fd, p.PID(), err)
	}
	return os.NewFile(uintptr(got), fmt.Sprintf("descriptor %d of process %d", fd, p.PID())), nil
}

// sendSignal is the only way in which this package signals.
func sendSignal(pidfd int, sig unix.Signal) error {
	err := unix.PidfdSendSignal(pidfd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return err
}

// look reads something of /proc/PID. If the process is still there afterwards, then it was its own /proc entry
// that was read, and not the one of a successor under the same PID.
func (p *Proc) look(read func(pid, pidfd int) error) error {
	fd, err := p.use()
	if err != nil {
		return err
	}
	defer p.unuse()
	if p.dead.Load() {
		return fmt.Errorf("cannot read process %d: %w", p.PID(), ErrGone)
	}
	if err := read(p.PID(), fd); err != nil {
		return err
	}
	if err := sendSignal(fd, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("cannot read process %d: %w", p.PID(), err)
	}
	return nil
}

// use keeps the pidfd open until unuse, whoever calls Close meanwhile: a closed descriptor's number may at once
// be another process's pidfd.
func (p *Proc) use() (int, error) {
	p.fdMu.Lock()
	defer p.fdMu.Unlock()
	if p.closed {
		return -1, fmt.Errorf("cannot use process %d: %w", p.PID(), os.ErrClosed)
	}
	p.users++
	return p.fd, nil
}

func (p *Proc) unuse() {
	p.fdMu.Lock()
	defer p.fdMu.Unlock()
	p.users--
	p.release()
}

// Close lets go of the process without touching it. A Wait under way keeps what it needs until it returns; a
// child that nobody waits for is an orphan from now on, see [Reap].
func (p *Proc) Close() {
	p.fdMu.Lock()
	defer p.fdMu.Unlock()
	p.closed = true
	p.release()
}

// release closes the pidfd once nobody uses it; fdMu is held.
func (p *Proc) release() {
	if p.closed && p.users == 0 && p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
		family.remove(p)
	}
}
