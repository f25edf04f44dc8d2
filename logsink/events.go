package logsink

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Kind says what an Event is about.
type Kind string

// The kinds of events, and which fields they fill.
const (
	DropStarted  Kind = "log output is being dropped"
	DropEnded    Kind = "log output is written again" // Bytes, Lines: dropped meanwhile
	Trouble      Kind = "cannot write the log file"   // Err, Path
	TroubleOver  Kind = "log file can be written again"
	Rotated      Kind = "log file rotated"         // Path: the archive
	FileVanished Kind = "log file was taken away"  // Path: its former name
	FileMended   Kind = "log file ended in a line" // Path; a line's end was added
	KeeperFailed Kind = "cannot tend log archives" // Err
	SyncFailed   Kind = "cannot sync the log file" // Err
)

// Event is something that happened in the sink.
type Event struct {
	Kind  Kind
	At    time.Time
	Path  string
	Bytes uint64
	Lines uint64
	Err   error
}

// events is a channel that never holds its sender up.
type events struct {
	mu     sync.Mutex
	closed bool
	ch     chan Event
}

func newEvents() *events { return &events{ch: make(chan Event, 64)} }

func (e *events) send(ev Event) {
	ev.At = time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	select {
	case e.ch <- ev:
	default:
	}
}

func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	close(e.ch)
}

// asks is what others want the pump to do.
type asks struct {
	waiting atomic.Bool // there are some that the pump has not seen
	mu      sync.Mutex
	rotate  []chan error
	drain   []chan error
}

// ask queues a wish and waits for the answer.
func (s *Sink) ask(ctx context.Context, queue func(*asks, chan error)) error {
	answer := make(chan error, 1)
	s.asks.mu.Lock()
	queue(&s.asks, answer)
	s.asks.waiting.Store(true)
	s.asks.mu.Unlock()
	if s.closing.Load() {
		return ErrClosed
	}
	s.ring()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return ErrClosed
	}
}

// collect moves new wishes to the pump's own lists.
func (a *asks) collect(rotate, drain *[]chan error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting.Store(false)
	*rotate = append(*rotate, a.rotate...)
	*drain = append(*drain, a.drain...)
	a.rotate, a.drain = nil, nil
}

func answerAll(list []chan error, err error) {
	for _, c := range list {
		c <- err // has room for the one answer
	}
}
