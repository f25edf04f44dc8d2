package supervisor

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

const (
	// historyKept is how many events are kept for sure; the file holds up to twice as many before it is rewritten.
	historyKept = 1000
	// historyLine bounds one line of the file.
	historyLine = 1 << 20
	// historyVersion is the form of a line. A line of a higher one is passed over.
	historyVersion = 1
)

// historyEntry is one line. Lines without a version are of the first one.
type historyEntry struct {
	Version int `json:"v,omitempty"`
	status.Event
}

// history is the persisted list of starts and deaths: JSON lines, the newest last. It belongs to one goroutine
// and keeps nothing in memory but where it stands.
type history struct {
	path  string
	lines int // in the file
	seq   uint64
	torn  bool // the file does not end with a line end: the next event must not be glued to it
}

// openHistory looks at what is there. bad counts lines that cannot be understood, as a power cut leaves one.
func openHistory(path string) (h *history, bad int, err error) {
	h = &history{path: path}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return h, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read history %s: %w", path, err)
	}
	events, bad := parseHistory(bytes.NewReader(data))
	h.lines, h.torn = len(events)+bad, len(data) > 0 && data[len(data)-1] != '\n'
	for _, e := range events {
		h.seq = max(h.seq, e.Seq)
	}
	return h, bad, nil
}

// ReadHistory returns the newest n events of the history at path, the newest last; n ≤ 0: all. A missing file is
// an empty history; lines that cannot be understood are passed over.
func ReadHistory(path string, n int) ([]status.Event, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read history %s: %w", path, err)
	}
	defer f.Close()
	events, _ := parseHistory(f)
	if n <= 0 || n > len(events) {
		n = len(events)
	}
	return events[len(events)-n:], nil
}

func parseHistory(r io.Reader) (events []status.Event, bad int) {
	lines := bufio.NewReaderSize(r, historyLine)
	for {
		line, err := lines.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) { // it costs itself only, not what comes after it
			_, err = lines.ReadSlice('\n')
		}
		if len(line) > 0 {
			var e historyEntry
			if long || json.Unmarshal(line, &e) != nil || e.Seq == 0 || e.Version > historyVersion {
				bad++
			} else {
				events = append(events, e.Event)
			}
		}
		if err != nil {
			break
		}
	}
	slices.SortStableFunc(events, func(a, b status.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	return events, bad
}

// add appends an event to the file.
func (h *history) add(e status.Event) error {
	line, err := json.Marshal(historyEntry{Version: historyVersion, Event: e})
	if err != nil {
		return fmt.Errorf("cannot encode history: %w", err)
	}
	line = append(line, '\n')
	if h.torn {
		line = append([]byte{'\n'}, line...)
	}
	if err := appendTo(h.path, line); err != nil {
		h.torn = true // perhaps half of it is there
		return fmt.Errorf("cannot add to history %s: %w", h.path, err)
	}
	h.lines, h.torn = h.lines+1, false
	if h.lines >= 2*historyKept {
		return h.shorten()
	}
	return nil
}

func appendTo(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// shorten rewrites the file with the newest events only.
func (h *history) shorten() error {
	events, err := ReadHistory(h.path, historyKept)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range events {
		if err := enc.Encode(historyEntry{Version: historyVersion, Event: e}); err != nil {
			return fmt.Errorf("cannot encode history: %w", err)
		}
	}
	if err := replaceFile(h.path, b.Bytes()); err != nil {
		return fmt.Errorf("cannot rewrite history %s: %w", h.path, err)
	}
	h.lines = len(events)
	return nil
}
