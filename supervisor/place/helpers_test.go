package place

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// copyOrder makes the test binary a copier that a test can kill: it copies $1 to $2, reports its first progress with
// a byte on its output, and waits for one on its input.
const copyOrder = "PLACE_TEST_COPY"

func TestMain(m *testing.M) {
	if os.Getenv(copyOrder) != "" {
		os.Exit(copyForTest(os.Args[1], os.Args[2]))
	}
	goleak.VerifyTestMain(m)
}

func copyForTest(from, to string) int {
	told := false
	_, err := Copy(context.Background(), from, to, func(done, _ int64) {
		if done > 0 && !told {
			told = true
			os.Stdout.Write([]byte{'.'})
			os.Stdin.Read(make([]byte, 1))
		}
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// startCopy is a copy in another process that stands still in its middle. resume lets it end, kill ends it.
func startCopy(t *testing.T, from, to string) (resume, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], from, to)
	cmd.Env = append(os.Environ(), copyOrder+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() { cmd.Process.Kill(); cmd.Wait() }
	t.Cleanup(kill)
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal("the copy in another process did not begin: ", err)
	}
	return func() {
		in.Write([]byte{'.'})
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}, kill
}

// write makes a file, with its folders.
func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeAt writes into a file, which may be longer than what is written: the rest is a hole.
func writeAt(t testing.TB, path string, size, at int64, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, at); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() < size {
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
	}
}

// noise is data that no file system can make smaller, and that tells where it came from.
func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// dataDir is shaped like a data directory of etcd, with what a copy may get wrong.
func dataDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	write(t, filepath.Join(dir, "member/snap/db"), noise(5<<20, 1))
	write(t, filepath.Join(dir, "member/snap/0000000000000002-0000000000000064.snap"), noise(5000, 2))
	write(t, filepath.Join(dir, "member/wal/0000000000000000-0000000000000000.wal"), noise(1<<20, 3))
	writeAt(t, filepath.Join(dir, "member/wal/0000000000000001-0000000000000064.wal"), 16<<20, 0, noise(70000, 4))
	writeAt(t, filepath.Join(dir, "member/wal/0000000000000001-0000000000000064.wal"), 0, 8<<20, noise(10000, 5))
	writeAt(t, filepath.Join(dir, "member/wal/0.tmp"), 16<<20, 0, nil)
	write(t, filepath.Join(dir, "member/empty"), nil)
	if err := os.MkdirAll(filepath.Join(dir, "member/nothing in it"), 0o750); err != nil {
		t.Fatal(err)
	}
	os.Chmod(filepath.Join(dir, "member/wal"), 0o750)
	os.Chmod(filepath.Join(dir, "member/empty"), 0o440)
	if os.Geteuid() == 0 {
		os.Chown(filepath.Join(dir, "member/wal"), 1234, 4321)
		os.Chown(filepath.Join(dir, "member/snap/db"), 1234, 4321)
	}
	unix.Setxattr(filepath.Join(dir, "member/snap/db"), "user.etcdsup", []byte("kept"), 0)
	old := time.Date(2020, 2, 2, 2, 2, 2, 222222222, time.UTC)
	for _, name := range []string{"member/snap/db", "member/wal", "member", ""} {
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// state is all that is in a folder, by relative name. With ids, also what only the very same files have.
func state(t testing.TB, dir string, ids bool) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%o %d:%d %v", st.Mode, st.Uid, st.Gid, st.Mtim)
		if ids {
			line += fmt.Sprint(st.Ino, st.Ctim)
		}
		if d.Type().IsRegular() {
			if ids {
				line += fmt.Sprint(st.Atim)
			}
			b, err := readQuietly(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d bytes %x", len(b), sha256.Sum256(b))
			value := make([]byte, 100)
			if n, err := unix.Getxattr(path, "user.etcdsup", value); err == nil {
				line += " " + string(value[:n])
			}
		}
		rel, err := filepath.Rel(dir, path)
		all[rel] = line
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readQuietly(path string) ([]byte, error) {
	f, err := openAt(nil, path, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, info.Size())
	_, err = f.ReadAt(b, 0)
	if len(b) == 0 {
		err = nil
	}
	return b, err
}

// same compares and names what differs, without the bytes.
func same(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: %q is %.90q, want %.90q", what, name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: there is %q", what, name)
		}
	}
}

// names are what lies in a folder.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func blocks(t testing.TB, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// asNobody runs f by a thread that is not root's, and that ends with it.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan syscall.Errno)
	go func() { // ends with f, and its thread with it, being locked
		runtime.LockOSThread()
		const same = ^uintptr(0)
		_, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, same, 65534, same)
		if errno == 0 {
			f()
		}
		done <- errno
	}()
	if errno := <-done; errno != 0 {
		t.Fatal(errno)
	}
}

// mount puts a small file system of its own on a new folder.
func mount(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=50m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}
