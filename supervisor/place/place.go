// Package place moves and copies data directories so that nothing is ever lost: what appears under a name appears
// whole or not at all, what gives way is renamed and can be put back, and what is copied from is never changed.
// It knows folders and files; of etcd it knows only that everything that counts lies in a folder named member.
//
// A path that is a symbolic link stands for what it points at, which may not exist yet: the link itself stays where
// it is.
package place

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// resolve is the absolute path of what path stands for.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range 40 { // as many links as the kernel follows
		parent, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", err
		}
		path = filepath.Join(parent, filepath.Base(path))
		target, err := os.Readlink(path)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(parent, target)
		}
		path = filepath.Clean(target)
	}
	return "", &os.PathError{Op: "readlink", Path: path, Err: unix.ELOOP}
}

// exists tells whether there is anything of that name. An error of another kind than absence is one.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// isLink tells whether a path itself is a symbolic link.
func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// renameNoReplace renames, and fails with fs.ErrExist where there is something already.
func renameNoReplace(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system that cannot, such as NFS
		return renameCarefully(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// renameCarefully is for file systems without RENAME_NOREPLACE. A directory that comes in between is replaced only
// when it is empty, which the kernel sees to; for a file, a link does not replace.
func renameCarefully(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if there, err := exists(to); err != nil || there {
		return cmp.Or(err, error(&os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}))
	}
	if info.IsDir() {
		return os.Rename(from, to)
	}
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// syncDirs syncs each folder once.
func syncDirs(paths ...string) error {
	var errs []error
	for i, p := range paths {
		if !slices.Contains(paths[:i], p) {
			errs = append(errs, syncDir(p))
		}
	}
	return errors.Join(errs...)
}

// moveEntries moves entries from one folder to another, and none when one of them is there already. What a start of
// etcd would take for data is the first to leave and the last to arrive, as the order of names says.
func moveEntries(names []string, from, to string) error {
	for _, name := range names {
		if there, err := exists(filepath.Join(to, name)); err != nil || there {
			return cmp.Or(err, error(&os.PathError{Op: "rename", Path: filepath.Join(to, name), Err: fs.ErrExist}))
		}
	}
	for _, name := range names {
		if err := renameNoReplace(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

// memberFirst sorts by name, with etcd's own folder in front.
func memberFirst(names []string) []string {
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(-cmp.Compare(weight(a), weight(b)), strings.Compare(a, b))
	})
	return names
}

func weight(name string) int {
	if name == "member" {
		return 1
	}
	return 0
}

// contents are the names in a folder that are somebody's data: without what we put there ourselves, and without
// lost+found, which a file system has at its root.
func contents(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !isOurs(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// isOurs tells of a name at the top of a data directory whether it is no part of the data.
func isOurs(name string) bool {
	return name == "lost+found" || insideAside().MatchString(name) || insidePartial().MatchString(name)
}

// isVacant tells whether path is a folder with nothing in it that is anybody's data.
func isVacant(path string) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return false, err
	}
	names, err := contents(path)
	return len(names) == 0, err
}

// isEmptyDir tells whether path is a folder with nothing in it at all.
func isEmptyDir(path string) bool {
	entries, err := os.ReadDir(path)
	return err == nil && len(entries) == 0
}

// isMountRoot tells whether path cannot be renamed because a file system is mounted on it.
func isMountRoot(path string) (bool, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &st); err != nil {
		return false, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
	}
	// A kernel before 5.8: mounts of the same file system go unseen here, and are found by the rename.
	var here, above unix.Stat_t
	if err := errors.Join(unix.Lstat(path, &here), unix.Lstat(filepath.Dir(path), &above)); err != nil {
		return false, fmt.Errorf("cannot see whether %s is a mount point: %w", path, err)
	}
	return here.Dev != above.Dev, nil
}
