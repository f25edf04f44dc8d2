package logsink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// settleWrite decides how much of an announced write reached its file before
// a SIGKILL, and commits that. It needs the file, so it may fail and be tried
// again; until then nothing is written.
func (l *ledger) settleWrite(path string, mu sync.Locker) error {
	w := &l.write
	if w.phase.Load() == phaseIdle {
		return nil
	}
	mu.Lock()
	start, end := l.span(int(w.block))
	mu.Unlock()
	data := l.bytes(int(w.block))[w.start : w.start+w.n]
	if start != int(w.start) || end < int(w.start+w.n) {
		// It was committed, only the end of it was not noted.
		l.written.Store(w.before + uint64(start-int(w.start)))
		l.setOpenLine(data[start-int(w.start)-1] != '\n')
		w.phase.Store(phaseIdle)
		return nil
	}
	n, err := l.found(data, path)
	if err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	l.openLine.Store(w.openLine.Load())
	l.commit(n)
	return nil
}

// found counts how many bytes of an announced write are in its file. None are
// if the file was removed by others: they are written again.
func (l *ledger) found(data []byte, path string) (int, error) {
	f, err := findFile(l.write.dev, l.write.ino, path, l.getPath())
	if f == nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	return arrived(f, data, l.write.off)
}

// arrived counts how many of data's bytes are in f from off on. Others may
// have truncated the file to nothing before the write.
func arrived(f *os.File, data []byte, off int64) (int, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("cannot examine the log file: %w", err)
	}
	if st.Size() < off {
		off = 0
	}
	buf := make([]byte, min(int64(len(data)), st.Size()-off))
	n, err := f.ReadAt(buf, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("cannot read the log file again: %w", err)
	}
	same := 0
	for same < n && buf[same] == data[same] {
		same++
	}
	if same < n {
		// Somebody else has written there too. Only whole lines count as
		// arrived; an accidental likeness of beginnings must not.
		same = bytes.LastIndexByte(data[:same], '\n') + 1
	}
	return same, nil
}

// findFile opens the file with that identity: one of paths or an archive of
// one of them. It returns nil if there is none.
func findFile(dev, ino uint64, paths ...string) (*os.File, error) {
	for _, path := range paths {
		if path == "" {
			continue
		}
		f, err := openIf(path, dev, ino)
		if f != nil || err != nil {
			return f, err
		}
		list, err := listArchives(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, a := range list {
			if a.dev == dev && a.ino == ino {
				return openIf(a.path, dev, ino)
			}
		}
	}
	return nil, nil
}

func openIf(path string, dev, ino uint64) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the log file: %w", err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil && st.Dev == dev && st.Ino == ino {
		return f, nil
	}
	_ = f.Close()
	if err != nil {
		return nil, fmt.Errorf("cannot examine the log file: %w", err)
	}
	return nil, nil // another file has the name now
}
