package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzLoad: whatever stands in the file, Load returns; each fault names a place that exists; and a Config that comes out
// without faults says the same when it is written out and loaded again.
func FuzzLoad(f *testing.F) {
	f.Add(Example())
	for _, text := range faultyFiles {
		file, _ := marked(text)
		f.Add(file)
	}
	for _, text := range []string{"", "\xff\xfe", "a: &x [*x]", "{", "? a\n: b", "etcd: {args: {name: [a, b], \"\": x}}", "log: {dir: /a}\n\r\n...\n---\n", "etcd:\n env:\n  \x1b:", "|\n", "--- |\n\n", strings.Repeat("[", 500)} {
		f.Add(text)
	}
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		name := filepath.Join(folder, "f.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(asRoot(name))
		lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
		for _, p := range problemsOf(t, err) {
			checkPlace(t, p, lines)
		}
		if err == nil {
			checkAgain(t, c)
		}
	})
}

func checkPlace(t *testing.T, p Problem, lines []string) {
	if p.Remedy == "" || p.What == "" {
		t.Errorf("no remedy: %+v", p)
	}
	if p.File == "" {
		return
	}
	if p.Line < 1 || p.Line > len(lines) {
		t.Fatalf("line %d of %d: %+v", p.Line, len(lines), p)
	}
	if p.Column < 1 || p.Column > utf8.RuneCountInString(lines[p.Line-1])+1 {
		t.Fatalf("column %d of %q: %+v", p.Column, lines[p.Line-1], p)
	}
	if pretty := p.Pretty(); !strings.Contains(pretty, "^") || strings.ContainsAny(pretty, "\x00\x1b") {
		t.Fatalf("%q", pretty)
	}
}

func checkAgain(t *testing.T, c *Config) {
	src := asRoot("")
	for name, v := range c.plain() {
		if v.text != "" {
			src.Overrides = append(src.Overrides, name+"="+v.text)
		}
	}
	again, err := Load(src)
	if err != nil {
		t.Fatalf("cannot load again: %v", err)
	}
	if live, restart := Changed(c, again); len(live)+len(restart) > 0 && !hasEmptyEntry(c) {
		t.Fatalf("loaded again, %v %v differ", live, restart)
	}
}

// hasEmptyEntry: an empty value of a flag or variable is legal in a file.
func hasEmptyEntry(c *Config) bool {
	for _, v := range c.plain() {
		if v.text == "" && v.given {
			return true
		}
	}
	return false
}
