package hostconf

import (
	"regexp"
	"strings"
	"sync"
)

// What only a shell could tell stands in a value as a mark, so that it is seen wherever the value ends up: in it are what
// was written there, and why that is not known, both moved to a plane that no text uses, out of reach of word splitting.
const (
	markBegin, markMiddle, markEnd = '\U000F0000', '\U000F0001', '\U000F0002'
	markShift                      = 0x100000
)

var marks = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\x{F0000}([^\x{F0001}]*)\x{F0001}([^\x{F0002}]*)\x{F0002}`)
})

// unknownValue is the mark for a value that cannot be told.
func unknownValue(says, why string) string {
	return string(markBegin) + shift(readable(says)) + string(markMiddle) + shift(readable(why)) + string(markEnd)
}

func shift(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0xFFFE {
			r = '?'
		}
		return r + markShift
	}, text)
}

func unshift(text string) string {
	return strings.Map(func(r rune) rune { return r - markShift }, text)
}

// withoutMarks takes out of a source what could pass for a mark.
func withoutMarks(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= markBegin {
			return '?'
		}
		return r
	}, text)
}

func hasUnknown(text string) bool { return strings.ContainsRune(text, markBegin) }

// readable has what was written there in place of marks.
func readable(text string) string {
	if !hasUnknown(text) {
		return text
	}
	return marks().ReplaceAllStringFunc(text, func(m string) string { return unshift(marks().FindStringSubmatch(m)[1]) })
}

// whyUnknown is the reason of the first mark.
func whyUnknown(text string) string {
	if m := marks().FindStringSubmatch(text); m != nil {
		return unshift(m[2])
	}
	return "only the shell can tell what stands here"
}

// unknown says why a value cannot be told, if it cannot.
func unknown(text string) (why string, is bool) {
	if !hasUnknown(text) {
		return "", false
	}
	return whyUnknown(text), true
}
