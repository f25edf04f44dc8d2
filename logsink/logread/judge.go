package logread

import (
	"bytes"
	"time"
)

// judge decides line by line what passes the filters. It remembers the latest head, whose level and time hold
// for the lines that continue it.
type judge struct {
	level        Level
	since, until time.Time
	grep         *matcher
	loc          *time.Location
	plain        bool // heads are not needed by anybody
	undated      bool // what lines are worth that come before any time: within the span or not

	cur   Line // the latest head, without its bytes
	group bool // what continues it passes level and time
	shown bool // the line handed out last passed: its further pieces do too
}

func newJudge(o *Options) judge {
	j := judge{level: o.Level, since: o.Since, until: o.Until, loc: o.location(), undated: true}
	if o.Grep != nil {
		j.grep = newMatcher(o.Grep)
	}
	j.plain = o.Plain && !j.needsHeads()
	j.group = j.weighty(LevelUnknown)
	return j
}

func (j *judge) needsHeads() bool {
	return j.level > LevelDebug || !j.since.IsZero() || !j.until.IsZero()
}

// see takes the next line of the stream and says whether it passes.
func (j *judge) see(r rawLine) (Line, bool) {
	if r.piece {
		l := j.cur
		l.Raw, l.Cut, l.Piece, l.Kind = r.b, r.cut, true, KindMore
		return l, j.shown
	}
	l, pass := j.place(r)
	j.shown = pass && j.greps(r.b)
	return l, j.shown
}

// place finds the entry that a line belongs to, and says whether that one passes level and time.
func (j *judge) place(r rawLine) (Line, bool) {
	if j.plain {
		return Line{Raw: r.b, Cut: r.cut}, true
	}
	h := classify(body(r.b), j.loc)
	if h.kind != KindMore {
		j.enter(h)
	}
	l := j.cur
	l.Raw, l.Cut, l.Kind = r.b, r.cut, h.kind
	return l, j.group || h.kind == KindGap && j.inSpan()
}

// enter makes a head the current one. One without a time keeps that of the entry before it.
func (j *judge) enter(h head) {
	j.cur.Kind, j.cur.Level = h.kind, h.level
	if !h.time.IsZero() {
		j.cur.Time = h.time
	}
	j.group = j.weighty(h.level) && j.inSpan()
}

// weighty compares levels. What has none is worth an info.
func (j *judge) weighty(l Level) bool {
	if l == LevelUnknown {
		l = LevelInfo
	}
	return l >= j.level
}

func (j *judge) inSpan() bool {
	if j.cur.Time.IsZero() {
		return j.undated
	}
	return (j.since.IsZero() || !j.cur.Time.Before(j.since)) && (j.until.IsZero() || !j.cur.Time.After(j.until))
}

// greps looks at the line without its newline, so that $ means its end.
func (j *judge) greps(b []byte) bool {
	if j.grep == nil {
		return true
	}
	b = bytes.TrimSuffix(b, []byte{'\n'})
	return j.grep.match(bytes.TrimSuffix(b, []byte{'\r'}))
}
