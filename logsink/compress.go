package logsink

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

var errStopped = errors.New("stopped")

// compress replaces an archive by its gzip file. The compressed file gets its
// name only when it is durable, and the original is removed only then: killed
// in between, the work is done again.
func compress(path string, closing *atomic.Bool) error {
	temp := path + tempSuffix
	err := gzipTo(temp, path, closing)
	if err == nil {
		err = os.Rename(temp, path+gzipSuffix)
	}
	if err != nil {
		_ = os.Remove(temp)
		if errors.Is(err, errStopped) {
			return nil
		}
		return fmt.Errorf("cannot compress %s: %w", path, err)
	}
	if err := syncFile(filepath.Dir(path)); err != nil {
		return err
	}
	return os.Remove(path)
}

func gzipTo(temp, path string, closing *atomic.Bool) error {
	src, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	st, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, st.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { _ = dst.Close() }()
	if own, ok := ownerOf(path); ok {
		_ = dst.Chown(own.uid, own.gid) // allowed to root only
	}
	if err := squeeze(dst, src, closing); err != nil {
		return err
	}
	return dst.Sync()
}

// restFactor times as long as it worked, squeeze rests: it takes a quarter of
// one CPU at most.
const restFactor = 3

// squeeze compresses in small steps with pauses.
func squeeze(dst io.Writer, src *os.File, closing *atomic.Bool) error {
	z := gzip.NewWriter(dst)
	buf := make([]byte, 32<<10)
	for {
		if closing.Load() {
			return errStopped
		}
		began := time.Now()
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := z.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		time.Sleep(restFactor * time.Since(began))
	}
	if err := z.Close(); err != nil {
		return err
	}
	// What was read will not be read again soon; it must not displace others'
	// pages.
	_ = unix.Fadvise(int(src.Fd()), 0, 0, unix.FADV_DONTNEED)
	return nil
}

type owner struct{ uid, gid int }

func ownerOf(path string) (owner, bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return owner{}, false
	}
	return owner{int(st.Uid), int(st.Gid)}, true
}
