package config

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What is filled in is read again as the same, whatever YAML would take the text for.
func TestFilledSaysTheSame(t *testing.T) {
	odd := rapid.SampledFrom([]string{"true", "null", "~", "1.5", "0x1F", "a b", "- x", "a: b", "#c", "a #c", "'", `"`, `\n`, "*x", "&x", "[a]", "{a", "a,b", "%x", "@x", "`x`", "é<>&", "yes", "1e3", ".inf", "2020-01-01", "a:"})
	word := rapid.OneOf(odd, rapid.StringMatching(`[a-z0-9/:.=-]{1,12}`))
	rapid.Check(t, func(t *rapid.T) {
		args := rapid.SliceOfN(word, 1, 3).Draw(t, "values")
		env := word.Draw(t, "variable")
		text := Filled("# head\n", []Value{
			{Key: keyArgs + ".x", Texts: args, Comment: "here:1"}, {Key: keyEnv + ".V", Texts: []string{env}},
			{Key: "cluster.user", Texts: []string{env}}, {Key: "no.such", Texts: args},
		})
		c, faults := Read(Source{File: "x", Text: []byte(text), Env: []string{"HOME=/root"}})
		if got := c.ArgValues("x"); !slices.Equal(got, strings.Split(strings.Join(args, ","), ",")) || c.Etcd.Env["V"] != env || c.Cluster.User != env {
			t.Fatalf("%q, %q and %q are %q, %q and %q: %v", args, env, env, got, c.Etcd.Env["V"], c.Cluster.User, faults)
		}
	})
}

func TestReadPlain(t *testing.T) {
	got, faults := ReadPlain("x", []byte("a: 1\nb:\n  c: [x, 'y']\n  d:\n"))
	want := []PlainEntry{{"a", []string{"1"}, 1}, {"b.c", []string{"x", "y"}, 3}, {"b.d", nil, 4}}
	if len(faults) > 0 || !slices.EqualFunc(got, want, func(a, b PlainEntry) bool {
		return a.Path == b.Path && a.Line == b.Line && slices.Equal(a.Values, b.Values)
	}) {
		t.Errorf("got %+v, %v", got, faults)
	}
	if _, faults := ReadPlain("x", []byte("- a\n- b\n")); len(faults) != 1 {
		t.Errorf("a list: %v", faults)
	}
}
