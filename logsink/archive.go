package logsink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// archiveTime is lumberjack's form of the time in an archive's name, in
	// UTC.
	archiveTime = "2006-01-02T15-04-05.000"
	gzipSuffix  = ".gz"
	tempSuffix  = ".gz.tmp"
	// nameWindow is how far ahead an archive's name must be free: lumberjack
	// takes the time itself, a little later.
	nameWindow = 20 * time.Millisecond
)

// archive is a rotated log file.
type archive struct {
	path string    // as it stands in the folder, with .gz or not
	at   time.Time // from the name
	size int64
	ino  uint64
	dev  uint64
}

func (a archive) compressed() bool { return strings.HasSuffix(a.path, gzipSuffix) }

// archiveName is lumberjack's name for a file rotated at that time.
func archiveName(path string, at time.Time) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-" + at.UTC().Format(archiveTime) + ext
}

// listArchives returns the archives of the log file at path, oldest first.
func listArchives(path string) ([]archive, error) {
	dir := filepath.Dir(path)
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the log folder: %w", err)
	}
	var list []archive
	for _, e := range names {
		at, ok := archiveTimeOf(path, e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		var st unix.Stat_t
		full := filepath.Join(dir, e.Name())
		if unix.Lstat(full, &st) != nil {
			continue // removed meanwhile
		}
		list = append(list, archive{full, at, st.Size, st.Ino, st.Dev})
	}
	sort.Slice(list, func(i, j int) bool {
		if !list[i].at.Equal(list[j].at) {
			return list[i].at.Before(list[j].at)
		}
		return list[i].path < list[j].path
	})
	return list, nil
}

// archiveTimeOf reads the time from an archive's name.
func archiveTimeOf(path, name string) (time.Time, bool) {
	base := filepath.Base(path)
	ext := filepath.Ext(base)
	rest, ok := strings.CutPrefix(name, strings.TrimSuffix(base, ext)+"-")
	if !ok {
		return time.Time{}, false
	}
	rest = strings.TrimSuffix(rest, gzipSuffix)
	stamp, ok := strings.CutSuffix(rest, ext)
	if !ok {
		return time.Time{}, false
	}
	at, err := time.Parse(archiveTime, stamp)
	return at, err == nil
}

// awaitFreeName waits until no archive has a name that lumberjack could give
// now: it would overwrite that archive. There is one if the last rotation was
// in this millisecond, or if the clock was set back.
func awaitFreeName(list []archive) {
	for {
		now := time.Now()
		wait := time.Duration(0)
		for _, a := range list {
			if d := a.at.Sub(now.Truncate(time.Millisecond)); d >= 0 && d <= nameWindow {
				wait = max(wait, d+time.Millisecond)
			}
		}
		if wait == 0 {
			return
		}
		time.Sleep(wait)
	}
}

// settleName finds the archive that the file dev:ino has become. Should the
// clock have been set back, so that older archives have later names, it gets
// a name after theirs: the order of the names is the order of the lines.
func settleName(path string, before []archive, dev, ino uint64) (string, error) {
	list, err := listArchives(path)
	if err != nil {
		return "", err
	}
	for _, a := range list {
		if a.ino != ino || a.dev != dev {
			continue
		}
		if n := len(before); n > 0 && !a.at.After(before[n-1].at) {
			return moveAfter(path, a, before[n-1].at)
		}
		return a.path, nil
	}
	return "", fmt.Errorf("cannot find the log file again that was just rotated: %w", fs.ErrNotExist)
}

func moveAfter(path string, a archive, last time.Time) (string, error) {
	for i := 1; i <= 1000; i++ {
		name := archiveName(path, last.Add(time.Duration(i)*time.Millisecond))
		err := renameNew(a.path, name)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return a.path, nil // the order is wrong then, nothing is lost
}

// renameNew renames and never overwrites.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		if err = os.Link(from, to); err == nil {
			err = os.Remove(from)
		}
	}
	return err
}
