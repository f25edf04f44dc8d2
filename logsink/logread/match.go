package logread

import (
	"bytes"
	"regexp"
	"regexp/syntax"
)

// matcher is a regular expression with a cheaper question in front of it: bytes that every match must contain.
// Go's engine looks at each byte with far more care than a search for a word does, and almost every line of a
// log fails the word.
type matcher struct {
	re    *regexp.Regexp
	words []word // a match contains at least one of them; empty: nothing is known
	exact bool   // containing one of them is a match
}

// word is a literal part of an expression.
type word struct {
	text []byte
	fold bool // ASCII upper and lower case are one; text is lower then
}

// maxWords is how many searches cost less than running the expression.
const maxWords = 6

func newMatcher(re *regexp.Regexp) *matcher {
	m := &matcher{re: re}
	tree, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return m // a POSIX expression: no short cut
	}
	m.words, m.exact = required(tree.Simplify())
	return m
}

func (m *matcher) match(line []byte) bool {
	if len(m.words) == 0 {
		return m.re.Match(line)
	}
	for i := range m.words {
		if m.words[i].in(line) {
			return m.exact || m.re.Match(line)
		}
	}
	return false
}

// required finds the words of which a match must contain one, and whether that is all that it asks for.
func required(re *syntax.Regexp) (words []word, exact bool) {
	switch re.Op {
	case syntax.OpLiteral:
		return literal(re)
	case syntax.OpCapture:
		return required(re.Sub[0])
	case syntax.OpPlus:
		return required(re.Sub[0]) // x+ is found where x is
	case syntax.OpConcat:
		return best(re.Sub), false
	case syntax.OpAlternate:
		return anyOf(re.Sub)
	}
	return nil, false
}

// best is the part of a concatenation that is the rarest guess: the one whose shortest word is the longest.
func best(parts []*syntax.Regexp) (found []word) {
	length := 0
	for _, sub := range parts {
		words, _ := required(sub)
		if n := shortest(words); n > length {
			found, length = words, n
		}
	}
	return found
}

func anyOf(parts []*syntax.Regexp) (all []word, exact bool) {
	exact = true
	for _, sub := range parts {
		words, whole := required(sub)
		if len(words) == 0 || len(all)+len(words) > maxWords {
			return nil, false
		}
		all = append(all, words...)
		exact = exact && whole
	}
	return all, exact
}

func shortest(words []word) (n int) {
	for i, w := range words {
		if i == 0 || len(w.text) < n {
			n = len(w.text)
		}
	}
	return n
}

// literal turns a literal into a word. Without case only a run of ASCII letters serves, and none with k or s:
// those two also match a letter beyond ASCII each (the Kelvin sign and the long s).
func literal(re *syntax.Regexp) (words []word, exact bool) {
	if re.Flags&syntax.FoldCase == 0 {
		return []word{{text: []byte(string(re.Rune))}}, true
	}
	var longest, run []byte
	for _, r := range re.Rune {
		c := lower(byte(r))
		if r >= 0x80 || c == 'k' || c == 's' {
			run = nil
			continue
		}
		if run = append(run, c); len(run) > len(longest) {
			longest = bytes.Clone(run)
		}
	}
	if len(longest) == 0 {
		return nil, false
	}
	return []word{{text: longest, fold: true}}, len(longest) == len(re.Rune)
}

func (w *word) in(line []byte) bool {
	if !w.fold {
		return bytes.Contains(line, w.text)
	}
	for i := 0; i+len(w.text) <= len(line); i++ {
		if lower(line[i]) == w.text[0] && hasFold(line[i:], w.text) {
			return true
		}
	}
	return false
}

func hasFold(b, text []byte) bool {
	for i, c := range text {
		if lower(b[i]) != c {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
