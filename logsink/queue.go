package logsink

import (
	"bytes"
	"time"
)

// The queue's invariants, with blocks oldest first:
//   - every block but the newest ends with a line's end, unless the next one is
//     marked as going on with its last line (which then is longer than a block,
//     or was being written when the block was full);
//   - a gap, if there is one, lies after the oldest block, which then ends with
//     a line's end, and the marker that tells of it is written before the block
//     that is then oldest.
// So the block after the oldest one can be dropped without tearing a line,
// whatever the writing thread is doing with the oldest.

// compactMax is the longest rest of a line that is moved to the block's start
// after each write, so that the same, cache-warm memory is used again.
const compactMax = 8 << 10

// extend opens a further block and moves the unfinished line at the end of the
// newest one there, if that can be. It reports false if no block is free.
func (l *ledger) extend() bool {
	id := l.free()
	if id < 0 {
		return false
	}
	tail := l.tail()
	start, end := l.span(tail)
	from, goesOn := l.lineBorder(tail, start, end)
	rest := l.bytes(tail)[from:end]
	copy(l.bytes(id), rest)
	l.words[id].Store(word(0, len(rest)))
	l.flip(func(v *view) {
		v.queue[v.n] = uint16(id)
		v.n++
		v.setGoesOn(id, goesOn)
		v.withWord(tail, word(start, from))
	})
	return true
}

// lineBorder returns where the unfinished line at the end of a block begins,
// or the block's end, and that the line goes on in the next block, if it has
// to stay: it fills the block, or its beginning is being written.
func (l *ledger) lineBorder(id, start, end int) (from int, goesOn bool) {
	data := l.bytes(id)
	if end > 0 && data[end-1] == '\n' {
		return end, false
	}
	fixed := start // what lies before is being written
	if w := &l.write; w.phase.Load() == phaseBusy && int(w.block) == id {
		fixed = int(w.start + w.n)
	}
	nl := start + bytes.LastIndexByte(data[start:end], '\n') + 1
	if nl == start || nl < fixed {
		return end, true
	}
	return nl, false
}

func (v *view) goesOn(id int) bool { return v.rest[id/64]>>(id%64)&1 != 0 }

func (v *view) setGoesOn(id int, on bool) {
	v.rest[id/64] &^= 1 << (id % 64)
	if on {
		v.rest[id/64] |= 1 << (id % 64)
	}
}

// cut ends the line that goes on from the block at place i of the queue into
// the next one.
func (l *ledger) cut(i int) {
	v := l.view()
	id, next := int(v.queue[i]), int(v.queue[i+1])
	if !v.goesOn(next) {
		return
	}
	start, end := l.span(id)
	l.bytes(id)[end] = '\n' // room() keeps this place free
	l.flip(func(v *view) {
		v.setGoesOn(next, false)
		v.withWord(id, word(start, end+1))
		v.cutLines++
	})
}

// piece is a part of a block that is to be written.
type piece struct {
	id, start, n int
}

// plan chooses what to write next: a pending marker, then the oldest block's
// whole lines. An unfinished line waits for its end, so that the file ends
// with a whole line, unless flush is set or the line fills the block. seen is
// how far the block has been searched for a line's end; the new value is
// returned.
func (l *ledger) plan(flush bool, seen int) (piece, int) {
	if s, e := l.span(l.markID()); s < e {
		return piece{l.markID(), s, e - s}, seen
	}
	if l.view().n > 1 {
		id := l.head()
		if s, e := l.span(id); s < e {
			return piece{id, s, e - s}, 0
		}
		l.dropHead()
		return l.plan(flush, 0)
	}
	if l.view().gapBytes > 0 {
		l.placeMarker()
		return l.plan(flush, seen)
	}
	id := l.head()
	s, e := l.span(id)
	from := max(s, min(seen, e))
	if nl := bytes.LastIndexByte(l.bytes(id)[from:e], '\n'); nl >= 0 {
		return piece{id, s, from + nl + 1 - s}, 0
	}
	if s < e && (flush || e == l.room()) {
		return piece{id, s, e - s}, 0
	}
	return piece{}, e
}

// dropHead takes the oldest, now empty, block out of the queue. If a gap
// follows, its marker is next.
func (l *ledger) dropHead() {
	l.flip(func(v *view) {
		copy(v.queue[:v.n-1], v.queue[1:v.n])
		v.n--
		l.markGap(v)
	})
}

func (l *ledger) placeMarker() { l.flip(l.markGap) }

// markGap turns a view's gap into a marker to be written.
func (l *ledger) markGap(v *view) {
	if v.gapBytes == 0 {
		return
	}
	line := appendMarker(l.bytes(l.markID())[:0], v, time.Now())
	v.withWord(l.markID(), word(0, len(line)))
	v.gapBytes, v.gapLines, v.gapFrom, v.gapTo = 0, 0, 0, 0
}

// commit records that the first n bytes of the announced piece are in the
// file.
func (l *ledger) commit(n int) {
	w := &l.write
	id := int(w.block)
	if n > 0 {
		last := l.bytes(id)[int(w.start)+n-1]
		l.words[id].Add(uint64(n) << 32)
		l.instant("bytes committed")
		l.written.Store(w.before + uint64(n))
		l.setOpenLine(last != '\n')
		l.instant("bytes counted")
	}
	w.phase.Store(phaseIdle)
}

func (l *ledger) setOpenLine(open bool) {
	if open {
		l.openLine.Store(1)
	} else {
		l.openLine.Store(0)
	}
}

// compact starts the only block over: at its beginning if it is empty, and
// else with the rest of a line moved there, if the two places do not overlap.
// One atomic store makes it so.
func (l *ledger) compact() bool {
	if l.view().n > 1 {
		return false
	}
	id := l.head()
	s, e := l.span(id)
	if s == 0 || e-s > s || e-s > compactMax && e < l.room() {
		return false
	}
	data := l.bytes(id)
	copy(data[:e-s], data[s:e])
	l.instant("line moved")
	l.words[id].Store(word(0, e-s))
	return true
}

// drop gives up the oldest block that is neither being written nor being
// filled, and adds it to the gap.
func (l *ledger) drop(now time.Time) (dropped int, ok bool) {
	if l.view().n < 3 {
		return 0, false
	}
	l.cut(0)
	l.cut(1)
	id := int(l.view().queue[1])
	s, e := l.span(id)
	lines := bytes.Count(l.bytes(id)[s:e], []byte{'\n'})
	l.flip(func(v *view) {
		copy(v.queue[1:v.n-1], v.queue[2:v.n])
		v.n--
		v.addGap(e-s, lines, now)
	})
	return e - s, true
}

func (v *view) addGap(n, lines int, now time.Time) {
	at := now.UnixMicro()
	if v.gapBytes == 0 {
		v.gapFrom = at
	}
	v.gapTo, v.lastDrop = at, at
	v.gapBytes += uint64(n)
	v.gapLines += uint64(lines)
	v.droppedBytes += uint64(n)
	v.droppedLines += uint64(lines)
}

// endLine makes the last byte taken a line's end, so that what comes next
// begins a line. It reports false if there is no room for it.
func (l *ledger) endLine() bool {
	id := l.tail()
	s, e := l.span(id)
	if s == e && (l.view().n > 1 || l.openLine.Load() == 0) {
		return true
	}
	data := l.bytes(id)
	if s < e && data[e-1] == '\n' {
		return true
	}
	if e >= len(data) {
		return false
	}
	data[e] = '\n'
	l.words[id].Add(1)
	return true
}
