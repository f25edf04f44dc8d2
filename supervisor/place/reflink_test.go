package place

import (
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestCopySharesBlocks needs a file system that can: testdata has an empty Btrfs of 16 MB, which is mounted for it
// with ETCDSUP_LONG. Otherwise the folder for temporary files may be on one or not; then what is counted as shared is
// held against what the copy takes.
func TestCopySharesBlocks(t *testing.T) {
	dir := t.TempDir()
	shares := false
	if os.Getenv("ETCDSUP_LONG") != "" {
		dir, shares = filepath.Join(dir, "mnt"), true
		mountBtrfs(t, dir)
	}
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	write(t, filepath.Join(from, "member/snap/db"), noise(6<<20, 1)) // of which two have no room
	writeAt(t, filepath.Join(from, "member/wal/x.wal"), 4<<20, 1<<20, noise(100000, 2))
	calls := 0
	r, err := Copy(t.Context(), from, to, func(int64, int64) {
		if calls++; calls == 1 { // the db is copied: whatever happens to it now
			writeAt(t, filepath.Join(from, "member/snap/db"), 0, 0, []byte("changed"))
		}
	})
	if err != nil || shares && r.Reflinked != r.Bytes || r.Reflinked != 0 && r.Reflinked != r.Bytes {
		t.Fatalf("%+v, %v", r, err)
	}
	b, err := os.ReadFile(filepath.Join(to, "member/snap/db"))
	if err != nil || r.Reflinked > 0 && !slices.Equal(b, noise(6<<20, 1)) {
		t.Error("the copy is not of the moment of its making: ", err)
	}
	same(t, "WAL", state(t, filepath.Join(to, "member/wal"), false), state(t, filepath.Join(from, "member/wal"), false))
	if !shares {
		return
	}
	if r, err := CopyFile(t.Context(), filepath.Join(to, "member/snap/db"), filepath.Join(dir, "db"), nil); err != nil || r.Reflinked != 6<<20 {
		t.Errorf("%+v, %v", r, err)
	}
}

func mountBtrfs(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	image := filepath.Join(t.TempDir(), "btrfs.img")
	if err := gunzip("testdata/btrfs.img.gz", image); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "btrfs", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

func gunzip(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, z)
	return err
}
