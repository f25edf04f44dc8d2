package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SpaceError says that a file system has too little room.
type SpaceError struct {
	Path string
	Need int64 // bytes
	Free int64 // bytes
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("%s has %s free, and %s are needed", e.Path, size(e.Free), size(e.Need))
}

// FreeSpace is how many bytes the file system that holds path has for everybody, which is less than root could use.
// The path need not exist yet, nor its folder. Quotas of a user or a project are not seen.
func FreeSpace(path string) (int64, error) {
	at, err := filepath.Abs(path)
	if err != nil {
		return 0, fmt.Errorf("cannot find the free space of %s: %w", path, err)
	}
	for {
		var st unix.Statfs_t
		err := unix.Statfs(at, &st)
		switch {
		case err == nil:
			return int64(st.Bavail) * st.Frsize, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, fs.ErrNotExist) && at != "/":
			at = filepath.Dir(at)
		default:
			return 0, fmt.Errorf("cannot find the free space of %s: %w", path, err)
		}
	}
}

// EnoughSpace is nil when the file system that holds path has room for that many bytes, and a *[SpaceError] when not.
func EnoughSpace(path string, need int64) error {
	free, err := FreeSpace(path)
	if err == nil && free < need {
		err = &SpaceError{Path: path, Need: need, Free: free}
	}
	return err
}

// size is a number of bytes for people.
func size(n int64) string {
	units := []string{"bytes", "kB", "MB", "GB", "TB"}
	f, i := float64(n), 0
	for f >= 1000 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d %s", n, units[0])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// Size is how many bytes a copy of a folder or a file takes when nothing of it is shared: what Copy wants to be free.
func Size(path string) (int64, error) {
	p, err := resolve(path)
	if err == nil {
		var f *os.File
		if f, err = openAt(nil, p, 0); err == nil {
			defer f.Close()
			return sizeOf(f)
		}
	}
	return 0, fmt.Errorf("cannot find the size of %s: %w", path, err)
}

func sizeOf(f *os.File) (int64, error) {
	c := &copier{}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		c.count(&st)
		return c.need, nil
	}
	var odd []string // has no size
	err := c.surveyDir(f, "", &odd)
	return c.need, err
}
