package hostconf

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

func itoa(n int) string { return strconv.Itoa(n) }

// environ is the walk's variables as the expansion wants them.
type environ struct {
	*walk
	absent map[string]expand.Variable // stands for those that are used as they are and that nobody has set
}

func (e environ) Get(name string) expand.Variable {
	if v, ok := e.absent[name]; ok {
		return v
	}
	return e.variable(name)
}

// variable is what a name stands for: as the script has set it, or as every shell does.
func (w *walk) variable(name string) expand.Variable {
	text := func(s string) expand.Variable { return expand.Variable{Set: true, Kind: expand.String, Str: s} }
	if n, err := strconv.Atoi(name); err == nil {
		if n == 0 {
			return text(w.file)
		}
		w.asksArg = w.asksArg || n == 1
		if n >= 1 && n <= len(w.params) {
			return text(w.params[n-1])
		}
		return expand.Variable{}
	}
	switch name {
	case "@", "*":
		return expand.Variable{Set: true, Kind: expand.Indexed, List: w.params}
	case "#":
		w.asksArg = true
		return text(itoa(len(w.params)))
	case "?":
		return text("0")
	case "$", "!", "PPID", "RANDOM", "SECONDS":
		return text(unknownValue("$"+name, "it differs with each run"))
	case "BASH_SOURCE":
		return expand.Variable{Set: true, Kind: expand.Indexed, List: []string{w.file}}
	case "PWD":
		return text(w.folder())
	}
	if v, ok := w.vars[name]; ok {
		return v
	}
	if host, ok := w.host.Hostname(""); name == "HOSTNAME" && ok {
		return text(host)
	}
	return expand.Variable{}
}

func (w *walk) folder() string {
	if w.dir == "" {
		return unknownValue("$PWD", "the working directory is not known")
	}
	return w.dir
}

func (e environ) Each(yield func(string, expand.Variable) bool) {
	for name, v := range e.vars {
		if !yield(name, v) {
			return
		}
	}
}

// Set is for ${NAME:=value}.
func (e environ) Set(name string, v expand.Variable) error {
	e.vars[name] = v
	return nil
}

func (w *walk) set(name, value string, exported bool) {
	old := w.vars[name]
	if len(value) > maxText {
		value = unknownValue("$"+name, "it becomes too long")
	}
	w.vars[name] = expand.Variable{Set: true, Kind: expand.String, Str: value, Exported: exported || old.Exported}
}

// expander is the expansion of one word, in which variables that nobody has set leave a mark.
func (w *walk) expander(word syntax.Node) *expand.Config {
	absent := map[string]expand.Variable{}
	syntax.Walk(word, func(n syntax.Node) bool {
		if p, ok := n.(*syntax.ParamExp); ok && plainParam(p) && !w.variable(p.Param.Value).IsSet() && !isParam(p.Param.Value) {
			name := p.Param.Value
			absent[name] = expand.Variable{Set: true, Kind: expand.String, Str: unknownValue("$"+name, "the script does not set "+name+", its environment may")}
		}
		return true
	})
	return &expand.Config{Env: environ{w, absent}, CmdSubst: w.substitute, ProcSubst: func(p *syntax.ProcSubst) (string, error) {
		return unknownValue(printed(p), "it is a pipe to another program"), nil
	}}
}

// plainParam tells $NAME from ${NAME:-default} and the like.
func plainParam(p *syntax.ParamExp) bool {
	return p.Param != nil && p.Exp == nil && !p.Length && !p.Excl && p.Names == 0 && p.Index == nil
}

// isParam: a script that is given no arguments has no parameters, and that is known.
func isParam(name string) bool {
	_, err := strconv.Atoi(name)
	return err == nil || name == "@" || name == "*"
}

// words are the fields that words expand to, each with its place.
func (w *walk) words(all []*syntax.Word) []word {
	var fields []word
	for _, one := range all {
		got, err := w.fields(one)
		if err != nil {
			got = []string{unknownValue(printed(one), "it cannot be told without running it: "+err.Error())}
		}
		for _, f := range got {
			fields = append(fields, word{Place: w.at(one), text: f})
		}
	}
	return fields
}

