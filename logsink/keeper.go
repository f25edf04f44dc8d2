package logsink

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// keeper tends the archives: syncs, compresses and removes them. Its goroutine
// exists only while there is something to do.
type keeper struct {
	opts    *atomic.Pointer[Options]
	events  *events
	closing *atomic.Bool

	mu      sync.Mutex
	running bool
	again   bool
	ended   *sync.Cond  // running has become false
	expiry  *time.Timer // the next archive's end by age
	synced  map[uint64]bool

	count, bytes atomic.Int64 // of archives, as last seen
}

func newKeeper(o *atomic.Pointer[Options], e *events, closing *atomic.Bool) *keeper {
	k := &keeper{opts: o, events: e, closing: closing, synced: make(map[uint64]bool)}
	k.ended = sync.NewCond(&k.mu)
	return k
}

// kick makes the keeper look at the archives.
func (k *keeper) kick() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closing.Load() {
		return
	}
	k.again = true
	if !k.running {
		k.running = true
		go k.run()
	}
}

// stop waits for the keeper's end; closing is set, so it starts no more work.
func (k *keeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.running {
		k.ended.Wait()
	}
	if k.expiry != nil {
		k.expiry.Stop()
	}
}

// run works until nothing is left to do. Its thread is given a low priority
// and, being locked when the goroutine ends, ends with it.
func (k *keeper) run() {
	runtime.LockOSThread()
	lowerPriority()
	for k.more() {
		if err := k.round(); err != nil {
			k.events.send(Event{Kind: KeeperFailed, Err: err})
		}
	}
}

func (k *keeper) more() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.again && !k.closing.Load() {
		k.again = false
		return true
	}
	k.running = false
	k.ended.Broadcast()
	return false
}

// lowerPriority makes the calling thread's disk accesses give way to others'.
//
// Its CPU priority is left alone: a thread that the kernel does not let run,
// for others have work, stops all of Go's threads when the garbage collector
// waits for it. On two busy CPUs a collection took 24 ms, beside a compressing
// thread of nice 19 416 ms, and beside one of SCHED_IDLE 1.04 s. So compression
// is slowed down by pauses instead (squeeze).
func lowerPriority() {
	const whoProcess, lowestBestEffort = 1, 2<<13 | 7
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, uintptr(unix.Gettid()), lowestBestEffort)
}

// round does all there is to do, the oldest archive first.
func (k *keeper) round() error {
	o := k.opts.Load()
	removeTemps(o.File)
	list, err := k.retain(o)
	if err != nil {
		return err
	}
	var problems []error
	for _, a := range list {
		if k.closing.Load() {
			return nil
		}
		if err := k.settleArchive(o, a); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	if o.Compress && len(list) > 0 {
		if _, err := k.retain(o); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// settleArchive makes sure that an archive would outlive a power cut, and
// compresses it if that is wanted.
func (k *keeper) settleArchive(o *Options, a archive) error {
	if a.compressed() || k.synced[a.ino] && !o.Compress {
		return nil
	}
	if err := syncFile(a.path); err != nil {
		return err
	}
	k.synced[a.ino] = true
	if err := syncFile(filepath.Dir(a.path)); err != nil {
		return err
	}
	if !o.Compress {
		return nil
	}
	return compress(a.path, k.closing)
}

// retain removes the archives that the options do not keep and returns the
// others.
func (k *keeper) retain(o *Options) ([]archive, error) {
	list, err := listArchives(o.File)
	if err != nil {
		return nil, err
	}
	list = removeDoubles(list)
	n := excess(list, o, fileSize(o.File), time.Now())
	var firstErr error
	for _, a := range list[:n] {
		if err := os.Remove(a.path); err != nil && firstErr == nil && !errors.Is(err, fs.ErrNotExist) {
			firstErr = err
		}
	}
	list = list[n:]
	k.tally(list)
	k.planExpiry(list, o)
	return list, firstErr
}

// excess is how many of the oldest archives have to go.
func excess(list []archive, o *Options, current int64, now time.Time) int {
	n := 0
	if o.KeepFiles > 0 {
		n = max(0, len(list)-o.KeepFiles)
	}
	for o.KeepFor > 0 && n < len(list) && now.Sub(list[n].at) > o.KeepFor {
		n++
	}
	if o.KeepTotal <= 0 {
		return n
	}
	// The current file's growth until its rotation is reserved for it, if the
	// budget is not too small for that.
	if 2*o.MaxSize <= o.KeepTotal {
		current = max(current, o.MaxSize)
	}
	sum := current
	for _, a := range list[n:] {
		sum += a.size
	}
	for ; n < len(list) && sum > o.KeepTotal; n++ {
		sum -= list[n].size
	}
	return n
}

// removeDoubles removes originals whose compressed file is complete: it has
// its name only since it was synced.
func removeDoubles(list []archive) []archive {
	done := make(map[string]bool)
	for _, a := range list {
		if a.compressed() {
			done[strings.TrimSuffix(a.path, gzipSuffix)] = true
		}
	}
	kept := list[:0]
	for _, a := range list {
		if done[a.path] && os.Remove(a.path) == nil {
			continue
		}
		kept = append(kept, a)
	}
	return kept
}

// removeTemps removes what interrupted compressions left.
func removeTemps(path string) {
	names, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return
	}
	for _, e := range names {
		base, ok := strings.CutSuffix(e.Name(), tempSuffix)
		if !ok {
			continue
		}
		if _, ok := archiveTimeOf(path, base); ok {
			_ = os.Remove(filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
}

// removeOldest makes space when the disk is full. It reports false if there is
// no archive.
func (k *keeper) removeOldest() bool {
	list, err := listArchives(k.opts.Load().File)
	if err != nil || len(list) == 0 || os.Remove(list[0].path) != nil {
		return false
	}
	k.tally(list[1:])
	return true
}

func (k *keeper) tally(list []archive) {
	var sum int64
	for _, a := range list {
		sum += a.size
	}
	k.count.Store(int64(len(list)))
	k.bytes.Store(sum)
}

// planExpiry sets the timer for the day when the oldest archive is too old.
func (k *keeper) planExpiry(list []archive, o *Options) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.expiry != nil {
		k.expiry.Stop()
		k.expiry = nil
	}
	if o.KeepFor <= 0 || len(list) == 0 || k.closing.Load() {
		return
	}
	d := max(o.KeepFor-time.Since(list[0].at), 0) + time.Second
	k.expiry = time.AfterFunc(d, k.kick)
}

func fileSize(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.Size()
}

// syncFile makes a file's or a folder's contents durable.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}
