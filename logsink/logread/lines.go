package logread

import (
	"bytes"
	"cmp"
	"io"
)

// MaxLine is the longest line in bytes that is handled as one. A longer one comes in pieces of about this size,
// so that no file, whatever is in it, takes more memory.
const MaxLine = 1 << 20

const firstBuffer = 256 << 10

// lineReader cuts a stream of bytes into lines. The end of what there is now is no end for ever: next may be
// called again when the source has grown.
type lineReader struct {
	r          io.Reader
	size       int // of the first buffer; 0: firstBuffer
	buf        []byte
	start, end int  // what was read and not yet handed out
	seen       int  // so many bytes from start on are known to hold no newline
	inLine     bool // what was handed out last is the beginning of a line that goes on
}

// rawLine is a line, or a piece of one, as it was written.
type rawLine struct {
	b          []byte // valid until the next one
	cut, piece bool   // as in Line
}

// next returns the next whole line. At the end of what there is it returns io.EOF and keeps an unfinished line.
func (l *lineReader) next() (rawLine, error) {
	for {
		if i := bytes.IndexByte(l.buf[l.start+l.seen:l.end], '\n'); i >= 0 {
			return l.take(l.seen+i+1, true), nil
		}
		l.seen = l.end - l.start
		if l.seen >= MaxLine {
			return l.take(MaxLine, false), nil
		}
		if err := l.fill(); err != nil {
			return rawLine{}, err
		}
	}
}

// rest hands out an unfinished line, as at the end of a file to which nothing will come any more.
func (l *lineReader) rest() (rawLine, bool) {
	if l.start == l.end {
		return rawLine{}, false
	}
	return l.take(l.end-l.start, true), true
}

func (l *lineReader) take(n int, whole bool) rawLine {
	line := rawLine{b: l.buf[l.start : l.start+n], cut: !whole, piece: l.inLine}
	l.start += n
	l.seen = 0
	l.inLine = !whole
	return line
}

// fill reads more behind what is there, making room first. What was handed out before becomes invalid.
func (l *lineReader) fill() error {
	switch {
	case l.buf == nil:
		l.buf = make([]byte, cmp.Or(l.size, firstBuffer))
	case l.start > 0:
		l.end = copy(l.buf, l.buf[l.start:l.end])
		l.start = 0
	case l.end == len(l.buf):
		l.buf = append(l.buf, make([]byte, len(l.buf))...)
	}
	n, err := l.r.Read(l.buf[l.end:])
	l.end += n
	if n > 0 {
		return nil // an error that came along comes again
	}
	return err
}
