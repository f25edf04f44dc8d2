package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// A sealed line is one JSON object whose first member is a check over all bytes behind it:
//
//	{"crc":"1c45a069","n":3,…}
//
// The check is made of the very bytes of the file, so no two spellings of the same JSON are taken for each other.

// seal encodes v, which must be a JSON object with at least one member, as a line with its end.
func seal(member string, v any, check func(rest []byte) string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // people read it
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	rest := b.Bytes()[1:] // behind the brace, with the line end that the encoder put there
	return fmt.Appendf(nil, `{"%s":"%s",%s`, member, check(rest[:len(rest)-1]), rest), nil
}

// unseal takes a line without its end apart; ok is false where it has not the form of a sealed one. Whether the check
// is right is for the caller to see.
func unseal(member string, digits int, line []byte) (check string, rest []byte, ok bool) {
	line, ok = bytes.CutPrefix(line, []byte(`{"`+member+`":"`))
	if !ok || len(line) < digits {
		return "", nil, false
	}
	check = string(line[:digits])
	rest, ok = bytes.CutPrefix(line[digits:], []byte(`",`))
	return check, rest, ok
}

// joined reports whether a line has the beginning of another one in it: then its end was lost after it had been
// written, for within a line's strings the quotes are escaped.
func joined(member string, line []byte) bool {
	return bytes.LastIndex(line, []byte(`{"`+member+`":"`)) > 0
}
