package config

import (
	"github.com/goccy/go-yaml/ast"
)

// PlainEntry is one value of a YAML file of which no more is known.
type PlainEntry struct {
	Path   string // the names down to it, with dots between
	Values []string
	Line   int
}

// ReadPlain reads any file that is a mapping of names to values, lists of values and further mappings, such as etcd's own
// configuration file. What is neither, and what is no YAML, is a problem.
func ReadPlain(file string, text []byte) ([]PlainEntry, Problems) {
	r := &reader{file: file}
	body := r.open(text)
	var all []PlainEntry
	if body != nil {
		all = r.plain("", body)
	}
	return all, r.faults
}

func (r *reader) plain(prefix string, node ast.Node) (all []PlainEntry) {
	for _, pair := range r.pairs(prefix, node) {
		name, at, ok := r.keyName(pair)
		if !ok {
			continue
		}
		path := prefix + name
		switch v := pair.Value.(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
			all = append(all, r.plain(path+".", v)...)
		case *ast.NullNode, nil:
			all = append(all, PlainEntry{path, nil, at.origin.Line})
		case *ast.SequenceNode:
			all = append(all, PlainEntry{path, r.plainItems(path, at, v.Values), at.origin.Line})
		default:
			all = append(all, PlainEntry{path, r.plainItems(path, at, []ast.Node{v}), at.origin.Line})
		}
	}
	return all
}

func (r *reader) plainItems(path string, at place, nodes []ast.Node) (all []string) {
	s := setting{name: path, key: find(keyArgs), named: at}
	for _, n := range nodes {
		if text, _, ok := r.scalar(s, n); ok {
			all = append(all, text)
		}
	}
	return all
}
