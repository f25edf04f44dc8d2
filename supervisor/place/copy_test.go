package place

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCopyIsTheSame(t *testing.T) {
	from := dataDir(t)
	to := filepath.Join(t.TempDir(), "copy")
	want, before := state(t, from, false), state(t, from, true)
	var done, total int64
	r, err := Copy(t.Context(), from, to, func(d, t int64) {
		if d < done || t < d {
			total = -1
		}
		done, total = d, t
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "copy", state(t, to, false), want)
	same(t, "source", state(t, from, true), before)
	if r.Files != 6 || r.Bytes != 5<<20+5000+1<<20+32<<20 || done != r.Bytes || total != r.Bytes || r.Took <= 0 {
		t.Errorf("%+v, progress to %d of %d", r, done, total)
	}
	if len(r.Changed)+len(r.Vanished)+len(r.LeftOut)+len(r.Removed) > 0 {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"member/wal/0000000000000001-0000000000000064.wal", "member/wal/0.tmp"} {
		if n := blocks(t, filepath.Join(to, name)); n > 1<<20 {
			t.Errorf("%s has %d bytes on disk", name, n)
		}
	}
	if got := names(t, filepath.Dir(to)); len(got) != 1 {
		t.Errorf("beside the copy: %v", got)
	}
}

func TestCopyByEachMeans(t *testing.T) {
	for name, set := range map[string]func(*copier){
		"reflink or the kernel": func(*copier) {},
		"the kernel":            func(c *copier) { c.clones = false },
		"by hand":               func(c *copier) { c.clones, c.ranges = false, false },
	} {
		t.Run(name, func(t *testing.T) {
			from, to := dataDir(t), filepath.Join(t.TempDir(), "copy")
			c := newCopier(t.Context(), nil)
			set(c)
			if err := c.copyDir(from, to); err != nil {
				t.Fatal(err)
			}
			same(t, "copy", state(t, to, false), state(t, from, false))
		})
	}
}

func TestCopyAcrossFileSystems(t *testing.T) {
	from, to := dataDir(t), filepath.Join(t.TempDir(), "mnt")
	mount(t, to)
	r, err := Copy(t.Context(), from, filepath.Join(to, "copy"), nil)
	if err != nil || r.Reflinked > 0 {
		t.Fatal(err, r.Reflinked)
	}
	same(t, "copy", state(t, filepath.Join(to, "copy"), false), state(t, from, false))
}

// untouched checks that an attempt failed with that error and left both sides as they were.
func untouched(t *testing.T, from, to string, want error) {
	t.Helper()
	parent := state(t, filepath.Dir(to), true)
	before := state(t, from, true)
	_, err := Copy(t.Context(), from, to, nil)
	if !errors.Is(err, want) || err == nil {
		t.Errorf("error %v, want %v", err, want)
	}
	same(t, "source", state(t, from, true), before)
	after := state(t, filepath.Dir(to), true)
	delete(parent, ".") // whose times tell that something was made and removed
	delete(after, ".")
	same(t, "target", after, parent)
}

func TestCopyNeverReplaces(t *testing.T) {
	from := dataDir(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "folder/member/wal/x"), []byte("mine"))
	write(t, filepath.Join(dir, "file"), []byte("mine"))
	os.Symlink("folder", filepath.Join(dir, "link"))
	for _, name := range []string{"folder", "file", "link"} {
		untouched(t, from, filepath.Join(dir, name), fs.ErrExist)
	}
	untouched(t, from, from, fs.ErrExist)
	if _, err := Copy(t.Context(), from, filepath.Join(from, "member/copy"), nil); err == nil {
		t.Error("copied into itself")
	}
	if _, err := Copy(t.Context(), filepath.Join(dir, "nothing"), filepath.Join(dir, "to"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Copy(t.Context(), from, filepath.Join(dir, "nothing/to"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Copy(t.Context(), filepath.Join(dir, "file"), filepath.Join(dir, "to"), nil); !errors.Is(err, unix.ENOTDIR) {
		t.Error(err)
	}
}

func TestCopyIntoAVacantFolder(t *testing.T) {
	from, to := dataDir(t), t.TempDir()
	os.Mkdir(filepath.Join(from, "lost+found"), 0o700)
	os.Mkdir(filepath.Join(to, "lost+found"), 0o700)
	write(t, filepath.Join(to, "aside-20260102T030405Z-1/member/wal/x"), []byte("mine"))
	r, err := Copy(t.Context(), from, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "copy", state(t, filepath.Join(to, "member"), false), state(t, filepath.Join(from, "member"), false))
	if got := names(t, to); !slices.Equal(got, []string{"aside-20260102T030405Z-1", "lost+found", "member"}) {
		t.Error(got)
	}
	if !slices.Equal(r.LeftOut, []string{"lost+found"}) {
		t.Errorf("%+v", r)
	}
	untouched(t, from, to, fs.ErrExist)
}

// A folder that stays where it is gets all of a copy with one rename, so there must be one entry.
func TestCopyOfSeveralEntriesIntoAVacantFolder(t *testing.T) {
	from, to := dataDir(t), t.TempDir()
	write(t, filepath.Join(from, "notes.txt"), nil)
	_, err := Copy(t.Context(), from, to, nil)
	if err == nil || !strings.Contains(err.Error(), "member, notes.txt") || len(names(t, to)) > 0 {
		t.Error(err, names(t, to))
	}
}

// A copy beside the data, in a folder that cannot be left, does not copy itself.
func TestCopyBesideItsSource(t *testing.T) {
	from := dataDir(t)
	to := filepath.Join(from, "aside-20260102T030405Z-1")
	want := state(t, filepath.Join(from, "member"), false)
	for range 2 {
		if _, err := Copy(t.Context(), from, to, nil); err != nil {
			t.Fatal(err)
		}
		if got := names(t, to); !slices.Equal(got, []string{"member"}) {
			t.Error(got)
		}
		same(t, "copy", state(t, filepath.Join(to, "member"), false), want)
		to = filepath.Join(from, "aside-20260102T030405Z-2")
	}
}

func TestCopyThroughALink(t *testing.T) {
	from, dir := dataDir(t), t.TempDir()
	os.Symlink(from, filepath.Join(dir, "from"))
	os.Symlink("real", filepath.Join(dir, "to"))
	if _, err := Copy(t.Context(), filepath.Join(dir, "from"), filepath.Join(dir, "to"), nil); err != nil {
		t.Fatal(err)
	}
	same(t, "copy", state(t, filepath.Join(dir, "real"), false), state(t, from, false))
	if !isLink(filepath.Join(dir, "to")) {
		t.Error("the link is gone")
	}
}

func TestCopyNamesWhatItCannot(t *testing.T) {
	from := dataDir(t)
	os.Symlink("/elsewhere", filepath.Join(from, "member/snap/link"))
	syscall.Mkfifo(filepath.Join(from, "member/wal/pipe"), 0o600)
	t.Chdir(from) // the name of a socket must be short
	ln, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	to := filepath.Join(t.TempDir(), "copy")
	_, err = Copy(t.Context(), from, to, nil)
	want := []string{"member/snap/link (symbolic link)", "member/wal/pipe (named pipe)", "socket (socket)"}
	if odd, ok := errors.AsType[*SpecialError](err); !ok || !slices.Equal(odd.Names, want) {
		t.Error(err)
	}
	if there, _ := exists(to); there {
		t.Error("something was copied")
	}
	if _, err := CopyFile(t.Context(), filepath.Join(from, "member/wal/pipe"), to, nil); !errors.As(err, new(*SpecialError)) {
		t.Error(err)
	}
}

func TestCopyIsCancelled(t *testing.T) {
	from, dir := dataDir(t), t.TempDir()
	for limit := int64(0); limit < 38<<20; limit += 5 << 20 {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Copy(ctx, from, filepath.Join(dir, "copy"), func(done, _ int64) {
			if done > limit {
				cancel()
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) || len(names(t, dir)) > 0 {
			t.Fatalf("at %d: %v, left %v", limit, err, names(t, dir))
		}
	}
}

func TestCopyIsKilled(t *testing.T) {
	from, dir := dataDir(t), t.TempDir()
	to := filepath.Join(dir, "copy")
	foreign := []string{"copy.etcdsup-partial-", "copy.etcdsup-partial-0123456789abcdeX", "other.etcdsup-partial-0123456789abcdef", "copy.partial"}
	for _, name := range foreign {
		write(t, filepath.Join(dir, name, "x"), []byte("mine"))
	}
	_, kill := startCopy(t, from, to)
	if left, err := Leftovers(to); err != nil || len(left) > 0 {
		t.Errorf("of a copy that runs: %v, %v", left, err)
	}
	if got := names(t, dir); len(got) != len(foreign)+1 {
		t.Errorf("while it runs: %v", got)
	}
	kill()
	if there, _ := exists(to); there {
		t.Error("a killed copy has the name of a whole one")
	}
	left, err := Leftovers(to)
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	r, err := Copy(t.Context(), from, to, nil)
	if err != nil || !slices.Equal(r.Removed, left) {
		t.Fatalf("%+v, %v, want %v removed", r, err, left)
	}
	same(t, "copy", state(t, to, false), state(t, from, false))
	want := append(slices.Clone(foreign), "copy")
	slices.Sort(want)
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("left: %v", got)
	}
}

// Two copies to one place: one of them wins, and the other neither harms nor removes it.
func TestCopyTwiceAtOnce(t *testing.T) {
	from, dir := dataDir(t), t.TempDir()
	to := filepath.Join(dir, "copy")
	resume, _ := startCopy(t, from, to)
	c := newCopier(t.Context(), func(done, total int64) {
		if done == total && resume != nil {
			resume()
			resume = nil
		}
	})
	if err := c.copyDir(from, to); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	same(t, "copy", state(t, to, false), state(t, from, false))
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("left: %v", got)
	}
}

// etcd runs meanwhile: the db grows, a segment that was made in advance gets its real name, an old one is purged.
func TestCopyOfWhatIsInUse(t *testing.T) {
	from, to := dataDir(t), filepath.Join(t.TempDir(), "copy")
	wal := filepath.Join(from, "member/wal")
	write(t, filepath.Join(wal, "0000000000000000-0000000000000000.wal"), noise(12<<20, 3))
	hit := false
	c := newCopier(t.Context(), func(done, _ int64) {
		if done < 23<<20 || hit { // in the first of the segments, behind 0.tmp
			return
		}
		hit = true
		os.Rename(filepath.Join(wal, "0.tmp"), filepath.Join(wal, "0000000000000002-0000000000000099.wal"))
		os.Remove(filepath.Join(wal, "0000000000000001-0000000000000064.wal"))
		writeAt(t, filepath.Join(wal, "0000000000000000-0000000000000000.wal"), 0, 1<<20, []byte("changed"))
	})
	c.clones = false
	err := c.copyDir(from, to)
	r := c.res
	want := []string{"member/wal/0000000000000001-0000000000000064.wal"}
	if err != nil || !hit || !slices.Equal(r.Vanished, want) || r.Files != 5 {
		t.Fatalf("%+v, %v", r, err)
	}
	if !slices.Equal(r.Changed, []string{"member/wal/0000000000000000-0000000000000000.wal"}) {
		t.Errorf("changed: %v", r.Changed)
	}
	if got := names(t, filepath.Join(to, "member/wal")); !slices.Equal(got, []string{"0.tmp", "0000000000000000-0000000000000000.wal"}) {
		t.Error(got)
	}
}

// A segment that is written to while it is copied is copied up to some point, and has nothing behind it.
func TestCopyOfAGrowingFile(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	path := filepath.Join(from, "x.wal")
	const size = 24 << 20
	end := int64(6 << 20)
	writeAt(t, path, size, 0, noise(int(end), 1))
	more := noise(1<<20, 2)
	c := newCopier(t.Context(), func(done, _ int64) {
		for end < min(done+8<<20, size) { // always well ahead
			writeAt(t, path, 0, end, more)
			end += int64(len(more))
		}
	})
	c.clones = false
	if err := c.copyDir(from, to); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(to, "x.wal"))
	if err != nil || len(b) != size || end < 12<<20 {
		t.Fatal(len(b), end, err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for n < len(b) && bytes.Equal(b[n:n+4096], source[n:n+4096]) {
		n += 4096
	}
	if n < 6<<20 || len(bytes.Trim(b[min(n+4096, size):], "\x00")) > 0 {
		t.Errorf("has %d bytes of the source, and then others than zeros", n)
	}
	if !slices.Equal(c.res.Changed, []string{"x.wal"}) {
		t.Errorf("%+v", c.res)
	}
}

func TestCopyOfAShrinkingFile(t *testing.T) {
	for name, set := range map[string]func(*copier){"kernel": func(*copier) {}, "by hand": func(c *copier) { c.ranges = false }} {
		t.Run(name, func(t *testing.T) {
			from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
			path := filepath.Join(from, "x")
			write(t, path, noise(20<<20, 1))
			c := newCopier(t.Context(), func(done, _ int64) { os.Truncate(path, 6<<20) })
			c.clones = false
			set(c)
			if err := c.copyDir(from, to); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(filepath.Join(to, "x")); err != nil || info.Size() != 20<<20 || len(c.res.Changed) != 1 || c.done != 20<<20 {
				t.Error(info.Size(), err, c.res, c.done)
			}
		})
	}
}

func TestCopyFile(t *testing.T) {
	from := filepath.Join(dataDir(t), "member/wal/0000000000000001-0000000000000064.wal")
	dir := t.TempDir()
	to := filepath.Join(dir, "file")
	write(t, to+".etcdsup-partial-0123456789abcdef", []byte("of a copy that was killed"))
	r, err := CopyFile(t.Context(), from, to, nil)
	if err != nil || r.Bytes != 16<<20 || len(r.Removed) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	same(t, "copy", state(t, to, false), state(t, from, false))
	if n := blocks(t, to); n > 1<<20 || len(names(t, dir)) != 1 {
		t.Error(n, names(t, dir))
	}
	for _, to := range []string{to, dir, filepath.Join(dir, ".")} {
		if _, err := CopyFile(t.Context(), from, to, nil); !errors.Is(err, fs.ErrExist) {
			t.Errorf("to %s: %v", to, err)
		}
	}
	if _, err := CopyFile(t.Context(), from, t.TempDir(), nil); !errors.Is(err, unix.EISDIR) {
		t.Error(err)
	}
	if _, err := CopyFile(t.Context(), dir, filepath.Join(t.TempDir(), "x"), nil); !errors.Is(err, unix.EISDIR) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := CopyFile(ctx, from, filepath.Join(dir, "b"), func(int64, int64) { cancel() }); !errors.Is(err, context.Canceled) || len(names(t, dir)) != 1 {
		t.Error(err, names(t, dir))
	}
}

func TestSpace(t *testing.T) {
	dir := t.TempDir()
	free, err := FreeSpace(filepath.Join(dir, "not/there/yet"))
	if err != nil || free <= 0 {
		t.Fatal(free, err)
	}
	if err := EnoughSpace(dir, 1); err != nil {
		t.Error(err)
	}
	err = EnoughSpace(dir, math.MaxInt64)
	if e, ok := errors.AsType[*SpaceError](err); !ok || e.Need != math.MaxInt64 || e.Path != dir {
		t.Error(err)
	}
	if got := (&SpaceError{"/data", 1234567890, 999}).Error(); got != "/data has 999 bytes free, and 1.2 GB are needed" {
		t.Error(got)
	}
}

func TestCopyToAFullDisk(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "mnt")
	mount(t, to)
	others := noise(20<<20, 2)
	write(t, filepath.Join(from, "member/x"), noise(40<<20, 1))
	write(t, filepath.Join(to, "y"), others)
	var e *SpaceError
	if _, err := Copy(t.Context(), from, filepath.Join(to, "copy"), nil); !errors.As(err, &e) || e.Need != 40<<20 {
		t.Error(err)
	}
	os.Remove(filepath.Join(to, "y"))
	_, err := Copy(t.Context(), from, filepath.Join(to, "copy"), func(int64, int64) { // others need room too
		os.WriteFile(filepath.Join(to, "y"), others, 0o600)
	})
	if !errors.Is(err, unix.ENOSPC) {
		t.Error(err)
	}
	if got := names(t, to); !reflect.DeepEqual(got, []string{"y"}) {
		t.Error(got)
	}
}
