package logsink

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// intake reads the pipe into the ledger's blocks. It is the pipe's only
// reader, and used by one thread at a time (the sink's lock).
type intake struct {
	led *ledger
	fd  int // own description of the FIFO, non-blocking
	// peek is a private pipe for tee(2), to know short reads beforehand.
	peek [2]int
}

func newIntake(led *ledger, fifo uintptr) (*intake, error) {
	fd, err := reopen(fifo, unix.O_RDWR|unix.O_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cannot open the log's pipe for reading: %w", err)
	}
	t := &intake{led: led, fd: fd}
	if err := unix.Pipe2(t.peek[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("cannot make a pipe to look ahead in the log: %w", err)
	}
	return t, nil
}

func (t *intake) close() {
	_, _, _ = unix.Close(t.fd), unix.Close(t.peek[0]), unix.Close(t.peek[1])
}

// waiting is the number of bytes in the pipe.
func (t *intake) waiting() int {
	n, err := unix.IoctlGetInt(t.fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// full tells whether a write to the pipe would wait.
func (t *intake) full() bool {
	p := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 0
}

// take moves bytes from the pipe into the newest block, as many as fit there,
// and opens a further block if that one has no room. 0 bytes: the pipe is
// empty (more is false) or there is no free block (more is true).
func (t *intake) take() (n int, more bool, err error) {
	avail := t.waiting()
	if avail == 0 {
		return 0, false, nil
	}
	_, end := t.led.span(t.led.tail())
	if end >= t.led.room() {
		if !t.led.extend() {
			return 0, true, nil
		}
		_, end = t.led.span(t.led.tail())
	}
	id := t.led.tail()
	want := min(avail, t.led.room()-end)
	n, err = t.read(id, end, want)
	return n, n < avail, err
}

// read takes n bytes that are known to be in the pipe into block id at off.
// At each instant the ledger tells what has happened: before the read the end
// of the target holds a mark; a pipe read of bytes that are there is done
// whole or not at all, so a mark that is still there means that the bytes are
// still in the pipe.
func (t *intake) read(id, off, n int) (int, error) {
	l := t.led
	l.touch(id, off, off+n)
	buf := l.bytes(id)[off : off+n]
	rec := &l.take
	if n >= canarySize {
		rec.mark = l.canary
	} else {
		var err error
		if n, err = t.markShort(buf); err != nil {
			return 0, err
		}
		buf = buf[:n]
	}
	tail := buf[n-min(n, canarySize):]
	copy(tail, rec.mark[:])
	rec.block, rec.off, rec.n = uint32(id), uint32(off), uint32(n)
	l.instant("take marked")
	rec.phase.Store(phaseBusy)
	l.instant("take announced")
	got, err := readFull(t.fd, buf)
	l.instant("take read")
	if got > 0 {
		l.words[id].Add(uint64(got))
	}
	l.instant("take committed")
	rec.phase.Store(phaseIdle)
	return got, err
}

// markShort makes the mark for a read too short to hold the canary: the
// complement of the bytes that are about to come, which differs from them in
// every place. It returns how many bytes it saw.
func (t *intake) markShort(buf []byte) (int, error) {
	n, err := unix.Tee(t.fd, t.peek[1], len(buf), unix.SPLICE_F_NONBLOCK)
	if err != nil {
		return 0, fmt.Errorf("cannot look ahead in the log's pipe: %w", err)
	}
	var seen [canarySize]byte
	if _, err := readFull(t.peek[0], seen[:n]); err != nil {
		return 0, fmt.Errorf("cannot look ahead in the log's pipe: %w", err)
	}
	for i := range seen {
		t.led.take.mark[i] = ^seen[i]
	}
	return int(n), nil
}

// settleTake decides a take that a SIGKILL interrupted.
func (l *ledger) settleTake() {
	rec := &l.take
	if rec.phase.Load() == phaseIdle {
		return
	}
	_, end := l.span(int(rec.block))
	n := int(rec.n)
	if end == int(rec.off) && n > 0 {
		m := min(n, canarySize)
		at := int(rec.off) + n - m
		if !bytes.Equal(l.bytes(int(rec.block))[at:at+m], rec.mark[:m]) {
			l.words[rec.block].Add(uint64(n))
		}
	}
	rec.phase.Store(phaseIdle)
}

// readFull reads len(buf) bytes; it gives up at the first error but EINTR.
func readFull(fd int, buf []byte) (int, error) {
	got := 0
	for got < len(buf) {
		n, err := unix.Read(fd, buf[got:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return got, fmt.Errorf("cannot read the log's pipe: %w", err)
		case n == 0:
			return got, nil
		default:
			got += n
		}
	}
	return got, nil
}
