// Package statustest publishes statuses in tests, in the way of the loop.
package statustest

import (
	"sync"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Board holds the newest status. Its methods may be called from several goroutines at once.
type Board struct {
	mu       sync.Mutex
	st       *status.Status
	watchers map[chan struct{}]bool
}

// New returns a board that shows st.
func New(st status.Status) *Board {
	return &Board{st: &st, watchers: map[chan struct{}]bool{}}
}

// Status is the newest status; it does not change any more.
func (b *Board) Status() *status.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.st
}

// Publish makes a newer status by a change to a copy of the newest, and tells the watchers.
func (b *Board) Publish(change func(*status.Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	st := *b.st
	change(&st)
	b.st = &st
	for w := range b.watchers {
		select {
		case w <- struct{}{}:
		default: // it has a token already
		}
	}
}

// Watch returns a channel that has one token whenever there is news, and the function that ends it.
func (b *Board) Watch() (<-chan struct{}, func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := make(chan struct{}, 1)
	b.watchers[w] = true
	return w, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, w)
	}
}

// Watchers is how many watch.
func (b *Board) Watchers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.watchers)
}
