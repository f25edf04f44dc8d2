package logread

import (
	"fmt"
	"strings"
)

// Level says how grave an entry is; a greater one is graver.
type Level uint8

// The levels, in zap's words. Unknown is that of lines before the first head.
const (
	LevelUnknown Level = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
	LevelDPanic
	LevelPanic
	LevelFatal
)

var levelNames = [...]string{"", "debug", "info", "warn", "error", "dpanic", "panic", "fatal"}

func (l Level) String() string { return levelNames[l] }

// Levels are the names that ParseLevel is documented to take, lightest first.
func Levels() []string { return levelNames[1:] }

// ParseLevel reads a level by its name; "warning", "err", "critical" and the like are understood too.
func ParseLevel(s string) (Level, error) {
	if l := levelOf([]byte(s)); l != LevelUnknown {
		return l, nil
	}
	return LevelUnknown, fmt.Errorf("cannot read level %q: it is none of %s", s, strings.Join(Levels(), ", "))
}

// levelOf knows every spelling that zap, raft, gRPC and people use.
func levelOf(word []byte) Level {
	switch string(word) {
	case "info", "INFO":
		return LevelInfo
	case "warn", "WARN", "WARNING":
		return LevelWarn
	case "error", "ERROR":
		return LevelError
	}
	switch strings.ToLower(string(word)) {
	case "trace", "debug":
		return LevelDebug
	case "info", "notice":
		return LevelInfo
	case "warn", "warning":
		return LevelWarn
	case "error", "err":
		return LevelError
	case "dpanic":
		return LevelDPanic
	case "panic":
		return LevelPanic
	case "fatal", "critical", "crit":
		return LevelFatal
	}
	return LevelUnknown
}

// letterLevel is capnslog's: Critical, Error, Warning, Notice, Info, Debug, Trace.
func letterLevel(c byte) Level {
	switch c {
	case 'C':
		return LevelFatal
	case 'E':
		return LevelError
	case 'W':
		return LevelWarn
	case 'N', 'I':
		return LevelInfo
	case 'D', 'T':
		return LevelDebug
	}
	return LevelUnknown
}
