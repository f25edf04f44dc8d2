package logread

import (
	"strconv"
	"time"
)

// appendJSON appends an entry as one object: time (UTC), level, kind, logger, caller, msg, fields; raw in place
// of msg for what is no entry of its own or could not be read to its end. What is unknown is left out.
func appendJSON(out []byte, e *Entry) []byte {
	out = append(out, '{')
	if !e.Time.IsZero() {
		out = appendMember(out, "time", e.Time.UTC().Format(time.RFC3339Nano))
	}
	if e.Level != LevelUnknown {
		out = appendMember(out, "level", e.Level.String())
	}
	out = appendMember(out, "kind", e.Kind.String())
	if e.Logger != "" {
		out = appendMember(out, "logger", e.Logger)
	}
	if e.Caller != "" {
		out = appendMember(out, "caller", e.Caller)
	}
	if e.Kind == KindMore || e.Broken {
		out = appendMember(out, "raw", e.Msg)
	} else {
		out = appendMember(out, "msg", e.Msg)
		out = appendFields(out, e.Fields)
	}
	if e.Cut {
		out = append(out, `,"cut":true`...)
	}
	return append(out, '}')
}

func appendMember(out []byte, key, value string) []byte {
	return appendJSONString(appendKey(out, key), value)
}

func appendKey(out []byte, key string) []byte {
	if out[len(out)-1] != '{' {
		out = append(out, ',')
	}
	return append(appendJSONString(out, key), ':')
}

func appendFields(out []byte, fields []Field) []byte {
	if len(fields) == 0 {
		return out
	}
	names := newKeyNames(fields)
	out = append(appendKey(out, "fields"), '{')
	for _, f := range fields {
		out = appendKey(out, names.next(f.Key))
		if f.Text {
			out = appendJSONString(out, f.Value)
		} else {
			out = appendSafeJSON(out, f.Value)
		}
	}
	return append(out, '}')
}

// keyNames gives a key that comes again a number that makes it no other's: most readers of JSON would keep only
// one of two that are the same. It counts how often each key was given out.
type keyNames map[string]int

func newKeyNames(fields []Field) keyNames {
	names := keyNames{}
	for _, f := range fields {
		names[f.Key] = 0
	}
	return names
}

func (k keyNames) next(key string) string {
	for {
		k[key]++
		if k[key] == 1 {
			return key
		}
		name := key + "#" + strconv.Itoa(k[key])
		if _, taken := k[name]; !taken {
			return name
		}
	}
}
