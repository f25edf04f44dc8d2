package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

const (
	// kept is how many journals stay in the folder; older ones are moved to its subfolder old.
	kept = 100

	suffix = ".jsonl"
	stamp  = "20060102T150405Z"
)

// ErrUnderway says that a transition has not ended yet, so that no other can begin.
var ErrUnderway = errors.New("a transition is under way")

// Store is a folder of journals, one file for each transition, named by when it began and its mode:
// 20261123T011500Z-join.jsonl. The names sort in the order of the transitions even when the clock was set back.
type Store struct {
	dir     string
	lock    *os.File                // the folder itself
	begins  sync.Mutex              // one at a time
	current atomic.Pointer[Journal] // nil when no transition is under way
	repairs []Repair                // as Open left them
}

// Repair is what [Open] had to move aside after a crash. Nothing that was synced is lost by it.
type Repair struct {
	ID   string // of the transition
	File string // its journal
	Kept string // where the bytes are now
	What string // one sentence
}

// Open takes the folder for this process alone, makes it when it is missing, and reads what is under way in it. The
// error wraps [ErrLocked] when another process has the folder; it is a *[FileError] when a journal without an end
// cannot be gone by, and then nothing was changed. A journal that has an end is not looked at further.
func Open(dir string) (*Store, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("cannot make folder of journals %s: %w", dir, err)
	}
	lock, err := openLocked(dir, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("cannot lock folder of journals %s: %w", dir, err)
	}
	s := &Store{dir: dir, lock: lock}
	if err := s.recover(); err != nil {
		lock.Close()
		return nil, err
	}
	s.retire()
	return s, nil
}

// Close lets the folder go. A transition that is under way stays so, for the next to open the folder.
func (s *Store) Close() error {
	if j := s.Current(); j != nil {
		j.close()
	}
	return s.lock.Close()
}

// Current is the transition that has not ended, running or stuck; nil when there is none.
func (s *Store) Current() *Journal { return s.current.Load() }

// Repairs is what [Open] moved aside.
func (s *Store) Repairs() []Repair { return s.repairs }

// Last is the transition that ended last, nil when there was none.
func (s *Store) Last() (*status.Transition, error) {
	_, last, err := Read(s.dir)
	return last, err
}

// recover looks at all journals before it changes the first.
func (s *Store) recover() error {
	ids, err := idsIn(s.dir)
	if err != nil {
		return err
	}
	var open, never []reading
	for _, id := range ids {
		r, ended, err := readOpen(s.dir, id)
		switch {
		case err != nil:
			return err
		case ended:
		case r.whole == 0:
			never = append(never, r)
		default:
			open = append(open, r)
		}
	}
	if len(open) > 1 {
		return s.ambiguous(open)
	}
	for _, r := range never {
		if err := s.neverBegan(r.state.ID); err != nil {
			return err
		}
	}
	for _, r := range open {
		if err := s.resume(r); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) ambiguous(open []reading) error {
	return &FileError{
		File:    s.path(open[1].state.ID),
		Problem: fmt.Sprintf("it has no end, and %s has none either, but one transition at most can be under way", s.path(open[0].state.ID)),
		Remedy:  "One of the two was put there by hand: move it to another folder and start etcdsup again.",
	}
}

// neverBegan renames a journal of which not even the first line was written. No step begins before that is synced.
func (s *Store) neverBegan(id string) error {
	file := s.path(id)
	to, err := moveTo(file, file+".never-began")
	if err != nil {
		return fmt.Errorf("cannot set aside %s, of a transition that never began: %w", file, err)
	}
	s.repairs = append(s.repairs, Repair{ID: id, File: file, Kept: to,
		What: "etcdsup ended before the plan was on disk: the transition never began, and nothing was changed by it"})
	return nil
}

// resume opens the journal of a transition that goes on. Its lines may have been written by a process that was killed
// before they were synced: they are synced before anybody goes by them.
func (s *Store) resume(r reading) error {
	file := s.path(r.state.ID)
	f, err := os.OpenFile(file, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("cannot go on with a transition: %w", err)
	}
	if len(r.torn) > 0 {
		var to string
		if to, err = cut(f, file, r.whole, r.torn); err == nil {
			s.repairs = append(s.repairs, Repair{ID: r.state.ID, File: file, Kept: to,
				What: fmt.Sprintf("etcdsup ended while line %d was being written: the transition goes on from the line before", r.state.lines+1)})
		}
	}
	if err == nil {
		err = errors.Join(f.Sync(), syncDir(s.dir))
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("cannot go on with journal %s: %w", file, err)
	}
	s.current.Store(newJournal(s, tape{f: f, size: r.whole}, r.state))
	return nil
}

// Begin starts the journal of a transition. When it returns, the plan is on disk and no step has begun. The error
// wraps [ErrUnderway] when another transition has not ended.
func (s *Store) Begin(plan status.Plan) (*Journal, error) {
	mode := plan.Request.Mode
	s.begins.Lock()
	defer s.begins.Unlock()
	if j := s.Current(); j != nil {
		return nil, fmt.Errorf("cannot begin a transition to %s: %w: %s", mode, ErrUnderway, j.state.Load().ID)
	}
	if mode == "" || strings.Trim(string(mode), "abcdefghijklmnopqrstuvwxyz-") != "" {
		return nil, fmt.Errorf("cannot begin a transition to %q: that is no mode", mode)
	}
	j, err := s.create(plan)
	if err != nil {
		return nil, fmt.Errorf("cannot begin a transition to %s: %w", mode, err)
	}
	s.current.Store(j)
	return j, nil
}

func (s *Store) create(plan status.Plan) (*Journal, error) {
	id, err := s.newID(plan.Request.Mode, time.Now())
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.path(id), os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	j := newJournal(s, tape{f: f}, State{ID: id})
	if err = j.add(record{Format: Format, Plan: &plan}); err == nil {
		err = syncDir(s.dir)
	}
	if err == nil {
		return j, nil
	}
	// Emptied first: should the removal not reach the disk, the file tells of a transition that never began.
	return nil, errors.Join(err, f.Truncate(0), f.Close(), os.Remove(f.Name()))
}

// newID is later than that of every file in the folder, whatever the clock says.
func (s *Store) newID(mode status.Mode, now time.Time) (string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return "", err
	}
	at := now.UTC().Truncate(time.Second)
	for _, e := range entries {
		if t, ok := stampOf(e.Name()); ok && !t.Before(at) {
			at = t.Add(time.Second)
		}
	}
	return at.Format(stamp) + "-" + string(mode), nil
}

