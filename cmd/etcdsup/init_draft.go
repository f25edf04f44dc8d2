package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/config/hostconf"
)

// draft is a configuration that is to be written.
type draft struct {
	file     string // where to
	text     string
	secret   bool // a secret is in it
	config   *config.Config
	problems config.Problems
	warnings config.Problems
}

// draft makes the text and finds its faults, as if it were written already.
func (g *globals) draft(ctx context.Context, found *hostconf.Found) (*draft, error) {
	src := g.source()
	d := &draft{file: src.Path()}
	if d.file == "" {
		return nil, failf(exitFailure, "name a file with --config", "cannot tell where the configuration is to be: neither HOME nor XDG_CONFIG_HOME is set")
	}
	values := g.values(found)
	d.text = config.Filled(draftHead(found), values)
	for _, v := range values {
		d.secret = d.secret || config.Shown(v.Key, strings.Join(v.Texts, ",")) == config.Masked
	}
	src.File, src.FileRequired, src.Text = d.file, true, []byte(d.text)
	d.config, d.problems = config.Examine(ctx, src, builtinEtcd())
	broken, warnings := problems(d.config, faultsOf(ctx, d.config))
	d.problems, d.warnings = unsaid(d.problems, broken), warnings
	return d, ctx.Err()
}

func draftHead(found *hostconf.Found) string {
	head := "# Configuration of etcdsup, written by `etcdsup init`: every key that there is. Those with a '#' directly before them\n" +
		"# have no constant default; the value there is an example.\n"
	if found != nil {
		head += "# Values with a comment behind them come from where that says: " + found.Path + " was read.\n"
	}
	return head
}

// values are what the command line says about this instance, and what was found.
func (g *globals) values(found *hostconf.Found) []config.Value {
	var all []config.Value
	if name := g.or(g.instance, "ETCDSUP_INSTANCE"); name != "" && name != config.DefaultInstance {
		all = append(all, config.Value{Key: "instance", Texts: []string{name}})
	}
	if g.dir != "" {
		if dir, err := filepath.Abs(g.dir); err == nil {
			all = append(all, config.Value{Key: "dir", Texts: []string{dir}})
		}
	}
	if found == nil {
		return all
	}
	for _, t := range found.Taken {
		all = append(all, config.Value{Key: t.Key, Texts: t.Values, Comment: placeWithin(found, t.Place)})
	}
	return all
}

// placeWithin is the place, in short where it is in what was read itself.
func placeWithin(found *hostconf.Found, p hostconf.Place) string {
	if p.File == found.Path {
		p.File = filepath.Base(p.File)
	}
	return p.String()
}

// masked is what was found without its secrets.
func masked(found *hostconf.Found) *hostconf.Found {
	if found == nil {
		return nil
	}
	shown := *found
	shown.Taken = append([]hostconf.Taken{}, found.Taken...)
	shown.Left = append([]hostconf.Left{}, found.Left...)
	for i, t := range shown.Taken {
		shown.Taken[i].Values = make([]string, len(t.Values))
		for j, v := range t.Values {
			shown.Taken[i].Values[j] = config.Shown(t.Key, v)
		}
	}
	return &shown
}

// write puts the text where nothing is, or after what is there was set aside. A file with the same text stays.
func (d *draft) write(replace bool) (written bool, aside string, err error) {
	there, err := os.ReadFile(d.file)
	switch {
	case err == nil && bytes.Equal(there, []byte(d.text)):
		return false, "", nil
	case err == nil && !replace:
		return false, "", failf(exitFailure, "--replace sets it aside first; --print shows what would be written", "cannot write %s: it exists", d.file)
	case err == nil:
		aside = d.file + ".before-" + time.Now().UTC().Format("20060102T150405.000Z")
	case !errors.Is(err, fs.ErrNotExist):
		return false, "", fmt.Errorf("cannot write the configuration: %w", err)
	}
	temp, err := d.temporary()
	if err != nil {
		return false, "", err
	}
	defer func() { _ = os.Remove(temp) }() // where it was not renamed
	if aside != "" {
		if err := renameNew(d.file, aside); err != nil {
			return false, "", fmt.Errorf("cannot set %s aside: %w", d.file, err)
		}
	}
	if err := renameNew(temp, d.file); err != nil {
		return false, aside, fmt.Errorf("cannot write %s: %w", d.file, err)
	}
	return true, aside, syncDir(filepath.Dir(d.file))
}

// temporary writes the text beside its place, down to the disk.
func (d *draft) temporary() (path string, err error) {
	folder := filepath.Dir(d.file)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("cannot write the configuration: %w", err)
	}
	f, err := os.CreateTemp(folder, "."+filepath.Base(d.file)+".")
	if err != nil {
		return "", fmt.Errorf("cannot write the configuration: %w", err)
	}
	mode := os.FileMode(0o644)
	if d.secret {
		mode = 0o600
	}
	_, err = f.WriteString(d.text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		_ = os.Remove(f.Name()) // what is half written helps nobody
		return "", fmt.Errorf("cannot write the configuration: %w", err)
	}
	return f.Name(), nil
}

// renameNew renames, and never over what is there.
func renameNew(from, to string) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
