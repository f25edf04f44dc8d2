package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// printJSON writes v as one indented document.
func (g *globals) printJSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode the answer: %w", err)
	}
	return g.print(string(b) + "\n")
}

// printJSONLine writes v on a line of its own.
func (g *globals) printJSONLine(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode the answer: %w", err)
	}
	return g.print(string(b) + "\n")
}

func (g *globals) print(text string) error {
	if _, err := io.WriteString(g.out, text); err != nil {
		return cannotPrint(err)
	}
	return nil
}

// cannotPrint says that the answer did not reach whoever asked.
func cannotPrint(err error) error {
	return failf(exitFailure, "", "cannot write to standard output: %w", err)
}

func (g *globals) json() bool { return g.output == outputJSON }

// isTerminal tells whether w is a terminal that a person looks at.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// width is how many columns the terminal has; 80 where it does not say.
func width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
	}
	return 80
}

// height is how many lines the terminal has; 24 where it does not say.
func height(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Row > 0 {
			return int(size.Row)
		}
	}
	return 24
}

// palette colours words where a person sees them: on a terminal, without NO_COLOR and TERM=dumb.
type palette struct{ on bool }

func (g *globals) palette(w io.Writer) palette {
	return palette{isTerminal(w) && g.getenv("NO_COLOR") == "" && g.getenv("TERM") != "dumb"}
}

func (p palette) paint(code, text string) string {
	if !p.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p palette) good(text string) string  { return p.paint("32", text) }
func (p palette) warn(text string) string  { return p.paint("33", text) }
func (p palette) bad(text string) string   { return p.paint("31", text) }
func (p palette) faint(text string) string { return p.paint("2", text) }

// table aligns rows of cells in columns, the first row being the heads.
func table(rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // a strings.Builder takes all
	return trimLines(b.String())
}

func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

// clip cuts text to n columns, with an ellipsis where something is missing.
func clip(text string, n int) string {
	if n <= 0 || utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}

// dash stands for nothing in a table.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// printableLines is printable for a text of several lines.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n")
}

// printable takes away what would steer a terminal: etcd's words may hold what a client sent it.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}
