package hostconf

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// Limits of what a script may ask for. A real one is far below; they end what goes round in circles.
const (
	maxDepth = 8        // scripts, functions and substitutions within each other
	maxSteps = 20_000   // statements; a file counts for many
	maxText  = 64 << 10 // of a variable
	maxItems = 4096     // of an array
)

// walk goes through a script as a shell would, but runs nothing: it follows assignments, changes of folder, functions and
// files that are read in, takes both branches where a condition cannot be told, and keeps the commands that start etcd.
type walk struct {
	*shared
	file   string
	line   int // added to lines: a command in quotes, as after sh -c, stands within a line of its script
	vars   map[string]expand.Variable
	params []string // of the script or function
	dir    string   // working directory; empty: not known
	dirWhy string
	user   string
	depth  int
	redirs []*syntax.Redirect // of the statements around
}

// shared is what all parts of one reading have in common.
type shared struct {
	host    Host
	funcs   map[string]*syntax.Stmt
	called  map[string]bool
	starts  []*start
	left    []Left
	steps   int
	asksArg bool             // it looks at its first argument
	exports map[string]Place // where variables were last exported with a value
}

// readScript finds the one start of etcd in a script.
func readScript(path, text string, h Host) (*start, error) {
	w, err := walkScript(path, text, h, nil)
	if err == nil && len(w.starts) == 0 && w.asksArg {
		w, err = walkScript(path, text, h, []string{"start"}) // as init scripts are called
	}
	if err != nil {
		return nil, err
	}
	return w.only(path)
}

func walkScript(path, text string, h Host, params []string) (*walk, error) {
	w := newWalk(path, h, params)
	if err := w.source(path, text); err != nil {
		return nil, err
	}
	w.uncalled()
	return w, nil
}

func newWalk(path string, h Host, params []string) *walk {
	return &walk{
		shared: &shared{host: h, funcs: map[string]*syntax.Stmt{}, called: map[string]bool{}, exports: map[string]Place{}},
		file:   path, vars: map[string]expand.Variable{}, params: params,
		dir: filepath.Dir(path), dirWhy: ", the folder of the script",
	}
}

// only is the start that the script comes to.
func (w *walk) only(path string) (*start, error) {
	distinct := w.distinct()
	switch {
	case len(distinct) == 0:
		return nil, faultf("name the script that has etcd's command line, or read the running process with --from-pid", "cannot find where %s starts etcd", path)
	case len(distinct) > 1:
		var places []string
		for _, s := range distinct {
			places = append(places, s.binary.String())
		}
		return nil, faultf("read the one that runs with --from-pid, or name a script that starts one", "cannot tell which etcd is meant: %s starts %d of them, in %s",
			path, len(distinct), strings.Join(places, " and "))
	}
	s := distinct[0]
	s.left = append(s.left, w.left...)
	return s, nil
}

// distinct leaves out starts that come twice, as in both branches of a condition that is about something else.
func (w *walk) distinct() []*start {
	var all []*start
	for _, s := range w.starts {
		if !slices.ContainsFunc(all, func(o *start) bool { return o.binary.Place == s.binary.Place && slices.Equal(o.flags, s.flags) }) {
			all = append(all, s)
		}
	}
	return all
}

// source walks through the text of a file.
func (w *walk) source(path, text string) error {
	w.file = path
	if w.steps += 50 + len(text)/16; w.steps > maxSteps && w.depth > 0 {
		return faultf("read the running process with --from-pid", "cannot follow %s: the scripts read each other in without end", path)
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(withoutMarks(text)), filepath.Base(path))
	if err != nil {
		var at syntax.ParseError
		if errors.As(err, &at) {
			return faultf("mend the script, or read the running process with --from-pid", "cannot read %s:%d as a shell script: %s", path, at.Pos.Line(), at.Text)
		}
		return faultf("read the running process with --from-pid", "cannot read %s as a shell script: %v", path, err)
	}
	w.stmts(file.Stmts)
	return nil
}

// uncalled are functions that nobody calls in so many words: an etcd that is started in one counts if there is no other.
func (w *walk) uncalled() {
	for _, name := range slices.Sorted(maps.Keys(w.funcs)) {
		if len(w.starts) == 0 && !w.called[name] {
			w.stmt(w.funcs[name])
		}
	}
}

func (w *walk) at(n syntax.Node) Place {
	return Place{w.file, w.line + int(n.Pos().Line())}
}

func (w *walk) leave(n syntax.Node, says, why string) {
	w.left = append(w.left, Left{w.at(n), clipped(says), why})
}

const maxSays = 100

// clipped is what was written, in one line that can be shown.
func clipped(text string) string {
	text = strings.Join(strings.Fields(strings.ReplaceAll(readable(text), "\\\n", " ")), " ")
	if r := []rune(text); len(r) > maxSays {
		return string(r[:maxSays-1]) + "…"
	}
	return text
}

// printed is a part of a script as it would be typed.
func printed(n syntax.Node) string {
	var b strings.Builder
	if syntax.NewPrinter(syntax.SingleLine(true)).Print(&b, n) != nil {
		return ""
	}
	return clipped(b.String())
}

func (w *walk) stmts(all []*syntax.Stmt) {
	for _, s := range all {
		w.stmt(s)
	}
}

