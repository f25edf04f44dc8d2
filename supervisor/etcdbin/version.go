package etcdbin

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// The newest of each minor that the module proxy has.
const (
	V34 = "v3.4.25"
	V35 = "v3.5.35"
	V36 = "v3.6.16"
)

// Version is the path of an executable etcd of another version, such as [V35].
func Version(t testing.TB, version string) string {
	t.Helper()
	path, err := once("etcd-"+version+"-"+runtime.Version(), func(dir, out string) error { return buildVersion(dir, out, version) })
	if err != nil {
		t.Fatalf("cannot get etcd %s for this test: %v", version, err)
	}
	return path
}

// buildVersion makes a module for nothing else: etcd's own cannot be installed by version, having replace lines.
func buildVersion(dir, out, version string) error {
	pkg, query, err := source(version)
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"mod", "init", "throwaway"},
		{"get", pkg + "@" + query},
		{"build", "-buildvcs=false", "-o", out, pkg},
	} {
		if err := run(dir, args...); err != nil {
			return err
		}
	}
	return nil
}

// source is where a version's main package is, and what it is called there.
func source(version string) (pkg, query string, err error) {
	switch {
	case version == V34:
		// 3.4 is a module without the version in its path, so its tags are no versions of it: the tag's commit is.
		return "go.etcd.io/etcd", "v0.5.0-alpha.5.0.20230414071934-94593e63d45c", nil
	case strings.HasPrefix(version, "v3.4."):
		return "", "", fmt.Errorf("the commit of %s is not known here, only that of %s", version, V34)
	}
	return "go.etcd.io/etcd/server/v3", version, nil
}
