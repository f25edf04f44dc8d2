package logsink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// killed is the panic that stands for SIGKILL.
type killed struct{ instant string }

// rig drives a sink's parts by hand, on one goroutine, so that it can be
// killed at each instant and gone on with by a successor.
type rig struct {
	t      rapid.TB
	pipe   *Pipe
	opts   Options
	p      *pump
	sent   bytes.Buffer
	hook   func(instant string)
	unruly bool                                            // a part of a line may be in a file that then grows too long
	script func(r *rig, f *os.File, b []byte) (int, error) // stands for a file write
}

func newRig(t rapid.TB, dir string, blockSize, blocks int) *rig {
	pipe, err := newPipe(int64(blockSize*blocks), blockSize)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, pipe: pipe, opts: Options{File: filepath.Join(dir, "etcd.log"), MaxSize: 1 << 30, MaxWait: -1}}
	r.begin()
	return r
}

// begin starts a successor: all it knows is in the ledger.
func (r *rig) begin() {
	s, err := build(r.pipe, r.opts, r.newOut)
	if err != nil {
		r.t.Fatal(err)
	}
	s.led.died = func(name string) {
		if r.hook != nil {
			r.hook(name)
		}
	}
	r.p = newPump(s)
	r.p.first = 0
}

// end lets go of what the kernel would have freed.
func (r *rig) end() {
	r.p.cur.close()
	r.p.mu.TryLock() // the dead may have held it
	r.p.mu.Unlock()
	r.p.free()
}

func (r *rig) close() {
	r.end()
	_ = r.pipe.Close()
}

// feed writes to the pipe as the child does; it reports false when that would
// block.
func (r *rig) feed(b []byte) bool {
	if !r.p.in.full() {
		fd, err := reopen(r.pipe.FIFO.Fd(), unix.O_WRONLY|unix.O_NONBLOCK)
		if err != nil {
			r.t.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }()
		n, _ := unix.Write(fd, b)
		if n > 0 {
			r.sent.Write(b[:n])
			return n == len(b)
		}
	}
	return false
}

// do runs f; if it is killed in it, a successor takes over.
func (r *rig) do(f func()) (instant string) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case killed:
			instant = v.instant
			r.hook = nil
			r.end()
			r.begin()
		default:
			panic(v)
		}
	}()
	f()
	return ""
}

// settle pumps until there is nothing left.
func (r *rig) settle() {
	r.hook, r.script = nil, nil
	r.p.drain = append(r.p.drain, make(chan error, 1))
	for i := 0; len(r.p.drain) > 0; i++ {
		if i > 100000 {
			r.t.Fatal("the pump does not come to an end")
		}
		r.p.turn()
	}
}

// scripted is a file whose writes do what the rig says.
type scripted struct {
	r    *rig
	path string
	f    *os.File
}

func (r *rig) newOut(path string) appender { return &scripted{r: r, path: path} }

func (o *scripted) Write(b []byte) (int, error) {
	if o.f == nil {
		f, err := os.OpenFile(o.path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return 0, err
		}
		o.f = f
	}
	if len(b) > 0 && o.r.script != nil {
		return o.r.script(o.r, o.f, b)
	}
	return o.f.Write(b)
}

func (o *scripted) Rotate() error {
	if err := o.Close(); err != nil {
		return err
	}
	if err := os.Rename(o.path, archiveName(o.path, time.Now())); err != nil {
		return err
	}
	return os.WriteFile(o.path, nil, 0o600)
}

func (o *scripted) Close() error {
	if o.f == nil {
		return nil
	}
	defer func() { o.f = nil }()
	return o.f.Close()
}

