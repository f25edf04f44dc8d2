package logread

import (
	"bytes"
	"time"
)

// head is what the start of a line says.
type head struct {
	kind  Kind
	level Level
	time  time.Time
	text  []byte // what follows the prefix; the whole line where there is none
}

// body is a line without its newline. NUL bytes before it are what a power cut leaves where a block was
// allocated but never written; the line after them is whole.
func body(raw []byte) []byte {
	raw = bytes.TrimSuffix(raw, []byte{'\n'})
	raw = bytes.TrimSuffix(raw, []byte{'\r'})
	if len(raw) > 0 && raw[0] == 0 {
		raw = bytes.TrimLeft(raw, "\x00")
	}
	return raw
}

// classify reads the head of a line, given as body returns it. Formats without a zone are in loc: etcd writes
// them in its host's local time.
func classify(b []byte, loc *time.Location) head {
	if len(b) == 0 {
		return head{text: b}
	}
	switch c := b[0]; {
	case c == '{':
		return classifyJSON(b)
	case c >= '0' && c <= '9':
		return classifyDated(b, loc)
	case c == 'r':
		if h := classifyRaft(b, loc); h.kind != KindMore {
			return h
		}
	case c == '\t' || c == ' ':
		return head{text: b}
	}
	return classifyText(b)
}

const (
	jsonLevel = `{"level":"`
	jsonTS    = `","ts":`
)

// classifyJSON takes the short way where level and ts come first, as zap writes them.
func classifyJSON(b []byte) head {
	if rest, ok := bytes.CutPrefix(b, []byte(jsonLevel)); ok {
		if i := bytes.IndexByte(rest, '"'); i >= 0 && bytes.HasPrefix(rest[i:], []byte(jsonTS)) {
			ts := rest[i+len(jsonTS):]
			if end := skipValue(ts, 0); end > 0 {
				if t, ok := jsonTime(ts[:end]); ok && levelOf(rest[:i]) != LevelUnknown {
					return withGap(head{KindJSON, levelOf(rest[:i]), t, b})
				}
			}
		}
	}
	return classifyAnyJSON(b)
}

// classifyAnyJSON finds level and time wherever they stand. An object without a level is no log entry.
func classifyAnyJSON(b []byte) head {
	h := head{text: b}
	walkObject(b, func(key, value []byte) bool {
		switch string(plain(key)) {
		case "level":
			if h.level == LevelUnknown {
				h.level = levelOf(plain(value))
			}
		case "ts", "time", "timestamp":
			if h.time.IsZero() {
				h.time, _ = jsonTime(value)
			}
		}
		return h.level == LevelUnknown || h.time.IsZero()
	})
	if h.level == LevelUnknown {
		return head{text: b}
	}
	h.kind = KindJSON
	return withGap(h)
}

const (
	gapLogger = `"logger":"etcdsup"`
	gapMsg    = `"msg":"log output dropped"`
)

// withGap tells etcdsup's marker in etcd's log from etcd's own lines.
func withGap(h head) head {
	if h.level == LevelWarn && bytes.Contains(h.text, []byte(gapLogger)) && bytes.Contains(h.text, []byte(gapMsg)) {
		h.kind = KindGap
	}
	return h
}

// classifyDated takes what starts with a year: capnslog, zap's console form, Go's log package.
func classifyDated(b []byte, loc *time.Location) head {
	if len(b) < 20 {
		return head{text: b}
	}
	switch {
	case b[4] == '-' && b[10] == ' ':
		return classifyCapnslog(b, loc)
	case b[4] == '-' && b[10] == 'T':
		return classifyConsole(b, loc)
	case b[4] == '/':
		return classifyStdlog(b, loc)
	}
	return head{text: b}
}

