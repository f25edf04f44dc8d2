package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// printPlan shows a plan that is not carried out.
func (g *globals) printPlan(p *status.Plan) error {
	if g.json() {
		return g.printJSON(p)
	}
	text := planText(p, g.self(), g.palette(g.out))
	if p.Nothing == "" {
		text += "\nThis is the plan; nothing was changed.\n"
	}
	return g.print(text)
}

// planText is a plan: what was found, then each step with its effect and its undo. self is how the user types this program.
func planText(p *status.Plan, self string, paint palette) string {
	if p.Nothing != "" {
		return "nothing to do: " + printable(p.Nothing) + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", requestText(self, p.Request))
	if len(p.Facts) > 0 {
		var rows [][]string
		for _, f := range p.Facts {
			rows = append(rows, []string{"  " + printable(f.Name), printable(f.Value)})
		}
		b.WriteString(table(rows) + "\n")
	}
	margin := digits(len(p.Steps)) + 2 + nameWidth(p.Steps) + 4
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "  %*d. %-*s  %s\n", digits(len(p.Steps)), i+1, nameWidth(p.Steps), s.Name, printable(s.Does))
		if s.Undo != "" {
			fmt.Fprintf(&b, "  %*s%s\n", margin, "", paint.faint("undo: "+printable(s.Undo)))
		}
		if s.Final {
			fmt.Fprintf(&b, "  %*s%s\n", margin, "", paint.warn("from here on there is no way back: what was begun is completed"))
		}
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "\n%s %s\n", paint.warn("warning:"), printable(w))
	}
	return b.String()
}

// requestText is the command line of a request.
func requestText(self string, r status.ModeRequest) string {
	words := []string{self, "mode", string(r.Mode)}
	add := func(flag string, values ...string) {
		for _, v := range values {
			words = append(words, flag, shellWord(v))
		}
	}
	if r.From != "" {
		add("--from", r.From)
	}
	if r.BumpRevision != 0 {
		add("--bump-revision", strconv.FormatInt(r.BumpRevision, 10))
	}
	add("--fenced", r.Fenced...)
	add("--peer", r.Peers...)
	add("--endpoint", r.Endpoints...)
	for _, f := range []struct {
		flag  string
		given bool
	}{{"--new-identity", r.NewIdentity}, {"--allow-contact", r.AllowContact}, {"--replace", r.Replace}} {
		if f.given {
			words = append(words, f.flag)
		}
	}
	return strings.Join(words, " ")
}

// shellWord is how a shell takes text for one word.
func shellWord(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(printable(text), "'", `'\''`) + "'"
}

// modeView is what the text of a transition depends on besides.
type modeView struct {
	palette
	now  time.Time
	self string // how the user types this program
}

// modeText is the screen of etcdsup mode.
func modeText(instance string, m *status.Modes, v modeView) string {
	var b strings.Builder
	switch {
	case m.Now == nil:
		fmt.Fprintf(&b, "%s  %s\n", instance, v.good(string(m.Mode)))
	case m.Now.Outcome == status.OutcomeStuck:
		fmt.Fprintf(&b, "%s  %s", instance, v.standsStill(m.Now))
	default:
		fmt.Fprintf(&b, "%s  %s", instance, v.underWay(m.Now))
	}
	if m.Last != nil {
		b.WriteString("\n" + v.ended(m.Last))
	}
	return b.String()
}

func (v modeView) underWay(tr *status.Transition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, for %s, since %s\n", v.warn(string(tr.Request.Mode)), stepText(tr), humanDuration(max(0, v.now.Sub(tr.Began))), humanTime(tr.Began, v.now))
	fmt.Fprintf(&b, "  %s\n", v.faint(requestText(v.self, tr.Request)))
	for i := range tr.Steps {
		b.WriteString(v.step(tr, i))
	}
	if tr.Error != "" {
		fmt.Fprintf(&b, "  %s\n", v.bad(printable(tr.Error)))
	}
	for line := range strings.Lines(asideText(tr)) {
		b.WriteString("  " + line)
	}
	fmt.Fprintf(&b, "  follow it: %s mode --watch; %s\n", v.self, v.wayBack(tr))
	return b.String()
}

