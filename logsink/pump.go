package logsink

import (
	"bytes"
	"errors"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
)

// pump is the thread that takes from the pipe and writes to the file. Its
// fields are its own.
type pump struct {
	*Sink
	cur     current
	settled bool // the last process's write is decided
	warm    bool // a line came a moment ago
	seen    int  // how far the block was searched for a line's end
	rotate  []chan error
	drain   []chan error
	retry   time.Duration // the last pause after a failure; 0: all is well
	first   time.Duration // the shortest of these pauses
	// rotateAfter keeps a rotation that failed from being tried at each write.
	rotateAfter time.Time
	gap         struct{ bytes, lines uint64 } // totals when the last drop was told
}

func newPump(s *Sink) *pump {
	p := &pump{Sink: s, first: firstRetry}
	p.cur.make = s.newOut
	v := s.led.view()
	p.gap.bytes, p.gap.lines = v.droppedBytes-v.gapBytes, v.droppedLines-v.gapLines
	return p
}

// run pumps until the sink is closed. It keeps a thread to itself, for it is
// in a blocking system call nearly always.
func (p *pump) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer p.end()
	beQuick()
	for !p.closing.Load() {
		if !p.turn() {
			p.wait()
		}
	}
}

// turnTime is what the pump needs for a line, and for a full block.
const turnTime = 100 * time.Microsecond

// beQuick asks the kernel to let this thread run for shorter and sooner (EEVDF, since 6.12): without that a child that
// computes keeps its processor for up to a tick of 4 ms before its line is taken. Elsewhere it does nothing.
func beQuick() {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return
	}
	attr.Runtime = uint64(turnTime)
	_ = unix.SchedSetAttr(0, attr, 0)
}

func (p *pump) end() {
	p.cur.close()
	p.asks.collect(&p.rotate, &p.drain)
	answerAll(p.rotate, ErrClosed)
	answerAll(p.drain, ErrClosed)
}

// turn takes once and writes once. It reports false if there was nothing to
// do.
func (p *pump) turn() bool {
	if !p.settled {
		p.settle()
		return true
	}
	if p.asks.waiting.Load() {
		p.heed()
	}
	piece, took, err := p.next()
	switch {
	case err != nil:
		p.fail(err)
	case piece.n > 0:
		p.enter()
		p.write(piece)
		p.rotateIfDue()
		p.leave()
	case !took:
		return p.tend()
	}
	return true
}

// settle decides the write that an earlier process was killed in.
func (p *pump) settle() {
	p.enter()
	defer p.leave()
	if err := p.led.settleWrite(p.opts.Load().File, &p.mu); err != nil {
		p.fail(err)
		return
	}
	p.settled = true
	if err := p.ready(); err != nil {
		p.fail(err)
	}
}

// next takes what is in the pipe, as far as the block goes, and chooses what
// to write.
func (p *pump) next() (piece, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var n int
	var err error
	if p.led.compact() { // an earlier process was killed before it did
		p.seen = 0
	}
	// A block that one line fills is written before more is taken.
	if _, end := p.led.span(p.led.tail()); end < p.led.room() || p.led.view().n > 1 {
		n, _, err = p.in.take()
	}
	var c piece
	c, p.seen = p.led.plan(len(p.drain) > 0, p.seen)
	return c, n > 0, err
}

// enter and leave mark the time that the guard watches.
func (p *pump) enter() {
	p.busySince.Store(monotonic())
	p.guard.watch()
}

func (p *pump) leave() { p.busySince.Store(0) }

// write appends a piece, or as much of it as belongs into the current file.
func (p *pump) write(c piece) {
	if err := p.ready(); err != nil {
		p.fail(err)
		return
	}
	data := p.led.bytes(c.id)[c.start : c.start+c.n]
	n, err := p.fit(data)
	if err != nil {
		p.fail(err)
		return
	}
	p.announce(c, n)
	n, err = p.cur.out.Write(data[:n])
	what := p.cur.check()
	if what == fateGone {
		n = 0 // removed by others: written again to a new file
	}
	p.commit(n)
	if what != fateKept {
		p.lost()
	}
	if err != nil {
		p.fail(err)
		return
	}
	p.succeed(c.id)
}

