package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// progress tells a person who waits longer than patience what is going on: on a terminal in one line that is
// kept up to date, otherwise in a line per change.
type progress struct {
	live   liveLine
	what   string
	silent bool // JSON: only the result counts
	began  time.Time
	timer  *time.Timer // until patience is over, then each second on a terminal
	last   string
}

// liveLine is a line of a terminal that is written over and over.
type liveLine struct {
	w        io.Writer
	terminal bool
	shown    bool
}

func newLiveLine(w io.Writer) liveLine { return liveLine{w: w, terminal: isTerminal(w)} }

func (l *liveLine) set(text string) {
	l.shown = true
	fmt.Fprint(l.w, "\r"+clip(text, width(l.w)-1)+"\x1b[K")
}

// clear takes the line away. It may be called twice.
func (l *liveLine) clear() {
	if l.shown {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
	l.shown = false
}

func (g *globals) newProgress(what string) *progress {
	return &progress{live: newLiveLine(g.err), what: what, silent: g.json(), began: time.Now(), timer: time.NewTimer(patience)}
}

// tick fires when the line is due again.
func (p *progress) tick() <-chan time.Time {
	return p.timer.C
}

func (p *progress) show(st *status.Status) {
	if p.silent || time.Since(p.began) < patience {
		return
	}
	if !p.live.terminal {
		p.line(st)
		return
	}
	text := fmt.Sprintf("%s, %s so far", p.what, humanDuration(time.Since(p.began).Truncate(time.Second)))
	if st != nil {
		text += ": " + progressText(st, time.Now())
	}
	p.live.set(text)
	p.timer.Reset(time.Second)
}

func (p *progress) line(st *status.Status) {
	text := p.what
	if st != nil {
		text += ": " + progressText(st, st.Since)
	}
	if text != p.last {
		p.last = text
		fmt.Fprintln(p.live.w, text)
	}
}

// end takes the terminal's line away. It may be called twice.
func (p *progress) end() {
	p.timer.Stop()
	p.live.clear()
}

// progressText is where etcd stands: state, phase, PID, how long, why. With now at st.Since no times are in it,
// so it changes only when something does.
func progressText(st *status.Status, now time.Time) string {
	parts := []string{stateText(st.State)}
	if st.Stop != nil {
		parts = append(parts, string(st.Stop.Phase))
	}
	if st.Process != nil {
		parts = append(parts, fmt.Sprintf("PID %d", st.Process.PID))
	}
	if age := now.Sub(st.Since); age >= time.Second {
		parts = append(parts, "for "+humanDuration(age.Truncate(time.Second)))
	}
	if st.Reason != "" {
		parts = append(parts, printable(st.Reason))
	}
	return strings.Join(parts, ", ")
}

// whileTelling runs what takes its time, and tells who waits that it is under way.
func (g *globals) whileTelling(what string, do func() error) error {
	p := g.newProgress(what)
	defer p.end()
	done := make(chan error, 1)
	go func() { done <- do() }() // it ends with do
	for {
		select {
		case err := <-done:
			return err
		case <-p.tick():
			p.show(nil)
		}
	}
}
