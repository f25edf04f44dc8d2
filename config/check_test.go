package config

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/exetest"
)

// TestMain: under the names of a stand-in's link, the test binary is that stand-in.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "etcd":
		output, status := pretend(os.Args[1:])
		fmt.Print(string(output))
		os.Exit(status)
	case "hangs":
		wait := make(chan os.Signal, 1)
		signal.Notify(wait, unix.SIGTERM)
		<-wait
	case "environment":
		fmt.Println(len(os.Environ()))
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// pretend answers as etcd does: both parse with Go's flag package.
func pretend(args []string) (output []byte, status int) {
	var b bytes.Buffer
	fs := flag.NewFlagSet("etcd", flag.ContinueOnError)
	fs.SetOutput(&b)
	fs.Usage = func() { fmt.Fprintln(&b, "Usage:\n\n  etcd [flags]\n    Start an etcd server.") }
	for _, name := range []string{"name", "data-dir", "listen-client-urls", "advertise-client-urls", "listen-peer-urls",
		"initial-advertise-peer-urls", "initial-cluster", "key-file", "cert-file", "wal-dir", "unlisted", "discovery-password", "discovery-token", "discovery-endpoints"} {
		fs.String(name, "", "")
	}
	fs.Int("max-wals", 5, "")
	fs.Bool("pre-vote", true, "")
	fs.Duration("watch-progress", 0, "")
	version := fs.Bool("version", false, "")
	if len(args) == 1 && args[0] == "--help" {
		fs.VisitAll(func(f *flag.Flag) {
			if f.Name != "unlisted" {
				fmt.Fprintf(&b, "  --%s ''\n    Words, and --others.\n", f.Name)
			}
		})
		return b.Bytes(), 0
	}
	if fs.Parse(args) != nil {
		return b.Bytes(), 2
	}
	if !*version {
		return []byte("it would have started\n"), 99
	}
	return []byte("etcd Version: 3.7.3\n"), 0
}

func builtin(_ context.Context, args ...string) ([]byte, int, error) {
	output, status := pretend(args)
	return output, status, nil
}

// here is a Source whose folders can be written.
func here(t *testing.T, text string) Source {
	src := asRoot(writeFile(t, text))
	src.Dir = t.TempDir()
	return src
}

// link makes the test binary known under another name.
func link(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHostThatIsFine(t *testing.T) {
	if _, ps := Examine(t.Context(), here(t, ""), builtin); len(ps) > 0 {
		t.Error(ps.Pretty())
	}
}

func TestFlagsAreTriedOnTheBinary(t *testing.T) {
	const args = `etcd:
  args:
    listen-client-url: http://127.0.0.1:2379
    max-wals: many
    experimental-watch-progress: 5s
    pre-vote: maybe
    unlisted: x
    others: x
    nothing-like-it-at-all: x
`
	want := []spot{
		{3, 5, 17, "etcd.args.listen-client-url"},
		{4, 15, 4, "etcd.args.max-wals"},
		{5, 5, 27, "etcd.args.experimental-watch-progress"},
		{6, 15, 5, "etcd.args.pre-vote"},
		{8, 5, 6, "etcd.args.others"},
		{9, 5, 22, "etcd.args.nothing-like-it-at-all"},
	}
	remedies := []string{"listen-client-urls", "", "write watch-progress", "", "", ""}
	for name, binary := range map[string]string{"built-in": "", "external": "  binary: " + link(t, "etcd") + "\n"} {
		t.Run(name, func(t *testing.T) {
			_, ps := Examine(t.Context(), here(t, args+binary), builtin)
			if len(ps) != len(want) {
				t.Fatalf("%d faults, want %d:\n%s", len(ps), len(want), ps.Pretty())
			}
			for i, p := range ps {
				if got := (spot{p.Line, p.Column, p.Width, p.Key}); got != want[i] || p.Remedy == "" || !strings.Contains(p.Remedy, remedies[i]) {
					t.Errorf("got %+v, want %+v", p, want[i])
				}
			}
		})
	}
}

func TestDefaultFlagThatTheBinaryRefuses(t *testing.T) {
	old := func(ctx context.Context, args ...string) ([]byte, int, error) {
		for _, a := range args {
			if strings.HasPrefix(a, "--advertise-client-urls=") {
				return []byte("flag provided but not defined: -advertise-client-urls\nUsage of etcd"), 2, nil
			}
		}
		return builtin(ctx, args...)
	}
	_, ps := Examine(t.Context(), here(t, ""), old)
	if len(ps) != 1 || ps[0].Key != "etcd.args.advertise-client-urls" || ps[0].Line != 0 {
		t.Errorf("got %+v", ps)
	}
}

func TestBinaries(t *testing.T) {
	folder := t.TempDir()
	plain := filepath.Join(folder, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(folder, "script")
	exetest.Write(t, script, []byte("#!/bin/sh\necho '  --data-dir'\n"))
	noInterpreter := filepath.Join(folder, "broken")
	exetest.Write(t, noInterpreter, []byte("#!/nowhere\n"))
	for name, tt := range map[string]struct {
		binary string
		faulty bool
		verify bool
	}{
		"an etcd":                {link(t, "etcd"), false, true},
		"not there":              {folder + "/none", true, true},
		"not there, a stand-in":  {folder + "/none", true, false},
		"a folder":               {folder, true, true},
		"not executable":         {plain, true, false},
		"no etcd":                {script, true, true},
		"a stand-in":             {script, false, false},
		"its interpreter is not": {noInterpreter, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, ps := Examine(t.Context(), here(t, fmt.Sprintf("etcd:\n  verify: %v\n  binary: %s\n", tt.verify, tt.binary)), builtin)
			if faulty := len(ps) == 1 && ps[0].Key == "etcd.binary" && ps[0].Line == 3; faulty != tt.faulty || len(ps) > 1 {
				t.Errorf("got %+v", ps)
			}
		})
	}
}

func TestBinaryThatHangsIsEnded(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	hangs := link(t, "hangs")
	if _, _, err := Program(hangs, hangs)(ctx, "--help"); err == nil {
		t.Error("it answered")
	}
	_, ps := Examine(ctx, here(t, "etcd: {binary: "+hangs+"}"), builtin)
	if len(ps) != 1 || ps[0].Key != "etcd.binary" {
		t.Errorf("got %+v", ps)
	}
}

func TestProgramGetsNoEnvironment(t *testing.T) {
	t.Setenv("ETCD_NAME", "x")
	path := link(t, "environment")
	output, status, err := Program(path, path)(t.Context())
	if string(output) != "0\n" || status != 3 || err != nil {
		t.Errorf("got %q, %d, %v", output, status, err)
	}
}

func TestFoldersThatCannotBeMade(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text, want := marked(strings.ReplaceAll(`etcd:
  args:
    data-dir: «FILE¦etcd.args.data-dir»
    wal-dir: «FILE/wal¦etcd.args.wal-dir»
log:
  dir: «FILE/a/b¦log.dir»
control:
  socket: «FILE/sock¦control.socket»
`, "FILE", file))
	_, ps := Examine(t.Context(), here(t, text), builtin)
	if len(ps) != len(want) {
		t.Fatalf("got %s", ps.Pretty())
	}
	for i, p := range ps {
		if got := (spot{p.Line, p.Column, p.Width, p.Key}); got != want[i] || p.Remedy == "" {
			t.Errorf("got %+v, want %+v", p, want[i])
		}
	}
}

// asNobody runs f with the rights that another user has on files. They belong to the thread, which therefore ends with
// its goroutine: nothing else may run on it again.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setfsuid(65534)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestFoldersOfOthers(t *testing.T) {
	folder := t.TempDir()
	for path := folder; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o555); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Chmod(path, 0o700); err != nil {
				t.Error(err)
			}
		})
	}
	src := asRoot("")
	src.Dir = folder + "/base"
	c := mustLoad(t, src)
	asNobody(t, func() {
		ps := Check(context.Background(), c, builtin)
		if len(ps) != 4 {
			t.Errorf("%d faults, want those of base, log, data and socket:\n%s", len(ps), ps.Pretty())
		}
		for _, p := range ps {
			if p.Source != "--dir" || !strings.Contains(p.What, unix.EACCES.Error()) {
				t.Errorf("got %+v", p)
			}
		}
	})
}

