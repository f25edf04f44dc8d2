package install

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/diff"
)

// file is a file as it is to be.
type file struct {
	path string
	text []byte
	mode os.FileMode
	uid  int
	gid  func() int // asked late: the group may be made by an earlier change; nil: root's
	keep string     // folder for what gives way; empty: beside it
}

// write puts the file in its place in one step that a power cut cannot halve, and that is not said to be done before it
// would outlive one. What was there before is kept as kept.
func (f file) write(kept string) error {
	if kept != "" {
		if err := os.Link(f.path, kept); err != nil {
			return err
		}
		if err := syncDir(filepath.Dir(kept)); err != nil {
			return err
		}
	}
	tmp, err := os.CreateTemp(filepath.Dir(f.path), "."+filepath.Base(f.path)+".new-*")
	if err != nil {
		return err
	}
	defer func() {
		tmp.Close()
		_ = os.Remove(tmp.Name()) // it is gone when all went well
	}()
	if err := f.fill(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), f.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(f.path))
}

func (f file) fill(tmp *os.File) error {
	if _, err := tmp.Write(f.text); err != nil {
		return err
	}
	if err := tmp.Chown(f.uid, f.group()); err != nil {
		return err
	}
	if err := tmp.Chmod(f.mode); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	return tmp.Close()
}

func (f file) group() int {
	if f.gid == nil {
		return 0
	}
	return f.gid()
}

// change is what makes the file what it is to be; false: it is so already.
func (f file) change() (Change, bool, error) {
	old, err := os.ReadFile(f.path)
	isNew := errors.Is(err, fs.ErrNotExist)
	if err != nil && !isNew {
		return Change{}, false, err
	}
	if !isNew && bytes.Equal(old, f.text) {
		return Change{}, false, nil
	}
	return f.replacing(old, isNew), true, nil
}

func (f file) replacing(old []byte, isNew bool) Change {
	c := Change{What: "write " + f.path, Diff: unified(f.path, old, f.text, isNew), New: isNew}
	if !isNew {
		c.Kept = asideName(firstOf(f.keep, filepath.Dir(f.path)), filepath.Base(f.path), time.Now())
	}
	kept := c.Kept
	c.do = func(context.Context) error { return f.write(kept) }
	return c
}

// asideName is that of a file that gives way: beside it, with an ending that no service manager reads.
func asideName(dir, base string, now time.Time) string {
	return filepath.Join(dir, base+".old-"+now.UTC().Format("20060102T150405.000Z"))
}

// unified is the difference as diff -u shows it.
func unified(path string, old, text []byte, isNew bool) string {
	from := path
	if isNew {
		from = os.DevNull
	}
	d := diff.Diff(from, old, path, text)
	if _, rest, ok := bytes.Cut(d, []byte("\n")); ok { // the line that names the command which was not run
		d = rest
	}
	return string(d)
}

// syncDir makes the names in a folder outlive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// syncFile makes the content of a file that others wrote outlive a power cut, and its name.
func syncFile(path string) error {
	if err := syncDir(path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
