package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

func TestLinkTarget(t *testing.T) {
	dir := t.TempDir()
	plain, link, broken := filepath.Join(dir, "real"), filepath.Join(dir, "link"), filepath.Join(dir, "broken")
	for _, err := range []error{os.Mkdir(plain, 0o700), os.Symlink("real", link), os.Symlink("gone", broken)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{plain: "", link: plain, broken: "nowhere", filepath.Join(dir, "none"): ""} {
		if got := linkTarget(path); got != want {
			t.Errorf("%s leads to %q, not %q", path, got, want)
		}
	}
}

// TestMountPoint finds one whose name the kernel writes with escapes.
func TestMountPoint(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	dir := filepath.Join(t.TempDir(), `a b\c`)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if isMountPoint(dir) {
		t.Error("a plain folder is a mount point")
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	if !isMountPoint(dir) {
		t.Error("a mount point is not found")
	}
}

// TestRoomWhereNothingCanBeWritten: not even root writes on a file system that is mounted read-only.
func TestRoomWhereNothingCanBeWritten(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	dir, w := t.TempDir(), &world{}
	if err := w.Room(dir+"/data", 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_RDONLY, "size=4k"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	if err := w.Room(dir+"/data", 1); !errors.Is(err, unix.EROFS) {
		t.Error(err)
	}
}

// TestCommandsOfAVerdict are for the instance that asks and for the cluster that was asked.
func TestCommandsOfAVerdict(t *testing.T) {
	w := &world{x: &executor{d: &daemon{g: &globals{dir: "/d"}}}}
	v := &status.JoinVerdict{Remedy: "one: etcdsup mode join --replace; two: etcdsup member remove ID; three: start it", Warnings: []string{"see etcdsup member list", "nothing"}}
	w.retype(v, []string{"http://c:1", "http://b:1"})
	if want := "one: etcdsup --dir /d mode join --endpoint http://c:1 --replace; two: etcdsup --dir /d member remove --endpoint http://c:1 ID; three: start it"; v.Remedy != want {
		t.Errorf("%s, want %s", v.Remedy, want)
	}
	if want := []string{"see etcdsup --dir /d member list --endpoint http://c:1", "nothing"}; !slices.Equal(v.Warnings, want) {
		t.Errorf("%q, want %q", v.Warnings, want)
	}
}
