package logsink

import (
	"errors"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// syncer makes written lines durable a while after they were written, apart
// from the pump, which must not wait for the disk.
type syncer struct {
	*Sink
	unsynced atomic.Bool
	ch       chan struct{} // there is something to sync, or the sink is closing
}

func newSyncer(s *Sink) *syncer { return &syncer{Sink: s, ch: make(chan struct{}, 1)} }

// dirty is called by the pump after each write.
func (y *syncer) dirty() {
	if y.unsynced.Load() || y.opts.Load().Sync <= 0 {
		return
	}
	y.unsynced.Store(true)
	y.kick()
}

func (y *syncer) kick() {
	select {
	case y.ch <- struct{}{}:
	default:
	}
}

// run waits for something unsynced, then for the configured time.
func (y *syncer) run() {
	for {
		<-y.ch
		if y.closing.Load() {
			y.sync()
			return
		}
		if !y.unsynced.Load() {
			continue
		}
		y.pause(y.opts.Load().Sync)
		y.unsynced.Store(false)
		y.sync()
	}
}

// pause lets more lines come together; it ends early when the sink closes.
func (y *syncer) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for !y.closing.Load() {
		select {
		case <-t.C:
			return
		case <-y.ch:
			if y.closing.Load() {
				y.kick()
				return
			}
		}
	}
}

func (y *syncer) sync() {
	if y.opts.Load().Sync <= 0 {
		return
	}
	y.mu.Lock()
	path := y.shown.path
	y.mu.Unlock()
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return // being rotated: the keeper syncs archives
	}
	if err == nil {
		err = unix.Fdatasync(int(f.Fd()))
		_ = f.Close()
	}
	if err != nil {
		y.events.send(Event{Kind: SyncFailed, Path: path, Err: err})
	}
}
