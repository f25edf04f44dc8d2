package logread

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// writer keeps a log as etcdsup does, with numbered lines: it holds its file open, and when that was removed it
// finds out after a write, which it then repeats into the new file.
type writer struct {
	*logDir
	f        *os.File
	n        int // of the next line
	half     string
	archives []string // that may be compressed or removed
}

func newWriter(t *testing.T) *writer {
	w := &writer{logDir: newLogDir(t)}
	w.reopen()
	t.Cleanup(func() { _ = w.f.Close() })
	return w
}

func (w *writer) reopen() {
	w.t.Helper()
	if w.f != nil {
		w.must(w.f.Close())
	}
	f, err := os.OpenFile(w.path("etcd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	w.must(err)
	w.f = f
}

// lines writes k numbered lines at once.
func (w *writer) lines(k int) {
	w.t.Helper()
	var b strings.Builder
	for range k {
		fmt.Fprintf(&b, "{\"level\":\"info\",\"n\":%d}\n", w.n)
		w.n++
	}
	text := w.half + b.String()
	w.half = ""
	w.put(text)
}

// part writes the beginning of a line; lines writes its end.
func (w *writer) part() {
	w.t.Helper()
	if w.half != "" {
		return
	}
	line := fmt.Sprintf("{\"level\":\"info\",\"n\":%d}\n", w.n)
	w.n++
	w.half = line[7:]
	w.put(line[:7])
}

func (w *writer) put(text string) {
	w.t.Helper()
	_, err := w.f.WriteString(text)
	w.must(err)
	if _, err := os.Stat(w.path("etcd.log")); err != nil {
		w.reopen()
		_, err := w.f.WriteString(text)
		w.must(err)
	}
}

// whole ends an unfinished line: files change only between lines.
func (w *writer) whole() {
	if w.half != "" {
		w.lines(0)
	}
}

func (w *writer) rotate() {
	w.t.Helper()
	w.whole()
	w.archives = append(w.archives, w.logDir.rotate())
	w.reopen()
}

func (w *writer) compressOne(rnd *rand.Rand) {
	if len(w.archives) > 0 {
		i := rnd.IntN(len(w.archives))
		w.compress(w.archives[i])
		w.archives = slices.Delete(w.archives, i, i+1)
	}
}

// drain is what there is for a follower at this moment.
func drain(t *testing.T, r *Reader) (out []string) {
	t.Helper()
	for range 1_000_000 {
		raw, err := r.stream.next()
		if errors.Is(err, errIdle) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if line, ok := r.pass(raw); ok {
			out = append(out, string(line.Raw))
		}
	}
	t.Fatal("a follower never becomes idle")
	return nil
}

func follow(t *testing.T, w *writer, o Options) *Reader {
	t.Helper()
	o.Follow = true
	if o.Notice == nil {
		o.Notice = func(s string) { t.Errorf("notice: %s", s) }
	}
	r, err := open(w.dir, "etcd.log", o, firstBlock)
	w.must(err)
	t.Cleanup(r.Close)
	return r
}

func checkNumbers(t *testing.T, got []string, from, to int) {
	t.Helper()
	for i, line := range got {
		if want := fmt.Sprintf("{\"level\":\"info\",\"n\":%d}\n", from+i); line != want {
			t.Fatalf("line %d is %q, want %q", i, line, want)
		}
	}
	if from+len(got) != to {
		t.Fatalf("%d lines, want %d", len(got), to-from)
	}
}

// Whatever happens between two looks, every line comes once and in its order.
func TestFollowThroughEverything(t *testing.T) {
	for seed := range rounds(40, 5000) {
		t.Run("", func(t *testing.T) { followRandomly(t, rand.New(rand.NewPCG(uint64(seed), 7))) })
	}
	if entries, err := os.ReadDir("/proc/self/fd"); err != nil || len(entries) > 100 {
		t.Errorf("%d files are open still, %v", len(entries), err)
	}
}

func followRandomly(t *testing.T, rnd *rand.Rand) {
	w := newWriter(t)
	w.lines(rnd.IntN(5))
	r := follow(t, w, Options{Plain: true})
	var got []string
	for range 30 {
		if rnd.IntN(2) == 0 {
			got = append(got, drain(t, r)...)
			w.mayRemove(rnd)
		}
		w.step(rnd)
	}
	w.whole()
	got = append(got, drain(t, r)...)
	checkNumbers(t, got, 0, w.n)
}

func (w *writer) step(rnd *rand.Rand) {
	switch rnd.IntN(7) {
	case 0, 1:
		w.lines(rnd.IntN(4))
	case 2:
		w.part()
	case 3, 4:
		w.rotate()
	case 5:
		w.compressOne(rnd)
	case 6:
		w.rotate()
		w.compress(w.archives[len(w.archives)-1])
		w.archives = w.archives[:len(w.archives)-1]
	}
}

// mayRemove takes the current file away. Only one that the follower holds: else its lines are lost to everybody.
func (w *writer) mayRemove(rnd *rand.Rand) {
	if rnd.IntN(4) == 0 && w.half == "" {
		w.must(os.Remove(w.path("etcd.log")))
		w.lines(1 + rnd.IntN(3))
	}
}

func TestFollowLast(t *testing.T) {
	w := newWriter(t)
	w.lines(10)
	w.rotate()
	w.lines(5)
	r := follow(t, w, Options{Last: 8})
	checkNumbers(t, drain(t, r), 7, 15)
	w.lines(2)
	checkNumbers(t, drain(t, r), 15, 17)
}

// A line that is only half there when following begins is not counted, and comes when it is whole.
func TestFollowFromWithinALine(t *testing.T) {
	w := newWriter(t)
	w.lines(3)
	w.part()
	r := follow(t, w, Options{Last: 1})
	checkNumbers(t, drain(t, r), 2, 3)
	none := follow(t, w, Options{Last: None})
	w.lines(1)
	checkNumbers(t, drain(t, r), 3, 5)
	checkNumbers(t, drain(t, none), 3, 5)
}

func TestFollowTruncation(t *testing.T) {
	w := newWriter(t)
	w.lines(5)
	var notices []string
	r := follow(t, w, Options{Notice: func(s string) { notices = append(notices, s) }})
	checkNumbers(t, drain(t, r), 0, 5)
	w.must(w.f.Truncate(0))
	w.lines(2)
	checkNumbers(t, drain(t, r), 5, 7)
	w.lines(9)
	checkNumbers(t, drain(t, r), 7, 16)
	if len(notices) != 1 || !strings.Contains(notices[0], "truncated") {
		t.Errorf("notices: %q", notices)
	}
	w.rotate()
	w.lines(1)
	checkNumbers(t, drain(t, r), 16, 17)
}

// What is written to a removed file before its writer notices is shown; what it then writes again is not.
func TestFollowRemoval(t *testing.T) {
	w := newWriter(t)
	w.lines(2)
	r := follow(t, w, Options{})
	checkNumbers(t, drain(t, r), 0, 2)
	w.must(os.Remove(w.path("etcd.log")))
	if _, err := w.f.WriteString("{\"level\":\"info\",\"n\":2}\n"); err != nil {
		t.Fatal(err)
	}
	checkNumbers(t, drain(t, r), 2, 3)
	w.reopen()
	drained := drain(t, r) // the new file is there, and empty
	w.append("{\"level\":\"info\",\"n\":2}\n{\"level\":\"info\",\"n\":3}\n")
	checkNumbers(t, append(drained, drain(t, r)...), 3, 4)
}

func TestFollowArchiveLostUnread(t *testing.T) {
	w := newWriter(t)
	var notices []string
	r := follow(t, w, Options{Notice: func(s string) { notices = append(notices, s) }})
	w.lines(1)
	w.rotate()
	w.lines(1)
	w.rotate()
	w.must(os.Remove(w.path(w.archives[1])))
	w.lines(1)
	got := drain(t, r)
	if want := []string{"{\"level\":\"info\",\"n\":0}\n", "{\"level\":\"info\",\"n\":2}\n"}; !slices.Equal(got, want) {
		t.Errorf("got %q, notices %q", got, notices)
	}
}

// An archive that gets another name right after its first, because the clock was set back, is not read twice.
func TestFollowArchiveRenamed(t *testing.T) {
	w := newWriter(t)
	w.lines(2)
	w.rotate()
	r := follow(t, w, Options{})
	later := "etcd-2026-11-22T10-01-00.500.log"
	w.must(os.Rename(w.path(w.archives[0]), w.path(later)))
	w.compress(later)
	w.lines(1)
	w.now = w.now.Add(time.Hour)
	w.rotate()
	w.lines(1)
	checkNumbers(t, drain(t, r), 0, 4)
}

func TestFollowBeforeThereIsAnything(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	r, err := Open(dir, "etcd.log", Options{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := drain(t, r); got != nil {
		t.Fatalf("got %q", got)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &writer{logDir: newLogDir(t)}
	w.dir = dir
	w.reopen()
	defer func() { _ = w.f.Close() }()
	w.lines(2)
	w.rotate()
	w.lines(1)
	checkNumbers(t, drain(t, r), 0, 3)
}

// A follower that looks when it likes, beside a writer that rotates, and compresses as fast as it can.
func TestFollowWhileWritten(t *testing.T) {
	w := newWriter(t)
	const total = 20000
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	r := follow(t, w, Options{Poll: time.Millisecond, Plain: true})
	var writing sync.WaitGroup
	writing.Go(func() { w.busy(total) })
	next := 0
	for line, err := range r.Lines(ctx) {
		w.must(err)
		n, err := strconv.Atoi(strings.Trim(string(line.Raw), "{}\"levinfo:,\n"))
		if err != nil || n != next {
			t.Fatalf("got %q, want number %d", line.Raw, next)
		}
		if next++; next == total {
			break
		}
	}
	writing.Wait()
	if next != total {
		t.Errorf("the follower ended after %d lines", next)
	}
}

func (w *writer) busy(total int) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for w.n < total {
		w.lines(min(1+rnd.IntN(20), total-w.n))
		switch rnd.IntN(20) {
		case 0:
			w.part()
		case 1:
			w.rotate()
		case 2:
			w.compressOne(rnd)
		}
	}
	w.whole()
}

// Idle is asked before each wait, and what it says ends the stream.
func TestFollowEndsWithIdle(t *testing.T) {
	w := newWriter(t)
	w.lines(1)
	gone := errors.New("nobody reads")
	n, looks := 0, 0
	r := follow(t, w, Options{Poll: time.Nanosecond, Idle: func() error {
		if looks++; looks == 3 {
			return gone
		}
		return nil
	}})
	var last error
	for _, err := range r.Lines(context.Background()) {
		n++
		last = err
	}
	if n != 2 || !errors.Is(last, gone) {
		t.Errorf("%d items, the last with %v", n, last)
	}
}

func TestFollowEndsWithTheContext(t *testing.T) {
	w := newWriter(t)
	w.lines(1)
	ctx, cancel := context.WithCancel(context.Background())
	r := follow(t, w, Options{Idle: func() error { cancel(); return nil }})
	n := 0
	for _, err := range r.Lines(ctx) {
		w.must(err)
		n++
	}
	if n != 1 {
		t.Errorf("%d lines", n)
	}
}
