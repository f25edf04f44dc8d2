package place

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A copy is made under a name that says what it is, and is locked meanwhile: what has such a name and no lock is what
// was left by a copy that was killed.

const partialMark = "etcdsup-partial-"

var (
	partialSuffix = pattern(`^\.` + partialMark + `[0-9a-f]{16}$`)
	insidePartial = pattern(`^` + partialMark + `[0-9a-f]{16}$`)
)

// partial is a copy in the making.
type partial struct {
	path string
	f    *os.File // holds the lock
}

// newPartial makes an empty one for to: in to where inside, else beside it.
func newPartial(to string, inside bool, mk func(path string) (*os.File, error)) (*partial, error) {
	for {
		name := to + "." + partialMark
		if inside {
			name = filepath.Join(to, partialMark)
		}
		var id [8]byte
		_, _ = rand.Read(id[:]) // never fails
		name += hex.EncodeToString(id[:])
		f, err := mk(name)
		if err != nil {
			return nil, err
		}
		// Between the making and the lock, somebody who clears up may have taken it for a leftover.
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil && isAt(f, name) {
			return &partial{path: name, f: f}, nil
		} else if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, errors.Join(&os.PathError{Op: "flock", Path: name, Err: err}, os.RemoveAll(name))
		}
		f.Close()
	}
}

func newPartialDir(path string) (*os.File, error) {
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, err
	}
	return os.Open(path)
}

func newPartialFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// isAt tells whether an open file still has that name.
func isAt(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(open, named)
}

// discard removes it. It is ours, and it is not complete.
func (p *partial) discard() error {
	err := os.RemoveAll(p.path)
	p.f.Close()
	return err
}

// Leftovers are the paths of what killed copies to a path have left: incomplete, worth nothing, and removed by the
// next copy to the same path. Those of a copy that is still running are not among them.
func Leftovers(to string) ([]string, error) {
	left, err := lockLeftovers(to)
	var paths []string
	for _, p := range left {
		paths = append(paths, p.path)
		p.f.Close()
	}
	return paths, err
}

// RemoveLeftovers removes them and tells which.
func RemoveLeftovers(to string) ([]string, error) {
	left, err := lockLeftovers(to)
	var paths []string
	for _, p := range left {
		if removeErr := p.discard(); removeErr != nil {
			err = errors.Join(err, removeErr)
			continue
		}
		paths = append(paths, p.path)
	}
	return paths, err
}

func lockLeftovers(to string) ([]*partial, error) {
	t, err := resolve(to)
	if err != nil {
		return nil, fmt.Errorf("cannot look for leftovers of copies to %s: %w", to, err)
	}
	beside, err := named(filepath.Dir(t), func(name string) bool {
		rest, ok := strings.CutPrefix(name, filepath.Base(t))
		return ok && partialSuffix().MatchString(rest)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look for leftovers of copies to %s: %w", to, err)
	}
	inside, err := named(t, insidePartial().MatchString)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("cannot look for leftovers of copies to %s: %w", to, err)
	}
	var left []*partial
	for _, path := range append(beside, inside...) {
		if p := lockLeftover(path); p != nil {
			left = append(left, p)
		}
	}
	return left, nil
}

// lockLeftover is nil for what is in use, gone, or cannot be ours.
func lockLeftover(path string) *partial {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	kind := func() uint32 { return st.Mode & unix.S_IFMT }
	if unix.Fstat(fd, &st) == nil && (kind() == unix.S_IFDIR || kind() == unix.S_IFREG) &&
		unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil && isAt(f, path) {
		return &partial{path: path, f: f}
	}
	f.Close()
	return nil
}
