package main

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// stepMark is how far a step of a transition is.
type stepMark int

const (
	markTodo stepMark = iota
	markRunning
	markDone
	markBroken // begun, and neither done nor undone
	markUndoing
	markUndone
)

// marks are shown before the steps.
var marks = [...]struct {
	sign  string
	paint func(palette, string) string
}{
	markTodo:    {" ", palette.faint},
	markRunning: {"▸", palette.warn},
	markDone:    {"✓", palette.good},
	markBroken:  {"✗", palette.bad},
	markUndoing: {"◂", palette.warn},
	markUndone:  {"↩", palette.faint},
}

func (p palette) mark(m stepMark) string { return marks[m].paint(p, marks[m].sign) }

// markOf is how far step i is. The times of the steps tell; of a transition whose steps have none, the present step does.
func markOf(tr *status.Transition, i int) stepMark {
	s := tr.Steps[i]
	now := i == tr.Step && tr.Outcome == status.OutcomeRunning
	switch {
	case !slices.ContainsFunc(tr.Steps, func(s status.Step) bool { return !s.Began.IsZero() }):
		return markByPlace(tr, i)
	case !s.Undone.IsZero():
		return markUndone
	case now && tr.Undoing:
		return markUndoing
	case !s.Ended.IsZero():
		return markDone
	case s.Began.IsZero():
		return markTodo
	case now:
		return markRunning
	}
	return markBroken
}

// forward is how far a step came before it was undone, if it was.
func forward(m stepMark, s *status.Step) stepMark {
	switch {
	case m == markTodo || m == markRunning || m == markDone:
		return m
	case !s.Ended.IsZero():
		return markDone
	}
	return markBroken
}

func markByPlace(tr *status.Transition, i int) stepMark {
	switch {
	case tr.Outcome == status.OutcomeDone, tr.Outcome != status.OutcomeRolledBack && i < tr.Step:
		return markDone
	case i != tr.Step || tr.Outcome == status.OutcomeRolledBack:
		return markTodo
	case tr.Outcome == status.OutcomeStuck:
		return markBroken
	case tr.Undoing:
		return markUndoing
	}
	return markRunning
}

// stepText is where a transition is: "step 3 of 7, catch-up: 42 %".
func stepText(tr *status.Transition) string {
	if tr.Step < 0 || tr.Step >= len(tr.Steps) {
		return "not begun"
	}
	text := fmt.Sprintf("step %d of %d, %s", tr.Step+1, len(tr.Steps), tr.Steps[tr.Step].Name)
	if tr.Undoing {
		text += ", being undone"
	}
	if tr.Progress != "" && tr.Outcome == status.OutcomeRunning {
		text += ": " + printable(tr.Progress)
	}
	return text
}

// stepTook is how long a step took, or empty.
func stepTook(s *status.Step) string {
	if s.Began.IsZero() || s.Ended.IsZero() {
		return ""
	}
	return humanDuration(max(0, s.Ended.Sub(s.Began)))
}

// nameWidth is the width of the longest name.
func nameWidth(steps []status.Step) int {
	n := 0
	for _, s := range steps {
		n = max(n, utf8.RuneCountInString(s.Name))
	}
	return n
}

// stepTeller tells each step once when it has ended, and keeps a line on the present one: on a terminal each second, else
// when it takes longer than quiet.
type stepTeller struct {
	palette
	live   liveLine
	silent bool       // JSON: only the end counts
	told   []stepMark // of each step
	back   bool       // that it goes back has been told
	spoke  time.Time
}

// quiet is how long nothing is said where a line cannot be written over.
const quiet = 30 * time.Second

func (g *globals) newStepTeller() *stepTeller {
	return &stepTeller{palette: g.palette(g.err), live: newLiveLine(g.err), silent: g.json(), spoke: time.Now()}
}

func (p *stepTeller) see(tr *status.Transition, now time.Time) {
	if p.silent {
		return
	}
	if len(p.told) != len(tr.Steps) {
		p.told = make([]stepMark, len(tr.Steps))
	}
	p.live.clear()
	for i := range tr.Steps {
		p.tell(tr, i, forward(markOf(tr, i), &tr.Steps[i]))
	}
	if tr.Undoing && !p.back {
		p.back = true
		p.say(backText(tr), now)
	}
	for i := range slices.Backward(tr.Steps) {
		if m := markOf(tr, i); m == markUndone {
			p.tell(tr, i, m)
		}
	}
	p.present(tr, now)
}

func backText(tr *status.Transition) string {
	if tr.Error == "" {
		return "rolling back"
	}
	return "rolling back: " + printable(tr.Error)
}

// tell says that a step has ended, unless that was said.
func (p *stepTeller) tell(tr *status.Transition, i int, m stepMark) {
	if p.told[i] >= m || m == markRunning {
		return
	}
	p.told[i] = m
	s := &tr.Steps[i]
	what := map[stepMark]string{markDone: stepTook(s), markBroken: "not finished", markUndone: "undone"}[m]
	text := fmt.Sprintf("%*d/%d  %-*s  %s", digits(len(tr.Steps)), i+1, len(tr.Steps), nameWidth(tr.Steps), s.Name, what)
	p.say(p.mark(m)+" "+text, time.Now())
}

// present shows the step that runs.
func (p *stepTeller) present(tr *status.Transition, now time.Time) {
	if tr.Outcome != status.OutcomeRunning || tr.Step < 0 || tr.Step >= len(tr.Steps) {
		return
	}
	text := fmt.Sprintf("%s %s, for %s", marks[markOf(tr, tr.Step)].sign, stepText(tr), humanDuration(max(0, now.Sub(tr.StepAt)).Truncate(time.Second)))
	switch {
	case p.live.terminal:
		p.live.set(text)
	case now.Sub(p.spoke) >= quiet:
		p.say(text, now)
	}
}

func (p *stepTeller) say(text string, now time.Time) {
	p.spoke = now
	fmt.Fprintln(p.live.w, trimLines(text))
}

// end takes the line away. It may be called twice.
func (p *stepTeller) end() { p.live.clear() }

func digits(n int) int { return len(fmt.Sprint(n)) }
