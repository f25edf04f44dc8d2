package place

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeback lets the disk begin with what was copied, and not only when it is waited for. It is a help and no promise:
// what it leaves out or cannot do, the sync at the end does or tells.
type writeback struct {
	ranges chan fileRange
	done   chan struct{}
}

type fileRange struct {
	f     *os.File
	at, n int64
}

// startWriteback starts the goroutine that hands ranges to the kernel, which takes time from who does it. It ends with
// stop.
func startWriteback() *writeback {
	w := &writeback{ranges: make(chan fileRange, 64), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for r := range w.ranges {
			r.write()
		}
	}()
	return w
}

// begin never waits.
func (w *writeback) begin(f *os.File, at, n int64) {
	select {
	case w.ranges <- fileRange{f, at, n}:
	default:
	}
}

func (w *writeback) stop() {
	close(w.ranges)
	<-w.done
}

func (r fileRange) write() {
	conn, err := r.f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) { // which fails when the file is closed by now
		_ = unix.SyncFileRange(int(fd), r.at, r.n, unix.SYNC_FILE_RANGE_WRITE)
	})
}
