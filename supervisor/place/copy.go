package place

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Result is what a copy was. Names are relative to what was copied.
type Result struct {
	Files     int           `json:"files"`
	Bytes     int64         `json:"bytes"`               // of all files, holes included
	Reflinked int64         `json:"reflinked,omitempty"` // of these, shared with the source by the file system
	Took      time.Duration `json:"took_ns"`

	// Changed are files that were written to while they were copied. etcd was running then: their copies may be of no
	// single moment, except where they were reflinked.
	Changed []string `json:"changed,omitempty"`
	// Vanished were there when their folder was read, and gone when their turn came.
	Vanished []string `json:"vanished,omitempty"`
	// LeftOut lie at the top and are no data: lost+found, and what was set aside or half copied there.
	LeftOut []string `json:"left_out,omitempty"`
	// Removed are paths of what earlier copies to the same place had left when they were killed.
	Removed []string `json:"removed,omitempty"`
}

// SpecialError names what cannot be copied because it is neither file nor folder.
type SpecialError struct {
	Names []string // each with what it is: "member/wal (symbolic link)"
}

func (e *SpecialError) Error() string {
	return "neither file nor folder: " + strings.Join(e.Names, ", ")
}

// Copy copies the folder from, which it does not change, to the path to. There must be nothing at to, or a folder
// without data, such as a fresh mount; else the error wraps fs.ErrExist. The copy appears whole or not at all, and is
// on disk when Copy returns; one that fails is removed again. Mode and times are kept, as root the owner too, extended
// attributes where that is allowed. Blocks are shared with the source where the file system can; holes stay holes.
//
// Files are copied in the order of their names, and a folder is read when its turn comes. So from may be the data
// directory of an etcd that is running: its db is copied before the WAL that has all that is in the db, and files that
// vanish meanwhile are passed over.
//
// progress may be nil; it is told the bytes done and those there are in all, holes included, every few megabytes, by
// the goroutine that called Copy. The error is a *[SpaceError] when there is no room, and a *[SpecialError] when from
// has something else than files and folders in it.
func Copy(ctx context.Context, from, to string, progress func(done, total int64)) (Result, error) {
	began := time.Now()
	c := newCopier(ctx, progress)
	err := c.copyDir(from, to)
	c.res.Took = time.Since(began)
	if err != nil {
		return c.res, fmt.Errorf("cannot copy %s to %s: %w", from, to, err)
	}
	return c.res, nil
}

// CopyFile is [Copy] for one file.
func CopyFile(ctx context.Context, from, to string, progress func(done, total int64)) (Result, error) {
	began := time.Now()
	c := newCopier(ctx, progress)
	err := c.copyFile(from, to)
	c.res.Took = time.Since(began)
	if err != nil {
		return c.res, fmt.Errorf("cannot copy %s to %s: %w", from, to, err)
	}
	return c.res, nil
}

// copier is one copy under way.
type copier struct {
	ctx      context.Context
	progress func(done, total int64)
	res      Result
	done     int64
	total    int64
	need     int64  // bytes on disk, if nothing is shared
	to       string // resolved
	root     bool   // owners are kept

	clones  bool // the file system may share blocks
	ranges  bool // the kernel may copy by itself
	checked bool // there is room
	buf     []byte
	disk    *writeback
	unsaved []*os.File // written, and not known to be on disk
}

func newCopier(ctx context.Context, progress func(done, total int64)) *copier {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	return &copier{ctx: ctx, progress: progress, root: os.Geteuid() == 0, clones: true, ranges: true}
}

// target settles where the copy goes and clears what earlier ones have left there.
func (c *copier) target(to string) (inside bool, err error) {
	if c.to, err = resolve(to); err != nil {
		return false, err
	}
	if c.res.Removed, err = RemoveLeftovers(c.to); err != nil {
		return false, err
	}
	there, err := exists(c.to)
	if err != nil || !there {
		return false, err
	}
	if inside, err = isVacant(c.to); err == nil && !inside {
		err = &os.PathError{Op: "mkdir", Path: c.to, Err: fs.ErrExist}
	}
	return inside, err
}

func (c *copier) copyDir(from, to string) error {
	from, err := resolve(from)
	if err != nil {
		return err
	}
	inside, err := c.target(to)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(from, c.to); err == nil && !strings.HasPrefix(rel, "..") && (strings.Contains(rel, "/") || !isOurs(rel)) {
		return errors.New("a folder cannot be copied into itself")
	}
	src, err := openAt(nil, from, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := c.survey(src, inside); err != nil {
		return err
	}
	p, err := newPartial(c.to, inside, newPartialDir)
	if err != nil {
		return err
	}
	if err := c.fill(p, src, inside); err != nil {
		return errors.Join(err, p.discard())
	}
	p.f.Close()
	return nil
}

// fill makes the copy and gives it its name.
func (c *copier) fill(p *partial, src *os.File, inside bool) error {
	defer c.drop()
	c.disk = startWriteback()
	err := c.dir(src, p.f, "")
	c.disk.stop()
	if err != nil {
		return err
	}
	if err := c.flush(0); err != nil {
		return err
	}
	if !inside {
		if err := c.adoptDir(src, p.f); err != nil {
			return err
		}
	}
	if err := errors.Join(p.f.Sync(), c.ctx.Err()); err != nil {
		return err
	}
	if err := c.settle(p, inside); err != nil {
		return err
	}
	c.progress(c.done, c.done)
	return nil
}

// settle renames: that is the moment in which the copy appears.
func (c *copier) settle(p *partial, inside bool) error {
	if !inside {
		if err := renameNoReplace(p.path, c.to); err != nil {
			return err
		}
		return syncDir(filepath.Dir(c.to))
	}
	names, err := contents(p.path)
	if err != nil {
		return err
	}
	if err := moveEntries(names, p.path, c.to); err != nil {
		return err
	}
	return errors.Join(os.Remove(p.path), syncDir(c.to))
}

func (c *copier) copyFile(from, to string) error {
	from, err := resolve(from)
	if err != nil {
		return err
	}
	if inside, err := c.target(to); err != nil || inside {
		return errors.Join(err, isFolder(inside, c.to))
	}
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return &os.PathError{Op: "stat", Path: from, Err: err}
	}
	if kind := special(&st); kind != "" {
		return &SpecialError{Names: []string{kind}}
	}
	src, err := openAt(nil, from, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := isFolder(st.Mode&unix.S_IFMT == unix.S_IFDIR, from); err != nil {
		return err
	}
	c.count(&st)
	p, err := newPartial(c.to, false, newPartialFile)
	if err != nil {
		return err
	}
	if err := c.fillFile(p, src); err != nil {
		return errors.Join(err, p.discard())
	}
	p.f.Close()
	return nil
}

func isFolder(is bool, path string) error {
	if is {
		return &os.PathError{Op: "copy", Path: path, Err: unix.EISDIR}
	}
	return nil
}

func (c *copier) fillFile(p *partial, src *os.File) error {
	c.disk = startWriteback()
	err := c.content(src, p.f, filepath.Base(src.Name()))
	c.disk.stop()
	if err != nil {
		return err
	}
	if err := errors.Join(p.f.Sync(), c.ctx.Err()); err != nil {
		return err
	}
	if err := renameNoReplace(p.path, c.to); err != nil {
		return err
	}
	c.progress(c.done, c.done)
	return syncDir(filepath.Dir(c.to))
}
