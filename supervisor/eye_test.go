package supervisor

import (
	"os"
	"path/filepath"
	"testing"
)

// TestEyeSeesWhatHappensToItsFile: an eye is as good as a stat of the file that etcd has open, whatever its name is given to.
func TestEyeSeesWhatHappensToItsFile(t *testing.T) {
	dir := t.TempDir()
	path, elsewhere := filepath.Join(dir, "db"), filepath.Join(dir, "elsewhere")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "one")
	var e eye
	defer e.shut()
	was := stampOf(path)
	if e.sees(was) {
		t.Error("a shut eye sees")
	}
	e.open(path, FileID{was.id.Dev, was.id.Ino + 1})
	if e.sees(was) || e.file != nil {
		t.Error("another file than was meant")
	}
	e.open(path, was.id)
	if !e.sees(was) {
		t.Error("nothing has changed, and it is not seen")
	}
	write(path, "two!")
	if e.sees(was) {
		t.Error("a change is not seen")
	}
	was = stampOf(path)
	if !e.sees(was) {
		t.Error("what has changed before is the same now, and it is not seen")
	}
	if err := os.Rename(path, elsewhere); err != nil {
		t.Fatal(err)
	}
	if write(path, "two!"); !e.sees(was) {
		t.Error("the file has another name now, and is as it was")
	}
	if err := os.Remove(elsewhere); err != nil {
		t.Fatal(err)
	}
	if e.sees(was) {
		t.Error("the file is gone")
	}
	e.open(path, stampOf(path).id)
	if e.sees(was) || !e.sees(stampOf(path)) {
		t.Error("the eye is not on the new file")
	}
	e.shut()
	if e.shut(); e.sees(stampOf(path)) {
		t.Error("a shut eye sees")
	}
}
