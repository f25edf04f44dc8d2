package hostconf

import (
	"cmp"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// call is a command, or assignments alone.
func (w *walk) call(c *syntax.CallExpr) {
	if len(c.Args) == 0 {
		for _, a := range c.Assigns {
			w.assign(a, false)
		}
		return
	}
	sub := w
	if len(c.Assigns) > 0 {
		sub = w.apart()
		for _, a := range c.Assigns {
			sub.assign(a, true)
		}
	}
	sub.command(c, w.words(c.Args))
	if sub != w {
		w.dir, w.dirWhy = sub.dir, sub.dirWhy
	}
}

func (w *walk) assign(a *syntax.Assign, exported bool) {
	if a.Name == nil || a.Index != nil {
		return
	}
	name, old := a.Name.Value, w.vars[a.Name.Value]
	switch {
	case a.Naked:
		if v := w.variable(name); v.IsSet() {
			v.Exported = v.Exported || exported
			w.vars[name] = v
		}
		return
	case a.Array != nil:
		v := expand.Variable{Set: true, Kind: expand.Indexed}
		if a.Append {
			v.List = slices.Clone(old.List)
		}
		for _, e := range a.Array.Elems {
			v.List = append(v.List, texts(w.words([]*syntax.Word{e.Value}))...)
		}
		v.List = v.List[:min(len(v.List), maxItems)]
		w.vars[name] = v
	case a.Append:
		w.set(name, old.String()+w.text(a.Value), exported)
	default:
		w.set(name, w.text(a.Value), exported)
	}
	if exported || w.vars[name].Exported {
		w.exports[name] = w.at(a)
	}
}

func (w *walk) declare(c *syntax.DeclClause) {
	exported := c.Variant.Value == "export"
	for _, a := range c.Args {
		if a.Naked && a.Name == nil && a.Value != nil && a.Value.Lit() == "-x" {
			exported = true
		}
		if a.Name != nil {
			w.assign(a, exported)
			if exported {
				w.exports[a.Name.Value] = w.at(a)
			}
		}
	}
}

// command is a command with its words. Those in front of others are taken off until there is one that does something.
func (w *walk) command(n *syntax.CallExpr, args []word) {
	if len(args) == 0 {
		return
	}
	name := filepath.Base(args[0].text)
	if body, ok := w.funcs[args[0].text]; ok {
		w.function(args[0].text, body, args[1:])
		return
	}
	if b, ok := builtins[name]; ok {
		b(w, n, args[1:])
		return
	}
	if p, ok := prefixes[name]; ok {
		w.unwrap(n, p, args)
		return
	}
	if startsEtcd(args) {
		w.found(n, args)
		return
	}
	if follow, ok := launchers[name]; ok && follow(w, n, args[1:]) {
		return
	}
	if w.script(args) {
		return
	}
	w.leave(n, printed(n), whyNot(name))
}

func (w *walk) function(name string, body *syntax.Stmt, args []word) {
	w.called[name] = true
	if w.depth >= maxDepth {
		return
	}
	params := w.params
	w.params = texts(args)
	w.depth++
	w.stmt(body)
	w.depth--
	w.params = params
}

// startsEtcd goes by the name, or where that is not known by flags that only etcd has.
func startsEtcd(args []word) bool {
	telling := slices.ContainsFunc(args[1:], func(a word) bool {
		name, _, _ := strings.Cut(strings.TrimLeft(a.text, "-"), "=")
		return strings.HasPrefix(a.text, "-") && slices.Contains([]string{"data-dir", "initial-cluster", "listen-client-urls", "listen-peer-urls", "advertise-client-urls"}, name)
	})
	name := filepath.Base(args[0].text)
	switch {
	case name == "etcd":
		return len(args) != 2 || !strings.Contains(args[1].text, "version") && !strings.Contains(args[1].text, "help")
	case strings.HasPrefix(name, "etcdctl"), strings.HasPrefix(name, "etcdutl"):
		return false
	}
	return telling && (strings.Contains(name, "etcd") || hasUnknown(name))
}

// found keeps a start of etcd as it is at this place of the script.
func (w *walk) found(n *syntax.CallExpr, args []word) {
	s := &start{binary: args[0], dir: w.dir, dirWhy: w.dirWhy, user: w.user}
	s.takeArgs(args[1:])
	for _, name := range slices.Sorted(maps.Keys(w.vars)) {
		if v := w.vars[name]; v.Exported && v.IsSet() {
			s.env = append(s.env, variable{cmp.Or(w.exports[name], w.at(n)), name, v.String()})
		}
	}
	for _, r := range w.redirs {
		w.leaveRedirect(s, r)
	}
	w.starts = append(w.starts, s)
}

// leaveRedirect puts redirections of one line into one.
func (w *walk) leaveRedirect(s *start, r *syntax.Redirect) {
	at, says, why := w.at(r), printedRedirect(w, r), whyRedirect(r)
	if n := len(s.left); n > 0 && s.left[n-1].Place == at && s.left[n-1].Why == why {
		s.left[n-1].Says += " " + says
		return
	}
	s.leave(at, says, why)
}

func printedRedirect(w *walk, r *syntax.Redirect) string {
	number := ""
	if r.N != nil {
		number = r.N.Value
	}
	if r.Word == nil {
		return number + r.Op.String()
	}
	gap := " "
	if r.Op == syntax.DplOut || r.Op == syntax.DplIn {
		gap = ""
	}
	return clipped(number + r.Op.String() + gap + w.text(r.Word))
}

func whyRedirect(r *syntax.Redirect) string {
	if r.Op == syntax.RdrIn || r.Op == syntax.DplIn || r.Hdoc != nil {
		return "etcd reads no input"
	}
	return logWhy
}

// script follows another file that the command is.
func (w *walk) script(args []word) bool {
	path := args[0].text
	if hasUnknown(path) || !strings.Contains(path, "/") || w.dir == "" && !filepath.IsAbs(path) || w.depth >= maxDepth {
		return false
	}
	text, err := w.host.ReadFile(w.inFolder(path))
	if err != nil || len(text) > maxFile || !strings.HasPrefix(string(text), "#!") && filepath.Ext(path) != ".sh" {
		return false
	}
	sub := w.apart()
	sub.depth++
	sub.params = texts(args[1:])
	sub.vars = map[string]expand.Variable{} // a program of its own gets what is exported
	for name, v := range w.vars {
		if v.Exported {
			sub.vars[name] = v
		}
	}
	sub.line = 0
	return sub.source(w.inFolder(path), string(text)) == nil
}

// inline is a command that stands in one word, as after sh -c.
func (w *walk) inline(n *syntax.CallExpr, text string) bool {
	if hasUnknown(text) || w.depth >= maxDepth {
		return false
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
	if err != nil {
		return false
	}
	sub := w.apart()
	sub.depth++
	if n != nil {
		sub.line = w.at(n).Line - 1
	}
	sub.stmts(file.Stmts)
	return true
}

// include is . FILE.
func (w *walk) include(n *syntax.CallExpr, args []word) {
	if len(args) == 0 || w.depth >= maxDepth {
		return
	}
	path := args[0].text
	if why, is := unknown(path); is {
		w.leave(n, printed(n), why)
		return
	}
	if w.dir == "" && !filepath.IsAbs(path) {
		w.leave(n, printed(n), "the path is relative, and the folder is not known")
		return
	}
	text, err := w.host.ReadFile(w.inFolder(path))
	if err != nil {
		w.leave(n, printed(n), "it cannot be read: "+reason(err))
		return
	}
	file, line := w.file, w.line
	w.depth++
	if err := w.source(w.inFolder(path), string(text)); err != nil {
		w.left = append(w.left, Left{Place{file, line + int(n.Pos().Line())}, printed(n), err.Error()})
	}
	w.depth--
	w.file, w.line = file, line
}
