package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/exetest"
	"github.com/etcdsup/etcdsup/supervisor/porttest"
)

// pretender is the built-in etcd under a name of its own, with whatever version it is to say.
type pretender struct{ path string }

func newPretender(t *testing.T, version string) *pretender {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(program, filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	p := &pretender{filepath.Join(dir, "pretender")}
	p.becomes(t, version)
	return p
}

// becomes is what an upgrade of a package does: another file under the old name.
func (p *pretender) becomes(t *testing.T, version string) {
	t.Helper()
	text := fmt.Sprintf("#!/bin/sh\nfor a; do [ \"$a\" = --version ] && echo 'etcd Version: %s' && exit; done\nexec %s/etcd \"$@\"\n", version, filepath.Dir(p.path))
	exetest.Write(t, p.path+".new", []byte(text))
	move(t, p.path+".new", p.path)
}

// TestVersionGates: an etcd that is too old for the data, or that leaves out a minor version, is not started on it, and
// no change of mode begins with it.
func TestVersionGates(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	etcd := newPretender(t, "3.7.3")
	in.client = "http://" + porttest.Addr(t, "127.0.0.1")
	in.configure(fmt.Sprintf("etcd:\n  binary: %s\n  args:\n    name: c\n    listen-client-urls: %s\n    listen-peer-urls: http://%s\n",
		etcd.path, in.client, porttest.Addr(t, "127.0.0.1")))
	d := in.run()
	in.awaitReady()
	revision := fillKeys(t, dial(t, in.client), 10)
	await(t, "the version of the cluster in its db", patience, func() bool {
		return strings.Contains(in.cli("inspect", "-o", "json").out, `"cluster": "3.7"`)
	})
	for version, why := range map[string]string{"3.5.35": "is older", "3.6.16": "is older", "3.9.0": "skips a minor"} {
		etcd.becomes(t, version)
		if r := in.expect(6, "config", "check"); !strings.Contains(r.err, why) {
			t.Errorf("config check with %s: %s", version, r.err)
		}
		for _, args := range [][]string{{"--plan"}, {"--yes"}, {"--yes", "--new-identity"}, {"--plan", "--from", in.data}} {
			if r := in.expect(1, append([]string{"mode", "force-new-cluster"}, args...)...); !strings.Contains(r.err, why) || !strings.Contains(r.err, "set etcd.binary to") {
				t.Errorf("%q with %s: %s", args, version, r.err)
			}
		}
	}
	etcd.becomes(t, "3.6.16")
	pid := in.awaitReady().Process.PID
	if r := in.expect(1, "restart"); !strings.Contains(r.err, "is older") || in.awaitReady().Process.PID != pid {
		t.Errorf("restart: %s", r.err)
	}
	in.expect(0, "stop")
	in.cli("start")
	in.awaitHeld("3.6.16 is older")
	in.leave(d)
	etcd.becomes(t, "3.8.1")
	d = in.run()
	in.awaitReady()
	expectKeys(t, dial(t, in.client), 10, revision)
	in.leave(d)
}

// TestBadPatch: what is known against a version is said, and no reason not to use it.
func TestBadPatch(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configure("etcd:\n  binary: " + newPretender(t, "3.5.2").path + "\n")
	if r := in.expect(0, "config", "check"); !strings.Contains(r.err, "etcd-io/etcd#13766") || !strings.Contains(r.out, "ok") {
		t.Errorf("%s%s", r.out, r.err)
	}
	if r := in.expect(0, "config", "check", "-o", "json"); !strings.Contains(r.out, "#13766") {
		t.Errorf("%s%s", r.out, r.err)
	}
}