var errExpansion = errors.New("the expansion failed")

func (w *walk) fields(one *syntax.Word) (fields []string, err error) {
	defer recoverTo(&err)
	return expand.Fields(w.expander(one), one)
}

// recoverTo: what the library does not know how to expand ends the word, not the program.
func recoverTo(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", errExpansion, p)
	}
}

// text is a word as the value of an assignment: not taken apart.
func (w *walk) text(one *syntax.Word) string {
	if one == nil {
		return ""
	}
	text, err := func() (text string, err error) {
		defer recoverTo(&err)
		return expand.Literal(w.expander(one), one)
	}()
	if err != nil {
		return unknownValue(printed(one), "it cannot be told without running it: "+err.Error())
	}
	return text
}

// substitute gives what a command would print, of the few that are known to change nothing.
func (w *walk) substitute(out io.Writer, c *syntax.CmdSubst) error {
	text := unknownValue(printed(c), "only running it tells what "+printed(c)+" gives")
	if w.depth < maxDepth && len(c.Stmts) == 1 {
		sub := w.apart()
		sub.depth++
		if got, ok := sub.output(c.Stmts[0]); ok {
			text = got
		}
	}
	_, err := io.WriteString(out, text)
	return err
}

func (w *walk) output(s *syntax.Stmt) (string, bool) {
	if slices.ContainsFunc(s.Redirs, func(r *syntax.Redirect) bool { return r.Hdoc != nil || r.Op == syntax.RdrIn }) {
		return "", false
	}
	switch c := s.Cmd.(type) {
	case *syntax.CallExpr:
		return w.printedBy(w.words(c.Args))
	case *syntax.BinaryCmd:
		if c.Op == syntax.Pipe {
			return w.filtered(c)
		}
		return w.thenOutput(c)
	}
	return "", false
}

// thenOutput is for cd DIR && pwd.
func (w *walk) thenOutput(c *syntax.BinaryCmd) (string, bool) {
	first, ok := c.X.Cmd.(*syntax.CallExpr)
	if !ok || c.Op != syntax.AndStmt || len(first.Args) == 0 || first.Args[0].Lit() != "cd" {
		return "", false
	}
	w.changeFolder(w.words(first.Args)[1:])
	return w.output(c.Y)
}

// printedBy is the output of a command that only tells something.
func (w *walk) printedBy(args []word) (string, bool) {
	if len(args) == 0 || slices.ContainsFunc(args, func(a word) bool { return hasUnknown(a.text) }) {
		return "", false
	}
	operand := func(i int) string {
		if i < len(args) {
			return args[i].text
		}
		return ""
	}
	switch filepath.Base(args[0].text) {
	case "hostname":
		if option := operand(1); len(args) <= 2 && slices.Contains([]string{"", "-f", "-s", "-i", "-I", "--fqdn", "--short", "--ip-address", "--all-ip-addresses"}, option) {
			return w.host.Hostname(shortOption(option))
		}
	case "uname":
		if operand(1) == "-n" && len(args) == 2 {
			return w.host.Hostname("")
		}
	case "pwd":
		return w.dir, w.dir != ""
	case "dirname":
		return filepath.Dir(operand(1)), len(args) == 2
	case "basename":
		return strings.TrimSuffix(filepath.Base(operand(1)), operand(2)), len(args) == 2 || len(args) == 3
	case "readlink", "realpath":
		path := args[len(args)-1].text
		return w.inFolder(path), len(args) > 1 && (filepath.IsAbs(path) || w.dir != "")
	case "echo":
		return strings.Join(texts(args[1:]), " "), true
	case "cat":
		if len(args) == 2 && (filepath.IsAbs(operand(1)) || w.dir != "") {
			text, err := w.host.ReadFile(w.inFolder(operand(1)))
			return withoutMarks(string(text)), err == nil && len(text) < 4096
		}
	}
	return "", false
}

func shortOption(option string) string {
	long := map[string]string{"--fqdn": "-f", "--short": "-s", "--ip-address": "-i", "--all-ip-addresses": "-I"}
	if short, ok := long[option]; ok {
		return short
	}
	return option
}

