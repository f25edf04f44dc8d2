package etcdbin

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestOnce: ten ask at once, and one builds. A build that failed is tried again by the next who asks.
func TestOnce(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	broken := errors.New("no network")
	if path, err := once("etcd", func(string, string) error { return broken }); !errors.Is(err, broken) || path != "" {
		t.Errorf("%q, %v", path, err)
	}
	var built atomic.Int32
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			path, err := once("etcd", func(_, out string) error {
				built.Add(1)
				return os.WriteFile(out, []byte("#!/bin/sh\n"), 0o700)
			})
			if err == nil {
				err = exec.Command(path).Run()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := built.Load(); n != 1 {
		t.Errorf("built %d times", n)
	}
}

// TestVersions: each is what it is called. With ETCDSUP_LONG those that users have are got, too.
func TestVersions(t *testing.T) {
	paths := map[string]string{"3.7.": Builtin(t)}
	if os.Getenv("ETCDSUP_LONG") != "" {
		for _, v := range []string{V34, V35, V36} {
			paths[strings.TrimPrefix(v, "v")+"\n"] = Version(t, v)
		}
	}
	for version, path := range paths {
		out, err := exec.Command(path, "--version").Output()
		if want := "etcd Version: " + version; err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%s: %v\n%swant %q", path, err, out, want)
		}
	}
}

func TestUnknownVersion(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	for version, want := range map[string]string{"v3.4.1": "not known", "v3.5.1000": "go get"} {
		if err := buildVersion(t.TempDir(), "etcd", version); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", version, err)
		}
	}
}