// standsStill is a transition that waits for somebody to take it up again, or to end it.
func (v modeView) standsStill(tr *status.Transition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %s at %s, since %s\n", v.warn(string(tr.Request.Mode)), outcomeText(tr.Outcome, v.palette), stepText(tr), humanTime(tr.Ended, v.now))
	b.WriteString(v.story(tr))
	if !tr.Undoing {
		fmt.Fprintf(&b, "  go on with it: %s\n", requestText(v.self, tr.Request))
	}
	fmt.Fprintf(&b, "  %s\n", v.wayOut(tr))
	return b.String()
}

func (v modeView) wayOut(tr *status.Transition) string {
	if !tr.Undoing && pastReturn(tr) {
		return "leave everything as it is, and end it: " + v.self + " mode normal"
	}
	return "roll it back: " + v.self + " mode normal"
}

// story is what a transition that has come to an end or a standstill has to tell.
func (v modeView) story(tr *status.Transition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s\n", v.faint(requestText(v.self, tr.Request)))
	if tr.Outcome == status.OutcomeStuck {
		for i := range tr.Steps {
			b.WriteString(v.step(tr, i))
		}
	}
	if tr.Error != "" {
		fmt.Fprintf(&b, "  %s\n", v.bad(printable(tr.Error)))
	}
	if tr.Remedy != "" {
		fmt.Fprintf(&b, "  → %s\n", printable(tr.Remedy))
	}
	for line := range strings.Lines(resultText(tr)) {
		b.WriteString("  " + line)
	}
	return b.String()
}

func (v modeView) wayBack(tr *status.Transition) string {
	if tr.Undoing {
		return "it is being rolled back"
	}
	if pastReturn(tr) {
		return "there is no way back any more"
	}
	return "roll it back: " + v.self + " mode normal"
}

// pastReturn tells whether a final step has begun.
func pastReturn(tr *status.Transition) bool {
	for i := range min(tr.Step+1, len(tr.Steps)) {
		if tr.Steps[i].Final && markOf(tr, i) != markTodo {
			return true
		}
	}
	return false
}

func (v modeView) step(tr *status.Transition, i int) string {
	s := &tr.Steps[i]
	took := stepTook(s)
	if m := markOf(tr, i); m == markRunning || m == markUndoing {
		took = humanDuration(max(0, v.now.Sub(tr.StepAt)))
	}
	return fmt.Sprintf("  %s %*d  %-*s  %6s  %s\n", v.mark(markOf(tr, i)), digits(len(tr.Steps)), i+1, nameWidth(tr.Steps), s.Name, took, printable(s.Does))
}

// ended is how the last transition ended.
func (v modeView) ended(tr *status.Transition) string {
	return fmt.Sprintf("last: %s, %s, %s, took %s\n", tr.Request.Mode, outcomeText(tr.Outcome, v.palette), humanTime(tr.Ended, v.now), humanDuration(max(0, tr.Ended.Sub(tr.Began)))) + v.story(tr)
}

// outcomes are the outcomes in words.
var outcomes = map[status.Outcome]struct {
	words string
	paint func(palette, string) string
}{
	status.OutcomeRunning:    {"running", palette.warn},
	status.OutcomeDone:       {"done", palette.good},
	status.OutcomeRolledBack: {"rolled back", palette.warn},
	status.OutcomeStuck:      {"stuck", palette.bad},
}

func outcomeText(o status.Outcome, p palette) string {
	if w, ok := outcomes[o]; ok {
		return w.paint(p, w.words)
	}
	return string(o)
}

// resultText is what a transition ended with, a line each.
func resultText(tr *status.Transition) string {
	var b strings.Builder
	for _, text := range tr.Result {
		b.WriteString(printable(text) + "\n")
	}
	b.WriteString(asideText(tr))
	for i := range tr.Hooks {
		b.WriteString(hookText(i+1, &tr.Hooks[i]))
	}
	return b.String()
}

// asideText is what has given way, a line each.
func asideText(tr *status.Transition) string {
	var b strings.Builder
	for _, a := range tr.SetAside {
		fmt.Fprintf(&b, "kept: %s is %s\n", printable(a.Path), printable(a.What))
	}
	return b.String()
}