func texts(args []word) []string {
	all := make([]string, len(args))
	for i, a := range args {
		all[i] = a.text
	}
	return all
}

func (w *walk) inFolder(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(w.dir, path)
}

// filtered is the first word or line of what a command prints, as scripts take an address from hostname -I.
func (w *walk) filtered(c *syntax.BinaryCmd) (string, bool) {
	text, ok := w.output(c.X)
	filter, isCall := c.Y.Cmd.(*syntax.CallExpr)
	if !ok || !isCall || len(filter.Args) == 0 {
		return "", false
	}
	args := texts(w.words(filter.Args))
	first, _, _ := strings.Cut(text, "\n")
	switch strings.Join(args, " ") {
	case "head -1", "head -n1", "head -n 1":
		return first, true
	case "awk {print $1}", "awk {print $1;}":
		return column(first, 1, "")
	case "awk {print $2}":
		return column(first, 2, "")
	case "cut -d  -f1", "cut -d  -f 1":
		return column(first, 1, " ")
	case "cut -d. -f1", "cut -d . -f1", "cut -d . -f 1":
		return column(first, 1, ".")
	}
	return "", false
}

func column(line string, n int, separator string) (string, bool) {
	parts := strings.Fields(line)
	if separator != "" {
		parts = strings.Split(line, separator)
	}
	if n > len(parts) {
		return "", true
	}
	return parts[n-1], true
}

// holds says how a command of a condition ends, as far as that can be told.
func (w *walk) holds(s *syntax.Stmt) (holds, known bool) {
	switch c := s.Cmd.(type) {
	case *syntax.CallExpr:
		if len(c.Args) > 0 {
			holds, known = w.test(w.words(c.Args))
		}
	case *syntax.TestClause:
		if args, ok := testArgs(w, c.X); ok {
			holds, known = w.test(append([]word{{text: "["}}, args...))
		}
	}
	return holds != s.Negated, known
}

// testArgs writes [[ … ]] as [ … ] where that means the same.
func testArgs(w *walk, x syntax.TestExpr) ([]word, bool) {
	switch x := x.(type) {
	case *syntax.Word:
		return []word{{text: w.text(x)}}, true
	case *syntax.UnaryTest:
		args, ok := testArgs(w, x.X)
		return append([]word{{text: x.Op.String()}}, args...), ok
	case *syntax.BinaryTest:
		a, okA := testArgs(w, x.X)
		b, okB := testArgs(w, x.Y)
		return slices.Concat(a, []word{{text: x.Op.String()}}, b), okA && okB && len(a) == 1 && len(b) == 1
	}
	return nil, false
}

// test is the command of that name, for what can be told without the host.
func (w *walk) test(args []word) (holds, known bool) {
	t := texts(args)
	if slices.ContainsFunc(t, hasUnknown) {
		return false, false
	}
	switch t[0] {
	case "true", ":":
		return true, true
	case "false":
		return false, true
	case "[", "test":
		t = t[1:]
		if len(t) > 0 && t[len(t)-1] == "]" {
			t = t[:len(t)-1]
		}
		return compare(t)
	}
	return false, false
}

func compare(t []string) (holds, known bool) {
	negated := len(t) > 1 && t[0] == "!"
	if negated {
		t = t[1:]
	}
	switch {
	case len(t) == 0:
		holds, known = false, true
	case len(t) == 1:
		holds, known = t[0] != "", true
	case len(t) == 2 && t[0] == "-n":
		holds, known = t[1] != "", true
	case len(t) == 2 && t[0] == "-z":
		holds, known = t[1] == "", true
	case len(t) == 3:
		holds, known = compareTwo(t[0], t[1], t[2])
	}
	return holds != negated, known
}

func compareTwo(a, operator, b string) (holds, known bool) {
	switch operator {
	case "=", "==":
		return a == b, true
	case "!=":
		return a != b, true
	}
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	if errX != nil || errY != nil {
		return false, false
	}
	order := map[string]bool{"-eq": x == y, "-ne": x != y, "-lt": x < y, "-le": x <= y, "-gt": x > y, "-ge": x >= y}
	holds, known = order[operator]
	return holds, known
}
