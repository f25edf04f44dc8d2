package logread

import (
	"bytes"
	"time"
)

// Parse takes one line apart, whatever it is. Times without a zone are taken to be in loc. A line without a
// head of its own has neither level nor time here; in a stream it shares those of the entry before it.
func Parse(raw []byte, loc *time.Location) Entry {
	h := classify(body(raw), loc)
	return Line{Raw: raw, Kind: h.kind, Level: h.level, Time: h.time}.parse(h.text)
}

// Entry takes the line apart. It copies: the entry stays valid except for Raw.
func (l Line) Entry() Entry {
	text := body(l.Raw)
	if l.Kind != KindMore {
		text = classify(text, time.UTC).text
	}
	return l.parse(text)
}

// parse fills an entry from what follows the line's prefix.
func (l Line) parse(text []byte) Entry {
	e := Entry{Line: l}
	switch l.Kind {
	case KindJSON, KindGap:
		e.fromJSON(text)
	case KindConsole:
		e.fromConsole(text)
	case KindCapnslog:
		e.fromCapnslog(text)
	case KindRaft:
		e.Logger, e.Msg = "raft", string(text)
	case KindStdlog:
		if len(text) > 0 && text[0] == '[' {
			e.Logger = "grpc"
		}
		e.Msg = string(text)
	default:
		e.Msg = string(text)
	}
	return e
}

func (e *Entry) fromJSON(b []byte) {
	own := ownKeys{}
	whole := walkObject(b, func(key, value []byte) bool {
		if name := unquote(key); !own.take(e, name, value) {
			e.Fields = append(e.Fields, fieldOf(name, value))
		}
		return true
	})
	if !whole || e.Cut {
		e.Broken = true
		e.Msg = string(b)
	}
}

// ownKeys remembers which of zap's own keys were seen: only the first of each is the entry's, a second one is a
// field like any other.
type ownKeys struct{ level, time, logger, caller, msg bool }

func (o *ownKeys) take(e *Entry, key string, value []byte) bool {
	if isTimeKey(key) {
		_, ok := jsonTime(value)
		return ok && first(&o.time)
	}
	if value[0] != '"' {
		return false
	}
	switch {
	case key == "level" && levelOf(plain(value)) != LevelUnknown:
		return first(&o.level)
	case key == "logger" && first(&o.logger):
		e.Logger = unquote(value)
	case key == "caller" && first(&o.caller):
		e.Caller = unquote(value)
	case key == "msg" && first(&o.msg):
		e.Msg = unquote(value)
	default:
		return false
	}
	return true
}

func first(seen *bool) bool {
	was := *seen
	*seen = true
	return !was
}

func fieldOf(key string, value []byte) Field {
	if value[0] == '"' {
		return Field{Key: key, Value: unquote(value), Text: true}
	}
	return Field{Key: key, Value: compactJSON(value)}
}

func isTimeKey(key string) bool { return key == "ts" || key == "time" || key == "timestamp" }

// fromConsole reads "[logger\t]caller\ttext[\t{…}]"; a text with tabs in it stays together.
func (e *Entry) fromConsole(b []byte) {
	parts := bytes.Split(b, []byte{'\t'})
	if len(parts) > 1 && !isCaller(parts[0]) && isCaller(parts[1]) {
		e.Logger, parts = string(parts[0]), parts[1:]
	}
	if len(parts) > 1 && isCaller(parts[0]) {
		e.Caller, parts = string(parts[0]), parts[1:]
	}
	if last := parts[len(parts)-1]; len(parts) > 1 && len(last) > 0 && last[0] == '{' && e.consoleFields(last) {
		parts = parts[:len(parts)-1]
	}
	e.Msg = string(bytes.Join(parts, []byte{'\t'}))
}

func (e *Entry) consoleFields(b []byte) bool {
	var fields []Field
	whole := walkObject(b, func(key, value []byte) bool {
		fields = append(fields, fieldOf(unquote(key), value))
		return true
	})
	if whole {
		e.Fields = fields
	}
	return whole
}

// isCaller knows "etcdmain/etcd.go:134".
func isCaller(b []byte) bool {
	i := bytes.LastIndex(b, []byte(".go:"))
	if i <= 0 || bytes.IndexByte(b, ' ') >= 0 {
		return false
	}
	_, ok := digits(b[i+len(".go:"):])
	return ok
}

// fromCapnslog reads "etcdserver: text".
func (e *Entry) fromCapnslog(b []byte) {
	if pkg, text, ok := bytes.Cut(b, []byte(": ")); ok && len(pkg) > 0 && bytes.IndexByte(pkg, ' ') < 0 {
		e.Logger, e.Msg = string(pkg), string(text)
		return
	}
	e.Msg = string(b)
}