// announce makes the ledger say what is about to be written.
func (p *pump) announce(c piece, n int) {
	w := &p.led.write
	w.block, w.start, w.n = uint32(c.id), uint32(c.start), uint32(n)
	w.dev, w.ino, w.off = p.cur.dev, p.cur.ino, p.cur.size
	w.before = p.led.written.Load()
	w.openLine.Store(p.led.openLine.Load())
	p.led.instant("write marked")
	w.phase.Store(phaseBusy)
	p.led.instant("write announced")
}

func (p *pump) commit(n int) {
	p.led.instant("write done")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.led.commit(n)
	p.led.instant("write committed")
	p.led.compact()
	p.seen = 0
	p.shown.size = p.cur.size
}

func (p *pump) lost() {
	p.events.send(Event{Kind: FileVanished, Path: p.cur.path})
	p.cur.close()
}

// ready makes sure that the configured file is open.
func (p *pump) ready() error {
	o := p.opts.Load()
	midLine := p.led.openLine.Load() != 0
	if p.cur.h != nil && (p.cur.path == o.File || midLine) {
		return nil
	}
	mended, err := p.cur.open(o.File, midLine)
	if err != nil {
		return err
	}
	if mended {
		p.events.send(Event{Kind: FileMended, Path: o.File})
	}
	p.led.setPath(o.File)
	p.mu.Lock()
	p.shown.path, p.shown.dev, p.shown.ino, p.shown.size = o.File, p.cur.dev, p.cur.ino, p.cur.size
	p.mu.Unlock()
	return nil
}

// fit returns how much of data the current file may take, after a rotation if
// need be. A file is longer than allowed only by a single line.
func (p *pump) fit(data []byte) (int, error) {
	limit := p.opts.Load().MaxSize
	// Of a line that fills a block, nobody knows how long it will be.
	endless := len(data) >= p.led.room()/2 && bytes.IndexByte(data, '\n') < 0
	if p.cur.size+int64(len(data)) <= limit && !endless {
		return len(data), nil
	}
	if n := wholeLines(data, limit-p.cur.size); n > 0 {
		return n, nil
	}
	if p.led.openLine.Load() == 0 && p.cur.size > 0 && time.Now().After(p.rotateAfter) {
		_ = p.turnOver() // told as trouble; the file grows on meanwhile
		if err := p.ready(); err != nil {
			return 0, err
		}
		if n := wholeLines(data, limit-p.cur.size); n > 0 {
			return n, nil
		}
	}
	if nl := bytes.IndexByte(data, '\n'); nl >= 0 {
		return nl + 1, nil
	}
	return len(data), nil
}

// wholeLines is the length of the whole lines at data's beginning that fit
// into room.
func wholeLines(data []byte, room int64) int {
	if room <= 0 {
		return 0
	}
	return bytes.LastIndexByte(data[:min(room, int64(len(data)))], '\n') + 1
}

// turnOver rotates the current file. After a failure the file is written on,
// and the next try is a second away.
func (p *pump) turnOver() error {
	name, err := p.cur.rotate()
	if err != nil {
		p.rotateAfter = time.Now().Add(time.Second)
		p.setTrouble(err)
		return err
	}
	if !p.rotateAfter.IsZero() {
		p.rotateAfter = time.Time{}
		p.endTrouble()
	}
	p.mu.Lock()
	p.shown.rotations++
	p.shown.lastArchive = name
	p.mu.Unlock()
	p.events.send(Event{Kind: Rotated, Path: name})
	p.keeper.kick()
	return nil
}

// fail handles an error of the file: it is told, space is made if that was
// missing, and after a pause the pump goes on where it was. Meanwhile the
// guard takes.
func (p *pump) fail(err error) {
	p.setTrouble(err)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		if p.keeper.removeOldest() {
			p.retry = max(p.retry, 1) // the next success ends the trouble
			return
		}
	}
	p.cur.close()
	p.retry = min(max(2*p.retry, p.first), lastRetry)
	pause := []unix.PollFd{{Fd: int32(p.wake), Events: unix.POLLIN}}
	_, _ = unix.Poll(pause, int(p.retry.Milliseconds()))
	p.heed()
}

