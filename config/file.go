package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFile is far above any real configuration; it keeps a file that is something else from eating memory and stack.
const maxFile = 64 << 10

// reader turns the text of one file into settings and faults.
type reader struct {
	file     string
	lines    []string
	settings []setting
	faults   Problems
}

// readYAML never panics and never stops at the first fault, except where the text is no YAML.
func readYAML(file string, text []byte) *reader {
	r := &reader{file: file}
	if body := r.open(text); body != nil {
		r.section("", body)
	}
	return r
}

// open returns the one mapping of the text; nil if there is none, or with a fault.
func (r *reader) open(text []byte) ast.Node {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if len(text) > maxFile {
		r.faultAt(1, 1, fmt.Sprintf("cannot read the file: it has more than %s", Size(maxFile)), "name the configuration file of etcdsup")
		return nil
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		r.lines = append(r.lines, strings.TrimSuffix(line, "\r"))
	}
	if !r.readable() {
		return nil
	}
	return r.parse(text)
}

// readable finds what no YAML may hold and what the parser would silently replace.
func (r *reader) readable() bool {
	for i, line := range r.lines {
		valid := strings.ToValidUTF8(line, "\x00")
		if at := strings.IndexByte(valid, 0); at >= 0 {
			r.faultAt(i+1, utf8.RuneCountInString(valid[:at])+1, "cannot read the line: it has bytes that are no UTF-8 text", "write the file as UTF-8")
			return false
		}
	}
	return true
}

// parse returns the one mapping of the file; nil if there is none.
func (r *reader) parse(text []byte) (body ast.Node) {
	defer func() {
		// The file comes from outside, and a parser that panics on it must not take a running etcd's supervisor down.
		if p := recover(); p != nil {
			r.faultAt(1, 1, fmt.Sprintf("cannot read the file as YAML: the parser failed: %v", p), "compare it with `etcdsup config example`")
			body = nil
		}
	}()
	// Repeated keys are found by ourselves: the parser would stop at the first one.
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	return r.body(file)
}

func (r *reader) syntax(err error) {
	remedy := "mend the YAML here or just before; `etcdsup config example` shows the form"
	var fault *yaml.SyntaxError
	if !errors.As(err, &fault) || fault.Token == nil {
		r.faultAt(1, 1, "cannot read the file as YAML: "+strings.SplitN(err.Error(), "\n", 2)[0], remedy)
		return
	}
	if strings.Contains(fault.Message, "'\t'") {
		remedy = "indent with spaces: YAML allows no tabs"
	}
	at := r.token(fault.Token)
	at.width = 1
	r.fault(at, "", "cannot read the file as YAML: "+fault.Message, remedy)
}

func (r *reader) body(file *ast.File) ast.Node {
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			r.fault(r.node(doc.Body), "", "cannot use a second document in the file: only the first one is read", "remove the line with --- and what does not belong to this etcd")
			return body
		}
		body = doc.Body
	}
	return body
}

// section reads the keys of one mapping, whose names begin with prefix.
func (r *reader) section(prefix string, node ast.Node) {
	seen := map[string]int{}
	for _, pair := range r.pairs(prefix, node) {
		name, at, ok := r.keyName(pair)
		if !ok {
			continue
		}
		full := prefix + name
		if line, twice := seen[name]; twice {
			r.fault(at, full, fmt.Sprintf("cannot set %s twice: line %d has it already", full, line), "keep one of the two")
			continue
		}
		seen[name] = at.origin.Line
		r.pair(prefix, name, at, pair.Value)
	}
}

// pairs are the entries of a mapping. An empty section, such as one whose lines are all comments, has none.
func (r *reader) pairs(prefix string, node ast.Node) []*ast.MappingValueNode {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	case *ast.NullNode, nil:
		return nil
	}
	name := strings.TrimSuffix(prefix, ".")
	what := "cannot use " + describe(node) + " as " + name + ": it is a section with keys of its own"
	if name == "" {
		what = "cannot use " + describe(node) + " as a configuration: the file must be a mapping of keys to values"
	}
	r.fault(r.node(node), name, what, "write keys with values, as `etcdsup config example` shows")
	return nil
}

func (r *reader) keyName(pair *ast.MappingValueNode) (string, place, bool) {
	at := r.node(pair.Key)
	at.name = true
	switch k := pair.Key.(type) {
	case *ast.StringNode:
		return k.Value, at, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.NanNode, *ast.InfinityNode:
		return k.GetToken().Value, at, true
	}
	r.fault(at, "", "cannot use "+describe(pair.Key)+" as a key", "write the key as a plain word")
	return "", at, false
}

func (r *reader) pair(prefix, base string, at place, value ast.Node) {
	name := prefix + base
	key, entry := resolve(name)
	own := prefix == keyArgs+"." || prefix == keyEnv+"."
	switch {
	case strings.Contains(base, ".") && !own:
		// "log.max_size" is a name in messages and for --set; in the file it would be a second way to say the same.
		r.unknown(name, at)
	case key != nil && key.entries && entry == "":
		r.section(name+".", value)
	case key != nil:
		r.value(setting{name: name, key: key, entry: entry, named: at}, value)
	case isSection(name):
		r.section(name+".", value)
	default:
		r.unknown(name, at)
	}
}

