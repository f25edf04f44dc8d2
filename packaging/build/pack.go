package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// nfpm's configuration, as far as we need it. It reads YAML, of which JSON is a part.
type recipe struct {
	Name          string            `json:"name"`
	Arch          string            `json:"arch"`
	Platform      string            `json:"platform"`
	Version       string            `json:"version"`
	VersionSchema string            `json:"version_schema"`
	Release       string            `json:"release"`
	Section       string            `json:"section"`
	Priority      string            `json:"priority"`
	Maintainer    string            `json:"maintainer"`
	Vendor        string            `json:"vendor"`
	Homepage      string            `json:"homepage"`
	License       string            `json:"license"`
	Description   string            `json:"description"`
	MTime         time.Time         `json:"mtime"`
	Contents      []content         `json:"contents"`
	Scripts       map[string]string `json:"scripts"`
	RPM           rpmRecipe         `json:"rpm"`
}

type rpmRecipe struct {
	Summary   string `json:"summary"`
	Group     string `json:"group"`
	BuildHost string `json:"buildhost"` // else the name of this machine
}

type content struct {
	Source string   `json:"src,omitempty"`
	Path   string   `json:"dst"`
	Type   string   `json:"type,omitempty"`
	Info   fileInfo `json:"file_info"`
}

type fileInfo struct {
	Owner string    `json:"owner"`
	Group string    `json:"group"`
	Mode  uint32    `json:"mode"`
	MTime time.Time `json:"mtime"`
}

const (
	summary     = "supervises an etcd: runs it, keeps its log, watches it, brings it back"
	description = summary + `
One daemon per host runs etcd, which is built in, as its child. etcd outlives every end of etcdsup that
was not asked for, also its upgrade. It makes a cluster of one etcd, and of three hosts, without losing data.
`
)

// makeRecipe says what is in a package, and where.
func makeRecipe(e executable, s *shared, form string) (recipe, error) {
	version, err := packageVersion(e.version)
	at := func(source, path string, mode uint32) content {
		return content{Source: source, Path: path, Info: fileInfo{"root", "root", mode, e.time}}
	}
	contents := []content{at(e.path, "/usr/bin/etcdsup", 0o755)}
	for _, f := range s.files {
		contents = append(contents, at(filepath.Join(s.dir, f), placeFor(form, f), 0o644))
	}
	for _, dir := range []string{"/etc/etcdsup", docs} {
		d := at("", strings.TrimSuffix(dir, "/"), 0o755)
		d.Type = "dir"
		contents = append(contents, d)
	}
	slices.SortFunc(contents, func(a, b content) int { return cmp.Compare(a.Path, b.Path) })
	return recipe{
		Name: "etcdsup", Arch: e.arch, Platform: "linux", Version: version, VersionSchema: "none", Release: "1",
		Section: "database", Priority: "optional", Maintainer: "The etcdsup authors <https://github.com/etcdsup/etcdsup/issues>", Vendor: "etcdsup",
		Homepage: "https://github.com/etcdsup/etcdsup", License: "Apache-2.0", Description: description, MTime: e.time,
		Contents: contents, Scripts: s.scripts,
		RPM: rpmRecipe{Summary: summary, Group: "System Environment/Daemons", BuildHost: "localhost"},
	}, err
}

// placeFor is where a file lies on the hosts that take packages of the form: they agree on all but one.
func placeFor(form, path string) string {
	if form == "rpm" {
		return strings.Replace(path, "/zsh/vendor-completions/", "/zsh/site-functions/", 1)
	}
	return path
}

// nfpmModule pins nfpm and everything it is made of, apart from the modules that etcdsup is made of.
const nfpmModule = "packaging/build/nfpm.mod"

// pack makes one package, .deb or .rpm, and returns its path. It comes to lie there when it is whole.
func pack(ctx context.Context, e executable, s *shared, form, out string) (string, error) {
	r, err := makeRecipe(e, s, form)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	file := filepath.Join(filepath.Dir(e.path), "nfpm-"+form+"-"+e.arch+".yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", err
	}
	path := filepath.Join(out, fileName(r, form))
	part := path + ".part"
	if _, err := run(ctx, nil, "go", "tool", "-modfile="+nfpmModule, "nfpm", "package", "-f", file, "-p", form, "-t", part); err != nil {
		return "", err
	}
	return path, os.Rename(part, path)
}

// fileName is what each of the two worlds calls such a file.
func fileName(r recipe, form string) string {
	if form == "deb" {
		return fmt.Sprintf("%s_%s-%s_%s.deb", r.Name, r.Version, r.Release, r.Arch)
	}
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[r.Arch]
	return fmt.Sprintf("%s-%s-%s.%s.rpm", r.Name, r.Version, r.Release, arch)
}
