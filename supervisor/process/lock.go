package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// LockDir takes the start lock of a data directory: an exclusive flock on the directory itself, which is made,
// with its parents, for its owner only, when it is missing. The lock belongs to the open file, not to us: handed
// to a child by [Spec.Inherit] it holds until the last of them is dead, however we died. The error is a
// *[HeldError] when somebody else holds it.
func LockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
	}
	return lock(dir, unix.O_RDONLY|unix.O_DIRECTORY)
}

// LockFile takes an exclusive lock on a plain file, made when missing, and writes our PID into it for people to
// read. The error is a *[HeldError] when somebody else holds it.
func LockFile(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	f, err := lock(path, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, err
	}
	// Information only, and not worth a failure on a full disk.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// ProbeBackend reports, as a *[HeldError], that a process has the backend of this data directory open: an etcd
// that was not started by us holds no start lock, but bbolt's lock on member/snap/db. It is for the time before a
// start: the lock is taken and let go at once, and an etcd of our own that opens the file at that moment would
// have to try again, which it does.
func ProbeBackend(dataDir string) error {
	path := filepath.Join(dataDir, "member", "snap", "db")
	fd, err := openFD(path, unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot see whether %s is in use: %w", path, err)
	}
	defer unix.Close(fd) // which unlocks
	return flock(fd, path)
}

// lock opens and locks path. Between the two the name may have been given to another file: a lock on a file that
// nobody finds any more would exclude nobody.
func lock(path string, flags int) (*os.File, error) {
	for {
		fd, err := openFD(path, flags)
		if err != nil {
			return nil, fmt.Errorf("cannot lock %s: %w", path, err)
		}
		if err := flock(fd, path); err != nil {
			unix.Close(fd)
			return nil, err
		}
		if same, err := isStill(fd, path); err != nil || !same {
			unix.Close(fd)
			if err != nil {
				return nil, fmt.Errorf("cannot lock %s: %w", path, err)
			}
			continue
		}
		return os.NewFile(uintptr(fd), path), nil
	}
}

// StillLocks reports whether a start lock is that of the directory which has this name now: it may have been moved
// away since, and another one put in its place.
func StillLocks(lock *os.File, dir string) bool {
	same, err := isStill(int(lock.Fd()), dir)
	return err == nil && same
}

// openFD opens outside the runtime's poller, so that the descriptor stays a plain blocking one for the child.
func openFD(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// flock locks without waiting; on refusal it names the holders.
func flock(fd int, path string) error {
	for {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return &HeldError{Dir: path, Holders: holdersOf(fd)}
		case err != nil:
			return fmt.Errorf("cannot lock %s: %w", path, err)
		}
		return nil
	}
}

func isStill(fd int, path string) (bool, error) {
	var open, named unix.Stat_t
	if err := unix.Fstat(fd, &open); err != nil {
		return false, err
	}
	err := unix.Stat(path, &named)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil && open.Dev == named.Dev && open.Ino == named.Ino, err
}