// classifyCapnslog reads "2026-11-22 15:37:49.474943 E | etcdserver: text".
func classifyCapnslog(b []byte, loc *time.Location) head {
	t, rest, ok := scanTime(b, '-', ' ', loc)
	if !ok || len(rest) < 4 || rest[0] != ' ' || string(rest[2:4]) != " |" {
		return head{text: b}
	}
	level := letterLevel(rest[1])
	if level == LevelUnknown {
		return head{text: b}
	}
	return head{KindCapnslog, level, t, bytes.TrimPrefix(rest[4:], []byte{' '})}
}

// classifyConsole reads "2026-11-22T15:47:18.976Z\tinfo\tcaller\ttext\t{…}".
func classifyConsole(b []byte, loc *time.Location) head {
	t, rest, ok := scanTime(b, '-', 'T', loc)
	if !ok || len(rest) < 2 || rest[0] != '\t' {
		return head{text: b}
	}
	word, text, _ := bytes.Cut(rest[1:], []byte{'\t'})
	level := levelOf(word)
	if level == LevelUnknown {
		return head{text: b}
	}
	return head{KindConsole, level, t, text}
}

// classifyRaft reads "raft2026/01/02 03:04:05 INFO: text".
func classifyRaft(b []byte, loc *time.Location) head {
	rest, ok := bytes.CutPrefix(b, []byte("raft"))
	if !ok {
		return head{text: b}
	}
	h := classifyStdlog(rest, loc)
	if h.kind == KindMore {
		return head{text: b}
	}
	h.kind = KindRaft
	return h
}

// classifyStdlog reads "2026/01/02 03:04:05 WARNING: [core] text". Without a word for the level it is
// net/http, which prints nothing but trouble: a warning.
func classifyStdlog(b []byte, loc *time.Location) head {
	t, rest, ok := scanTime(b, '/', ' ', loc)
	if !ok || len(rest) < 2 || rest[0] != ' ' {
		return head{text: b}
	}
	h := head{KindStdlog, LevelWarn, t, rest[1:]}
	if word, text, found := bytes.Cut(rest[1:], []byte(": ")); found && len(word) <= len("WARNING") {
		if level := levelOf(word); level != LevelUnknown {
			h.level, h.text = level, text
		}
	}
	return h
}

// textHeads are the beginnings of lines that open an entry of their own without saying when.
var textHeads = []struct {
	prefix []byte
	kind   Kind
	level  Level
}{
	{[]byte("panic: "), KindCrash, LevelPanic},
	{[]byte("fatal error: "), KindCrash, LevelPanic},
	{[]byte("fatal: "), KindCrash, LevelPanic}, // morestack on g0
	{[]byte("unexpected fault address "), KindCrash, LevelPanic},
	{[]byte("runtime: "), KindCrash, LevelPanic},
	{[]byte("runtime/cgo: "), KindCrash, LevelPanic},
	{[]byte("SIGQUIT: "), KindCrash, LevelPanic}, // the stack dump that was asked for
	{[]byte("SIGABRT: "), KindCrash, LevelPanic},
	{[]byte("SIGSEGV: "), KindCrash, LevelPanic},
	{[]byte("SIGBUS: "), KindCrash, LevelPanic},
	{[]byte("SIGILL: "), KindCrash, LevelPanic},
	{[]byte("SIGTRAP: "), KindCrash, LevelPanic},
	{[]byte("SIGFPE: "), KindCrash, LevelPanic},
	{[]byte("flag provided but not defined: "), KindText, LevelError},
	{[]byte("flag needs an argument: "), KindText, LevelError},
	{[]byte("invalid value "), KindText, LevelError},
	{[]byte("invalid boolean value "), KindText, LevelError},
	{[]byte("bad flag syntax: "), KindText, LevelError},
	{[]byte("error verifying flags, "), KindText, LevelError},
	{[]byte("[WARNING] "), KindText, LevelWarn},
	{[]byte("WARNING: "), KindText, LevelWarn},
}

func classifyText(b []byte) head {
	for i := range textHeads {
		if t := &textHeads[i]; b[0] == t.prefix[0] && bytes.HasPrefix(b, t.prefix) {
			return head{kind: t.kind, level: t.level, text: b}
		}
	}
	return head{text: b}
}
