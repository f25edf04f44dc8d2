package place

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func setAside(t *testing.T, path string) string {
	t.Helper()
	to, err := SetAside(path, "a test wants the place")
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestSetAsideAndPutBack(t *testing.T) {
	dir := dataDir(t)
	want := state(t, dir, true)
	to := setAside(t, dir)
	if !regexp.MustCompile(`^` + regexp.QuoteMeta(dir) + `\.aside-\d{8}T\d{6}Z-1$`).MatchString(to) {
		t.Error(to)
	}
	if there, _ := exists(dir); there {
		t.Error("still there")
	}
	for i := range 3 { // may be repeated
		if i == 1 {
			os.Mkdir(dir, 0o700) // as who waits for the place may do
		}
		if err := SetAsideAs(dir, to, "again"); err != nil {
			t.Error(err)
		}
	}
	if all, err := Asides(dir); err != nil || !slices.Equal(all, []string{to}) {
		t.Error(all, err)
	}
	for range 2 {
		if err := PutBack(to, dir); err != nil {
			t.Fatal(err)
		}
		got := state(t, dir, true)
		delete(got, ".") // which was renamed, and has that in its ctime
		delete(want, ".")
		same(t, "put back", got, want)
	}
	if all, err := Asides(dir); err != nil || len(all) > 0 || len(names(t, filepath.Dir(dir))) != 1 {
		t.Error(all, err)
	}
}

func TestAsidesOfOneSecond(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var want []string
	for range 12 {
		write(t, filepath.Join(dir, "member/x"), []byte("mine"))
		want = append(want, setAside(t, dir))
	}
	write(t, dir+".aside-20260102T030405Z-1.txt", nil)
	write(t, dir+"2.aside-20260102T030405Z-1/x", nil)
	if got, err := Asides(dir); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v\nwant %v", got, err, want)
	}
}

func TestSetAsideOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	write(t, path, []byte("mine"))
	to := setAside(t, path)
	if err := SetAsideAs(path, to, "again"); err != nil {
		t.Error(err)
	}
	if err := errors.Join(PutBack(to, path), PutBack(to, path)); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Error(string(b), err)
	}
}

func TestSetAsideNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "a.aside-20260102T030405Z-1")
	if _, err := SetAside(a, "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := SetAsideAs(a, b, "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := PutBack(b, a); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	os.Mkdir(a, 0o700)
	if err := PutBack(b, a); !errors.Is(err, fs.ErrNotExist) { // nothing says that it was put back
		t.Error(err)
	}
	write(t, filepath.Join(a, "member/x"), []byte("a"))
	write(t, filepath.Join(b, "member/x"), []byte("b"))
	want := state(t, dir, true)
	for name, err := range map[string]error{
		"aside": SetAsideAs(a, b, "x"), "back": PutBack(b, a),
		"aside to elsewhere": SetAsideAs(a, filepath.Join(t.TempDir(), "b"), "x"), "back from elsewhere": PutBack(t.TempDir(), a),
		"aside as data": SetAsideAs(a, filepath.Join(a, "b"), "x"),
	} {
		if err == nil || name == "aside" && !errors.Is(err, fs.ErrExist) || name == "back" && !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	same(t, "both", state(t, dir, true), want)
}

// A mount point stays, and so does a folder whose parent is not ours to write; their content goes into a folder.
func TestSetAsideInside(t *testing.T) {
	t.Run("mount", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "data")
		mount(t, dir)
		fillAndSetAside(t, dir)
	})
	t.Run("folder of another", func(t *testing.T) {
		asNobody(t, func() {
			parent, err := os.MkdirTemp("/tmp", "place-test-")
			if err != nil {
				t.Error(err)
				return
			}
			defer os.RemoveAll(parent)
			defer os.Chmod(parent, 0o700)
			dir := filepath.Join(parent, "data")
			if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(parent, 0o500)); err != nil {
				t.Error(err)
				return
			}
			fillAndSetAside(t, dir)
		})
	})
}

