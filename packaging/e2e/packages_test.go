package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/packaging/lab"
	"github.com/etcdsup/etcdsup/supervisor/loadtest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// debOf makes a package of the sources as they are. The tag changes nothing of the program but its bytes, so that one
// version differs from the other.
func debOf(t *testing.T, version, tag string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "run", "./packaging/build", "-arch", "amd64", "-out", dir, "-version", version)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1795872948", "GOFLAGS="+os.Getenv("GOFLAGS")+" -tags="+tag)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot make a package: %v\n%s", err, out)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(made) != 1 {
		t.Fatalf("made %q, %v", made, err)
	}
	return made[0]
}

const (
	oldDeb = "/root/old.deb"
	newDeb = "/root/new.deb"
)

// TestPackages is the life of a package on a host: nothing is started unasked, and no data is deleted.
func TestPackages(t *testing.T) {
	t.Parallel()
	h := lab.Boot(t)
	h.CopyIn(debOf(t, "1.0.0", "old"), oldDeb)
	h.CopyIn(debOf(t, "1.1.0", "new"), newDeb)
	s := &service{Host: h, t: t, instance: "default", unit: "etcdsup.service"}
	s.client, s.peer = s.url(2379), s.url(2380)
	s.part(t, "without systemd", testWithoutSystemd)
	s.part(t, "install", testPackageInstall)
	s.part(t, "upgrade", testPackageUpgrade)
	s.part(t, "upgrade to what does not work", testPackageBroken)
	s.part(t, "downgrade", testPackageDowngrade)
	s.part(t, "remove", testPackageRemove)
	s.part(t, "purge", testPackagePurge)
}