func (r *rig) log() []byte {
	var all []byte
	list, err := listArchives(r.opts.File)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, a := range append(list, archive{path: r.opts.File}) {
		b, err := os.ReadFile(a.path)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// TestKilledAtEachInstant: one short and one long piece, killed at each named
// instant and in the middle of the file write.
func TestKilledAtEachInstant(t *testing.T) {
	for _, size := range []int{1, 5, 15, 16, 17, 500, 3000} {
		seen := map[string]bool{}
		for at := 0; ; at++ {
			r := newRig(t, t.TempDir(), 4096, 4)
			r.settle()
			r.feed(append(bytes.Repeat([]byte{'a'}, 40), '\n'))
			n := 0
			r.hook = func(name string) {
				if n++; n > at {
					panic(killed{name})
				}
			}
			r.do(func() { r.feed([]byte("half a li")); r.p.turn() })
			r.feed(append(bytes.Repeat([]byte{'b'}, size), '\n'))
			name := r.do(func() { r.p.turn(); r.p.turn(); r.p.turn() })
			r.settle()
			if got := r.log(); !bytes.Equal(got, r.sent.Bytes()) {
				t.Fatalf("killed at %q (%d): %q instead of %q", name, at, got, r.sent.Bytes())
			}
			if w := r.p.led.written.Load(); w != uint64(r.sent.Len()) {
				t.Fatalf("killed at %q: %d bytes counted of %d", name, w, r.sent.Len())
			}
			r.close()
			if n <= at {
				break
			}
			seen[name] = true
		}
		for _, name := range []string{"take marked", "take announced", "take read", "take committed", "write marked",
			"write announced", "write done", "bytes committed", "bytes counted", "write committed"} {
			if !seen[name] {
				t.Errorf("size %d: never killed at %q", size, name)
			}
		}
	}
}

// TestAnyOrder: whatever happens in whatever order, the log is what was sent.
func TestAnyOrder(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t, dir, 4096, rapid.IntRange(4, 8).Draw(t, "blocks"))
		defer r.close()
		r.opts.MaxSize = int64(rapid.SampledFrom([]int{1000, 5000, 20000, 1 << 20}).Draw(t, "max"))
		r.p.opts.Store(&r.opts)
		s := newStream(rapid.Uint64().Draw(t, "seed"), rapid.SampledFrom([]int{300, 2500, 9000}).Draw(t, "longest"))
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			randomStep(t, r, s)
		}
		r.settle()
		if got := r.log(); !bytes.Equal(got, r.sent.Bytes()) {
			i := 0
			for i < min(len(got), r.sent.Len()) && got[i] == r.sent.Bytes()[i] {
				i++
			}
			t.Fatalf("%d bytes instead of %d, the first difference at %d", len(got), r.sent.Len(), i)
		}
		checkParts(t, r)
	})
}

// TestDropsAreTold: in the same disorder, with a disk that now and then does
// not keep up, what is missing is what the markers tell of.
func TestDropsAreTold(t *testing.T) {
	base, dropped := t.TempDir(), uint64(0)
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t, dir, 4096, rapid.IntRange(4, 6).Draw(t, "blocks"))
		defer r.close()
		r.opts.MaxWait = time.Nanosecond
		r.p.opts.Store(&r.opts)
		seed := rapid.Uint64().Draw(t, "seed")
		s := newStream(seed, 2500)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			dropStep(t, r, s)
		}
		r.settle()
		r.feed(append(bytes.Clone(s.rest[:bytes.IndexByte(s.rest, '\n')+1]), "last\n"...))
		r.settle()
		checkTold(t, r, seed)
		dropped += r.p.led.view().droppedLines
	})
	if dropped == 0 {
		t.Error("nothing was ever dropped")
	}
}

func dropStep(t *rapid.T, r *rig, s *stream) {
	r.hook, r.script = nil, nil
	if rapid.IntRange(0, 3).Draw(t, "kill") == 0 {
		countdown := rapid.IntRange(0, 40).Draw(t, "kill at")
		r.hook = func(name string) {
			if countdown--; countdown < 0 {
				panic(killed{name})
			}
		}
	}
	slow := rapid.IntRange(0, 5).Draw(t, "slow")
	r.script = func(r *rig, f *os.File, b []byte) (int, error) {
		for range slow {
			feedSome(t, r, s)
			r.p.dropping.Store(true)
			r.p.guard.relieve()
		}
		return f.Write(b)
	}
	feedSome(t, r, s)
	r.do(func() { r.p.turn(); r.p.turn() })
}