// hookText is what became of a hook; of one that was not done the last of what it said too.
func hookText(n int, h *status.HookRun) string {
	text := fmt.Sprintf("hook %d, %s: %s", n, printable(status.CommandText(h.Argv)), strings.ReplaceAll(string(h.Outcome), "-", " "))
	if h.Took > 0 {
		text += " after " + humanDuration(h.Took)
	}
	if !h.Failed() {
		return text + "\n"
	}
	if h.Detail != "" {
		text += ": " + printable(h.Detail)
	}
	text += "\n"
	for _, line := range lastOf(cmp.Or(h.Stderr, h.Stdout), hookLines) {
		text += "  | " + printable(line) + "\n"
	}
	return text
}

// hookLines are as many lines of a hook's output as are shown; all that is kept of it is in the JSON.
const hookLines = 5

func lastOf(text string, n int) []string {
	if text = strings.TrimRight(text, "\n"); text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-n):]
}

func (g *globals) reportOutcome(o modeOutcome) error {
	if g.json() {
		return g.printJSON(o)
	}
	return g.print(o.Result + "\n")
}

func (g *globals) reportNothing(p *status.Plan, began time.Time) error {
	text := cmp.Or(printable(p.Nothing), "it has been done meanwhile")
	return g.reportOutcome(modeOutcome{Result: "nothing to do: " + text, Took: time.Since(began), Plan: p})
}

func (g *globals) reportBegun(text string, tr *status.Transition, began time.Time) error {
	return g.reportOutcome(modeOutcome{Result: text, Took: time.Since(began), Transition: tr})
}

// reportEnd shows what a transition ended with; its exit code is the outcome.
func (g *globals) reportEnd(tr *status.Transition) error {
	if err := g.reportResult(tr); err != nil {
		return err
	}
	mode, remedy := tr.Request.Mode, cmp.Or(printable(tr.Remedy), "see "+g.commandLine("mode"))
	switch tr.Outcome {
	case status.OutcomeDone:
		return g.hooksFailed(tr)
	case status.OutcomeRolledBack:
		return failf(exitRolledBack, printable(tr.Remedy), "%s was rolled back%s", mode, because(tr))
	}
	return failf(exitFailure, remedy, "%s is stuck at %s%s", mode, stepText(tr), because(tr))
}

// hooksFailed is the failure that hooks are for a transition that is done.
func (g *globals) hooksFailed(tr *status.Transition) error {
	var failed []string
	for i := range tr.Hooks {
		if h := &tr.Hooks[i]; h.Failed() {
			failed = append(failed, fmt.Sprintf("hook %d (%s) %s", i+1, printable(status.CommandText(h.Argv)), h.Outcome))
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return failf(exitHook, "run by hand what they are for; all they printed that was kept: "+g.commandLine("mode -o json"),
		"%s is done and nothing of it was undone, but not all that follows it: %s", tr.Request.Mode, strings.Join(failed, "; "))
}

// reportCancelled is reportEnd where the way back was asked for.
func (g *globals) reportCancelled(tr *status.Transition) error {
	switch tr.Outcome {
	case status.OutcomeRolledBack:
		return g.reportResult(tr)
	case status.OutcomeDone:
		if err := g.reportResult(tr); err != nil {
			return err
		}
		return failf(exitFailure, "see "+g.commandLine("mode"), "cannot roll %s back: it was done already", tr.Request.Mode)
	}
	return g.reportEnd(tr)
}

// reportResult writes the result to standard output, whatever it is.
func (g *globals) reportResult(tr *status.Transition) error {
	took := max(0, tr.Ended.Sub(tr.Began))
	text := fmt.Sprintf("%s is %s (took %s)", tr.Request.Mode, outcomeText(tr.Outcome, palette{}), humanDuration(took))
	if g.json() {
		return g.printJSON(modeOutcome{Result: text, Took: took, Transition: tr})
	}
	return g.print(resultText(tr) + text + "\n")
}

func because(tr *status.Transition) string {
	if tr.Error == "" {
		return ""
	}
	return ": " + printable(tr.Error)
}
