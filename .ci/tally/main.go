// Command tally reads what go test -json writes: it prints each package's closing line as it comes, then the slowest tests
// and the sums, and at the very end everything that a failed test said and the first lines of it again: whoever reads only
// the last lines of a record knows why. It fails when a test failed or was skipped, or when none ran.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// of is the name under which what is said is kept: of a test, or of a package outside of its tests.
func (e event) of() string { return strings.TrimSpace(e.Package + " " + e.Test) }

type result struct {
	name    string
	seconds float64
}

// failure is a test, or a package beside its tests, and what it said.
type failure struct {
	name   string
	output []string
}

type tally struct {
	output  map[string][]string // by name, of what has not ended
	count   map[string]int      // by action
	failed  []failure
	skipped []string
	slow    []result
	broken  bool // a package failed outside of its tests, or the input could not be read
}

func main() {
	t := &tally{output: map[string][]string{}, count: map[string]int{}}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		var e event
		if json.Unmarshal(in.Bytes(), &e) != nil {
			fmt.Println(in.Text()) // what the compiler says
			continue
		}
		t.take(e)
	}
	if in.Err() != nil {
		fmt.Println("cannot read the events:", in.Err())
		t.broken = true
	}
	if !t.close() {
		os.Exit(1)
	}
}

func (t *tally) take(e event) {
	switch e.Action {
	case "output":
		t.output[e.of()] = append(t.output[e.of()], e.Output)
	case "build-output":
		fmt.Print(e.Output)
	case "build-fail":
		t.broken = true
	case "pass", "fail", "skip":
		t.end(e, t.output[e.of()])
		delete(t.output, e.of())
	}
}

func (t *tally) end(e event, output []string) {
	if e.Test == "" {
		t.endPackage(e, output)
		return
	}
	t.count[e.Action]++
	t.slow = append(t.slow, result{e.of(), e.Elapsed})
	switch e.Action {
	case "fail":
		t.failed = append(t.failed, failure{e.of(), output})
	case "skip":
		t.skipped = append(t.skipped, e.Package+" "+strings.TrimSpace(strings.Join(output, "")))
	}
}

// endPackage prints the closing line. Where the package failed, the tests that have not ended failed with it, as with a
// panic or when its time is over, and what stands outside of tests is kept.
func (t *tally) endPackage(e event, output []string) {
	if len(output) > 0 {
		fmt.Print(output[len(output)-1])
	}
	if e.Action != "fail" {
		return
	}
	t.broken = true
	for name, lines := range t.output {
		if strings.HasPrefix(name, e.Package+" ") {
			t.failed = append(t.failed, failure{name + " (never ended)", lines})
			delete(t.output, name)
		}
	}
	if len(output) > 2 { // more than the words for the failure of its tests
		t.failed = append(t.failed, failure{e.of(), output})
	}
}

func (t *tally) close() bool {
	slices.SortFunc(t.slow, func(a, b result) int { return cmp.Compare(b.seconds, a.seconds) })
	fmt.Println("\nslowest:")
	for _, r := range t.slow[:min(10, len(t.slow))] {
		fmt.Printf("  %8v  %s\n", time.Duration(r.seconds*float64(time.Second)).Round(10*time.Millisecond), r.name)
	}
	for _, s := range t.skipped {
		fmt.Println("skipped:", s)
	}
	for _, f := range t.failed {
		f.show()
	}
	fmt.Printf("\n%d passed, %d failed, %d skipped\n", t.count["pass"], t.count["fail"], t.count["skip"])
	for _, f := range t.failed {
		fmt.Printf("failed: %s\n", f.name)
		for _, word := range f.words() {
			fmt.Printf("    %s\n", word)
		}
	}
	return !t.broken && t.count["pass"] > 0 && t.count["fail"]+t.count["skip"] == 0
}

// Of what a failed test said, the beginning and the end are shown: some show all that their processes wrote.
const fromBegin, fromEnd = 100, 200

func (f failure) show() {
	fmt.Printf("\n---- %s ----\n", f.name)
	if n := len(f.output) - fromBegin - fromEnd; n > 0 {
		fmt.Print(strings.Join(f.output[:fromBegin], ""))
		fmt.Printf("    ... %d lines ...\n", n)
		f.output = f.output[len(f.output)-fromEnd:]
	}
	fmt.Print(strings.Join(f.output, ""))
}

// words are the telling lines: a panic's, or the first few that a test's own source gave.
func (f failure) words() []string {
	var words []string
	for _, line := range f.output {
		line = strings.TrimSpace(line)
		at, _, _ := strings.Cut(line, ": ")
		switch {
		case strings.HasPrefix(line, "panic: "):
			return []string{line}
		case len(words) < mostWords && strings.Contains(at, "_test.go:") && !strings.Contains(at, " "):
			words = append(words, clip(line))
		}
	}
	return words
}

const mostWords = 6

func clip(line string) string {
	if r := []rune(line); len(r) > 400 {
		return string(r[:400]) + "…"
	}
	return line
}
