// Package etcdbin gets executables of etcd for tests: of the version that is built in, and of those that users have.
// It is imported by tests only, and by what is for tests itself.
//
// Each is built once, from the module proxy, into the user's cache folder, which takes one to three minutes. Nothing but
// Go and a network is needed. What cannot be got fails the test.
package etcdbin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Builtin is the path of an executable etcd of the version that go.mod names.
func Builtin(t testing.TB) string {
	t.Helper()
	path, err := builtin()
	if err != nil {
		t.Fatalf("cannot get the etcd of go.mod for this test: %v", err)
	}
	return path
}

var builtin = sync.OnceValues(func() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return "", err
	}
	// A name of its own for each set of modules and each compiler.
	key := sha256.Sum256(append(sum, runtime.Version()...))
	return once(hex.EncodeToString(key[:8]), func(_, out string) error {
		return run(root, "build", "-buildvcs=false", "-o", out, "go.etcd.io/etcd/server/v3") // the root of that module is etcd's main
	})
})

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("cannot find go.mod: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// once gives the executable in the cache's folder of that name. The first who asks has it made, and the others wait, those
// in other processes too: packages are tested side by side.
func once(name string, build func(dir, out string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "etcdsup-test", name)
	path := filepath.Join(dir, "etcd")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	unlock, err := lock(dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	temp, err := os.MkdirTemp(dir, "build")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	out := filepath.Join(temp, "etcd")
	if err := build(temp, out); err != nil {
		return "", err
	}
	return path, os.Rename(out, path)
}

func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// run runs go, with nothing of the user's that could make it another build.
func run(dir string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", args[0], err, out)
	}
	return nil
}
