package main

import (
	"sync"
	"time"

	"github.com/etcdsup/etcdsup/supervisor"
)

const (
	// trimAfter is how long nothing must have changed before memory is given back. An etcd that dies again shortly after
	// its start finds all at hand that the next start needs; later the first start costs some page faults more.
	trimAfter = 15 * time.Second
	// settleAfter is how long the runtime may be busy with what a collection has left to do.
	settleAfter = 2 * time.Second
	// keepGarbage is how many bytes may be allocated at rest before they are collected: those of two hours of probes.
	keepGarbage = 512 << 10
)

// heap is the memory that a trimmer looks after.
type heap interface {
	still()            // nothing is collected but by collect
	lively()           // all is as it was before still
	collect()          // what is free goes back to the kernel
	drop()             // and pages that are copies of the executable too; safe for several goroutines
	allocated() uint64 // bytes since the start of the process
}

// trimmer gives memory back once the daemon has come to rest. The executable carries a whole etcd, of whose code and
// tables the daemon touches much at its start and then never again. At rest it makes next to no garbage, but the
// runtime would collect it every two minutes all the same, and touch all of that again: so it is kept from that.
//
// One goroutine does it, for as long as the daemon lives: even the end of a goroutine makes the runtime read tables.
type trimmer struct {
	heap      heap
	timer     *time.Timer
	kick, end chan struct{}
	done      chan struct{}

	mu    sync.Mutex
	rests bool // nothing has changed for trimAfter
	works int  // how many works are under way

	isStill bool   // as the heap was told last; the goroutine's own
	trimmed uint64 // what had been allocated when it was collected last; the goroutine's own
}

// newTrimmer makes a trimmer that works until it is stopped.
func newTrimmer(h heap) *trimmer {
	t := &trimmer{heap: h, timer: time.NewTimer(trimAfter), kick: make(chan struct{}, 1), end: make(chan struct{}), done: make(chan struct{})}
	go t.run()
	return t
}

// moved tells of a change. It returns at once.
func (t *trimmer) moved() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stir()
}

// work tells that a longer work begins, which may need much memory, and returns what tells its end.
func (t *trimmer) work() (end func()) {
	count := func(n int) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.works += n
		t.stir()
	}
	count(1)
	return sync.OnceFunc(func() { count(-1) })
}

// stir begins the time until rest anew. t.mu is held.
func (t *trimmer) stir() {
	if !t.rests {
		t.timer.Reset(trimAfter)
		return
	}
	t.rests = false
	t.wake()
}

// woken tells that a daemon at rest has done something that changes nothing. It returns at once.
func (t *trimmer) woken() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rests {
		t.wake()
	}
}

// shed lets go of pages at rest, and is called by who has just done something that changes nothing and is about to wait:
// to wake the trimmer's goroutine for it could cost the wake-up of one more thread.
func (t *trimmer) shed() {
	t.mu.Lock()
	rests := t.rests
	t.mu.Unlock()
	if rests {
		t.heap.drop()
	}
}

// restful is an alarm that sheds before it waits.
type restful struct {
	supervisor.Alarm
	shed func()
}

// Wait returns true when the alarm goes off, false once it is closed.
func (r restful) Wait() bool {
	r.shed()
	return r.Alarm.Wait()
}

func (t *trimmer) wake() {
	select {
	case t.kick <- struct{}{}:
	default: // it has not come to the one before yet
	}
}

// stop returns when nothing is under way any more.
func (t *trimmer) stop() {
	close(t.end)
	<-t.done
}

func (t *trimmer) run() {
	defer close(t.done)
	defer t.timer.Stop()
	for {
		select {
		case <-t.end:
			return
		case <-t.timer.C:
			t.tend(true)
		case <-t.kick:
			t.tend(false)
		}
	}
}

// tend does what is due; inTime: it is trimAfter since the last change, or settleAfter since the last collection.
func (t *trimmer) tend(inTime bool) {
	rests := t.resting(inTime)
	switch {
	case rests && !t.isStill:
		t.heap.still()
		t.isStill = true
		t.tidy()
	case rests:
		t.tidy()
	case t.isStill:
		t.heap.lively()
		t.isStill = false
		t.timer.Reset(trimAfter)
	case inTime:
		t.timer.Reset(trimAfter) // something works
	}
}

// resting says whether nothing has changed for long enough.
func (t *trimmer) resting(inTime bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if inTime && !t.isStill {
		t.rests = t.works == 0
	}
	return t.rests
}

// tidy collects where it is worth it, and else only lets go of pages, which costs nothing.
func (t *trimmer) tidy() {
	if t.trimmed > 0 && t.heap.allocated()-t.trimmed < keepGarbage {
		t.heap.drop()
		return
	}
	t.heap.collect()
	t.trimmed = t.heap.allocated()
	t.timer.Reset(settleAfter)
}
