package logread

import (
	"bytes"
	"encoding/json"
	"strings"
)

// walkObject calls member for each member of the JSON object that b starts with, with key and value as they
// are written, until member returns false. It is true if b is exactly one object, read to its end: a line that
// was torn, or two that were glued together, are not, and what was made out of them has been visited.
func walkObject(b []byte, member func(key, value []byte) bool) bool {
	if len(b) == 0 || b[0] != '{' {
		return false
	}
	i := skipSpace(b, 1)
	if i < len(b) && b[i] == '}' {
		return skipSpace(b, i+1) == len(b)
	}
	for {
		key := i
		if i = skipString(b, i); i < 0 {
			return false
		}
		colon := skipSpace(b, i)
		if colon >= len(b) || b[colon] != ':' {
			return false
		}
		value := skipSpace(b, colon+1)
		end := skipValue(b, value)
		if end < 0 {
			return false
		}
		if !member(b[key:i], b[value:end]) {
			return true
		}
		i = skipSpace(b, end)
		switch {
		case i < len(b) && b[i] == ',':
			i = skipSpace(b, i+1)
		case i < len(b) && b[i] == '}':
			return skipSpace(b, i+1) == len(b)
		default:
			return false
		}
	}
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// skipString returns the place after the string that starts at i, or -1.
func skipString(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// skipValue returns the place after the value that starts at i, or -1 if it is none or has no end.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	var end int
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		end = skipNested(b, i)
	default:
		// A number or a word is only known to be whole if something follows it.
		if end = i + bytes.IndexAny(b[i:], ",}] \t\r\n"); end < i {
			return -1
		}
	}
	if end < 0 || !json.Valid(b[i:end]) {
		return -1
	}
	return end
}

func skipNested(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = skipString(b, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		i++
		if depth == 0 {
			return i
		}
	}
	return -1
}

// unquote is the text of a JSON string. One with bad escapes stays as it was written: never a reason to fail.
func unquote(raw []byte) string {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return string(inner)
	}
	return s
}

// plain is unquote without the copy, for keys and words that are compared and thrown away.
func plain(raw []byte) []byte {
	if len(raw) >= 2 && raw[0] == '"' {
		return raw[1 : len(raw)-1]
	}
	return nil
}

// compactJSON takes the white space out of a value that is known to be valid.
func compactJSON(raw []byte) string {
	if !bytes.ContainsAny(raw, " \t\r\n") {
		return string(raw)
	}
	var out bytes.Buffer
	if json.Compact(&out, raw) != nil {
		return strings.TrimSpace(string(raw))
	}
	return out.String()
}