// testWithoutSystemd has the package installed and purged where systemd does not run, nor helps, as in an image that is
// being made.
func testWithoutSystemd(t *testing.T, s *service) {
	out := s.Must("unshare", "--mount", "sh", "-euc", `
		mount -t tmpfs none /run/systemd
		for tool in systemctl systemd-sysusers systemd-tmpfiles; do mount --bind /dev/null "$(command -v $tool)"; done
		dpkg -i "$0"
		getent passwd etcd
		stat -c %U:%a /etc/etcdsup /var/lib/etcdsup
		etcdsup version
		dpkg -P etcdsup
		userdel etcd`, oldDeb)
	for _, want := range []string{":/var/lib/etcdsup:/usr/sbin/nologin\nroot:755\nroot:755\netcdsup "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if out, _, code := s.Exec("ls", binary); code == 0 {
		t.Errorf("%s is left", out)
	}
}

func testPackageInstall(t *testing.T, s *service) {
	out := s.Must("dpkg", "-i", oldDeb)
	if !strings.Contains(out, "etcdsup: installed, and not started\n") {
		t.Errorf("dpkg says\n%s", out)
	}
	if state := s.property("ActiveState") + " " + s.property("UnitFileState"); state != "inactive disabled" {
		t.Errorf("the service is %s", state)
	}
	if path := s.property("FragmentPath"); !strings.HasSuffix(path, "/lib/systemd/system/etcdsup.service") {
		t.Errorf("the unit is %s", path)
	}
	s.configure("")
	s.systemctl("enable", "--now", s.unit)
	s.awaitReady()
	if who := s.Must("ps", "-C", "etcd", "-o", "user="); who != "etcd\n" {
		t.Errorf("etcd runs as %q", who)
	}
	s.put("packaged", "1")
}

// testPackageUpgrade installs a newer version while two etcds work: they do not notice.
func testPackageUpgrade(t *testing.T, s *service) {
	second := s.another("second", 3379)
	second.configure("")
	s.systemctl("enable", "--now", second.unit)
	before := [2]*status.Status{s.awaitReady(), second.awaitReady()}
	puts := loadtest.Start(t, s.dial())
	s.await("puts", func() bool { return puts.Count() > 100 })
	out := s.Must("dpkg", "-i", newDeb)
	at := puts.Count()
	s.await("more puts", func() bool { return puts.Count() > at+100 })
	puts.Stop()
	t.Logf("%v\n%s", puts, out)
	puts.ExpectNoFailure(t)
	for i, now := range []*service{s, second} {
		now.expectGoesOn(before[i])
	}
	if strings.Contains(out, "installed, and not started") {
		t.Errorf("dpkg greets at an upgrade:\n%s", out)
	}
}

// expectGoesOn wants the same processes as before, of which etcdsup is of the file that is at its place.
func (s *service) expectGoesOn(before *status.Status) {
	s.t.Helper()
	now := s.awaitReady()
	if now.Process.PID != before.Process.PID || now.Supervisor.PID != before.Supervisor.PID {
		s.t.Errorf("%s: etcd %d and etcdsup %d, were %d and %d", s.instance, now.Process.PID, now.Supervisor.PID, before.Process.PID, before.Supervisor.PID)
	}
	if name := s.Read(fmt.Sprintf("/proc/%d/comm", now.Supervisor.PID)); name != "etcdsup\n" {
		s.t.Errorf("%s: etcdsup is called %q", s.instance, name)
	}
	if _, _, code := s.Exec("cmp", fmt.Sprintf("/proc/%d/exe", now.Supervisor.PID), binary); code != 0 {
		s.t.Errorf("%s: etcdsup %d does not run %s", s.instance, now.Supervisor.PID, binary)
	}
}

// testPackageBroken has dpkg say that it failed, and the old version go on, at its old place; and then a second try.
func testPackageBroken(t *testing.T, s *service) {
	before := s.awaitReady()
	s.Sh("dpkg-deb -R " + newDeb + ` /root/broken
		printf '#!/bin/sh\necho this is broken >&2\nexit 1\n' >/root/broken/usr/bin/etcdsup
		sed -i 's/^Version: .*/Version: 1.2.0-1/' /root/broken/DEBIAN/control
		dpkg-deb --root-owner-group -b /root/broken /root/broken.deb`)
	for _, try := range [][]string{{"dpkg", "-i", "/root/broken.deb"}, {"dpkg", "--configure", "etcdsup"}} {
		out, errOut, code := s.Exec(try...)
		if code == 0 || !strings.Contains(out, "the new one is /usr/bin/etcdsup.failed") {
			t.Errorf("%q: exit code %d\n%s%s", try, code, out, errOut)
		}
		s.expectGoesOn(before)
	}
	s.Must("dpkg", "-i", newDeb)
	s.expectGoesOn(before)
	if _, _, code := s.Exec("test", "-e", binary+".failed"); code == 0 {
		t.Errorf("%s.failed is left", binary)
	}
}

func testPackageDowngrade(_ *testing.T, s *service) {
	before := s.awaitReady()
	s.Must("dpkg", "-i", oldDeb)
	s.expectGoesOn(before)
	s.Sh("dpkg-deb --fsys-tarfile " + oldDeb + " | tar -xO ./usr/bin/etcdsup | cmp - " + binary)
}

// testPackageRemove wants etcd stopped in order, and everything of the user's still there.
func testPackageRemove(t *testing.T, s *service) {
	out := s.Must("dpkg", "-r", "etcdsup")
	for _, want := range []string{"stopping etcdsup.service\n", "stopping etcdsup@second.service\n", "kept: /var/lib/etcdsup, ", "kept: /etc/etcdsup, "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	s.expectNothingLeft()
	if left := s.Must("find", "/etc/systemd/system", "/usr/bin", "-name", "etcdsup*"); left != "" {
		t.Errorf("files are left:\n%s", left)
	}
	s.Must("test", "-e", "/var/lib/etcdsup/default/data/member/snap/db")
	s.Must("test", "-e", "/etc/etcdsup/default.yaml")
}

// testPackagePurge wants the data there also after a purge, and used by the next installation.
func testPackagePurge(t *testing.T, s *service) {
	if out := s.Must("dpkg", "-P", "etcdsup"); !strings.Contains(out, "kept: /var/lib/etcdsup, ") {
		t.Errorf("dpkg says\n%s", out)
	}
	s.Must("dpkg", "-i", newDeb)
	if state := s.property("ActiveState") + " " + s.property("UnitFileState"); state != "inactive disabled" {
		t.Errorf("the service is %s", state)
	}
	s.systemctl("start", s.unit)
	s.awaitReady()
	s.expectKey("packaged", "1")
}
