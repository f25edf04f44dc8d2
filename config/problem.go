package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Problem is one fault of the configuration: where it is, what is wrong, and what to do about it.
type Problem struct {
	File    string `json:"file,omitempty"`   // as it was named; empty: the fault stands in no file
	Line    int    `json:"line,omitempty"`   // from 1; 0: no file
	Column  int    `json:"column,omitempty"` // from 1, in characters; it points into Excerpt
	Source  string `json:"source,omitempty"` // the variable or flag, where it is no file
	Key     string `json:"key,omitempty"`    // such as log.max_size or etcd.args.name
	What    string `json:"what"`             // "cannot …: why"
	Remedy  string `json:"remedy"`           // what to do
	Excerpt string `json:"excerpt,omitempty"`
	Width   int    `json:"width,omitempty"` // characters under which the caret goes
}

// Error is the problem in one line, without its remedy. What a user's file says in it cannot steer a terminal.
func (p Problem) Error() string {
	if where := p.where(); where != "" {
		return printable(where + ": " + p.What)
	}
	return printable(p.What)
}

func (p Problem) where() string {
	switch {
	case p.File != "" && p.Line > 0:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	case p.File != "":
		return p.File
	}
	return p.Source
}

// Pretty is the problem for people: where and what, the line with a caret under the fault, and the remedy.
func (p Problem) Pretty() string {
	var b strings.Builder
	b.WriteString(p.Error())
	b.WriteByte('\n')
	if p.Excerpt != "" || p.Line > 0 {
		p.writeExcerpt(&b)
	}
	if p.Remedy != "" {
		b.WriteString("  → " + printable(p.Remedy) + "\n")
	}
	return b.String()
}

func (p Problem) writeExcerpt(b *strings.Builder) {
	number := ""
	if p.Line > 0 {
		number = fmt.Sprint(p.Line, " ")
	}
	line, column := window([]rune(p.Excerpt), p.Column)
	margin := strings.Repeat(" ", len(number))
	fmt.Fprintf(b, "  %s| %s\n", number, string(line))
	width := max(1, min(p.Width, len(line)-column+1))
	fmt.Fprintf(b, "  %s| %s%s\n", margin, padding(line, column-1), strings.Repeat("^", width))
}

// maxExcerpt is how many characters of a line are shown; more would wrap and misplace the caret.
const maxExcerpt = 120

// window cuts a long line around the column and says where the column is then.
func window(line []rune, column int) ([]rune, int) {
	column = max(1, min(column, len(line)+1))
	if len(line) <= maxExcerpt {
		return line, column
	}
	from := max(0, min(column-1-maxExcerpt/2, len(line)-maxExcerpt))
	return line[from : from+maxExcerpt], column - from
}

// padding is as wide on a terminal as the first n characters of line: tabs stay tabs.
func padding(line []rune, n int) string {
	var b strings.Builder
	for _, r := range line[:min(n, len(line))] {
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// printable replaces what would steer a terminal: an excerpt shows a file that may come from anywhere.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, line)
}

// Problems are all faults that were found, in the order of the file's lines; those without a file come last.
type Problems []Problem

// Error names every fault, each in its own line after the first sentence.
func (ps Problems) Error() string {
	if len(ps) == 1 {
		return "cannot use the configuration: " + ps[0].Error()
	}
	lines := make([]string, 0, len(ps)+1)
	lines = append(lines, fmt.Sprintf("cannot use the configuration: %d faults", len(ps)))
	for _, p := range ps {
		lines = append(lines, "  "+p.Error())
	}
	return strings.Join(lines, "\n")
}

// Pretty is every problem for people, an empty line between two.
func (ps Problems) Pretty() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.Pretty()
	}
	return strings.Join(texts, "\n")
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(b2i(a.File == ""), b2i(b.File == "")),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Source, b.Source), cmp.Compare(a.Key, b.Key),
		)
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// unfit is why a value cannot be taken, with a remedy of its own.
type unfit struct{ why, remedy string }

func (u unfit) Error() string { return u.why }
