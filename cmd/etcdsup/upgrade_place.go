package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// An executable on its way to its place. Until the new one has proved itself the place holds the old one: whoever starts
// etcdsup meanwhile, after a crash or a power cut, is to get what worked.

// staged are the names of one upgrade. All are in one folder, so that each step is a rename.
type staged struct {
	path     string // where the executable is installed
	next     string // the new one, until it is put at path
	previous string // the old one, from then on
	given    string // the file elsewhere, which stays, that next is a copy of; empty: next was at path
}

// failed is where the new executable is found after it was given up.
func (p *staged) failed() string { return cmp.Or(p.given, p.path+".failed") }

// exeOf is the executable that a process runs, also when it has no name any more.
func exeOf(pid int) string { return fmt.Sprintf("/proc/%d/exe", pid) }

// byPath puts together those that were started from the same file.
func byPath(all []runningDaemon) [][]runningDaemon {
	groups := map[string][]runningDaemon{}
	for _, r := range all {
		path := r.st.Supervisor.Binary
		groups[path] = append(groups[path], r)
	}
	var sorted [][]runningDaemon
	for _, path := range slices.Sorted(maps.Keys(groups)) {
		sorted = append(sorted, groups[path])
	}
	return sorted
}

func sortedSockets(c *config.Config) []string {
	return slices.Sorted(maps.Values(sockets(c)))
}

// placeOf is the configuration that an instance's errors are told by.
func (g *globals) placeOf(r runningDaemon) *config.Config {
	c := &config.Config{Instance: r.st.Instance, Dir: r.st.Config.Dir}
	c.Control.Socket = r.client.Socket()
	return c
}

// lockPlace has one upgrade at a time work at a place: two would take each other's files for their own. The lock is that
// of the folder, and goes with the process.
func lockPlace(path string) (*os.File, error) {
	folder := filepath.Dir(path)
	if _, err := os.Stat(folder); err != nil { // it would be made
		return nil, failf(exitFailure, "restart etcdsup: etcd goes on meanwhile", "cannot upgrade %s: %w", path, err)
	}
	lock, err := process.LockDir(folder)
	if _, held := errors.AsType[*process.HeldError](err); held {
		return nil, failf(exitFailure, "wait until that one has ended", "cannot upgrade %s: another upgrade works on it", path)
	}
	return lock, err
}

// stage puts the new executable beside the old one, and makes sure that the place holds the old one.
func stage(s status.Supervisor, binary string) (*staged, error) {
	if s.Binary == "" {
		return nil, failf(exitFailure, "restart etcdsup: etcd goes on meanwhile", "cannot upgrade etcdsup, PID %d: it does not say where it was started from", s.PID)
	}
	p := &staged{path: s.Binary, next: s.Binary + ".next", previous: s.Binary + ".previous"}
	running := exeOf(s.PID)
	switch {
	case binary != "":
		p.given = binary
		if err := isFile(binary); err != nil {
			return nil, err
		}
		return p, placed(p, copyFile(binary, p.next))
	case sameProgram(running, p.path):
		return p, nil // nothing was replaced: it is found out for each daemon by itself
	case sameProgram(running, p.next):
		return p, placed(p, p.finish()) // an upgrade that its command did not see the end of
	}
	// A package, or somebody, has put the new one there. The old one is put back until the new one has proved itself.
	return p, placed(p, p.putOldBack(running))
}

// putOldBack takes no room on the disk where the last upgrade has left what runs. Where it does not work all is as it was:
// the place is not to be without any.
func (p *staged) putOldBack(running string) error {
	if err := linkTo(p.path, p.next); err != nil {
		return err
	}
	var err error
	if sameProgram(running, p.previous) {
		err = linkTo(p.previous, p.path)
	} else {
		err = copyFile(running, p.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(p.next))
	}
	return nil
}

func placed(p *staged, err error) error {
	if err == nil {
		return nil
	}
	code, remedy := exitFailure, "see to that folder: df -h "+filepath.Dir(p.path)
	if errors.Is(err, fs.ErrPermission) {
		code, remedy = exitDenied, "run it as root, or as the user whom the folder belongs to"
	}
	return failf(code, remedy, "cannot put the new etcdsup at %s: %w", p.path, err)
}

// isFile refuses what cannot be an executable. Whether it is one the running etcdsup finds out.
func isFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return failf(exitDenied, "run it as root, or as a user who may read the file", "cannot upgrade: %w", err)
	case err != nil:
		return failf(exitFailure, "name the file of the new etcdsup after --binary", "cannot upgrade: %w", err)
	case !info.Mode().IsRegular():
		return failf(exitFailure, "name the file of the new etcdsup after --binary", "cannot upgrade to %s: it is no file", path)
	}
	return nil
}

// runs tells whether the process runs what is to be at the place in the end.
func (p *staged) runs(pid int) bool {
	exe := exeOf(pid)
	if isThere(p.next) {
		return sameProgram(exe, p.next)
	}
	return sameProgram(exe, p.path)
}

// sameProgram tells whether two files are one, or hold the same.
func sameProgram(a, b string) bool {
	if sameFile(a, b) {
		return true
	}
	fa, errA := os.Open(a)
	fb, errB := os.Open(b)
	if errA == nil {
		defer fa.Close()
	}
	if errB == nil {
		defer fb.Close()
	}
	return errors.Join(errA, errB) == nil && sameContent(fa, fb)
}

func sameContent(a, b io.Reader) bool {
	const piece = 1 << 20
	bufA, bufB := make([]byte, piece), make([]byte, piece)
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			return false
		}
		if errA != nil || errB != nil {
			return true // both have ended: a piece is shorter than the other one unless both are whole
		}
	}
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// finish puts the new executable at its place, and keeps the old one beside it.
func (p *staged) finish() error {
	if !isThere(p.next) {
		return nil // nothing was replaced
	}
	if sameProgram(p.next, p.path) {
		return os.Remove(p.next)
	}
	err := linkTo(p.path, p.previous)
	if err == nil {
		err = os.Rename(p.next, p.path)
	}
	return placed(p, errors.Join(err, syncFolder(p.path)))
}

// giveUp leaves the old executable at its place. A new one that came there by itself is kept as the one that failed.
func (p *staged) giveUp() error {
	if p.given != "" {
		return os.Remove(p.next)
	}
	err := os.Rename(p.next, p.failed())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// linkTo gives a file a second name, in place of whatever had that name.
func linkTo(from, to string) error {
	tmp := to + ".tmp"
	_ = os.Remove(tmp) // of one that was killed
	if err := os.Link(from, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, to)
}

// copyFile makes a copy under a name, whole and on disk, in place of whatever had that name. It can be executed by all
// and written by its owner only, as what becomes etcdsup has to be.
func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	tmp := to + ".tmp"
	dst, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	err = errors.Join(err, dst.Chmod(0o755), dst.Sync(), dst.Close())
	if err == nil {
		err = os.Rename(tmp, to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncFolder(to)
}

// syncFolder has the names of a file's folder on disk.
func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
