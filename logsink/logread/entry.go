package logread

import "time"

// Kind is the form in which a line was written.
type Kind uint8

// The forms.
const (
	KindMore     Kind = iota // no head of its own: continues the entry before it
	KindJSON                 // zap's JSON encoder
	KindConsole              // zap's console encoder: fields separated by tabs
	KindCapnslog             // 3.4's default
	KindRaft                 // raft's own lines beside capnslog
	KindStdlog               // Go's log package: gRPC and net/http
	KindCrash                // the first line of a panic, a runtime fault or a stack dump
	KindText                 // printed before there is a logger, such as a flag error
	KindGap                  // etcdsup's marker for output that it had to drop
)

var kindNames = [...]string{"more", "json", "console", "capnslog", "raft", "stdlog", "crash", "text", "gap"}

func (k Kind) String() string { return kindNames[k] }

// Line is one line of the stream with what its head says.
type Line struct {
	Raw   []byte    // as written, newline included; valid only until the next line is asked for
	Kind  Kind      // KindMore also where nobody needed to know, see Options.Plain
	Level Level     // of the entry that it belongs to
	Time  time.Time // of the entry that it belongs to; zero: none was seen yet
	Cut   bool      // longer than MaxLine: goes on in the next Line
	Piece bool      // continues a line that was cut
}

// Entry is a line taken apart.
type Entry struct {
	Line
	Logger string // "raft", "etcdserver", …; often empty
	Caller string // file:line
	Msg    string
	Fields []Field // in the order in which they were written
	Broken bool    // torn, glued or cut: Msg is the whole line as it was written, Fields are what could be made out
}

// Field is one key of an entry with its value.
type Field struct {
	Key   string
	Value string // the text of a string; JSON for everything else
	Text  bool   // Value is the text of a string
}
