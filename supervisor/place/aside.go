package place

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// asideForm is how the moment stands in a name: it sorts, and has no zone to be wrong about.
const asideForm = "20060102T150405Z"

var (
	asideSuffix = pattern(`^\.aside-\d{8}T\d{6}Z-\d+$`)
	insideAside = pattern(`^aside-\d{8}T\d{6}Z-\d+(\.etcdsup-partial-[0-9a-f]{16})?$`)
)

// pattern is compiled when it is first wanted: few runs of the program want any, and what one that stays has compiled, it
// holds for good.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// AsideName is where what is at path would be set aside at this moment: the free name
// <path>.aside-<UTC yyyymmddThhmmssZ>-<n> beside it. Where path cannot be renamed, being a mount point or in a folder
// that is not ours to write, it is <path>/aside-<…>-<n>, into which its content can be moved. The error wraps
// fs.ErrNotExist when there is nothing at path.
//
// Who keeps a journal writes this name down first and then calls [SetAsideAs], which may be repeated.
func AsideName(path string) (string, error) {
	p, err := resolve(path)
	if err != nil {
		return "", fmt.Errorf("cannot find a name to set aside %s: %w", path, err)
	}
	stays, err := staysPut(p)
	if err != nil {
		return "", fmt.Errorf("cannot find a name to set aside %s: %w", path, err)
	}
	return freeAside(p, stays)
}

// staysPut tells whether p is a folder that cannot be renamed.
func staysPut(p string) (bool, error) {
	info, err := os.Lstat(p)
	if err != nil || !info.IsDir() {
		return false, err
	}
	if mount, err := isMountRoot(p); err != nil || mount {
		return mount, err
	}
	err = unix.Faccessat(unix.AT_FDCWD, filepath.Dir(p), unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	return err != nil, nil
}

func freeAside(p string, inside bool) (string, error) {
	stem := p + "."
	if inside {
		stem = p + "/"
	}
	stem += "aside-" + time.Now().UTC().Format(asideForm)
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s-%d", stem, n)
		if there, err := exists(name); err != nil || !there {
			return name, err
		}
	}
}

// SetAside renames what is at path, a folder or a file, to the name that [AsideName] gives, syncs the folder that
// holds it, and returns where it is now. Where path itself has to stay, its content is moved into a folder in it: then
// to lies below path. The error says why it was wanted. When to is not empty beside an error, it may be there.
func SetAside(path, why string) (to string, err error) {
	if to, err = AsideName(path); err != nil {
		return "", fmt.Errorf("%w (wanted: %s)", err, why)
	}
	for {
		err = SetAsideAs(path, to, why)
		switch p, _ := resolve(path); {
		case errors.Is(err, fs.ErrExist) && existsNow(to): // somebody took the name
			to, err = freeAside(p, filepath.Dir(to) == p)
		case cannotRename(err) && filepath.Dir(to) != p && isDir(p): // which only the attempt can tell for certain
			to, err = freeAside(p, true)
		default:
			return to, err
		}
		if err != nil {
			return "", fmt.Errorf("cannot set aside %s (%s): %w", path, why, err)
		}
	}
}

func existsNow(path string) bool {
	there, _ := exists(path)
	return there
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// cannotRename tells of an error whether it is the place that cannot be renamed, for whatever reason.
func cannotRename(err error) bool {
	return slices.ContainsFunc([]error{unix.EBUSY, unix.EXDEV, unix.EACCES, unix.EPERM, unix.EROFS}, func(e error) bool { return errors.Is(err, e) })
}

// SetAsideAs is [SetAside] to a name that was chosen before. It may be repeated after having been cut short at any
// point, and does what is left to do. With something other than an empty folder in both places the error wraps
// fs.ErrExist, with nothing in either fs.ErrNotExist.
func SetAsideAs(path, to, why string) error {
	p, err := resolve(path)
	if err == nil {
		to, err = filepath.Abs(to)
	}
	if err == nil {
		switch filepath.Dir(to) {
		case filepath.Dir(p):
			err = asideBeside(p, to, isLink(path))
		case p:
			err = asideInside(p, to)
		default:
			err = fmt.Errorf("%s is neither beside it nor in it", to)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot set aside %s (%s): %w", path, why, err)
	}
	return nil
}

func asideBeside(p, to string, linked bool) error {
	there, err := exists(p)
	if err != nil {
		return err
	}
	done, err := exists(to)
	if err != nil {
		return err
	}
	switch {
	case there && done && !isEmptyDir(p):
		return &os.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	case there && !done:
		err = renameNoReplace(p, to)
	case !there && !done:
		return &os.PathError{Op: "rename", Path: p, Err: fs.ErrNotExist}
	}
	if err == nil && linked {
		err = makeLike(p, to)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(p))
}

// makeLike makes an empty folder where a link points to: nobody can make one through a link that leads nowhere.
func makeLike(p, model string) error {
	info, err := os.Lstat(model)
	if err != nil || !info.IsDir() {
		return err
	}
	if err := os.Mkdir(p, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(model, &st); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := os.Lchown(p, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(p, info.Mode().Perm())
}

// asideInside moves the content of p, which stays, into to, a folder in it.
func asideInside(p, to string) error {
	if !isOurs(filepath.Base(to)) {
		return fmt.Errorf("%s has no name that would tell it from data", to)
	}
	names, err := contents(p)
	if err != nil {
		return err
	}
	done, err := exists(to)
	if err != nil {
		return err
	}
	if !done {
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
		if err := syncDir(p); err != nil { // an empty folder of that name says that the move has begun
			return err
		}
	}
	if err := moveEntries(memberFirst(names), p, to); err != nil {
		return err
	}
	return syncDirs(to, p)
}

// Asides are the paths of what was set aside from path and is still there, the oldest first.
func Asides(path string) ([]string, error) {
	p, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("cannot look for what was set aside from %s: %w", path, err)
	}
	beside, err := named(filepath.Dir(p), func(name string) bool {
		rest, ok := strings.CutPrefix(name, filepath.Base(p))
		return ok && asideSuffix().MatchString(rest)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look for what was set aside from %s: %w", path, err)
	}
	inside, err := named(p, func(name string) bool {
		return insideAside().MatchString(name) && !strings.Contains(name, partialMark)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("cannot look for what was set aside from %s: %w", path, err)
	}
	all := slices.Concat(beside, inside)
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(asideKey(a), asideKey(b)) })
	return all, nil
}

// asideKey is what sorts by time: the moment, and the number with the length in front.
func asideKey(path string) string {
	_, key, _ := strings.Cut(filepath.Base(path), "aside-")
	moment, n, _ := strings.Cut(key, "-")
	return fmt.Sprintf("%s-%06s", moment, n)
}

// named are the paths in a folder whose names are wanted.
func named(dir string, wanted func(name string) bool) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		if wanted(e.Name()) {
			all = append(all, filepath.Join(dir, e.Name()))
		}
	}
	return all, nil
}
