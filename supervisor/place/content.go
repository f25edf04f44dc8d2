package place

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openAt opens for reading what is a file or a folder, never follows a link, and leaves no trace in the access time
// where that is allowed: to the owner and to root. Without a folder, name is a path.
func openAt(dir *os.File, name string, flags int) (*os.File, error) {
	flags |= unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	at, path := unix.AT_FDCWD, name
	if dir != nil {
		at, path = int(dir.Fd()), filepath.Join(dir.Name(), name)
	}
	fd, err := retryOpen(at, name, flags|unix.O_NOATIME)
	if errors.Is(err, unix.EPERM) {
		fd, err = retryOpen(at, name, flags)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func createAt(dir *os.File, name string) (*os.File, error) {
	fd, err := retryOpen(int(dir.Fd()), name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC)
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func retryOpen(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags, 0o600)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func statAt(dir *os.File, name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, &os.PathError{Op: "stat", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return &st, nil
}

// content makes dst like src, which has rel as its name in the report.
func (c *copier) content(src, dst *os.File, rel string) error {
	var before, after unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &before); err != nil {
		return &os.PathError{Op: "stat", Path: rel, Err: err}
	}
	if kind := special(&before); kind != "" || before.Mode&unix.S_IFMT == unix.S_IFDIR {
		return errors.New(rel + " was a file, and is none any more")
	}
	c.res.Bytes += before.Size
	if err := c.bytes(src, dst, before.Size); err != nil {
		return err
	}
	if err := unix.Fstat(int(src.Fd()), &after); err != nil {
		return &os.PathError{Op: "stat", Path: rel, Err: err}
	}
	if before.Mtim != after.Mtim || before.Size != after.Size {
		c.res.Changed = append(c.res.Changed, rel)
	}
	return c.adopt(src, dst, &before)
}

func (c *copier) bytes(src, dst *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	if c.clones && c.clone(src, dst) {
		c.res.Reflinked += size
		c.advance(size)
		return nil
	}
	if !c.checked {
		if err := EnoughSpace(c.to, c.need); err != nil {
			return err
		}
		c.checked = true
	}
	return c.sparse(src, dst, size)
}

// clone shares the blocks of src: at once, and of one moment even while src is written.
func (c *copier) clone(src, dst *os.File) bool {
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return true
	}
	c.clones = false // the reasons are those of the file system; no other file will fare better
	return false
}

func (c *copier) advance(n int64) {
	c.done += n
	c.total = max(c.total, c.done)
	c.progress(c.done, c.total)
}

type extent struct{ from, to int64 }

// extents are where there is data. All are found before the first is copied: what grows meanwhile, as a WAL does, is
// then copied as far as it was, and not with a hole in its middle.
func extents(f *os.File, size int64) []extent {
	var all []extent
	for at := int64(0); at < size; {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return all // a hole to the end
		}
		var to int64
		if err == nil {
			to, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
		}
		if err != nil || to <= from { // a file system that does not tell
			return append(all, extent{at, size})
		}
		if from >= size {
			return all
		}
		all = append(all, extent{from, min(to, size)})
		at = to
	}
	return all
}

func (c *copier) sparse(src, dst *os.File, size int64) error {
	if err := dst.Truncate(size); err != nil {
		return err
	}
	at := int64(0)
	for _, e := range extents(src, size) {
		c.advance(e.from - at)
		if err := c.span(src, dst, e); err != nil {
			return err
		}
		at = e.to
	}
	c.advance(size - at)
	return nil
}

// step is how much is copied between two looks at the context.
const step = 4 << 20

func (c *copier) span(src, dst *os.File, e extent) error {
	for at := e.from; at < e.to; {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		n, err := c.some(src, dst, at, min(step, e.to-at))
		if err != nil {
			return err
		}
		if n == 0 { // became shorter meanwhile; the rest stays a hole
			c.advance(e.to - at)
			return nil
		}
		c.disk.begin(dst, at, n)
		at += n
		c.advance(n)
	}
	return nil
}

// some copies up to n bytes at an offset, in the kernel where that can be.
func (c *copier) some(src, dst *os.File, at, n int64) (int64, error) {
	if c.ranges {
		in, out := at, at
		got, err := unix.CopyFileRange(int(src.Fd()), &in, int(dst.Fd()), &out, int(n), 0)
		switch {
		case err == nil && got > 0:
			return int64(got), nil
		case errors.Is(err, unix.EINTR):
			return c.some(src, dst, at, n)
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EIO):
			return 0, &os.PathError{Op: "copy", Path: dst.Name(), Err: err}
		}
		// Refused, or nothing where there should be something, as some file systems do: by hand from now on.
		c.ranges = false
	}
	return c.byHand(src, dst, at, n)
}

func (c *copier) byHand(src, dst *os.File, at, n int64) (int64, error) {
	if c.buf == nil {
		c.buf = make([]byte, 128<<10)
	}
	got, err := src.ReadAt(c.buf[:min(n, int64(len(c.buf)))], at)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	_, err = dst.WriteAt(c.buf[:got], at)
	return int64(got), err
}

// adopt gives dst the owner, the mode, the attributes and the times of src, in the order in which one does not undo
// the other.
func (c *copier) adopt(src, dst *os.File, st *unix.Stat_t) error {
	if c.root {
		if err := unix.Fchown(int(dst.Fd()), int(st.Uid), int(st.Gid)); err != nil {
			return &os.PathError{Op: "chown", Path: dst.Name(), Err: err}
		}
	}
	copyAttributes(src, dst)
	if err := unix.Fchmod(int(dst.Fd()), st.Mode&0o7777); err != nil {
		return &os.PathError{Op: "chmod", Path: dst.Name(), Err: err}
	}
	return setTimes(dst, st)
}

func (c *copier) adoptDir(src, dst *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: src.Name(), Err: err}
	}
	return c.adopt(src, dst, &st)
}

// setTimes is futimens(2), which golang.org/x/sys does not have.
func setTimes(f *os.File, st *unix.Stat_t) error {
	times := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, st.Mtim}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, f.Fd(), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
	if errno != 0 {
		return &os.PathError{Op: "utimensat", Path: f.Name(), Err: errno}
	}
	return nil
}

// copyAttributes copies access lists, labels and users' attributes as far as that is allowed: to whom it is not, they
// are no business of.
func copyAttributes(src, dst *os.File) {
	n, err := unix.Flistxattr(int(src.Fd()), nil)
	if err != nil || n == 0 {
		return
	}
	names := make([]byte, n)
	if n, err = unix.Flistxattr(int(src.Fd()), names); err != nil {
		return
	}
	for _, name := range splitNames(names[:n]) {
		n, err := unix.Fgetxattr(int(src.Fd()), name, nil)
		if err != nil {
			continue
		}
		value := make([]byte, n)
		if n, err = unix.Fgetxattr(int(src.Fd()), name, value); err == nil {
			_ = unix.Fsetxattr(int(dst.Fd()), name, value[:n], 0)
		}
	}
}

func splitNames(b []byte) []string {
	var names []string
	for start, i := 0, 0; i < len(b); i++ {
		if b[i] == 0 {
			names = append(names, string(b[start:i]))
			start = i + 1
		}
	}
	return names
}
