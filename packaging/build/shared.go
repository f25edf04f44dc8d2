package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/packaging"
)

// shared is what all packages have in common: a folder with everything but the executable, laid out as it will be on a
// host.
type shared struct {
	dir     string
	files   []string          // from the folder, with a slash in front: where each comes to lie
	scripts map[string]string // by nfpm's name; the paths of the maintainer scripts, which are not installed
}

// makeShared fills the folder. The executable is asked for what it knows of itself: completions and man pages.
func makeShared(ctx context.Context, host executable, dir string) (*shared, error) {
	s := &shared{dir: dir, scripts: map[string]string{}}
	for name, content := range texts() {
		if err := s.add(name, content); err != nil {
			return nil, err
		}
	}
	for _, step := range []func(context.Context, executable) error{s.addCompletions, s.addManuals, s.addPapers} {
		if err := step(ctx, host); err != nil {
			return nil, err
		}
	}
	if err := s.writeScripts(); err != nil {
		return nil, err
	}
	return s, nil
}

const docs = "/usr/share/doc/etcdsup/"

// texts are the files that need nothing but our own packages.
func texts() map[string][]byte {
	all := map[string][]byte{
		"/usr/lib/sysusers.d/etcdsup.conf": []byte(packaging.SysUsers),
		"/usr/lib/tmpfiles.d/etcdsup.conf": []byte(packaging.TmpFiles),
		docs + "examples/default.yaml":     []byte(config.Example()),
	}
	for _, u := range []packaging.Unit{{}, {Template: true}} {
		all["/usr/lib/systemd/system/"+u.Name()] = []byte(u.Text())
	}
	return all
}

// add writes one file at its place in the folder.
func (s *shared) add(name string, content []byte) error {
	full := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	s.files = append(s.files, name)
	return os.WriteFile(full, content, 0o600) // what mode it gets on a host is said in the package
}

// addZipped adds a file that is compressed, as manuals and papers are wherever packages are made.
func (s *shared) addZipped(name string, content []byte) error {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return s.add(name+".gz", b.Bytes())
}

// completions are the places where each shell looks.
var completions = map[string]string{
	"bash": "/usr/share/bash-completion/completions/etcdsup",
	"zsh":  "/usr/share/zsh/vendor-completions/_etcdsup",
	"fish": "/usr/share/fish/vendor_completions.d/etcdsup.fish",
}

func (s *shared) addCompletions(ctx context.Context, host executable) error {
	for shell, name := range completions {
		script, err := run(ctx, nil, host.path, "completion", shell)
		if err != nil {
			return err
		}
		if err := s.add(name, script); err != nil {
			return err
		}
	}
	return nil
}

func (s *shared) addManuals(ctx context.Context, host executable) error {
	dir := filepath.Join(filepath.Dir(s.dir), "man")
	if _, err := run(ctx, []string{fmt.Sprintf("SOURCE_DATE_EPOCH=%d", host.time.Unix())}, host.path, "man", dir); err != nil {
		return err
	}
	pages, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, p := range pages {
		text, err := os.ReadFile(filepath.Join(dir, p.Name()))
		if err != nil {
			return err
		}
		section := strings.TrimPrefix(path.Ext(p.Name()), ".")
		if err := s.addZipped("/usr/share/man/man"+section+"/"+p.Name(), text); err != nil {
			return err
		}
	}
	return nil
}

//go:embed scripts
var scriptTexts embed.FS

// scriptNames are nfpm's names of the maintainer scripts, and ours, which are dpkg's.
var scriptNames = map[string]string{"preinstall": "preinst", "postinstall": "postinst", "preremove": "prerm", "postremove": "postrm"}

// scriptText is a maintainer script, complete with what all of them share.
func scriptText(name string) ([]byte, error) {
	common, err := scriptTexts.ReadFile("scripts/common.sh")
	if err != nil {
		return nil, err
	}
	own, err := scriptTexts.ReadFile("scripts/" + name + ".sh")
	return append(common, own...), err
}

func (s *shared) writeScripts() error {
	dir := filepath.Join(filepath.Dir(s.dir), "scripts")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for key, name := range scriptNames {
		text, err := scriptText(name)
		if err != nil {
			return fmt.Errorf("cannot read script %s: %w", name, err)
		}
		s.scripts[key] = filepath.Join(dir, name)
		if err := os.WriteFile(s.scripts[key], text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
