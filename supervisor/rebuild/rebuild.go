// Package rebuild makes data fit for a new beginning, with etcd's own modules: it keeps the entries of a WAL that etcd
// would discard when a cluster is forced, and it restores a snapshot into a data directory of a new cluster. It works
// on stopped data only, prints nothing, and ends no process: what etcd's modules answer with a panic or an exit is an
// error here, but for a panic in a goroutine of theirs: [Apart] does the same in a process of its own.
//
// Both read as much into memory as an etcd that starts on the same data.
package rebuild

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

var (
	// ErrInUse says that another process has the data open.
	ErrInUse = errors.New("another process has it open")
	// ErrDamaged says that the data is damaged in a way that etcd does not repair either.
	ErrDamaged = errors.New("damaged")
	// ErrRemoved says that the member was removed from its cluster by an entry of its own log.
	ErrRemoved = errors.New("it removes this member")
)

// quiet is the logger for etcd's modules: it says nothing, and what would end the process is a panic for guarded.
var quiet = zap.New(zapcore.NewNopCore(), zap.WithFatalHook(zapcore.WriteThenPanic))

// guarded turns a panic of etcd's modules into an error. One in a goroutine of theirs is out of reach.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return f()
}

// holdDB takes the lock that an etcd has on its db, so that none starts meanwhile. Without a db there is none to take.
func holdDB(dataDir string) (release func(), err error) {
	path := filepath.Join(dataDir, "member", "snap", "db")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
			return func() { f.Close() }, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			f.Close()
			return nil, fmt.Errorf("%s: %w", path, ErrInUse)
		default:
			f.Close()
			return nil, &os.PathError{Op: "flock", Path: path, Err: err}
		}
	}
}

// isLocked tells whether somebody has a segment of the WAL open for writing, as etcd does.
func isLocked(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return false, &os.PathError{Op: "fcntl", Path: path, Err: err}
	}
	return lock.Type != unix.F_UNLCK, nil
}
