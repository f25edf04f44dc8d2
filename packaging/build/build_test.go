package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/packaging"
)

func TestPackageVersion(t *testing.T) {
	for _, tt := range []struct{ version, want string }{
		{"v1.2.3", "1.2.3"},
		{"1.2.3", "1.2.3"},
		{"v1.2.3-rc.1", "1.2.3~rc.1"},
		{"v0.0.0-20261128133548-8a1d69107123", "0.0.0~20261128133548.8a1d69107123"},
		{"v1.2.4-0.20261128133548-8a1d69107123+dirty", "1.2.4~0.20261128133548.8a1d69107123+dirty"},
		{"(devel)", ""},
		{"", ""},
		{"v", ""},
		{"vx", ""},
		{"1.2 3", ""},
		{"1.2/3", ""},
	} {
		got, err := packageVersion(tt.version)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: %q, %v", tt.version, got, err)
		}
	}
}

func TestSourceTime(t *testing.T) {
	for _, tt := range []struct {
		epoch, commit string
		want          int64 // -1: an error
	}{
		{"", "2026-11-28T13:35:48Z", 1795872948},
		{"7", "2026-11-28T13:35:48Z", 7},
		{"7", "", 7},
		{"", "", -1},
		{"yesterday", "", -1},
	} {
		got, err := sourceTime(tt.epoch, tt.commit)
		if (err == nil) != (tt.want >= 0) || err == nil && got.Unix() != tt.want {
			t.Errorf("%q, %q: %v, %v", tt.epoch, tt.commit, got, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		arches []string // nil: an error
	}{
		{nil, []string{"amd64", "arm64"}},
		{[]string{"-arch", "all"}, []string{"amd64", "arm64"}},
		{[]string{"-arch", "arm64", "-version", "1.2.3-rc.1", "-out", "x"}, []string{"arm64"}},
		{[]string{"-arch", "riscv64"}, nil},
		{[]string{"-version", "(devel)"}, nil},
		{[]string{"-no"}, nil},
		{[]string{"amd64"}, nil},
	} {
		o, err := parseOptions(tt.args, io.Discard)
		if (err == nil) != (tt.arches != nil) || err == nil && !slices.Equal(o.arches, tt.arches) {
			t.Errorf("%q: %+v, %v", tt.args, o, err)
		}
	}
}

// The tests' packages, in a folder below the temporary one; the program that is tested stands in the source tree.

const testVersion = "0.9.1"

// buildIn makes packages from a source tree. The time zone and the umask are not to matter.
func buildIn(t *testing.T, tree, out, zone string, args ...string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `umask "$1"; shift; exec go run ./packaging/build "$@"`, "sh", map[bool]string{true: "077", false: "022"}[zone == "UTC"])
	cmd.Args = append(cmd.Args, append([]string{"-out", out, "-version", testVersion}, args...)...)
	cmd.Dir = tree
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1795872948", "TZ="+zone)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, said)
	}
}

// cloneTree copies the sources, and what git knows of them where it does: the commit is noted in the executable.
func cloneTree(t *testing.T, root string) string {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "etcdsup")
	if err := os.CopyFS(tree, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestPackagesAreReproducible(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	first, second := t.TempDir(), t.TempDir()
	buildIn(t, root, first, "UTC")
	again := "amd64" // one is enough where time is short
	if os.Getenv("ETCDSUP_LONG") != "" {
		again = "all"
	}
	buildIn(t, cloneTree(t, root), second, "Asia/Kolkata", "-arch", again)
	want := []string{"etcdsup-0.9.1-1.aarch64.rpm", "etcdsup-0.9.1-1.x86_64.rpm", "etcdsup_0.9.1-1_amd64.deb", "etcdsup_0.9.1-1_arm64.deb"}
	if got := names(t, first); !slices.Equal(got, want) {
		t.Fatalf("made %q, want %q", got, want)
	}
	for _, name := range names(t, second) {
		a, errA := os.ReadFile(filepath.Join(first, name))
		b, errB := os.ReadFile(filepath.Join(second, name))
		if err := errors.Join(errA, errB); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs when it is built again elsewhere: %v", name, err)
		}
	}
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		t.Run(arch, func(t *testing.T) {
			d := readDeb(t, filepath.Join(first, "etcdsup_0.9.1-1_"+arch+".deb"))
			d.expectControl(t, "Package: etcdsup", "Version: 0.9.1-1", "Architecture: "+arch)
			d.expectFiles(t)
			d.expectStatic(t, machine)
			d.expectScripts(t)
			if arch == runtime.GOARCH {
				d.expectVersion(t)
			}
		})
	}
}

// expectVersion runs what is in the package: it is to say of itself what the package says.
func (d *deb) expectVersion(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "etcdsup")
	if err := os.WriteFile(path, d.files["/usr/bin/etcdsup"].content, 0o755); err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), path, "version", "-o", "json").Output()
	if err != nil || !strings.Contains(string(said), `"version": "v`+testVersion+`"`) {
		t.Errorf("%v: %s", err, said)
	}
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// deb is a package that was read: what it installs, and what it tells dpkg.
type deb struct {
	files, control map[string]file
}

type file struct {
	tar.Header
	content []byte
}

