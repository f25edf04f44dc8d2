package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// The kinds of audit entries.
const (
	KindCommand    = "command"    // somebody asked for something
	KindDecision   = "decision"   // etcdsup decided something, and why
	KindMembership = "membership" // a member was added, promoted, changed or removed
	KindStep       = "step"       // a step of a transition
	KindOutcome    = "outcome"    // how something ended
	KindHook       = "hook"       // a command of the configuration was run
	KindLog        = "log"        // the audit log itself: what was found when it was opened
)

// Entry is one line of the audit log. Hash is SHA-256, hexadecimal, over Prev and the bytes of the line behind the
// hash; Prev is that of the line before, zeros in the first.
type Entry = status.AuditEntry

// Self is etcdsup acting of itself.
func Self() status.Actor { return status.Actor{Daemon: true, UID: os.Getuid(), PID: os.Getpid()} }

// sealed is an entry as it is on its line: behind the hash, and not holding it.
type sealed struct {
	Seq   uint64            `json:"seq"`
	At    time.Time         `json:"at"`
	Actor status.Actor      `json:"actor"`
	Kind  string            `json:"kind"`
	Text  string            `json:"text"`
	Data  map[string]string `json:"data,omitempty"`
	Prev  string            `json:"prev"`
}

const (
	hashDigits = 2 * sha256.Size
	// auditLine bounds a line of the audit log, in bytes.
	auditLine = 64 << 10
)

// genesis is the hash before the first entry.
var genesis = strings.Repeat("0", hashDigits)

// chained is the hash of a line: SHA-256, hexadecimal, over the hash before it and the line's bytes behind its own.
func chained(prev string, rest []byte) string {
	h := sha256.New()
	h.Write([]byte(prev))
	h.Write(rest)
	return hex.EncodeToString(h.Sum(nil))
}

// decodeEntry reads a line without its end; ok says that it is as it was written, by its own hash.
func decodeEntry(line []byte) (e Entry, ok bool) {
	check, rest, ok := unseal("hash", hashDigits, line)
	if !ok || json.Unmarshal(line, &e) != nil || check != chained(e.Prev, rest) {
		return Entry{}, false
	}
	e.Hash = check
	return e, true
}

// Audit is the audit log of one instance: it only grows, and each entry is chained to the one before by its hash, so
// that [Verify] finds what was changed, taken out or moved. That somebody who can write the file made all of it anew,
// or cut entries off its end, is seen only by a hash that was noted elsewhere.
type Audit struct {
	path string

	mu   sync.Mutex
	tape tape
	seq  uint64
	head string
}

// OpenAudit opens the audit log for this process alone and goes on with its chain; a missing one is made. The error
// wraps [ErrLocked] when another process has it. Only the end of the file is looked at: an unfinished last line is cut
// off once it is kept beside the file, and where there is more than that to put right, the whole file is renamed and
// a new one begun, so that etcdsup is never without an audit log. Either is told by an entry of kind [KindLog].
func OpenAudit(path string) (*Audit, error) {
	a, err := openAudit(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open audit log %s: %w", path, err)
	}
	return a, nil
}

