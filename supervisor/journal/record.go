package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Format is what this program writes. A reader accepts every format up to its own.
const Format = 1

// record is one line of a journal: the plan, then entries of steps and standstills, then the end.
type record struct {
	N  int       `json:"n"` // number of the line, from 1: a line that is missing is noticed
	At time.Time `json:"at"`

	Format int          `json:"format,omitempty"` // of the first line only
	Plan   *status.Plan `json:"plan,omitempty"`

	Step  string            `json:"step,omitempty"`
	Phase Phase             `json:"phase,omitempty"`
	Why   string            `json:"why,omitempty"`
	Data  map[string]string `json:"data,omitempty"`

	Outcome status.Outcome `json:"outcome,omitempty"` // of a standstill or the end
	Error   string         `json:"error,omitempty"`
	Remedy  string         `json:"remedy,omitempty"`
	Result  []string       `json:"result,omitempty"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const crcDigits = 8

func crc(rest []byte) string { return fmt.Sprintf("%0*x", crcDigits, crc32.Checksum(rest, castagnoli)) }

func encode(r record) ([]byte, error) { return seal("crc", r, crc) }

// decode reads a line without its end; ok is false for anything that [encode] has not written.
func decode(line []byte) (r record, ok bool) {
	check, rest, ok := unseal("crc", crcDigits, line)
	if !ok || check != crc(rest) || json.Unmarshal(line, &r) != nil {
		return record{}, false
	}
	return r, true
}

// FileError says that a journal cannot be gone by. Nothing was changed.
type FileError struct {
	File    string
	Line    int // from 1; 0: the file as a whole
	Problem string
	Remedy  string // what a person can do about it, in sentences
}

func (e *FileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("cannot go by journal %s: %s", e.File, e.Problem)
	}
	return fmt.Sprintf("cannot go by journal %s: line %d: %s", e.File, e.Line, e.Problem)
}

const (
	remedyDamage = "The journal was damaged after it had been written: look at the disk. Read it to see which steps had begun, " +
		"complete or undo them by hand, then move the file to another folder and start etcdsup again."
	remedyNewer = "A newer etcdsup began this transition: start that version again, and let it end it."
)

// reading is what a journal's bytes hold.
type reading struct {
	state State
	whole int64  // bytes in whole lines
	torn  []byte // what follows them: the line that was being written
}

// read folds the lines of the journal in file. The last line may be unfinished or garbage, for only it can have been
// under way when the power failed; anything else that is not as it was written is a *[FileError].
func read(id, file string, data []byte) (reading, error) {
	r := reading{state: State{ID: id}}
	n := 1
	for rest := data; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		rec, ok := decode(line)
		if ok = ok && ended; !ok && len(after) == 0 && !joined("crc", line) {
			r.torn = rest
			return r, nil
		}
		if fault := r.state.fault(rec, ok); fault != nil {
			fault.File, fault.Line = file, n
			return r, fault
		}
		r.whole += int64(len(line)) + 1
		rest = after
		n++
	}
	return r, nil
}

// fault adds a line to the state, and says what is wrong with it; after that the state is no longer to be used.
func (s *State) fault(rec record, ok bool) *FileError {
	switch {
	case !ok:
		return &FileError{Problem: "is not what was written there", Remedy: remedyDamage}
	case rec.Format > Format:
		return &FileError{Problem: fmt.Sprintf("format %d is newer than %d", rec.Format, Format), Remedy: remedyNewer}
	}
	if err := s.apply(rec); err != nil {
		return &FileError{Problem: err.Error(), Remedy: remedyDamage}
	}
	return nil
}

// endsForSure reports whether the last line is whole and an end: whatever is wrong before it, nothing is under way.
func endsForSure(data []byte) bool {
	data, ended := bytes.CutSuffix(data, []byte("\n"))
	if !ended {
		return false
	}
	r, ok := decode(data[bytes.LastIndexByte(data, '\n')+1:])
	return ok && r.N > 1 && isEnd(r.Outcome)
}