func stampOf(name string) (time.Time, bool) {
	head, _, ok := strings.Cut(name, "-")
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(stamp, head)
	return t, err == nil
}

// retire moves the oldest journals, with what was kept beside them, to the subfolder old. A failure is not told: too
// many journals harm nobody, and it is tried again at the next end.
func (s *Store) retire() {
	ids, err := idsIn(s.dir)
	if err != nil || len(ids) <= kept {
		return
	}
	old := filepath.Join(s.dir, "old")
	entries, err := os.ReadDir(s.dir)
	if err != nil || makeDir(old) != nil {
		return
	}
	for _, e := range entries {
		_, ours := stampOf(e.Name())
		if ours && e.Type().IsRegular() && e.Name() < ids[len(ids)-kept] && !s.owns(e.Name()) {
			_, _ = moveTo(filepath.Join(s.dir, e.Name()), filepath.Join(old, e.Name()))
		}
	}
}

// owns reports whether a name is of the transition that is under way.
func (s *Store) owns(name string) bool {
	j := s.Current()
	return j != nil && strings.HasPrefix(name, j.state.Load().ID+suffix)
}

func (s *Store) path(id string) string { return filepath.Join(s.dir, id+suffix) }

// Read is for those who look on: it takes no lock and changes nothing. now is the transition that has not ended, last
// the one that ended last; each is nil where there is none. A missing folder has none.
func Read(dir string) (now, last *status.Transition, err error) {
	ids, err := idsIn(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, id := range slices.Backward(ids) {
		r, err := readFile(dir, id)
		switch {
		case errors.Is(err, fs.ErrNotExist): // moved to old, or its beginning has failed
		case err != nil:
			return now, nil, err
		case r.state.ended():
			return now, r.state.Transition(), nil
		case now == nil && r.whole > 0:
			now = r.state.Transition()
		}
	}
	return now, nil, nil
}

// idsIn are the transitions that have a journal in the folder, the oldest first.
func idsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read folder of journals: %w", err)
	}
	var ids []string
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), suffix)
		if _, ours := stampOf(id); ok && ours {
			ids = append(ids, id)
		}
	}
	return ids, nil // as ReadDir sorts
}

func readFile(dir, id string) (reading, error) {
	file := filepath.Join(dir, id+suffix)
	data, err := os.ReadFile(file)
	if err != nil {
		return reading{}, fmt.Errorf("cannot read a journal: %w", err)
	}
	return read(id, file, data)
}

// readOpen reads one journal, but only its last line where that is the end.
func readOpen(dir, id string) (r reading, ended bool, err error) {
	file := filepath.Join(dir, id+suffix)
	data, err := os.ReadFile(file)
	if err != nil {
		return reading{}, false, fmt.Errorf("cannot read a journal: %w", err)
	}
	if endsForSure(data) {
		return reading{}, true, nil
	}
	r, err = read(id, file, data)
	return r, r.state.ended(), err
}
