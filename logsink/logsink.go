// Package logsink brings a child's output from its pipe into rotated files.
//
// It loses nothing when this process is killed: the pipe, and a piece of
// shared memory beside it (the ledger) through which all bytes pass, are
// inherited by the child, which thus keeps them alive. At each instant the
// ledger tells what has been taken from the pipe and what has reached a file,
// so the next process goes on from there (RecoverPipe, Start).
//
// It never holds the child up: when a file does not take what is written, the
// ledger's blocks do, and when those are full the oldest lines are dropped,
// counted, and told by a marker line in their place.
//
// Three threads share the work. The pump takes and writes. The guard sleeps
// until the pump has been in one file operation for too long, and takes in its
// stead. The keeper exists while there are archives to sync, compress or
// remove.
package logsink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Defaults of Options.
const (
	DefaultMaxSize = 100 << 20
	DefaultMaxWait = 50 * time.Millisecond
)

// Options say where and how the log is kept. A zero value of a limit means no
// limit, except where said.
type Options struct {
	File        string        // absolute path of the current file
	MaxSize     int64         // bytes at which it is rotated; 0: DefaultMaxSize
	RotateEvery time.Duration // age at which it is rotated
	KeepFiles   int           // archives to keep
	KeepFor     time.Duration // age at which an archive is removed
	KeepTotal   int64         // bytes that the current file and the archives may use
	Compress    bool          // gzip archives
	Sync        time.Duration // how long written lines may stay unsynced; 0: the kernel decides
	// MaxWait bounds the child's wait for a full pipe: then lines are dropped.
	// 0: DefaultMaxWait; negative: wait for the file, drop nothing.
	MaxWait time.Duration
}

func (o Options) withDefaults() (Options, error) {
	if !filepath.IsAbs(o.File) {
		return o, fmt.Errorf("cannot write the log to %q: the path is not absolute", o.File)
	}
	if len(o.File) >= pathSize {
		return o, errors.New("cannot write the log: its path is too long")
	}
	o.File = filepath.Clean(o.File)
	if o.MaxSize <= 0 {
		o.MaxSize = DefaultMaxSize
	}
	if o.MaxWait == 0 {
		o.MaxWait = DefaultMaxWait
	}
	return o, nil
}

// Errors that a caller may ask for.
var (
	// ErrBusy: another process, or a killed one's thread that is still in a
	// write to a stuck disk, holds the ledger.
	ErrBusy = errors.New("the log ledger is held by another process")
	// ErrClosed: the sink was closed.
	ErrClosed = errors.New("the log sink is closed")
)

// Sink pumps one pipe. Its methods may be called from any goroutine.
type Sink struct {
	opts atomic.Pointer[Options]
	in   *intake
	wake int // eventfd: the pump is asked for something

	// mu guards led, in and shown. Nobody who holds it waits for a file.
	mu    sync.Mutex
	led   *ledger
	shown shown

	busySince atomic.Int64 // when the pump entered a file operation; 0: it is in none
	dropping  atomic.Bool  // the guard drops; cleared by the pump's next success
	closing   atomic.Bool
	done      chan struct{} // closed when all goroutines have ended

	asks   asks
	guard  *guard
	keeper *keeper
	syncer *syncer
	events *events
	newOut func(path string) appender
}

// shown is what others may know of the current file.
type shown struct {
	path         string
	dev, ino     uint64
	size         int64
	rotations    int64
	lastArchive  string
	trouble      string
	troubleSince time.Time
}

// Start settles what an earlier process left in the pipe's ledger and pumps
// from then on. The pipe's own descriptors are not used afterwards and remain
// the caller's. Only one sink can use a pipe at a time: if an earlier process
// is still ending, Start waits for it up to two seconds, then returns ErrBusy.
func Start(p *Pipe, o Options) (*Sink, error) { return start(p, o, newLumberjack) }

func start(p *Pipe, o Options, newOut func(string) appender) (*Sink, error) {
	s, err := build(p, o, newOut)
	if err != nil {
		return nil, err
	}
	s.launch()
	s.keeper.kick()
	return s, nil
}

// build makes a sink that does not run yet.
func build(p *Pipe, o Options, newOut func(string) appender) (*Sink, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	led, err := awaitLedger(p.Ledger, 2*time.Second)
	if err != nil {
		return nil, err
	}
	led.settleRedo()
	led.settleTake()
	s := &Sink{led: led, newOut: newOut, done: make(chan struct{}), events: newEvents()}
	s.opts.Store(&o)
	if err := s.openDescriptors(p); err != nil {
		led.unmap()
		return nil, err
	}
	s.keeper = newKeeper(&s.opts, s.events, &s.closing)
	s.syncer = newSyncer(s)
	return s, nil
}