func (p *pump) setTrouble(err error) {
	p.mu.Lock()
	first := p.shown.trouble == ""
	if first {
		p.shown.troubleSince = time.Now()
	}
	p.shown.trouble = err.Error()
	p.mu.Unlock()
	if first {
		p.events.send(Event{Kind: Trouble, Path: p.cur.path, Err: err})
	}
}

// succeed notes that a write was done whole.
func (p *pump) succeed(id int) {
	p.warm = true
	p.syncer.dirty()
	if p.retry != 0 {
		p.retry = 0
		p.endTrouble()
	}
	p.dropping.Store(false)
	if id == p.led.markID() {
		p.tellDrop()
	}
}

// endTrouble is called when a write or a rotation has succeeded after a
// failure of either; both must be well again.
func (p *pump) endTrouble() {
	if p.retry != 0 || !p.rotateAfter.IsZero() {
		return
	}
	p.mu.Lock()
	over := p.shown.trouble != ""
	p.shown.trouble, p.shown.troubleSince = "", time.Time{}
	p.mu.Unlock()
	if over {
		p.events.send(Event{Kind: TroubleOver, Path: p.cur.path})
	}
}

func (p *pump) tellDrop() {
	p.mu.Lock()
	v := p.led.view()
	b, l := v.droppedBytes-v.gapBytes, v.droppedLines-v.gapLines
	p.mu.Unlock()
	p.events.send(Event{Kind: DropEnded, Bytes: b - p.gap.bytes, Lines: l - p.gap.lines})
	p.gap.bytes, p.gap.lines = b, l
}

// tend does what is due when nothing is left to write.
func (p *pump) tend() bool {
	p.enter()
	defer p.leave()
	err := p.ready()
	answerAll(p.drain, nil)
	p.drain = nil
	if err != nil {
		p.fail(err)
		return true
	}
	p.rotateIfDue()
	return false
}

// rotateIfDue rotates if somebody asked for it or the file is old enough, and
// if it ends with a whole line.
func (p *pump) rotateIfDue() {
	if len(p.rotate) == 0 && p.untilOld() > 0 || p.led.openLine.Load() != 0 {
		return
	}
	var err error
	if p.cur.h != nil && p.cur.size > 0 {
		if err = p.turnOver(); err == nil {
			err = p.ready()
		}
	}
	answerAll(p.rotate, err)
	p.rotate = nil
}

// untilOld is how long it takes until the file is to be rotated for its age.
func (p *pump) untilOld() time.Duration {
	every := p.opts.Load().RotateEvery
	if every <= 0 || p.cur.h == nil || p.cur.size == 0 {
		return 1 << 62
	}
	return max(p.cur.due(every), time.Until(p.rotateAfter))
}

// wait blocks until there is something in the pipe, a wish, or the file is
// old.
func (p *pump) wait() {
	timeout := -1
	if d := p.untilOld(); d < 1<<62 {
		timeout = int(min(max(d, 0)+time.Millisecond, 24*time.Hour).Milliseconds())
	}
	fds := []unix.PollFd{{Fd: int32(p.in.fd), Events: unix.POLLIN}, {Fd: int32(p.wake), Events: unix.POLLIN}}
	if !p.linger(fds) {
		_, _ = unix.Poll(fds, timeout) // EINTR: look again
	}
	if fds[1].Revents != 0 {
		p.heed()
	}
}

// lingerFor is how long after a line the pump waits for the next without telling the Go runtime.
const lingerFor = 5 * time.Millisecond

// linger waits for a moment in a system call that the runtime knows nothing of, and reports whether that moment was cut
// short. From one that it knows of, the way back wakes the runtime's monitor thread first, which then takes the
// processor: that doubles the time from a line's write to its arrival in the file. The pump keeps its share of
// GOMAXPROCS meanwhile; a garbage collection interrupts it by a signal.
func (p *pump) linger(fds []unix.PollFd) bool {
	if !p.warm {
		return false
	}
	moment := unix.NsecToTimespec(int64(lingerFor))
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), uintptr(unsafe.Pointer(&moment)), 0, 0, 0)
	p.warm = errno != 0 || n > 0
	return p.warm
}

// heed collects the wishes that the pump was woken for.
func (p *pump) heed() {
	var count [8]byte
	_, _ = unix.Read(p.wake, count[:])
	p.asks.collect(&p.rotate, &p.drain)
}
