package logsink

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gopkg.in/natefinch/lumberjack.v2"
)

// appender is what writes and rotates one log file: a lumberjack.Logger, or in
// tests something that stands still.
type appender interface {
	io.Writer
	Rotate() error
	Close() error
}

// loggers keeps lumberjack's loggers for the next use. Each starts a goroutine
// with its first write that nothing ends; so there are never more of those
// than there were sinks at the same time.
var loggers struct {
	sync.Mutex
	free []*lumberjack.Logger
}

// unlimited is a size in MiB that no file reaches: the sink decides itself
// when to rotate, and lumberjack refuses writes above its limit.
const unlimited = 1 << 40

func newLumberjack(path string) appender {
	loggers.Lock()
	defer loggers.Unlock()
	n := len(loggers.free)
	if n == 0 {
		return &lumberjack.Logger{Filename: path, MaxSize: unlimited}
	}
	l := loggers.free[n-1]
	loggers.free = loggers.free[:n-1]
	l.Filename = path
	return l
}

// release closes an appender for good.
func release(a appender) {
	// Nothing is buffered that this could fail to write.
	_ = a.Close()
	if l, ok := a.(*lumberjack.Logger); ok {
		loggers.Lock()
		defer loggers.Unlock()
		loggers.free = append(loggers.free, l)
	}
}

// fate is what has become of the file that bytes were just written to.
type fate int

const (
	fateKept  fate = iota // it is there, under its name
	fateMoved             // it is there, under another name
	fateGone              // it was removed, and what was written with it
)

// current is the file being written, used by the pump's thread alone, except
// for what the sink's lock guards (see Sink.shown).
type current struct {
	path     string
	out      appender
	h        *os.File // the same file, for reading; nil: none is open
	dev, ino uint64
	size     int64
	opened   time.Time     // monotonic
	age      time.Duration // of the file when it was opened
	make     func(path string) appender
}

// open opens the file at path, and makes it and its folder if need be. healed
// tells that the file ended within a line which nobody will go on with; a
// line's end was put there.
func (c *current) open(path string, midLine bool) (healed bool, err error) {
	c.close()
	h, st, err := openLog(path)
	if err != nil {
		return false, err
	}
	c.path, c.h, c.dev, c.ino, c.size = path, h, st.Dev, st.Ino, st.Size
	c.opened, c.age = time.Now(), fileAge(h, st)
	c.out = c.make(path)
	// lumberjack opens on the first write, for appending as the file is there.
	_, err = c.out.Write(nil)
	if err == nil && !midLine && c.endsMidLine() {
		healed = true
		_, err = c.out.Write([]byte{'\n'})
		c.size++
	}
	if err != nil {
		c.close()
		return false, err
	}
	return healed, nil
}

func openLog(path string) (*os.File, *unix.Stat_t, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, nil, fmt.Errorf("cannot make the log folder: %w", err)
	}
	// Non-blocking, in case somebody has put a FIFO there.
	h, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open the log file: %w", err)
	}
	st := new(unix.Stat_t)
	if err = unix.Fstat(int(h.Fd()), st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errors.New("not a regular file")
	}
	if err != nil {
		_ = h.Close()
		return nil, nil, fmt.Errorf("cannot use the log file %s: %w", path, err)
	}
	return h, st, nil
}

// fileAge is how long ago the file was made, as far as the file system tells;
// a clock that jumped back must not make it negative.
func fileAge(h *os.File, st *unix.Stat_t) time.Duration {
	born := time.Unix(st.Mtim.Unix())
	var stx unix.Statx_t
	err := unix.Statx(int(h.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &stx)
	if err == nil && stx.Mask&unix.STATX_BTIME != 0 {
		born = time.Unix(stx.Btime.Sec, int64(stx.Btime.Nsec))
	}
	return max(0, time.Since(born))
}

func (c *current) endsMidLine() bool {
	if c.size == 0 {
		return false
	}
	var b [1]byte
	_, err := c.h.ReadAt(b[:], c.size-1)
	return err == nil && b[0] != '\n'
}

// close lets go of the file. The next write opens it again.
func (c *current) close() {
	if c.out != nil {
		release(c.out)
	}
	if c.h != nil {
		_ = c.h.Close()
	}
	c.out, c.h = nil, nil
}

// check looks at what has become of the file after a write, and brings its
// size up to date: others may have truncated it.
func (c *current) check() fate {
	var st unix.Stat_t
	err := unix.Stat(c.path, &st)
	if err == nil && st.Ino == c.ino && st.Dev == c.dev {
		c.size = st.Size
		return fateKept
	}
	var own unix.Stat_t
	if e := unix.Fstat(int(c.h.Fd()), &own); e != nil || own.Nlink == 0 {
		return fateGone
	}
	c.size = own.Size
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fateKept // it cannot be told; the next check may
	}
	return fateMoved
}

// due is how long it takes until the file reaches age.
func (c *current) due(age time.Duration) time.Duration {
	return age - c.age - time.Since(c.opened)
}

// rotate gives the file an archive's name. The next write makes a new file.
// The archive's name is returned.
func (c *current) rotate() (string, error) {
	list, err := listArchives(c.path)
	if err != nil {
		return "", err
	}
	awaitFreeName(list)
	ino, dev := c.ino, c.dev
	err = c.out.Rotate()
	path := c.path
	// lumberjack opens a new file so that a truncation by others would leave
	// a hole; opened again it is opened for appending.
	c.close()
	if err != nil {
		return "", fmt.Errorf("cannot rotate the log file: %w", err)
	}
	return settleName(path, list, dev, ino)
}