func awaitLedger(f *os.File, patience time.Duration) (*ledger, error) {
	deadline := time.Now().Add(patience)
	for {
		led, err := lockLedger(f)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return led, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("cannot use the log ledger: %w", ErrBusy)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (s *Sink) openDescriptors(p *Pipe) (err error) {
	if s.in, err = newIntake(s.led, p.FIFO.Fd()); err != nil {
		return err
	}
	if s.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		s.in.close()
		return fmt.Errorf("cannot make an event descriptor: %w", err)
	}
	if s.guard, err = newGuard(s); err != nil {
		s.in.close()
		_ = unix.Close(s.wake)
		return err
	}
	return nil
}

// launch starts the sink's goroutines. All end when closing is set and they
// are woken, which Close does.
func (s *Sink) launch() {
	var wg sync.WaitGroup
	wg.Go(newPump(s).run)
	wg.Go(s.guard.run)
	wg.Go(s.syncer.run)
	go func() { // waits for the others, then frees what they used
		wg.Wait()
		s.keeper.stop()
		s.free()
		s.events.close()
		close(s.done)
	}()
}

func (s *Sink) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.close()
	s.led.unmap()
	_ = unix.Close(s.wake)
	s.guard.close()
}

// Close stops pumping. The pipe and the ledger stay as they are, with what
// they hold: call Drain before, if the child has ended. A pump that is stuck
// in a write cannot be stopped; after two seconds Close returns an error, and
// the rest is freed when that write ends.
func (s *Sink) Close() error {
	if s.closing.Swap(true) {
		<-s.done
		return nil
	}
	s.ring()
	s.guard.kick()
	s.syncer.kick()
	select {
	case <-s.done:
		return nil
	case <-time.After(2 * time.Second):
		return fmt.Errorf("cannot stop the log's pump: it is still in a file operation on %s", s.opts.Load().File)
	}
}

// ring wakes the pump.
func (s *Sink) ring() {
	one := [8]byte{1}
	_, _ = unix.Write(s.wake, one[:]) // full means that it is being woken
}

// Boundary ends the output of one child before the next one is started: it
// takes what is in the pipe, and if that does not end a line, ends it. It does
// not wait for the file.
func (s *Sink) Boundary() error {
	s.mu.Lock()
	if s.led.header == nil {
		s.mu.Unlock()
		return ErrClosed
	}
	err := s.takeAll(4 * wantedPipeSize)
	for err == nil && !s.led.endLine() {
		if !s.makeRoom() {
			break
		}
	}
	s.mu.Unlock()
	s.ring()
	return err
}

// takeAll takes what is in the pipe, at most limit bytes, and drops if it
// must. The caller holds mu.
func (s *Sink) takeAll(limit int) error {
	for limit > 0 {
		n, more, err := s.in.take()
		if err != nil {
			return err
		}
		limit -= n
		if !more {
			return nil
		}
		if n == 0 && !s.makeRoom() {
			return nil
		}
	}
	return nil
}

// makeRoom opens a further block, dropping the oldest if there is none. The
// caller holds mu.
func (s *Sink) makeRoom() bool {
	if s.led.extend() {
		return true
	}
	if s.opts.Load().MaxWait < 0 {
		return false
	}
	return s.dropOldest() && s.led.extend()
}

// dropOldest gives up a block. The caller holds mu.
func (s *Sink) dropOldest() bool {
	_, ok := s.led.drop(time.Now())
	if ok && !s.dropping.Swap(true) {
		s.events.send(Event{Kind: DropStarted})
	}
	return ok
}

// Drain waits until the pipe is empty and all that was taken is in the file,
// an unfinished last line too. Call it after the child's death.
func (s *Sink) Drain(ctx context.Context) error {
	return s.ask(ctx, func(a *asks, answer chan error) { a.drain = append(a.drain, answer) })
}

// Rotate makes the current file an archive, at the next line's end. An empty
// file is left alone.
func (s *Sink) Rotate(ctx context.Context) error {
	return s.ask(ctx, func(a *asks, answer chan error) { a.rotate = append(a.rotate, answer) })
}

// Reconfigure changes the options from the next write on.
func (s *Sink) Reconfigure(o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	s.opts.Store(&o)
	s.ring()
	s.syncer.kick()
	s.keeper.kick()
	return nil
}

// Options are those in force.
func (s *Sink) Options() Options { return *s.opts.Load() }

// Events tells of what a log of our own should say. It is closed by Close. An
// event that nobody has read when 64 are waiting is lost.
func (s *Sink) Events() <-chan Event { return s.events.ch }