func TestSecretsThatOthersCanRead(t *testing.T) {
	folder := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text, want := marked(fmt.Sprintf(`etcd:
  args:
    cert-file: %s
    key-file: «%s¦etcd.args.key-file»
cluster:
  cacert: «%s/none¦cluster.cacert»
  cert: %s
  key: %s
  user: u
  password_file: «%s¦cluster.password_file»
`, file("a.crt", 0o644), file("a.key", 0o644), folder, file("b.crt", 0o644), file("b.key", 0o640), file("password", 0o604)))
	_, ps := Examine(t.Context(), here(t, text), builtin)
	if len(ps) != len(want) {
		t.Fatalf("got %s", ps.Pretty())
	}
	for i, p := range ps {
		if got := (spot{p.Line, p.Column, p.Width, p.Key}); got != want[i] || p.Remedy == "" {
			t.Errorf("got %+v, want %+v", p, want[i])
		}
	}
}

func TestConfigurationFileWithASecret(t *testing.T) {
	src := here(t, "etcd:\n  args:\n    discovery-password: hunter2\n")
	if _, ps := Examine(t.Context(), src, builtin); len(ps) > 0 {
		t.Error(ps.Pretty())
	}
	if err := os.Chmod(src.File, 0o644); err != nil {
		t.Fatal(err)
	}
	_, ps := Examine(t.Context(), src, builtin)
	if len(ps) != 1 || ps[0].Line != 3 || strings.Contains(ps.Pretty(), "hunter2") {
		t.Error(ps.Pretty())
	}
}

func TestGroup(t *testing.T) {
	for group, faults := range map[string]int{"root": 0, "0": 0, "no-such-group-here": 1} {
		_, ps := Examine(t.Context(), here(t, "control: {group: "+group+"}"), builtin)
		if len(ps) != faults {
			t.Errorf("%s: %s", group, ps.Pretty())
		}
	}
}

func TestFaultsOfFileAndHostComeTogether(t *testing.T) {
	text, want := marked("lgo: 1\nstop:\n  grace: «x¦stop.grace»\netcd:\n  args:\n    «nmae¦etcd.args.nmae»: a\n    «force-new-cluster¦etcd.args.force-new-cluster»: true\n")
	want = append([]spot{{1, 1, 3, "lgo"}}, want...)
	_, ps := Examine(t.Context(), here(t, text), builtin)
	if len(ps) != len(want) {
		t.Fatalf("got %s", ps.Pretty())
	}
	for i, p := range ps {
		if got := (spot{p.Line, p.Column, p.Width, p.Key}); got != want[i] {
			t.Errorf("got %+v, want %+v", p, want[i])
		}
	}
}
