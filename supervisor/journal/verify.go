package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Break is the way in which a chain is broken.
type Break string

// The breaks of a chain.
const (
	BreakChanged Break = "changed"      // a line is not what was written
	BreakMissing Break = "missing"      // lines were taken out before this one
	BreakOrder   Break = "out of order" // lines were moved or doubled
	BreakTorn    Break = "unfinished"   // the last line was being written when etcdsup ended; the next start keeps it aside
)

// ChainError is the first place where the audit log is not as it was written.
type ChainError struct {
	Path   string
	Line   int // from 1
	Break  Break
	Detail string
}

func (e *ChainError) Error() string {
	return fmt.Sprintf("cannot trust audit log %s: line %d: %s: %s", e.Path, e.Line, e.Break, e.Detail)
}

// Report is what [Verify] found right; beside an error, up to where the chain breaks.
type Report struct {
	Entries int       `json:"entries"`
	FirstAt time.Time `json:"first_at,omitzero"`
	LastAt  time.Time `json:"last_at,omitzero"`
	Head    string    `json:"head"` // hash of the last entry; zeros when there is none
}

// Verify reads the whole audit log and follows its chain. The error is a *[ChainError] where it breaks. It takes no
// lock: an etcdsup may be writing meanwhile.
func Verify(path string) (Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return Report{}, fmt.Errorf("cannot verify audit log: %w", err)
	}
	defer f.Close()
	for {
		r, size, err := verify(f)
		var broken *ChainError
		if errors.As(err, &broken) {
			broken.Path = path
		} else if err != nil {
			return r, fmt.Errorf("cannot verify audit log %s: %w", path, err)
		}
		if broken == nil || broken.Break != BreakTorn || !moves(f, size) {
			return r, err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return r, fmt.Errorf("cannot verify audit log %s: %w", path, err)
		}
	}
}

// moves waits for an etcdsup that is writing: other processes see a line before all of it is there. In the end only an
// unfinished line of a writer that is dead, or that has been stopped for a second, is taken for one.
func moves(f *os.File, size int64) bool {
	for range 100 {
		time.Sleep(10 * time.Millisecond)
		if info, err := f.Stat(); err != nil || info.Size() != size {
			return err == nil
		}
	}
	return false
}

// verify follows the chain, and returns how many bytes it has read.
func verify(from io.Reader) (Report, int64, error) {
	r := Report{Head: genesis}
	lines := newLineReader(from)
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return r, lines.read, nil
		}
		if err != nil {
			return r, lines.read, err
		}
		if broken := r.follow(line, lines); broken != nil {
			broken.Line = r.Entries + 1
			return r, lines.read, broken
		}
	}
}

// follow takes the next line into the report, or says how it breaks the chain; then it looks at the lines behind it.
func (r *Report) follow(line textLine, behind *lineReader) *ChainError {
	want := uint64(r.Entries) + 1
	e, ok := decodeEntry(line.text)
	switch {
	case !line.ended:
		return &ChainError{Break: BreakTorn, Detail: "it has no end"}
	case !ok:
		return &ChainError{Break: BreakChanged, Detail: "it is not what was written there"}
	case e.Seq < want:
		return &ChainError{Break: BreakOrder, Detail: fmt.Sprintf("entry %d is here, behind entry %d", e.Seq, want-1)}
	case e.Seq > want && behind.holds(want):
		return &ChainError{Break: BreakOrder, Detail: fmt.Sprintf("entry %d is here, entry %d comes later", e.Seq, want)}
	case e.Seq > want:
		return &ChainError{Break: BreakMissing, Detail: missing(want, e.Seq-1)}
	case e.Prev != r.Head:
		return &ChainError{Break: BreakChanged, Detail: "it does not go on from the line before: one of the two was written anew"}
	}
	if r.Entries == 0 {
		r.FirstAt = e.At
	}
	r.Entries, r.LastAt, r.Head = r.Entries+1, e.At, e.Hash
	return nil
}

func missing(from, to uint64) string {
	if from == to {
		return fmt.Sprintf("entry %d is not there", from)
	}
	return fmt.Sprintf("entries %d to %d are not there", from, to)
}

// ReadAudit returns the entries of the newest n lines, the newest last; n ≤ 0: of all. A missing file has none. bad
// counts those of the lines that are not as they were written; [Verify] tells of them. It takes no lock.
func ReadAudit(path string, n int) (entries []Entry, bad int, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read audit log: %w", err)
	}
	defer f.Close()
	entries, bad, err = newest(f, n)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read audit log %s: %w", path, err)
	}
	return entries, bad, nil
}

func newest(from io.Reader, n int) (entries []Entry, bad int, err error) {
	var last [][]byte // decoded only when it is known which are asked for
	lines := newLineReader(from)
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		if last = append(last, bytes.Clone(line.text)); n > 0 && len(last) > n {
			last = last[1:]
		}
	}
	for _, text := range last {
		if e, ok := decodeEntry(text); ok {
			entries = append(entries, e)
		} else {
			bad++
		}
	}
	return entries, bad, nil
}

// lineReader takes a log apart without holding more of it than one line.
type lineReader struct {
	from *bufio.Reader
	read int64 // bytes
}

type textLine struct {
	text  []byte // without its end, valid until the next; of a line that is too long for an entry, only its beginning
	ended bool
}

func newLineReader(from io.Reader) *lineReader {
	return &lineReader{from: bufio.NewReaderSize(from, auditLine)}
}

// next is io.EOF behind the last line.
func (l *lineReader) next() (textLine, error) {
	text, err := l.from.ReadSlice('\n')
	l.read += int64(len(text))
	if errors.Is(err, bufio.ErrBufferFull) {
		return l.long()
	}
	if errors.Is(err, io.EOF) && len(text) > 0 {
		return textLine{text: text}, nil
	}
	if err != nil {
		return textLine{}, err
	}
	return textLine{text: text[:len(text)-1], ended: true}, nil
}

// long passes over a line that no entry can be.
func (l *lineReader) long() (textLine, error) {
	for {
		more, err := l.from.ReadSlice('\n')
		l.read += int64(len(more))
		switch {
		case err == nil:
			return textLine{ended: true}, nil
		case errors.Is(err, io.EOF):
			return textLine{}, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return textLine{}, err
		}
	}
}

// holds reports whether one of the lines to come is the entry of that number.
func (l *lineReader) holds(seq uint64) bool {
	for {
		line, err := l.next()
		if err != nil {
			return false
		}
		if e, ok := decodeEntry(line.text); ok && e.Seq == seq {
			return true
		}
	}
}
