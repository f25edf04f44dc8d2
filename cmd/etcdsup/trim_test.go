package main

import (
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeHeap tells what was done to it, and when.
type fakeHeap struct {
	began time.Time
	mu    sync.Mutex
	bytes uint64
	did   []string
}

func (h *fakeHeap) note(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.did = append(h.did, time.Since(h.began).String()+" "+what)
}

func (h *fakeHeap) still()   { h.note("still") }
func (h *fakeHeap) lively()  { h.note("lively") }
func (h *fakeHeap) collect() { h.note("collect") }
func (h *fakeHeap) drop()    { h.note("drop") }

func (h *fakeHeap) allocated() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bytes
}

func (h *fakeHeap) allocate(bytes uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bytes += bytes
}

// wants checks what was done since the last time, and forgets it.
func (h *fakeHeap) wants(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.did, want) {
		t.Errorf("done %q, want %q", h.did, want)
	}
	h.did = nil
}

// elapse lets time go by in a synctest bubble.
func elapse(d time.Duration) { <-time.After(d) }

// TestTrimmerAtRest follows a daemon that comes to rest, is woken, makes garbage, and has to restart its etcd.
func TestTrimmerAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHeap{began: time.Now(), bytes: 1}
		trim := newTrimmer(h)
		defer trim.stop()
		elapse(10 * time.Second)
		trim.woken() // not at rest yet
		trim.shed()
		trim.moved()
		elapse(14 * time.Second)
		h.wants(t)
		elapse(10 * time.Second)
		h.wants(t, "25s still", "25s collect", "27s drop")
		trim.woken()
		h.wants(t, "34s drop")
		trim.shed()
		h.wants(t, "34s drop")
		h.allocate(keepGarbage)
		trim.woken()
		elapse(3 * time.Second)
		h.wants(t, "34s collect", "36s drop")
		elapse(time.Hour)
		h.wants(t) // nothing by itself
		trim.moved()
		trim.moved()
		h.wants(t, "1h0m37s lively")
		trim.woken()
		elapse(14 * time.Second)
		h.wants(t)
		elapse(10 * time.Second)
		h.wants(t, "1h0m52s still", "1h0m52s drop") // little was allocated
	})
}

// TestTrimmerWaitsForWork: no work is done with a heap that is still.
func TestTrimmerWaitsForWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHeap{began: time.Now(), bytes: 1}
		trim := newTrimmer(h)
		defer trim.stop()
		first := trim.work()
		elapse(time.Hour)
		second := trim.work()
		first()
		first() // counts once
		elapse(time.Hour)
		h.wants(t)
		second()
		elapse(trimAfter + time.Second)
		h.wants(t, "2h0m15s still", "2h0m15s collect")
		third := trim.work()
		elapse(time.Hour)
		h.wants(t, "2h0m16s lively")
		third()
		elapse(trimAfter + time.Second)
		h.wants(t, "3h0m31s still", "3h0m31s drop")
	})
}

// TestTrimmerDoesNotRestInMotion: a change in the moment between a collection and what follows it counts.
func TestTrimmerDoesNotRestInMotion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHeap{began: time.Now(), bytes: 1}
		trim := newTrimmer(h)
		elapse(trimAfter + settleAfter/2)
		trim.moved()
		elapse(trimAfter - time.Second)
		h.wants(t, "15s still", "15s collect", "16s lively")
		trim.stop()
		elapse(time.Hour)
		trim.moved()
		trim.woken()
		h.wants(t)
	})
}

// gcSettings are the runtime's own.
func gcSettings() (percent int, limit int64) {
	percent = debug.SetGCPercent(-1)
	debug.SetGCPercent(percent)
	return percent, debug.SetMemoryLimit(-1)
}

// TestOwnHeapComesBack: what a still heap changes in the runtime is as before when it is lively again.
func TestOwnHeapComesBack(t *testing.T) {
	h := &ownHeap{}
	percent, limit := gcSettings()
	h.still()
	if p, l := gcSettings(); p != -1 || l > stillLimit {
		t.Errorf("still: GC percent %d, limit %d", p, l)
	}
	h.lively()
	if p, l := gcSettings(); p != percent || l != limit {
		t.Errorf("lively: GC percent %d and limit %d, want %d and %d", p, l, percent, limit)
	}
}

// TestOwnPagesComeBack drops the pages of this test's own executable, and goes on.
func TestOwnPagesComeBack(t *testing.T) {
	h := &ownHeap{}
	before := h.allocated()
	h.collect()
	if clean := h.clean.Load(); clean == nil || len(*clean) == 0 {
		t.Fatal("no mapping of the executable found")
	}
	h.drop()
	if after := h.allocated(); after < before {
		t.Errorf("allocated %d bytes, then %d", before, after)
	}
}

// TestRelocatedPagesAreKept: of a position-independent executable, the loader has written into pages that are
// read-only from then on.
func TestRelocatedPagesAreKept(t *testing.T) {
	const smaps = `1000-2000 r-xp 00000000 fe:00 7   /bin/a b
Size:                  4 kB
Anonymous:             0 kB
2000-3000 r--p 00001000 fe:00 7   /bin/a b
Anonymous:             4 kB
3000-4000 rw-p 00002000 fe:00 7   /bin/a b
Anonymous:             0 kB
4000-5000 r-xp 00000000 fe:00 8   /lib/bin/a b.so
Anonymous:             0 kB
`
	want := []mapping{{0x1000, 0x2000}}
	if got := cleanMappings(smaps, "/bin/a b"); !slices.Equal(got, want) {
		t.Errorf("to be given back: %x, want %x", got, want)
	}
}
