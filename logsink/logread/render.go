package logread

import (
	"bufio"
	"io"
	"time"
)

// Format is how lines are shown.
type Format uint8

// The formats.
const (
	Raw    Format = iota // the bytes as etcd wrote them
	Pretty               // for people: time, level, message, fields; nothing in it can command a terminal
	JSON                 // one object a line with the same keys whatever etcd wrote
)

// Style says how Pretty looks.
type Style struct {
	Color    bool
	Location *time.Location // zone of the times; nil: local
}

// Renderer writes lines in one format. What it writes is buffered until Flush.
type Renderer struct {
	w      *bufio.Writer
	format Format
	style  Style
	buf    []byte
	open   bool   // Raw: the last line had no newline
	day    string // Pretty: the date that was shown last
}

// NewRenderer returns a renderer that writes to w.
func NewRenderer(w io.Writer, f Format, s Style) *Renderer {
	if s.Location == nil {
		s.Location = time.Local
	}
	return &Renderer{w: bufio.NewWriterSize(w, 64<<10), format: f, style: s}
}

// Render writes one line of a stream.
func (r *Renderer) Render(l Line) error {
	if r.format == Raw {
		return r.raw(l)
	}
	if l.Piece {
		return nil // said at the end of the first piece
	}
	switch e := l.Entry(); r.format {
	case JSON:
		r.buf = appendJSON(r.buf[:0], &e)
	default:
		r.buf = r.pretty(r.buf[:0], &e)
	}
	_, err := r.w.Write(append(r.buf, '\n'))
	return err
}

// raw passes the bytes on. Only between two lines a newline is added where a file ended without one.
func (r *Renderer) raw(l Line) error {
	if r.open && !l.Piece {
		if err := r.w.WriteByte('\n'); err != nil {
			return err
		}
	}
	r.open = len(l.Raw) > 0 && l.Raw[len(l.Raw)-1] != '\n'
	_, err := r.w.Write(l.Raw)
	return err
}

// Flush writes out what is buffered.
func (r *Renderer) Flush() error { return r.w.Flush() }
