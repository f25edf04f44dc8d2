package main

import (
	"sync/atomic"
	"testing"
	"time"
)

// board is what changes as the loop's status does: the new one is there, then who waits is woken.
type board struct {
	value atomic.Int64
	next  atomic.Pointer[chan struct{}]
}

func (b *board) changed() <-chan struct{} { return *b.next.Load() }

func (b *board) publish(v int64) {
	b.value.Store(v)
	next := make(chan struct{})
	close(*b.next.Swap(&next))
}

// TestNoChangeIsMissed: however soon one change follows the other, or the first look, the last one is seen.
func TestNoChangeIsMissed(t *testing.T) {
	const last = 3
	limit := time.After(time.Minute)
	for n := range 5000 {
		b := new(board)
		first := make(chan struct{})
		b.next.Store(&first)
		news, end := tellChanges(b.changed, nil)
		go func() { // ends by itself
			for v := range int64(last) {
				b.publish(v + 1)
			}
		}()
		for b.value.Load() != last {
			select {
			case <-news:
			case <-limit:
				t.Fatalf("round %d: the last change was not told of", n)
			}
		}
		end()
	}
}
