package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// MarkPath is where the mark lies in an instance's state folder.
func MarkPath(stateDir string) string { return filepath.Join(stateDir, "mark") }

// Marks keeps the mark of one instance. It is safe for several goroutines.
type Marks struct {
	path string

	mu   sync.Mutex // never held over a disk's work: a restart waits for it
	now  Mark
	kept Mark // as it is on disk
	last sighting
	eye  eye // on the db, for as long as its etcd runs

	disk sync.Mutex // held while the file is written
	seq  uint64     // of the slot that was written last
	made bool       // the file is there and is a mark
}

// OpenMarks reads the mark of a state folder. A file that is no mark is set aside under a new name, never deleted and
// never trusted: aside tells where it is now. The error only says what went wrong; there are Marks in any case.
func OpenMarks(stateDir string) (m *Marks, aside string, err error) {
	m = &Marks{path: MarkPath(stateDir)}
	mark, seq, err := readMark(m.path)
	switch {
	case err == nil:
		m.now, m.kept, m.seq, m.made = mark, mark, seq, true
		return m, "", nil
	case errors.Is(err, fs.ErrNotExist):
		return m, "", nil
	}
	to, asideErr := setAside(m.path)
	if asideErr != nil {
		return m, "", fmt.Errorf("cannot set aside unreadable mark %s (%w): %w", m.path, err, asideErr)
	}
	if mark, _, err := readMark(beforeUpgrade(m.path)); err == nil {
		m.now = mark // it is written anew when etcd is seen next
	}
	return m, to, nil
}

// PeekMark reads the mark of a state folder without touching it; ok is false where there is none to go by.
func PeekMark(stateDir string) (m Mark, ok bool) {
	m, _, err := readMark(MarkPath(stateDir))
	return m, err == nil
}

func readMark(path string) (Mark, uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return Mark{}, 0, err
	}
	defer f.Close()
	file := make([]byte, 2*slotSize)
	n, err := f.ReadAt(file, 0)
	if n == 0 && err != nil {
		return Mark{}, 0, fmt.Errorf("cannot read it: %w", err)
	}
	return decodeMark(file[:n])
}

// Mark is the newest one, saved or not.
func (m *Marks) Mark() Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// save has the newest mark on disk. What it changes is one slot, so that the other is there whatever happens.
func (m *Marks) save() error {
	m.disk.Lock()
	defer m.disk.Unlock()
	m.mu.Lock()
	mark, kept := m.now, m.kept
	m.mu.Unlock()
	if mark == kept {
		return nil
	}
	return m.write(mark)
}

// write puts the mark into the slot whose turn it is. m.disk is held.
func (m *Marks) write(mark Mark) error {
	seq := m.seq + 1
	if err := m.writeSlot(encodeSlot(mark, seq), int64(seq%2)*slotSize); err != nil {
		return fmt.Errorf("cannot save mark %s: %w", m.path, err)
	}
	m.seq, m.made = seq, true
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = mark
	return nil
}

func (m *Marks) writeSlot(slot []byte, at int64) error {
	if !m.made {
		return m.create(slot, at)
	}
	f, err := os.OpenFile(m.path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) { // somebody has deleted it
		return m.create(slot, at)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(slot, at); err != nil {
		return err
	}
	return unix.Fdatasync(int(f.Fd()))
}

// create makes the file with all the room that it will ever need.
func (m *Marks) create(slot []byte, at int64) error {
	file := make([]byte, 2*slotSize)
	copy(file[at:], slot)
	return replaceFile(m.path, file)
}

// reset replaces the mark, even by a lower one. The file of the old one is renamed, and where it is now is returned;
// empty: there was none.
func (m *Marks) reset(to Mark) (aside string, err error) {
	m.disk.Lock()
	defer m.disk.Unlock()
	m.mu.Lock()
	m.now, m.kept, m.last = to, Mark{}, sighting{}
	m.mu.Unlock()
	m.eye.shut() // the data directory may be moved, and its filesystem unmounted
	if m.made {
		aside, err = setAsideAs(m.path, "before")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("cannot set the old mark aside: %w", err)
		}
		m.made = false
	}
	if to == (Mark{}) {
		return aside, syncDir(filepath.Dir(m.path))
	}
	return aside, m.write(to)
}