func checkTold(t *rapid.T, r *rig, seed uint64) {
	src := newStream(seed, 2500)
	var told marker
	for line := range bytes.Lines(r.log()) {
		if line[0] == '{' {
			var m marker
			if err := json.Unmarshal(line, &m); err != nil {
				t.Fatal(err)
			}
			told.Bytes, told.Lines = told.Bytes+m.Bytes, told.Lines+m.Lines
			continue
		}
		for told.Lines > 0 {
			told.Bytes -= len(src.line())
			told.Lines--
		}
		if told.Bytes != 0 {
			t.Fatalf("a marker is wrong by %d bytes", told.Bytes)
		}
		if string(line) == "last\n" {
			return
		}
		if want := src.line(); !bytes.Equal(line, want) {
			t.Fatalf("%q instead of %q", clip(line), clip(want))
		}
	}
	t.Fatal("the last line is not there")
}

// checkParts: no file is longer than allowed unless one line alone is, and
// every one but the last ends a line.
func checkParts(t *rapid.T, r *rig) {
	list, err := listArchives(r.opts.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		b, err := os.ReadFile(a.path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 || b[len(b)-1] != '\n' {
			t.Fatalf("%s ends within a line", a.path)
		}
		if int64(len(b)) > r.opts.MaxSize+9000 || int64(len(b)) > r.opts.MaxSize && !r.unruly && bytes.Count(b, []byte{'\n'}) > 1 {
			t.Fatalf("%s has %d bytes", a.path, len(b))
		}
	}
}

func randomStep(t *rapid.T, r *rig, s *stream) {
	r.hook, r.script = nil, nil
	switch rapid.IntRange(0, 7).Draw(t, "step") {
	case 0, 1:
		feedSome(t, r, s)
	case 2:
		r.do(func() { r.p.turn() })
	case 3:
		r.unruly = true
		countdown := rapid.IntRange(0, 30).Draw(t, "kill at")
		r.hook = func(name string) {
			if countdown--; countdown < 0 {
				panic(killed{name})
			}
		}
		r.do(func() { r.p.turn(); r.p.turn() })
	case 4:
		r.unruly = true
		r.script = scriptFor(t, s)
		r.do(func() { r.p.turn() })
	case 5:
		r.p.rotate = append(r.p.rotate, make(chan error, 1))
		r.do(func() { r.p.turn() })
	case 6:
		r.do(func() { r.p.guard.rest() })
	case 7:
		r.unruly = true
		r.p.drain = append(r.p.drain, make(chan error, 1))
		r.do(func() { r.p.turn() })
		r.p.drain = nil
	}
}

func feedSome(t *rapid.T, r *rig, s *stream) {
	b := make([]byte, rapid.SampledFrom([]int{1, 3, 15, 16, 17, 100, 1000, 4096, 9000}).Draw(t, "size"))
	left := s.rest
	if n, _ := s.Read(b); !r.feed(b[:n]) {
		t.Skip("pipe full", len(left))
	}
}

// scriptFor is one strange file write: partial, failing, killed within, or
// long enough for the guard to take meanwhile.
func scriptFor(t *rapid.T, s *stream) func(r *rig, f *os.File, b []byte) (int, error) {
	kind := rapid.SampledFrom([]string{"short", "kill", "slow", "slow kill"}).Draw(t, "write")
	part := rapid.IntRange(0, 5000).Draw(t, "part")
	return func(r *rig, f *os.File, b []byte) (int, error) {
		if strings.HasPrefix(kind, "slow") {
			for range 3 {
				feedSome(t, r, s)
				r.p.guard.relieve()
			}
		}
		n, _ := f.Write(b[:min(part, len(b))])
		switch kind {
		case "short":
			return n, fmt.Errorf("no: %w", errors.New("disk trouble"))
		case "kill", "slow kill":
			panic(killed{"file write"})
		}
		m, err := f.Write(b[n:])
		return n + m, err
	}
}
