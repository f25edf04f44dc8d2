package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// survey adds up what there is, and finds what cannot be copied before anything was done.
func (c *copier) survey(src *os.File, inside bool) error {
	var odd []string
	if err := c.surveyDir(src, "", &odd); err != nil {
		return err
	}
	if len(odd) > 0 {
		return &SpecialError{Names: odd}
	}
	if !inside {
		return nil
	}
	// Into a folder that is there, one entry can be renamed at once, and no more.
	names, err := listing(src, true, nil)
	if err == nil && len(names) > 1 {
		err = fmt.Errorf("%s is there and stays, so one entry alone can appear in it at once, and there are %d: %s", c.to, len(names), strings.Join(names, ", "))
	}
	return err
}

func (c *copier) surveyDir(src *os.File, rel string, odd *[]string) error {
	names, err := listing(src, rel == "", nil)
	if err != nil {
		return err
	}
	for _, name := range names {
		st, err := statAt(src, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if kind := special(st); kind != "" {
			*odd = append(*odd, fmt.Sprintf("%s (%s)", filepath.Join(rel, name), kind))
			continue
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			c.count(st)
			continue
		}
		sub, err := openAt(src, name, unix.O_DIRECTORY)
		if err == nil {
			err = c.surveyDir(sub, filepath.Join(rel, name), odd)
			sub.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (c *copier) count(st *unix.Stat_t) {
	c.total += st.Size
	c.need += min(st.Blocks*512, st.Size)
}

// special says what it is that is neither file nor folder.
func special(st *unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
		return ""
	case unix.S_IFLNK:
		return "symbolic link"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFIFO:
		return "named pipe"
	}
	return "device"
}

// listing are the names in a folder in their order. At the top, what is no data is left out, and added to leftOut.
func listing(dir *os.File, top bool, leftOut *[]string) ([]string, error) {
	if _, err := dir.Seek(0, 0); err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	if !top {
		return names, nil
	}
	return slices.DeleteFunc(names, func(name string) bool {
		if isOurs(name) && leftOut != nil {
			*leftOut = append(*leftOut, name)
		}
		return isOurs(name)
	}), nil
}

// dir copies what is in a folder.
func (c *copier) dir(src, dst *os.File, rel string) error {
	names, err := listing(src, rel == "", &c.res.LeftOut)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		err := c.entry(src, dst, name, filepath.Join(rel, name))
		if errors.Is(err, errVanished) {
			c.res.Vanished = append(c.res.Vanished, filepath.Join(rel, name))
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errVanished says that there is no longer what was listed.
var errVanished = errors.New("vanished")

func vanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errVanished
	}
	return err
}

func (c *copier) entry(src, dst *os.File, name, rel string) error {
	st, err := statAt(src, name)
	if err != nil {
		return vanished(err)
	}
	if kind := special(st); kind != "" { // came after the survey
		return &SpecialError{Names: []string{fmt.Sprintf("%s (%s)", rel, kind)}}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return c.subDir(src, dst, name, rel)
	}
	in, err := openAt(src, name, 0)
	if err != nil {
		return vanished(err)
	}
	defer in.Close()
	out, err := createAt(dst, name)
	if err != nil {
		return err
	}
	c.unsaved = append(c.unsaved, out)
	c.res.Files++
	if err := c.content(in, out, rel); err != nil {
		return err
	}
	return c.flush(maxUnsaved)
}

func (c *copier) subDir(src, dst *os.File, name, rel string) error {
	in, err := openAt(src, name, unix.O_DIRECTORY)
	if err != nil {
		return vanished(err)
	}
	defer in.Close()
	if err := unix.Mkdirat(int(dst.Fd()), name, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: filepath.Join(dst.Name(), name), Err: err}
	}
	out, err := openAt(dst, name, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	err = c.dir(in, out, rel)
	c.unsaved = append(c.unsaved, out) // synced at the end: that of one folder would wait for all that was written so far
	if err != nil {
		return err
	}
	return c.adoptDir(in, out)
}

// maxUnsaved is how many files and folders are kept open until they are on disk: an error of writing back is told only to those
// who had the file open then.
const maxUnsaved = 64

// flush waits until all but the last few are on disk.
func (c *copier) flush(keep int) error {
	for len(c.unsaved) > keep {
		f := c.unsaved[0]
		c.unsaved = c.unsaved[1:]
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// drop closes what is left open after a failure.
func (c *copier) drop() {
	for _, f := range c.unsaved {
		f.Close()
	}
	c.unsaved = nil
}
