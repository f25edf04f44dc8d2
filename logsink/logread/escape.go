package logread

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A log holds what strangers sent to etcd: keys, user names, certificate subjects. On a terminal it must not be
// able to move the cursor, recolour, retitle or reorder, so everything that is not plainly printable is shown as
// an escape: control characters, the C1 ones, invalid UTF-8, bidirectional and other invisible marks.

// appendSafe appends s with everything escaped that is not printable.
func appendSafe(out []byte, s string) []byte {
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f {
			out = append(out, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		out = appendRune(out, r, s[i:i+n])
		i += n
	}
	return out
}

func appendRune(out []byte, r rune, raw string) []byte {
	switch {
	case r == '\n':
		return append(out, `\n`...)
	case r == '\r':
		return append(out, `\r`...)
	case r == '\t':
		return append(out, `\t`...)
	case r == utf8.RuneError && len(raw) == 1, r < utf8.RuneSelf && !unicode.IsPrint(r):
		return append(out, '\\', 'x', hex[raw[0]>>4], hex[raw[0]&15])
	case unicode.IsPrint(r):
		return append(out, raw...)
	}
	return append(out, strings.Trim(strconv.QuoteRuneToASCII(r), "'")...)
}

const hex = "0123456789abcdef"

// appendValue appends a field's value: bare if nobody could misread it, else in quotes.
func appendValue(out []byte, f Field) []byte {
	if !f.Text || isBare(f.Value) {
		return appendSafe(out, f.Value)
	}
	out = append(out, '"')
	for i, part := range strings.Split(f.Value, `"`) {
		if i > 0 {
			out = append(out, `\"`...)
		}
		out = appendSafe(out, part)
	}
	return append(out, '"')
}

// isBare says whether a text can stand without quotes: no space, nothing that ends or begins a value, and not
// to be taken for JSON.
func isBare(s string) bool {
	if s == "" || s[0] == '{' || s[0] == '[' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r == '"' || r == '=' || unicode.IsSpace(r) || !unicode.IsPrint(r) || r == utf8.RuneError
	})
}

// appendJSONString appends s as a JSON string in which everything is escaped that is not printable. Bytes that
// are no UTF-8 become U+FFFD: JSON has no place for them.
func appendJSONString(out []byte, s string) []byte {
	out = append(out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r >= ' ' && r < 0x7f || r > 0x7f && unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\t':
			out = append(out, `\t`...)
		default:
			out = appendUnit(out, r)
		}
	}
	return append(out, '"')
}

// appendUnit appends \uXXXX, two of them beyond the first plane.
func appendUnit(out []byte, r rune) []byte {
	if r > 0xffff {
		r -= 0x10000
		out = appendUnit(out, 0xd800+r>>10)
		r = 0xdc00 + r&0x3ff
	}
	return append(out, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// appendSafeJSON appends JSON that is known to be valid; what is not printable stands within its strings, where
// an escape means the same.
func appendSafeJSON(out []byte, s string) []byte {
	for _, r := range s {
		if r < 0x7f || r > 0x7f && unicode.IsPrint(r) {
			out = utf8.AppendRune(out, r)
		} else {
			out = appendUnit(out, r)
		}
	}
	return out
}
