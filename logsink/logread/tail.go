package logread

import (
	"bytes"
	"io"
)

// Blocks read from the end of a file: small at first, since mostly a few lines are wanted, then larger.
const (
	firstBlock = 64 << 10
	lastBlock  = 4 << 20
)

// place is where a stream is begun.
type place struct {
	source int   // index
	off    int64 // in what the file holds, decompressed
	skip   int   // so many passing lines are not shown
}

// section is a part of a file that begins and ends at line borders.
type section struct {
	src      *source
	index    int
	from, to int64 // to may be noEnd
}

// tail looks for the place from which on n lines pass the filters.
//
// It goes backwards block by block, and within a block forwards: what a line is worth can depend on a head
// before it. Only from a head with a time on everything is known; what stands before the first one of a block is
// kept pending until the block before it has been seen.
type tail struct {
	sources []*source
	fresh   judge // as at the begin of the stream
	block   int64 // size of the first block; they grow up to lastBlock
	want    int
	have    int
	pending []section
}

// find returns the place. end is where the last source ends for this purpose.
func (t *tail) find(end int64) place {
	for i := len(t.sources) - 1; i >= 0; i-- {
		if p, ok := t.inSource(i, end); ok {
			return p
		}
		end = noEnd
	}
	t.have += t.count(t.fresh, t.pending)
	return place{skip: max(0, t.have-t.want)}
}

// inSource goes backwards through one source.
func (t *tail) inSource(i int, end int64) (place, bool) {
	src := t.sources[i]
	if src.open() != nil {
		return place{}, false // said when it is its turn to be read
	}
	if end == noEnd && !src.gz {
		end = src.size()
	}
	for size := t.block; end != 0; size = min(2*size, lastBlock) {
		sec := section{src: src, index: i, to: end}
		if !src.gz {
			sec.from = lineStart(src, end, size)
		}
		if p, ok := t.inBlock(sec); ok {
			return p, true
		}
		end = sec.from
	}
	return place{}, false
}

// inBlock counts what passes from the block's first sure head on, together with what was pending behind it.
func (t *tail) inBlock(sec section) (place, bool) {
	anchor, ok := sec.anchor(t.fresh)
	if !ok {
		t.pending = append([]section{sec}, t.pending...)
		return place{}, false
	}
	behind := sec
	behind.from = anchor
	t.have += t.count(t.fresh, append([]section{behind}, t.pending...))
	if t.have >= t.want {
		return place{sec.index, anchor, t.have - t.want}, true
	}
	t.pending = nil
	if anchor > sec.from {
		sec.to = anchor
		t.pending = []section{sec}
	}
	return place{}, false
}

// count is the number of lines in the sections that pass. The judge is a copy.
func (t *tail) count(j judge, sections []section) (n int) {
	for _, sec := range sections {
		sec.each(func(r rawLine, _ int64) bool {
			if _, ok := j.see(r); ok && !r.piece {
				n++
			}
			return true
		})
	}
	return n
}

// anchor is where the first head with a time stands.
func (s section) anchor(j judge) (at int64, ok bool) {
	s.each(func(r rawLine, off int64) bool {
		if r.piece {
			return true
		}
		j.place(r)
		at, ok = off, j.plain || !j.cur.Time.IsZero()
		return !ok
	})
	return at, ok
}

// each visits the lines of the section with their places. What can't be read ends it: it is told when the
// stream comes there.
func (s section) each(visit func(r rawLine, off int64) bool) {
	r, err := s.src.part(s.from, s.to)
	if err != nil {
		return
	}
	lines := &lineReader{r: r}
	if s.to != noEnd {
		lines.size = int(min(firstBuffer, s.to-s.from+1))
	}
	for off := s.from; ; {
		line, err := lines.next()
		if err != nil {
			var ok bool
			if line, ok = lines.rest(); !ok {
				return
			}
		}
		if !visit(line, off) {
			return
		}
		off += int64(len(line.b))
	}
}

// lineStart is the first line border in the block of about this size before end.
func lineStart(src *source, end, size int64) int64 {
	for from := end - size; from > 0; from -= size {
		if at, ok := firstNewline(src.f, from, end-1); ok {
			return at + 1
		}
		end = from + 1 // no need to look there again
	}
	return 0
}

// firstNewline finds the first newline in [from, to).
func firstNewline(f io.ReaderAt, from, to int64) (int64, bool) {
	buf := make([]byte, min(firstBlock, to-from))
	for from < to {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), to-from)], from)
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			return from + int64(i), true
		}
		if err != nil {
			return 0, false
		}
		from += int64(n)
	}
	return 0, false
}

// lastLineEnd is the place behind the last newline before end: an unfinished line is not counted while it is
// still being written.
func lastLineEnd(f io.ReaderAt, end int64) int64 {
	buf := make([]byte, firstBlock)
	for end > 0 {
		from := max(0, end-int64(len(buf)))
		n, err := f.ReadAt(buf[:end-from], from)
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return from + int64(i) + 1
		}
		if err != nil && err != io.EOF {
			return 0
		}
		end = from
	}
	return 0
}