func (w *walk) stmt(s *syntax.Stmt) {
	if w.steps++; w.steps > maxSteps || s == nil {
		return
	}
	around := len(w.redirs)
	w.redirs = append(w.redirs, s.Redirs...)
	defer func() { w.redirs = w.redirs[:around] }()
	switch c := s.Cmd.(type) {
	case *syntax.CallExpr:
		w.call(c)
	case *syntax.DeclClause:
		w.declare(c)
	case *syntax.Block:
		w.stmts(c.Stmts)
	case *syntax.Subshell:
		w.apart().stmts(c.Stmts)
	case *syntax.BinaryCmd:
		w.binary(c)
	case *syntax.IfClause:
		w.choose(c)
	case *syntax.CaseClause:
		w.cases(c)
	case *syntax.WhileClause:
		w.loop(c)
	case *syntax.ForClause:
		w.each(c)
	case *syntax.FuncDecl:
		if c.Name != nil {
			w.funcs[c.Name.Value] = c.Body
		}
	case *syntax.TimeClause:
		w.stmt(c.Stmt)
	}
}

// apart is a walk whose assignments and changes of folder are lost at its end, as those of a subshell.
func (w *walk) apart() *walk {
	sub := *w
	sub.vars = maps.Clone(w.vars)
	sub.redirs = slices.Clone(w.redirs)
	return &sub
}

func (w *walk) binary(c *syntax.BinaryCmd) {
	if c.Op != syntax.Pipe && c.Op != syntax.PipeAll {
		w.either(c)
		return
	}
	before := len(w.starts)
	w.apart().stmt(c.X)
	if len(w.starts) > before {
		w.leave(c.Y, "| "+printed(c.Y), logWhy)
		return
	}
	w.apart().stmt(c.Y)
}

const logWhy = "etcdsup keeps the log and rotates it: log.dir, log.max_size, log.keep_total"

// either is && or ||: the second is walked unless it is known not to be reached.
func (w *walk) either(c *syntax.BinaryCmd) {
	w.stmt(c.X)
	if holds, known := w.holds(c.X); known && holds != (c.Op == syntax.AndStmt) {
		return
	}
	w.stmt(c.Y)
}

func (w *walk) choose(c *syntax.IfClause) {
	if len(c.Cond) == 0 { // else
		w.stmts(c.Then)
		return
	}
	holds, known := w.condition(c.Cond)
	switch {
	case known && holds:
		w.stmts(c.Then)
	case known && c.Else != nil:
		w.choose(c.Else)
	case !known:
		w.branches(c, func(b *walk) { b.stmts(c.Then) }, func(b *walk) {
			if c.Else != nil {
				b.choose(c.Else)
			}
		})
	}
}

// condition walks through the commands of a condition and says how the last one ends.
func (w *walk) condition(cond []*syntax.Stmt) (holds, known bool) {
	before := len(w.left)
	w.stmts(cond)
	w.left = w.left[:before] // what is only asked is not missing
	return w.holds(cond[len(cond)-1])
}

// branches walks both ways. What the two disagree on is not known afterwards.
func (w *walk) branches(n syntax.Node, ways ...func(*walk)) {
	why := "it depends on the condition in line " + itoa(w.at(n).Line)
	var ends []*walk
	for _, way := range ways {
		b := w.apart()
		way(b)
		ends = append(ends, b)
	}
	w.vars, w.dir, w.dirWhy = ends[0].vars, ends[0].dir, ends[0].dirWhy
	for _, other := range ends[1:] {
		w.merge(other, why)
	}
}

func (w *walk) merge(other *walk, why string) {
	if w.dir != other.dir {
		w.dir = ""
	}
	for name := range maps.All(other.vars) {
		if _, here := w.vars[name]; !here {
			w.vars[name] = expand.Variable{}
		}
	}
	for name, v := range w.vars {
		o := other.vars[name]
		if v.IsSet() != o.IsSet() || v.String() != o.String() || !slices.Equal(v.List, o.List) {
			w.vars[name] = expand.Variable{Set: true, Exported: v.Exported || o.Exported, Kind: expand.String, Str: unknownValue("$"+name, why)}
		}
	}
}

func (w *walk) cases(c *syntax.CaseClause) {
	subject := w.text(c.Word)
	if !hasUnknown(subject) {
		for _, item := range c.Items {
			if slices.ContainsFunc(item.Patterns, func(p *syntax.Word) bool { return w.matches(p, subject) }) {
				w.stmts(item.Stmts)
				return
			}
		}
		return
	}
	ways := []func(*walk){func(*walk) {}}
	for _, item := range c.Items {
		ways = append(ways, func(b *walk) { b.stmts(item.Stmts) })
	}
	w.branches(c, ways...)
}

func (w *walk) matches(pattern *syntax.Word, subject string) bool {
	p := w.text(pattern)
	ok, err := filepath.Match(p, subject)
	return p == subject || err == nil && ok
}

// loop takes one round: a loop around etcd is there to start it again, which etcdsup does.
func (w *walk) loop(c *syntax.WhileClause) {
	holds, known := w.condition(c.Cond)
	if known && holds == c.Until {
		return
	}
	before := len(w.starts)
	w.branches(c, func(b *walk) { b.stmts(c.Do) }, func(b *walk) {
		if known {
			b.stmts(c.Do)
		}
	})
	if len(w.starts) > before {
		w.leave(c, "the loop around it", "etcdsup starts etcd again when it ends")
	}
}

const maxRounds = 64

// each unrolls a loop over words.
func (w *walk) each(c *syntax.ForClause) {
	over, ok := c.Loop.(*syntax.WordIter)
	if !ok {
		w.branches(c, func(b *walk) { b.stmts(c.Do) }, func(*walk) {})
		return
	}
	items := w.words(over.Items)
	for _, item := range items[:min(len(items), maxRounds)] {
		w.set(over.Name.Value, item.text, false)
		w.stmts(c.Do)
	}
}