func (r *reader) unknown(name string, at place) {
	what := fmt.Sprintf("cannot use the key %q: etcdsup has none of this name", name)
	r.fault(at, name, what, unknownRemedy(name))
}

// value keeps the scalars of one setting; whether they fit is found out when they are applied.
func (r *reader) value(s setting, node ast.Node) {
	s.place = s.named
	items := []ast.Node{node}
	if list, ok := node.(*ast.SequenceNode); ok && s.key.list {
		items = list.Values
		s.place = r.node(node)
		if len(items) == 0 {
			r.fault(s.place, s.name, "cannot set "+s.name+" to an empty list", "write a value, or remove the line for the default")
			return
		}
	}
	for _, item := range items {
		text, takes, at, ok := r.item(s, item)
		if !ok {
			return
		}
		s.texts, s.takes, s.places = append(s.texts, text), append(s.takes, takes), append(s.places, at)
	}
	if len(items) == 1 {
		s.place = s.places[0]
	}
	r.settings = append(r.settings, s)
}

// item is one value of a setting. A command is a text, or a list of them, and kept in JSON; a fault in it is shown at the
// program's name.
func (r *reader) item(s setting, node ast.Node) (text string, takes scalar, at place, ok bool) {
	at = r.node(node)
	words, isList := node.(*ast.SequenceNode)
	if s.key.Name != keyAfterRebuild || !isList {
		if text, takes, ok = r.scalar(s, node); s.key.Name == keyAfterRebuild {
			text = jsonText(text)
		}
		return text, takes, at, ok
	}
	argv := []string{}
	for _, word := range words.Values {
		text, _, ok := r.scalar(s, word)
		if !ok {
			return "", 0, at, false
		}
		argv = append(argv, text)
	}
	if len(argv) > 0 {
		at = r.node(words.Values[0])
	}
	return jsonText(argv), scalarString, at, true
}

func (r *reader) scalar(s setting, node ast.Node) (string, scalar, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, scalarString, true
	case *ast.LiteralNode:
		return strings.TrimSuffix(n.Value.Value, "\n"), scalarString, true
	case *ast.IntegerNode:
		return n.GetToken().Value, scalarInt, true
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, scalarFloat, true
	case *ast.BoolNode:
		return n.GetToken().Value, scalarBool, true
	case *ast.NullNode, nil:
		r.fault(s.named, s.name, "cannot set "+s.name+" to nothing", "write a value, or remove the line for the default")
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.fault(r.node(node), s.name, "cannot set "+s.name+" by "+describe(node), "write the value itself")
	default:
		at := s.named
		if _, block := node.(ast.MapNode); !block {
			at = r.node(node)
		}
		r.fault(at, s.name, "cannot set "+s.name+" to "+describe(node), "write "+formOf(s.key))
	}
	return "", 0, false
}

// formOf is how one value of the key is written.
func formOf(k *Key) string {
	switch k.Name {
	case keyArgs:
		return "the value of etcd's flag as one text, or a list of texts, such as [n1=http://10.0.0.1:2380, n2=http://10.0.0.2:2380]"
	case keyEnv:
		return "the variable's value as one text"
	}
	return k.Form
}

// describe is a YAML node in a user's words.
func describe(node ast.Node) string {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode:
		return "an anchor"
	case *ast.AliasNode:
		return "an alias"
	case *ast.TagNode:
		return "a tag"
	case *ast.MergeKeyNode:
		return "a merge"
	case *ast.MappingKeyNode:
		return "a complex key"
	case *ast.NullNode:
		return "nothing"
	}
	return "a single value"
}

func (r *reader) node(n ast.Node) place {
	switch v := n.(type) {
	case *ast.MappingNode:
		if len(v.Values) > 0 && !v.IsFlowStyle {
			return r.node(v.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return r.node(v.Key)
	}
	if n == nil {
		return r.place(1, 1, 1)
	}
	return r.token(n.GetToken())
}

func (r *reader) token(t *token.Token) place {
	if t == nil || t.Position == nil {
		return r.place(1, 1, 1)
	}
	width := utf8.RuneCountInString(t.Value)
	if t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType {
		width = utf8.RuneCountInString(strings.TrimSpace(t.Origin)) // with quotes and escapes
	}
	return r.place(t.Position.Line, t.Position.Column, width)
}

// place clamps what the parser says to what the file has: a caret beside the text helps nobody.
func (r *reader) place(line, column, width int) place {
	line = max(1, min(line, len(r.lines)))
	text := ""
	if len(r.lines) > 0 {
		text = r.lines[line-1]
	}
	length := utf8.RuneCountInString(text)
	column = max(1, min(column, length+1))
	width = max(1, min(width, length-column+1))
	return place{origin: Origin{From: FromFile, Name: r.file, Line: line}, column: column, width: width, text: text}
}

func (r *reader) fault(at place, key, what, remedy string) {
	r.faults = append(r.faults, at.problem(key, what, remedy))
}

func (r *reader) faultAt(line, column int, what, remedy string) {
	r.fault(r.place(line, column, 1), "", what, remedy)
}
