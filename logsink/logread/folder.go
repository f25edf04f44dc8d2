package logread

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// archiveTime is how lumberjack writes the time of a rotation into a file's name, in UTC.
const archiveTime = "2006-01-02T15-04-05.000"

const gzSuffix = ".gz"

// folder is where the current file and its archives are.
type folder struct {
	dir  string
	base string // name of the current file
}

// archive is a rotated file, compressed or not: NAME-TIME.log or NAME-TIME.log.gz.
type archive struct {
	name    string // without .gz
	plain   bool   // exists uncompressed; then a .gz beside it is still being written, or left from an attempt
	rotated time.Time
}

func (d folder) path(name string) string { return filepath.Join(d.dir, name) }
func (d folder) current() string         { return d.path(d.base) }

// archives lists the rotated files, oldest first. All other names in the folder are none of ours: a compressor
// may write under a temporary one.
func (d folder) archives() ([]archive, error) {
	entries, err := os.ReadDir(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the log folder: %w", err)
	}
	var found []archive
	for _, e := range entries {
		if a, ok := d.archive(e.Name()); ok && !e.IsDir() {
			found = append(found, a)
		}
	}
	slices.SortStableFunc(found, compareArchives)
	return mergePairs(found), nil
}

func compareArchives(a, b archive) int {
	if c := a.rotated.Compare(b.rotated); c != 0 {
		return c
	}
	if c := len(a.name) - len(b.name); c != 0 {
		return c // "…-2" before "…-10"
	}
	return strings.Compare(a.name, b.name)
}

// mergePairs makes one archive of a plain and a compressed file of the same name.
func mergePairs(sorted []archive) []archive {
	out := sorted[:0]
	for _, a := range sorted {
		if n := len(out); n > 0 && out[n-1].name == a.name {
			out[n-1].plain = out[n-1].plain || a.plain
			continue
		}
		out = append(out, a)
	}
	return out
}

// archive reads a file name. A number after the time ("…-1.log") tells apart what was rotated within a millisecond.
func (d folder) archive(file string) (archive, bool) {
	ext := filepath.Ext(d.base)
	name, gz := strings.CutSuffix(file, gzSuffix)
	stamp, ok := strings.CutPrefix(name, strings.TrimSuffix(d.base, ext)+"-")
	if !ok {
		return archive{}, false
	}
	stamp, ok = strings.CutSuffix(stamp, ext)
	if !ok || len(stamp) < len(archiveTime) || !isCount(stamp[len(archiveTime):]) {
		return archive{}, false
	}
	at, err := time.Parse(archiveTime, stamp[:len(archiveTime)])
	return archive{name: name, plain: !gz, rotated: at}, err == nil
}

func isCount(s string) bool {
	if s == "" {
		return true
	}
	_, ok := digits([]byte(s[1:]))
	return ok && len(s) > 1 && (s[0] == '-' || s[0] == '.')
}

// snapshot is a view of the folder with no rotation in the middle of it.
type snapshot struct {
	archives []archive
	current  *os.File // nil: there is none at the moment
}

// snapshot opens the current file and lists the archives, again if the current file has become another one
// meanwhile: else the file that was rotated in between would be in both, or in neither.
func (d folder) snapshot() (snapshot, error) {
	for {
		cur, err := openIfThere(d.current())
		if err != nil {
			return snapshot{}, err
		}
		list, err := d.archives()
		if err == nil && d.isCurrent(cur) {
			return snapshot{list, cur}, nil
		}
		if cur != nil {
			_ = cur.Close() // only read from
		}
		if err != nil {
			return snapshot{}, err
		}
	}
}

func openIfThere(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // the open of a FIFO would wait for a writer
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = onlyFile(f)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the log: %w", err)
	}
	return f, nil
}

// onlyFile closes what is no regular file.
func onlyFile(f *os.File) error {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", f.Name())
	}
	if err != nil {
		_ = f.Close() // only read from
	}
	return err
}

// isCurrent says whether f (nil: none) is what the current file's name stands for now.
func (d folder) isCurrent(f *os.File) bool {
	now, err := os.Stat(d.current())
	if f == nil || err != nil {
		return f == nil && err != nil
	}
	held, err := f.Stat()
	return err == nil && os.SameFile(now, held)
}

// open opens an archive, plain if it still is.
func (d folder) open(a archive) (f *os.File, gz bool, err error) {
	if f, err = os.Open(d.path(a.name)); !errors.Is(err, fs.ErrNotExist) {
		return f, false, err
	}
	f, err = os.Open(d.path(a.name + gzSuffix))
	return f, true, err
}
