package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

func TestFormatsThatAreMissing(t *testing.T) {
	for _, tt := range []struct {
		change map[string]int
		want   string // empty: nothing is missing
	}{
		{nil, ""},
		{map[string]int{"record": 0}, ""}, // an older one is read
		{map[string]int{"record": 99}, "the record is of version 99"},
		{map[string]int{"history": 99, "journal": 98}, "the journal is of version 98"},
		{map[string]int{"ledger": 0}, "the ledger is of version 0"}, // it is shared memory: no other than its own
		{map[string]int{"moon": 1}, "does not know what a moon is"},
	} {
		offered := formats()
		for name, v := range tt.change {
			offered[name] = v
		}
		got := strings.Join(missing(offered), "; ")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%v: %q, want %q", tt.change, got, tt.want)
		}
	}
	if len(formats()) != 6 {
		t.Errorf("%d formats", len(formats()))
	}
}

func TestOpenNewRefusesWhatOthersMayWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new")
	if err := os.WriteFile(path, []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := openNew(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	refused := func(path, why string) {
		t.Helper()
		var e *control.Error
		if _, err := openNew(path); !errors.As(err, &e) || e.Code != codeCannot || !strings.Contains(e.Message, why) || e.Remedy == "" {
			t.Errorf("%s: %v, not %s", path, err, why)
		}
	}
	refused(dir, "no file")
	refused(filepath.Join(dir, "missing"), "no such file")
	if err := os.Chmod(path, 0o775); err != nil {
		t.Fatal(err)
	}
	refused(path, "others may write it")
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	if err := errors.Join(os.Chown(path, 4711, -1), os.Chmod(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	refused(path, "uid 4711")
}

// installed is a folder with an executable in it, and one that runs.
func installed(t *testing.T, text string) (path string, running status.Supervisor) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "etcdsup")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path, status.Supervisor{PID: os.Getpid(), Binary: path} // this test stands for the old one
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// TestThePlaceHoldsTheOldOne until the new one has proved itself, wherever the new one comes from.
func TestThePlaceHoldsTheOldOne(t *testing.T) {
	path, running := installed(t, "new") // a package has put it there
	p, err := stage(running, "")
	if err != nil {
		t.Fatal(err)
	}
	if !sameProgram(path, exeOf(os.Getpid())) || content(t, p.next) != "new" {
		t.Error("the old one is not at its place, or the new one not beside it")
	}
	if err := p.giveUp(); err != nil {
		t.Fatal(err)
	}
	refusal := &control.Error{Code: codeCannot, Message: "cannot upgrade to " + p.next, Remedy: "try it by hand: " + p.next + " version"}
	if e, ok := errors.AsType[*control.Error](p.renamed(refusal)); !ok || e.Remedy != "try it by hand: "+path+".failed version" || e.Code != codeCannot {
		t.Errorf("%+v", e)
	}
	if content(t, path+".failed") != "new" || !sameProgram(path, exeOf(os.Getpid())) {
		t.Error("the new one is lost, or at the place")
	}

	path, running = installed(t, "old")
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(elsewhere, []byte("new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if p, err = stage(running, elsewhere); err != nil || content(t, path) != "old" {
		t.Fatalf("%v: %s", err, content(t, path))
	}
	if err := p.finish(); err != nil {
		t.Fatal(err)
	}
	if content(t, path) != "new" || content(t, path+".previous") != "old" || content(t, elsewhere) != "new" || isThere(p.next) {
		t.Error("not all is at its place")
	}
	if err := p.finish(); err != nil || content(t, path+".previous") != "old" {
		t.Errorf("once more: %v", err)
	}
}

// TestTheOldOneComesBackWithoutRoom: what the last upgrade has left is linked, not copied, and a failure changes nothing.
func TestTheOldOneComesBackWithoutRoom(t *testing.T) {
	path, running := installed(t, "new")
	if err := copyFile(exeOf(os.Getpid()), path+".previous"); err != nil {
		t.Fatal(err)
	}
	if _, err := stage(running, ""); err != nil || !sameFile(path, path+".previous") {
		t.Errorf("it is not the one from before: %v", err)
	}

	path, running = installed(t, "new")
	if err := os.Mkdir(path+".tmp", 0o700); err != nil { // in the place of a full disk
		t.Fatal(err)
	}
	if _, err := stage(running, ""); err == nil || content(t, path) != "new" || isThere(path+".next") {
		t.Errorf("%v, and at the place %q", err, content(t, path))
	}
}

// TestOneUpgradeAtATime: a second one touches no file of the first.
func TestOneUpgradeAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcdsup")
	lock, err := lockPlace(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockPlace(path); err == nil || !strings.Contains(err.Error(), "another upgrade") {
		t.Errorf("the second one: %v", err)
	}
	_ = lock.Close()
	if lock, err = lockPlace(path); err != nil {
		t.Fatal(err)
	}
	_ = lock.Close()
}

func TestStageNamesWhatIsMissing(t *testing.T) {
	_, running := installed(t, "old")
	for _, binary := range []string{"/no/such/file", "/etc"} {
		_, err := stage(running, binary)
		if f, ok := errors.AsType[*failure](err); !ok || !strings.Contains(err.Error(), binary) || !strings.Contains(f.remedy, "name the file") {
			t.Errorf("%s: %v", binary, err)
		}
	}
	if _, err := stage(status.Supervisor{PID: 1}, ""); err == nil {
		t.Error("nobody knows where it was started from")
	}
}

func TestUpgradeCommand(t *testing.T) {
	st := readyStatus()
	st.Supervisor.PID = os.Getpid()
	st.Supervisor.Binary, _ = installed(t, "old")
	f := newFakeDaemon(t, t.TempDir(), st)
	binary := filepath.Join(t.TempDir(), "new")
	if err := os.WriteFile(binary, []byte("new"), 0o755); err != nil {
		t.Fatal(err)
	}
	outcome := status.UpgradeDone
	f.script = func(string) error {
		f.Publish(func(st *status.Status) {
			st.Upgrade = &status.Upgrade{ID: "u1", From: "v1", To: "v2", Outcome: outcome, Why: "it rained"}
		})
		return nil
	}
	in(t, f.dir, "upgrade", "--binary", binary).want(t, exitOK, "etcdsup v1 was replaced by v2", "")
	if got := content(t, st.Supervisor.Binary); got != "new" {
		t.Errorf("at the place: %q", got)
	}
	outcome = status.UpgradeCameBack
	in(t, f.dir, "upgrade", "--binary", binary+"er").want(t, exitFailure, "", "newer")
	if err := os.WriteFile(binary, []byte("newer"), 0o755); err != nil {
		t.Fatal(err)
	}
	in(t, f.dir, "upgrade", "--binary", binary).want(t, exitCameBack, "", "it rained")
	f.script = func(string) error {
		return &control.Error{Code: codeCannot, Message: "it refuses", Remedy: "take another one"}
	}
	in(t, f.dir, "upgrade", "--binary", binary).want(t, exitCameBack, "", "take another one")
	f.script = func(command string) error {
		path := strings.TrimPrefix(command, "upgrade ")
		return &control.Error{Code: codeCannot, Message: "cannot upgrade to " + path + ": it is silent", Remedy: "try it by hand: " + path + " version"}
	}
	in(t, f.dir, "upgrade", "--binary", binary).want(t, exitCameBack, "", "cannot upgrade to "+binary+": it is silent\n  → try it by hand: "+binary+" version\n")
	f.script = func(string) error {
		return &control.Error{Code: control.CodeTransition, Message: "a change of mode is under way"}
	}
	in(t, f.dir, "upgrade", "--binary", binary).want(t, exitFailure, "", "a change of mode is under way")
	if got := content(t, st.Supervisor.Binary); got != "new" {
		t.Errorf("at the place: %q", got)
	}
	f.script = func(string) error {
		f.Publish(func(st *status.Status) { st.Upgrade, st.Supervisor.PID = nil, 1 })
		return nil
	}
	in(t, f.dir, "upgrade", "--binary", binary).want(t, exitFailure, "", "another etcdsup answers, PID 1, and knows nothing of it")
	in(t, f.dir, "upgrade", "--within", "1h").want(t, exitUsage, "", "cannot wait 1h0m0s")
	f.stop()
	in(t, f.dir, "upgrade").want(t, exitNoDaemon, "", "not running")
}
