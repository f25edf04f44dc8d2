package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process has the journals or the audit log open.
var ErrLocked = errors.New("another process has it open")

// tape is a file that only grows, by whole lines that are on disk when add returns.
type tape struct {
	f      *os.File // in append mode
	size   int64    // of the whole lines
	broken error    // set once it is unknown what the file ends with; only reading it again tells
}

// add writes a line with one write(2) and syncs it. After an error the line is not in the file.
func (t *tape) add(line []byte) error {
	if t.broken != nil {
		return t.broken
	}
	_, err := t.f.Write(line)
	if err == nil {
		err = datasync(t.f)
	}
	if err != nil {
		return t.withdraw(err)
	}
	t.size += int64(len(line))
	return nil
}

// withdraw takes back what was written of a line. The lines before it were synced, each by itself, so a sync that
// failed says nothing against them.
func (t *tape) withdraw(cause error) error {
	err := t.f.Truncate(t.size)
	if err == nil {
		err = t.f.Sync()
	}
	if err == nil {
		return cause
	}
	t.broken = fmt.Errorf("%w, and what was written of the line cannot be taken back: %w", cause, err)
	return t.broken
}

func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// openLocked opens path and takes an exclusive lock on it, without waiting: the error is [ErrLocked] when somebody
// else has it. Between the two the name may have been given to another file: a lock on what nobody finds any more
// would exclude nobody.
func openLocked(path string, flags int) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, flags, 0o600)
		if err != nil {
			return nil, err
		}
		if err := flock(f); err != nil {
			f.Close()
			return nil, err
		}
		open, err := f.Stat()
		if err == nil {
			var named fs.FileInfo
			if named, err = os.Stat(path); err == nil && os.SameFile(open, named) {
				return f, nil
			}
		}
		f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrLocked
		case !errors.Is(err, unix.EINTR):
			return os.NewSyscallError("flock", err)
		}
	}
}

// moveTo renames a file to a name that nobody has: to, or to with a number behind it.
func moveTo(path, to string) (string, error) {
	for n := 0; ; n++ {
		name := numbered(to, n)
		err := unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, name, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system that cannot
			if err = os.Link(path, name); err == nil {
				err = os.Remove(path)
			}
		}
		if err == nil {
			return name, errors.Join(syncDir(filepath.Dir(path)), syncDir(filepath.Dir(name)))
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
}

// copyTo writes data to a new file, on disk when it returns: to, or to with a number behind it.
func copyTo(to string, data []byte) (string, error) {
	for n := 0; ; n++ {
		name := numbered(to, n)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = f.Write(data)
		err = errors.Join(err, f.Sync(), f.Close())
		if err != nil {
			return "", errors.Join(err, os.Remove(name)) // the bytes are still where they came from
		}
		return name, syncDir(filepath.Dir(name))
	}
}

func numbered(name string, n int) string {
	if n == 0 {
		return name
	}
	return fmt.Sprintf("%s.%d", name, n)
}

// cut removes the torn end of a file once it is kept beside it, and returns where.
func cut(f *os.File, path string, whole int64, torn []byte) (kept string, err error) {
	kept, err = copyTo(path+".torn", torn)
	if err != nil {
		return "", fmt.Errorf("cannot keep the unfinished line of %s: %w", path, err)
	}
	if err := errors.Join(f.Truncate(whole), f.Sync()); err != nil {
		return "", fmt.Errorf("cannot cut the unfinished line off %s: %w", path, err)
	}
	return kept, nil
}

// makeDir makes a folder for its owner only, on disk when it returns.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
