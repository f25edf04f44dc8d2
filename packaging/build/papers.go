package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const copyrightHead = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: etcdsup
Source: https://github.com/etcdsup/etcdsup

Files: *
Copyright: The etcdsup authors, and as far as it is theirs those of the modules that the executable is linked from
License: Apache-2.0
Comment: The text of this license is in LICENSE.gz beside this file. What the modules are under, with all their notices,
 is in third-party.gz.

License: Apache-2.0
 On Debian, the text is also in /usr/share/common-licenses/Apache-2.0.
`

// addPapers adds licenses and the changelog.
func (s *shared) addPapers(ctx context.Context, _ executable) error {
	third, err := thirdParty(ctx)
	if err != nil {
		return err
	}
	if err := s.add(docs+"copyright", []byte(copyrightHead)); err != nil {
		return err
	}
	if err := s.addZipped(docs+"third-party", third); err != nil {
		return err
	}
	for name, file := range map[string]string{"LICENSE": "LICENSE", "changelog": "CHANGELOG.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("cannot read what belongs into the package (run this in the root of the repository): %w", err)
		}
		if err := s.addZipped(docs+name, text); err != nil {
			return err
		}
	}
	return nil
}

// thirdParty is what everything that is linked into the executable wants to have shown: their licenses and notices.
func thirdParty(ctx context.Context) ([]byte, error) {
	list, err := run(ctx, []string{"GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0"}, "go", "list", "-deps",
		"-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", "./cmd/etcdsup")
	if err != nil {
		return nil, err
	}
	root, err := run(ctx, nil, "go", "env", "GOVERSION", "GOROOT")
	if err != nil {
		return nil, err
	}
	modules := strings.Split(strings.TrimSpace(string(list)), "\n")
	slices.Sort(modules)
	modules = append(slices.Compact(modules), strings.Replace(strings.TrimSpace(string(root)), "\n", "\t", 1))
	var b bytes.Buffer
	for _, m := range modules {
		name, dir, _ := strings.Cut(m, "\t")
		if err := writePapers(&b, name, dir); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

var paperName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)`)

// writePapers writes down all papers in a module's folder. One without any may not be shipped.
func writePapers(b *bytes.Buffer, name, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot look for the license of %s: %w", name, err)
	}
	found := false
	for _, e := range entries {
		if e.IsDir() || !paperName.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("cannot read the license of %s: %w", name, err)
		}
		found = true
		fmt.Fprintf(b, "==== %s, %s ====\n\n%s\n\n", name, e.Name(), bytes.TrimSpace(text))
	}
	if !found {
		return fmt.Errorf("cannot find a license of %s in %s: look for it there, and see paperName", name, dir)
	}
	return nil
}