// fillAndSetAside fails without ending the goroutine, which may not be the test's own.
func fillAndSetAside(t *testing.T, dir string) {
	for _, name := range []string{"member/wal/x", "a/b", "z", "lost+found/c"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(name), 0o600)); err != nil {
			t.Error(err)
			return
		}
	}
	want := state(t, dir, false)
	delete(want, ".")
	to, err := SetAside(dir, "a test wants the place")
	if err != nil || !regexp.MustCompile(`^`+regexp.QuoteMeta(dir)+`/aside-\d{8}T\d{6}Z-1$`).MatchString(to) {
		t.Errorf("%s, %v", to, err)
		return
	}
	inside := []string{filepath.Base(to), "lost+found"}
	if got := names(t, dir); !slices.Equal(got, inside) || !slices.Equal(names(t, to), []string{"a", "member", "z"}) {
		t.Error(got, names(t, to))
	}
	if all, err := Asides(dir); err != nil || !slices.Equal(all, []string{to}) {
		t.Error(all, err)
	}
	for i := range 4 { // cut short at any point, and repeated
		if err := SetAsideAs(dir, to, "again"); err != nil {
			t.Error(err)
		}
		if got := names(t, dir); !slices.Equal(got, inside) {
			t.Error(got)
		}
		for _, name := range []string{"z", "member", "a"}[:i] {
			if err := os.Rename(filepath.Join(to, name), filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
	}
	for range 2 { // of which the first finds all of it back but not said so
		if err := PutBack(to, dir); err != nil {
			t.Error(err)
		}
		got := state(t, dir, false)
		delete(got, ".")
		same(t, "put back", got, want)
	}
}

func TestPutBackInsideRefusesWhole(t *testing.T) {
	dir := t.TempDir()
	aside := filepath.Join(dir, "aside-20260102T030405Z-1")
	write(t, filepath.Join(aside, "member/x"), []byte("old"))
	write(t, filepath.Join(aside, "a"), []byte("old"))
	write(t, filepath.Join(dir, "member/x"), []byte("new"))
	want := state(t, dir, true)
	if err := PutBack(aside, dir); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	same(t, "both", state(t, dir, true), want)
}

// A link stays, and leads to an empty folder after what it led to was set aside.
func TestSetAsideThroughALink(t *testing.T) {
	target := dataDir(t)
	os.Chmod(target, 0o750)
	if os.Geteuid() == 0 {
		os.Chown(target, 1234, 4321)
	}
	link := filepath.Join(t.TempDir(), "data")
	os.Symlink(target, link)
	want := state(t, target, false)
	to := setAside(t, link)
	if filepath.Dir(to) != filepath.Dir(target) || !isEmptyDir(target) || !isLink(link) {
		t.Fatal(to, names(t, target))
	}
	var a, b unix.Stat_t
	if err := errors.Join(unix.Stat(to, &a), unix.Stat(link, &b)); err != nil || a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid {
		t.Errorf("%o %d:%d, want %o %d:%d", b.Mode, b.Uid, b.Gid, a.Mode, a.Uid, a.Gid)
	}
	os.Remove(target) // killed in between
	if err := SetAsideAs(link, to, "again"); err != nil || !isEmptyDir(target) {
		t.Error(err)
	}
	if all, err := Asides(link); err != nil || !slices.Equal(all, []string{to}) {
		t.Error(all, err)
	}
	for range 2 {
		if err := PutBack(to, link); err != nil {
			t.Fatal(err)
		}
		same(t, "put back", state(t, target, false), want)
	}
	os.Symlink(filepath.Base(link)+"-round", link+"-round")
	if _, err := SetAside(link+"-round", "x"); !errors.Is(err, unix.ELOOP) {
		t.Error(err)
	}
}

// What no file system without RENAME_NOREPLACE is needed for.
func TestRenameCarefully(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("file"), []byte("file"))
	write(t, at("folder/x"), []byte("x"))
	for _, name := range []string{"file", "folder"} {
		if err := renameCarefully(at(name), at(name+"2")); err != nil {
			t.Error(err)
		}
	}
	want := state(t, dir, true)
	for _, err := range []error{renameCarefully(at("file2"), at("folder2")), renameCarefully(at("folder2"), at("file2"))} {
		if !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
	}
	same(t, "both", state(t, dir, true), want)
	if err := renameCarefully(at("file"), at("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
