package logsink

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// LedgerFD is the descriptor number under which the child must inherit
// Pipe.Ledger, so that RecoverPipe finds it there: the second entry of
// os/exec's ExtraFiles.
const LedgerFD = 4

const (
	wantedPipeSize = 1 << 20
	// DefaultBuffer is the size in bytes of the memory that takes the child's
	// output while the file cannot.
	DefaultBuffer = 16 << 20
)

// Pipe is what a child writes its output to. Both files are to be inherited
// by the child: FIFO as its standard output and standard error, Ledger as
// LedgerFD. It is the child that keeps them alive when this process ends.
type Pipe struct {
	// FIFO is open for reading and writing, so that the child itself is a
	// reader of it and never gets SIGPIPE. It is in blocking mode, a property
	// that the child shares: never use SetDeadline or the like on it.
	FIFO *os.File
	// Ledger is shared memory with what has been taken from FIFO and is not
	// yet in a file. It is sealed against resizing.
	Ledger *os.File
}

// NewPipe makes a pipe for a new child, with a buffer of about that many bytes
// beside the kernel's own (0: DefaultBuffer). Memory is used only when the
// file does not keep up.
func NewPipe(buffer int64) (*Pipe, error) { return newPipe(buffer, defaultBlock) }

func newPipe(buffer int64, blockSize int) (*Pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("cannot make a pipe for the log: %w", err)
	}
	defer func() { _, _ = unix.Close(fds[0]), unix.Close(fds[1]) }()
	fd, err := reopen(uintptr(fds[0]), unix.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("cannot open the log's pipe for reading and writing: %w", err)
	}
	growPipe(fd)
	return withLedger(os.NewFile(uintptr(fd), "etcd output"), buffer, blockSize)
}

// growPipe makes the kernel's buffer as large as it may be: the limit is
// fs.pipe-max-size for each pipe, and fs.pipe-user-pages-soft for all pipes of
// a user without privilege.
func growPipe(fd int) {
	for size := wantedPipeSize; size > 64<<10; size /= 2 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, size); err == nil {
			return
		}
	}
}

// withLedger completes a pipe; it closes fifo if it cannot.
func withLedger(fifo *os.File, buffer int64, blockSize int) (*Pipe, error) {
	if buffer <= 0 {
		buffer = DefaultBuffer
	}
	ino, err := pipeInode(int(fifo.Fd()))
	if err != nil {
		_ = fifo.Close()
		return nil, err
	}
	blocks := min(max(int(buffer/int64(blockSize)), minBlocks), maxBlocks)
	led, err := newLedger(blockSize, blocks, ino)
	if err != nil {
		_ = fifo.Close()
		return nil, err
	}
	return &Pipe{FIFO: fifo, Ledger: led}, nil
}

// RecoverPipe opens the pipe and the ledger of the living process pid, a child
// of an earlier process of ours. An error that is ErrNoLedger means that the
// pipe is there and the ledger is not: RecoverFIFO goes on from there. The
// caller must make sure that pid is still the same process afterwards.
func RecoverPipe(pid int) (*Pipe, error) {
	fifo, ino, err := recoverFIFO(pid)
	if err != nil {
		return nil, err
	}
	path := fmt.Sprintf("/proc/%d/fd/%d", pid, LedgerFD)
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		_ = fifo.Close()
		return nil, fmt.Errorf("cannot open the log ledger of process %d: %w: %w", pid, ErrNoLedger, err)
	}
	led := os.NewFile(uintptr(fd), "etcdsup-log")
	if err := checkLedger(fd, ino); err != nil {
		_, _ = fifo.Close(), led.Close()
		return nil, fmt.Errorf("cannot use descriptor %d of process %d: %w", LedgerFD, pid, err)
	}
	return &Pipe{FIFO: fifo, Ledger: led}, nil
}

// RecoverFIFO opens the pipe of the living process pid and makes a fresh
// ledger for it. What an earlier process had taken from the pipe and not
// written is given up; and as pid does not hold the new ledger, a SIGKILL of
// this process may lose up to one buffer of log lines until the next child is
// started.
func RecoverFIFO(pid int, buffer int64) (*Pipe, error) {
	fifo, _, err := recoverFIFO(pid)
	if err != nil {
		return nil, err
	}
	return withLedger(fifo, buffer, defaultBlock)
}

// KeepPipe goes on with the two files of a pipe that somebody else has kept, when
// no child is left to recover them from. It closes them if it cannot.
func KeepPipe(fifo, ledger *os.File) (*Pipe, error) {
	ino, err := pipeInode(int(fifo.Fd()))
	if err == nil {
		err = checkLedger(int(ledger.Fd()), ino)
	}
	if err != nil {
		_, _ = fifo.Close(), ledger.Close()
		return nil, fmt.Errorf("cannot go on with the pipe that was kept: %w", err)
	}
	return &Pipe{FIFO: fifo, Ledger: ledger}, nil
}

func recoverFIFO(pid int) (*os.File, uint64, error) {
	path := fmt.Sprintf("/proc/%d/fd/1", pid)
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, 0, fmt.Errorf("cannot examine the standard output of process %d: %w", pid, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil, 0, fmt.Errorf("cannot take over the standard output of process %d: it is not a pipe", pid)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot open the standard output of process %d: %w", pid, err)
	}
	f := os.NewFile(uintptr(fd), "etcd output")
	ino, err := pipeInode(fd)
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, ino, nil
}

func pipeInode(fd int) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("cannot examine the log's pipe: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return 0, fmt.Errorf("cannot use %d as the log's pipe: it is not a pipe", fd)
	}
	return st.Ino, nil
}

// Close closes this process's descriptors. The pipe and the ledger live on as
// long as a child holds them.
func (p *Pipe) Close() error {
	err := p.FIFO.Close()
	if lerr := p.Ledger.Close(); err == nil {
		err = lerr
	}
	return err
}