func readDeb(t *testing.T, path string) *deb {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rest, isAr := bytes.CutPrefix(raw, []byte("!<arch>\n"))
	if !isAr {
		t.Fatalf("%s is no archive of ar", path)
	}
	d := &deb{}
	for len(rest) > 60 { // a member's head: name 16, time 12, owner 6, group 6, mode 8, size 10, mark 2
		name := strings.TrimRight(string(rest[:16]), " /")
		size, err := strconv.Atoi(strings.TrimSpace(string(rest[48:58])))
		if err != nil {
			t.Fatal(err)
		}
		body := rest[60 : 60+size]
		switch name {
		case "control.tar.gz":
			d.control = readTar(t, body)
		case "data.tar.gz":
			d.files = readTar(t, body)
		}
		rest = rest[60+size+size%2:]
	}
	return d
}

func readTar(t *testing.T, zipped []byte) map[string]file {
	t.Helper()
	plain, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]file{}
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		content, readErr := io.ReadAll(r)
		if err := errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(h.Name, ".")] = file{*h, content}
	}
}

func (d *deb) expectControl(t *testing.T, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if !strings.Contains(string(d.control["/control"].content), want+"\n") {
			t.Errorf("control has no line %q:\n%s", want, d.control["/control"].content)
		}
	}
	if d.control["/conffiles"].content != nil {
		t.Error("there are conffiles: no configuration is ours to replace")
	}
}

// expectFiles looks at owners, modes and times of all files, and at the content of some.
func (d *deb) expectFiles(t *testing.T) {
	t.Helper()
	for name, f := range d.files {
		mode := int64(0o644)
		if f.Typeflag == tar.TypeDir || name == "/usr/bin/etcdsup" {
			mode = 0o755
		}
		if f.Mode&0o7777 != mode || f.Uname != "root" || f.Gname != "root" || !f.ModTime.Equal(time.Unix(1795872948, 0)) {
			t.Errorf("%s: mode %o, %s:%s, %v", name, f.Mode, f.Uname, f.Gname, f.ModTime)
		}
	}
	for name, want := range map[string]string{
		"/usr/lib/systemd/system/etcdsup.service":           packaging.Unit{}.Text(),
		"/usr/lib/systemd/system/etcdsup@.service":          packaging.Unit{Template: true}.Text(),
		"/usr/lib/sysusers.d/etcdsup.conf":                  "u etcd - ",
		"/usr/lib/tmpfiles.d/etcdsup.conf":                  "d /var/lib/etcdsup 0755 root root -\n",
		"/usr/share/bash-completion/completions/etcdsup":    "__etcdsup_",
		"/usr/share/zsh/vendor-completions/_etcdsup":        "#compdef etcdsup\n",
		"/usr/share/fish/vendor_completions.d/etcdsup.fish": "complete -c etcdsup",
		"/usr/share/doc/etcdsup/examples/default.yaml":      "# Configuration of etcdsup: ",
		"/usr/share/doc/etcdsup/copyright":                  "License: Apache-2.0\n",
		"/usr/share/doc/etcdsup/third-party.gz":             "==== go.etcd.io/etcd/server/v3 ",
		"/usr/share/doc/etcdsup/changelog.gz":               "# Changelog\n",
		"/usr/share/man/man1/etcdsup.1.gz":                  ".TH \"ETCDSUP\" \"1\" \"2026-11-28\"",
		"/usr/share/man/man1/etcdsup-mode-join.1.gz":        "\\-\\-endpoint URL",
		"/usr/share/man/man5/etcdsup.yaml.5.gz":             "log.max_size",
	} {
		if !strings.Contains(d.text(t, name), want) {
			t.Errorf("%s is missing, or has no %q", name, want)
		}
	}
}

// text is a file's content, unzipped.
func (d *deb) text(t *testing.T, name string) string {
	t.Helper()
	content := d.files[name].content
	if content == nil || !strings.HasSuffix(name, ".gz") {
		return string(content)
	}
	r, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// expectStatic wants an executable that needs nothing of the host but its kernel, and tells nothing of the builder's.
func (d *deb) expectStatic(t *testing.T, machine elf.Machine) {
	t.Helper()
	exe := d.files["/usr/bin/etcdsup"].content
	f, err := elf.NewFile(bytes.NewReader(exe))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it is linked dynamically: it has %v", p.Type)
		}
	}
	info, err := buildinfo.Read(bytes.NewReader(exe))
	if err != nil || f.Machine != machine {
		t.Fatalf("machine %v, want %v; %v", f.Machine, machine, err)
	}
	if !strings.Contains(info.String(), "-trimpath=true") {
		t.Errorf("built with paths of this machine:\n%s", info)
	}
}

func (d *deb) expectScripts(t *testing.T) {
	t.Helper()
	for _, name := range scriptNames {
		want, err := scriptText(name)
		if f := d.control["/"+name]; err != nil || !bytes.Equal(f.content, want) || f.Mode&0o7777 != 0o755 {
			t.Errorf("%s: mode %o, %v, or not the text of the sources", name, f.Mode, err)
		}
	}
}

func TestScriptsAreWellFormed(t *testing.T) {
	for _, name := range scriptNames {
		text, err := scriptText(name)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = bytes.NewReader(text)
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, said)
		}
		if !strings.HasPrefix(string(text), "#!/bin/sh\n") {
			t.Errorf("%s begins with %q", name, fmt.Sprintf("%.20s", text))
		}
	}
}
