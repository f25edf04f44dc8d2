package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// folders are what the service writes to outside of its own, by what it is for.
type folders struct {
	writable []string // what a sandbox has to let through
	mounts   []string // folders that may be mounts of their own, and are to be there first
}

// place is a folder that the configuration names.
type place struct {
	what, path string
	data       bool // it is set aside in a change of mode, which means a new name beside it
}

// planFolders makes the folders that the service needs, and says what stands against those that are there.
func (p *planner) planFolders() {
	p.makeFolder(StateDir, 0o755, false)
	p.letPass(StateDir)
	p.planBase()
	if p.Plan.Config == nil {
		return
	}
	for _, f := range p.places() {
		p.planPlace(f)
	}
	p.folders.writable = outermost(p.folders.writable)
}

// planBase makes the service's own folder, or gives it to the service's user.
func (p *planner) planBase() {
	base := p.BaseDir()
	if _, err := os.Lstat(base); errors.Is(err, fs.ErrNotExist) {
		p.makeFolder(base, 0o700, true)
		return
	}
	if stray := p.foreign(base); stray != "" {
		p.change(Change{
			What: fmt.Sprintf("give %s to user %s: %s is another user's", base, p.account.name, stray),
			do:   func(context.Context) error { return giveTree(base, p.account.uidNow(), p.account.gidNow()) },
		})
	}
}

// places are the folders outside of the service's own.
func (p *planner) places() []place {
	c := p.Plan.Config
	all := []place{
		{"base folder", c.Dir, false}, {"data directory", c.DataDir(), true}, {"folder of the WAL", c.Arg("wal-dir"), true},
		{"folder of the log", c.Log.Dir, false}, {"folder of the control socket", filepath.Dir(c.Control.Socket), false},
	}
	var kept []place
	for _, f := range all {
		within := func(k place) bool { return isWithin(f.path, k.path) && !f.data }
		if f.path != "" && !isWithin(f.path, p.BaseDir()) && !slices.ContainsFunc(kept, within) {
			kept = append(kept, f)
		}
	}
	return kept
}

func (p *planner) planPlace(f place) {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.planNewPlace(f)
		return
	case err != nil:
		p.fault("mend that, or name another folder in the configuration", "cannot use the %s: %s", f.what, err)
		return
	case !info.IsDir():
		p.fault("remove that file, or name another folder in the configuration", "cannot use the %s %s: it is a file", f.what, f.path)
		return
	}
	p.checkPlace(f)
	p.letThrough(f, p.account.may(filepath.Dir(f.path), unix.W_OK|unix.X_OK) == nil)
}

// checkPlace finds what is not the user's in a folder that is there.
func (p *planner) checkPlace(f place) {
	if above := p.account.blocker(f.path); above != f.path {
		p.fault("chmod a+x "+above+", or name another folder in the configuration",
			"user %s cannot reach the %s %s: it may not pass %s", p.account.name, f.what, f.path, above)
		return
	}
	give := p.account.making() + fmt.Sprintf("chown -R %s: %s, while nothing runs on it; or name the user that has it with --user", p.account.name, f.path)
	if err := p.account.may(f.path, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		p.fault(give, "user %s may not write to the %s %s", p.account.name, f.what, f.path)
		return
	}
	if !f.data {
		return
	}
	if stray := p.foreign(f.path); stray != "" {
		p.fault(give, "user %s cannot run etcd on %s: %s is another user's", p.account.name, f.path, stray)
	}
}

// planNewPlace makes a folder. The folder that it is in is the user's too where it has to be made: data can then be set
// aside in it.
func (p *planner) planNewPlace(f place) {
	parent := filepath.Dir(f.path)
	_, err := os.Stat(parent)
	makesParent := err != nil
	there := standing(f.path)
	if above := p.account.blocker(filepath.Join(there, "x")); isWithin(there, above) {
		p.fault("chmod a+x "+above+", or name another folder in the configuration",
			"user %s cannot reach the %s %s: it may not pass %s", p.account.name, f.what, f.path, above)
		return
	}
	if makesParent {
		p.makeFolder(parent, 0o755, true)
	}
	p.makeFolder(f.path, 0o700, true)
	p.letThrough(f, makesParent || p.account.may(parent, unix.W_OK|unix.X_OK) == nil)
}

// shared are folders of the system that no service is given as a whole.
var shared = []string{"/", "/etc", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/usr", "/usr/local", "/var", "/var/lib", "/var/log"}

// letThrough notes what the sandbox must let the service write to. Data that is set aside gets a new name beside its place,
// so it needs the folder around it, where the user has that; let through alone, it could not be renamed.
func (p *planner) letThrough(f place, ownsParent bool) {
	path := f.path
	p.folders.mounts = append(p.folders.mounts, path)
	if parent := filepath.Dir(path); f.data && ownsParent && !slices.Contains(shared, parent) {
		path = parent
	} else if f.data {
		p.warn(fmt.Sprintf("where that is to work, keep the data in a folder below one of user %s's own, such as %s/data", p.account.name, f.path),
			"a change of mode will be refused: it gives the %s %s another name, and user %s may not write to %s", f.what, f.path, p.account.name, parent)
	}
	p.folders.writable = append(p.folders.writable, path)
}

// makeFolder makes a folder and those above it that are missing, which are root's.
func (p *planner) makeFolder(path string, mode os.FileMode, own bool) {
	if _, err := os.Stat(path); err == nil {
		return
	}
	what := "make " + path
	if slices.ContainsFunc(p.Changes, func(c Change) bool { return c.What == what }) {
		return
	}
	p.change(Change{What: what, New: true, do: func(context.Context) error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if own {
			if err := os.Chown(path, p.account.uidNow(), p.account.gidNow()); err != nil {
				return err
			}
		}
		return syncPath(path, mode)
	}})
}

// letPass opens the way through a folder of ours that is there already: a umask may have closed it.
func (p *planner) letPass(dir string) {
	info, err := os.Stat(dir)
	if err != nil || p.account.may(dir, unix.X_OK) == nil {
		return
	}
	mode := info.Mode().Perm() | 0o111
	p.change(Change{What: "let every user pass " + dir, do: func(context.Context) error {
		if err := os.Chmod(dir, mode); err != nil {
			return err
		}
		return syncFile(dir)
	}})
}

// syncPath gives a new folder its mode, whatever the umask took, and makes it outlive a power cut with all above it.
func syncPath(path string, mode os.FileMode) error {
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	for _, dir := range ancestors(path) {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// manyFiles is where the look at a tree ends: a data directory has some tens, and the first files tell.
const manyFiles = 10_000

// foreign is the first file in a tree that is not the user's; empty: all are.
func (p *planner) foreign(tree string) (stray string) {
	n := 0
	_ = filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if n++; err != nil || n > manyFiles {
			return filepath.SkipAll
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it has just been deleted
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != p.account.uid {
			stray = path
			return filepath.SkipAll
		}
		return nil
	})
	return stray
}

// giveTree makes all of a tree one user's. Links are not followed: they are given themselves.
func giveTree(tree string, uid, gid int) error {
	err := filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
	if err != nil {
		return err
	}
	d, err := os.Open(tree)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

// isWithin tells whether path is dir or lies in it.
func isWithin(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// outermost are the paths that lie in none of the others, in order.
func outermost(paths []string) []string {
	paths = slices.Clone(paths)
	slices.Sort(paths)
	var kept []string
	for _, path := range slices.Compact(paths) {
		if !slices.ContainsFunc(kept, func(k string) bool { return isWithin(path, k) }) {
			kept = append(kept, path)
		}
	}
	return kept
}
