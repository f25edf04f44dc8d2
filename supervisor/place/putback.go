package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// PutBack gives what was set aside its place again. There must be nothing at path, or an empty folder, or, when aside
// lies in path, nothing of the same name; else the error wraps fs.ErrExist and nothing was moved. When aside is gone
// and path is not, it was put back already, and that is no error.
//
// Anything that lies beside path or in it can be given the place in this way, however it was made.
func PutBack(aside, path string) error {
	p, err := resolve(path)
	if err == nil {
		aside, err = resolve(aside)
	}
	if err == nil {
		err = putBack(aside, p)
	}
	if err != nil {
		return fmt.Errorf("cannot put %s back to %s: %w", aside, path, err)
	}
	return nil
}

func putBack(aside, p string) error {
	there, err := exists(aside)
	if err != nil {
		return err
	}
	switch {
	case !there:
		err = wasPutBack(aside, p)
	case filepath.Dir(aside) == p:
		err = fromInside(aside, p)
	case filepath.Dir(aside) == filepath.Dir(p):
		err = fromBeside(aside, p)
	default:
		err = fmt.Errorf("%s is neither beside it nor in it", aside)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(aside))
}

// wasPutBack tells whether path has something, as it must when aside has gone.
func wasPutBack(aside, p string) error {
	there, err := exists(p)
	if err != nil {
		return err
	}
	if there && isDir(p) {
		vacant, err := isVacant(p)
		if err != nil {
			return err
		}
		there = !vacant
	}
	if !there {
		return &os.PathError{Op: "rename", Path: aside, Err: fs.ErrNotExist}
	}
	return nil
}

func fromInside(aside, p string) error {
	entries, err := os.ReadDir(aside)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	memberFirst(names)
	slices.Reverse(names)
	if err := moveEntries(names, aside, p); err != nil {
		return err
	}
	if err := syncDirs(p, aside); err != nil {
		return err
	}
	return os.Remove(aside) // which is empty, or stays
}

func fromBeside(aside, p string) error {
	err := renameNoReplace(aside, p)
	if !errors.Is(err, fs.ErrExist) || !isDir(aside) || !isEmptyDir(p) {
		return err
	}
	if err := unix.Rename(aside, p); err != nil { // which replaces an empty folder, and no other
		return &os.LinkError{Op: "rename", Old: aside, New: p, Err: err}
	}
	return nil
}