func openAudit(path string) (*Audit, error) {
	if err := makeDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, end, err := openEnd(path)
	if err != nil {
		return nil, err
	}
	var found *Entry
	switch {
	case end.problem != "":
		f, end, found, err = anew(path, f, end.problem)
	case len(end.torn) > 0:
		found, err = trim(path, f, end)
	}
	a := &Audit{path: path, tape: tape{f: f, size: end.whole}, seq: end.last.Seq, head: end.last.Hash}
	if err == nil && found != nil {
		_, err = a.Append(*found)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return a, nil
}

// anew renames a log that cannot be gone on with, while we still have its lock, and begins another.
func anew(path string, f *os.File, problem string) (*os.File, auditEnd, *Entry, error) {
	to, err := moveTo(path, path+".damaged-"+time.Now().UTC().Format(stamp))
	if err != nil {
		return f, auditEnd{}, nil, fmt.Errorf("cannot set aside the damaged one: %w", err)
	}
	f.Close()
	f, end, err := openEnd(path)
	return f, end, aboutLog("The audit log begins anew, for the former one could not be gone on with: "+problem+".", to), err
}

// trim cuts the unfinished line off.
func trim(path string, f *os.File, end auditEnd) (*Entry, error) {
	to, err := cut(f, path, end.whole, end.torn)
	return aboutLog("etcdsup had ended while an entry was being written: what is there of it was kept aside.", to), err
}

func aboutLog(text, kept string) *Entry {
	var data map[string]string
	if kept != "" {
		data = map[string]string{"kept": kept}
	}
	return &Entry{Actor: Self(), Kind: KindLog, Text: text, Data: data}
}

// Append writes an entry and returns it as it is in the log. It is on disk then; after an error it is not in the log.
// Seq, Prev and Hash are set here, and At when it is zero. Text that is not valid UTF-8 is mended.
//
// Where the file has been removed or replaced by another one, as an editor does, the entry goes into what is there under
// the name now, behind one of kind [KindLog] that tells of it. The chain goes on from the last entry that was written
// here, so that what is missing before it is found.
func (a *Audit) Append(e Entry) (Entry, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.followName()
	if err == nil {
		e, err = a.add(e)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("cannot add to audit log %s: %w", a.path, err)
	}
	return e, nil
}

// followName opens the file that has the log's name now, where that is another one. mu is held.
func (a *Audit) followName() error {
	if named, err := os.Stat(a.path); err == nil {
		if open, err := a.tape.f.Stat(); err != nil || os.SameFile(named, open) {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, end, err := openEnd(a.path)
	if err != nil {
		return err
	}
	found := aboutLog("The audit log was removed or replaced while etcdsup ran.", "")
	switch {
	case end.problem != "":
		f, end, found, err = anew(a.path, f, end.problem)
	case len(end.torn) > 0:
		found, err = trim(a.path, f, end)
	}
	if err != nil {
		f.Close()
		return err
	}
	a.tape.f.Close()
	a.tape = tape{f: f, size: end.whole}
	_, err = a.add(*found)
	return err
}

func (a *Audit) add(e Entry) (Entry, error) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	line, err := seal("hash", sealed{
		Seq: a.seq + 1, At: e.At.UTC(), Actor: e.Actor, Kind: e.Kind, Text: e.Text, Data: e.Data, Prev: a.head,
	}, func(rest []byte) string { return chained(a.head, rest) })
	if err != nil {
		return e, err
	}
	if len(line) > auditLine {
		return e, fmt.Errorf("an entry of %d bytes is longer than %d", len(line), auditLine)
	}
	e, ok := decodeEntry(bytes.TrimSuffix(line, []byte("\n")))
	if !ok {
		return e, errors.New("it does not come back as it was written")
	}
	if err := a.tape.add(line); err != nil {
		return e, err
	}
	a.seq, a.head = e.Seq, e.Hash
	return e, nil
}

// Head is the number of the last entry and its hash, to be noted elsewhere; 0 and zeros while there is none.
func (a *Audit) Head() (seq uint64, hash string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seq, a.head
}

// Close lets the audit log go.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tape.f.Close()
}

// auditEnd is what the end of an audit log holds.
type auditEnd struct {
	last    Entry  // the last whole line; without a line, Seq 0 and the hash that the first goes on from
	whole   int64  // bytes up to its end
	torn    []byte // what follows it: the line that was being written
	problem string // why the log cannot be gone on with
}

func openEnd(path string) (*os.File, auditEnd, error) {
	f, err := openLocked(path, os.O_RDWR|os.O_CREATE|os.O_APPEND)
	if err != nil {
		return nil, auditEnd{}, err
	}
	end, err := readEnd(f)
	if err == nil && end.whole == 0 {
		err = syncDir(filepath.Dir(path)) // it may be new
	}
	if err != nil {
		f.Close()
		return nil, auditEnd{}, err
	}
	return f, end, nil
}

// readEnd reads no more than the last two lines can be.
func readEnd(f *os.File) (auditEnd, error) {
	info, err := f.Stat()
	if err != nil {
		return auditEnd{}, err
	}
	from := max(0, info.Size()-2*auditLine)
	data := make([]byte, info.Size()-from)
	if _, err := f.ReadAt(data, from); err != nil {
		return auditEnd{}, err
	}
	return endOf(data, from), nil
}

// endOf looks for the last whole line in the end of a log that begins at a byte of the file.
func endOf(data []byte, from int64) auditEnd {
	line, before, ended := lastLine(data)
	if e, ok := decodeEntry(line); ok && ended {
		return auditEnd{last: e, whole: from + int64(len(data))}
	}
	torn, data := data[before:], data[:before]
	if joined("hash", line) {
		return auditEnd{problem: "its last line is of two that were written"}
	}
	if len(data) == 0 && from == 0 {
		return auditEnd{last: Entry{Hash: genesis}, torn: torn}
	}
	line, _, _ = lastLine(data)
	e, ok := decodeEntry(line)
	if !ok {
		return auditEnd{problem: "more than its last line is not what was written there"}
	}
	return auditEnd{last: e, whole: from + int64(len(data)), torn: torn}
}

// lastLine is the last line without its end, where it begins, and whether it has one.
func lastLine(data []byte) (line []byte, begins int, ended bool) {
	line, ended = bytes.CutSuffix(data, []byte("\n"))
	begins = bytes.LastIndexByte(line, '\n') + 1
	return line[begins:], begins, ended
}
