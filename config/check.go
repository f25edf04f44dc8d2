package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Check finds what only the host can tell: whether the binary runs and knows its flags, whether folders can be written,
// files read, and secrets are kept from others. It starts no etcd, but runs the binary for its help and its version.
// builtin runs the built-in etcd; nil leaves its flags unchecked.
func Check(ctx context.Context, c *Config, builtin Runner) Problems {
	k := &checker{cfg: c}
	k.binary(ctx, builtin)
	k.folders()
	k.files()
	k.group()
	k.configFile()
	k.faults.sort()
	return k.faults
}

// Examine is Load and Check in one, and looks for further faults where Load would give up. The Config is there to be
// shown, never to run by, unless there are no Problems.
func Examine(ctx context.Context, src Source, builtin Runner) (*Config, Problems) {
	c, faults := Read(src)
	for _, further := range Check(ctx, c, builtin) {
		known := slices.ContainsFunc(faults, func(p Problem) bool { return p.Key == further.Key })
		if !known {
			faults = append(faults, further)
		}
	}
	faults = append(faults, CheckHooks(ctx, c)...) // as many as there are, each in a place of its own
	faults.sort()
	return c, faults
}

type checker struct {
	cfg    *Config
	faults Problems
}

func (k *checker) fault(part, what, remedy string, keys ...string) {
	k.faults = append(k.faults, k.cfg.problem(part, what, remedy, keys...))
}

// folders need to be there, or to be made by us.
func (k *checker) folders() {
	c := k.cfg
	k.folder("base folder", c.Dir, "dir")
	k.folder("folder of the log", c.Log.Dir, "log.dir", "dir")
	k.folder("data directory", c.DataDir(), keyArgs+".data-dir", "dir")
	if c.Control.Socket != "" {
		k.folder("folder of the control socket", filepath.Dir(c.Control.Socket), "control.socket", "dir")
	}
	if wal := c.arg("wal-dir"); wal != "" && c.Etcd.Verify {
		k.folder("folder of the WAL", wal, keyArgs+".wal-dir")
	}
}

func (k *checker) folder(what, path string, keys ...string) {
	if !filepath.IsAbs(path) {
		return // reported by Load
	}
	there, err := ancestor(path)
	if err == nil {
		err = unix.Faccessat(unix.AT_FDCWD, there, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	}
	if err == nil {
		return
	}
	remedy := fmt.Sprintf("let user %d write to %s, or set %s to another folder", os.Geteuid(), there, keys[0])
	if errors.Is(err, unix.ENOTDIR) {
		remedy = "remove the file " + there + ", or set " + keys[0] + " to another folder"
	}
	why := reason(err)
	if there != path {
		why = there + ": " + why
	}
	k.fault("", fmt.Sprintf("cannot write to the %s %s: %s", what, path, why), remedy, keys...)
}

// ancestor is the path itself or the nearest folder above it that exists.
func ancestor(path string) (string, error) {
	for {
		info, err := os.Stat(path)
		switch {
		case err == nil && !info.IsDir():
			return path, unix.ENOTDIR
		case err == nil:
			return path, nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR), path == "/":
			return path, err
		}
		path = filepath.Dir(path)
	}
}

// files are those that etcd or etcdsup reads.
func (k *checker) files() {
	c := k.cfg
	k.file(c.Cluster.CACert, false, "cluster.cacert")
	k.file(c.Cluster.Cert, false, "cluster.cert")
	k.file(c.Cluster.Key, true, "cluster.key")
	k.file(c.Cluster.PasswordFile, true, "cluster.password_file")
	for _, p := range pathFlags {
		if !p.folder && c.Etcd.Verify {
			k.file(c.arg(p.name), p.secret, keyArgs+"."+p.name)
		}
	}
}

func (k *checker) file(path string, secret bool, key string) {
	if !filepath.IsAbs(path) {
		return
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		err = unix.EISDIR
	}
	if err == nil {
		err = unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK, unix.AT_EACCESS)
	}
	if err != nil {
		k.fault(path, "cannot read the file of "+key+": "+path+": "+reason(err),
			fmt.Sprintf("name a file that user %d may read", os.Geteuid()), key)
		return
	}
	if mode := info.Mode().Perm(); secret && mode&0o007 != 0 {
		k.fault(path, fmt.Sprintf("cannot keep %s secret: its mode is %04o, so that everybody may reach it", path, mode),
			"chmod o= "+path, key)
	}
}

// configFile: a file with a secret in it is a secret itself.
func (k *checker) configFile() {
	c := k.cfg
	if c.File == "" || c.written == nil {
		return
	}
	info, err := os.Stat(c.File)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o007 == 0 {
		return
	}
	var held []string
	for name, s := range c.written.settings {
		if secretSetting(name) && s.place.origin.From == FromFile {
			held = append(held, name)
		}
	}
	slices.Sort(held)
	for _, name := range held {
		k.fault("", fmt.Sprintf("cannot keep %s secret: the mode of %s is %04o, so that everybody may reach it", name, c.File, info.Mode().Perm()),
			"chmod o= "+c.File, name)
	}
}

func (k *checker) group() {
	name := k.cfg.Control.Group
	if name == "" {
		return
	}
	if _, err := user.LookupGroup(name); err == nil {
		return
	}
	if _, err := strconv.ParseUint(name, 10, 32); err == nil {
		return
	}
	k.fault("", "cannot let the group "+quoted("", name)+" use the control socket: this host has none of this name",
		"create it with groupadd, or name another", "control.group")
}
