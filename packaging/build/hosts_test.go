package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/packaging/lab"
)

// What needs tools is tried on a host that has them, and not on the machine.
func TestMain(m *testing.M) { os.Exit(lab.Main(m, "mandoc", "rpm", "shellcheck")) }

// TestPackagesOnAHost has the texts in the packages read by those who judge such texts, and the .rpm installed, upgraded
// and removed by rpm. The .deb is tried with a running service in packaging/e2e.
func TestPackagesOnAHost(t *testing.T) {
	h := lab.Boot(t)
	out := t.TempDir()
	buildIn(t, filepath.Join("..", ".."), out, "UTC", "-arch", "amd64")
	h.CopyIn(out, "/root/packages")
	t.Run("texts", func(t *testing.T) { testTexts(t, h.For(t)) })
	t.Run("rpm", func(t *testing.T) { testRPM(t, h.For(t)) })
}

func testTexts(t *testing.T, h *lab.Host) {
	h.Sh("mkdir /root/x && dpkg-deb -R /root/packages/*.deb /root/x")
	for _, script := range []string{
		"cd /root/x/DEBIAN && shellcheck --shell=dash preinst postinst prerm postrm",
		"gunzip -r /root/x/usr/share/man; find /root/x/usr/share/man -type f -exec mandoc -Tlint -Wwarning {} +",
		"bash -n /root/x/usr/share/bash-completion/completions/etcdsup",
		"etcdsup() { /root/x/usr/bin/etcdsup \"$@\"; }; etcdsup config check /root/x/usr/share/doc/etcdsup/examples/default.yaml >/dev/null",
	} {
		if out, errOut, code := h.Exec("sh", "-euc", script); code != 0 || out+errOut != "" {
			t.Errorf("%s: exit code %d\n%s%s", script, code, out, errOut)
		}
	}
	if pages := strings.Fields(h.Sh("ls /root/x/usr/share/man/man1")); len(pages) < 20 {
		t.Errorf("man pages of few commands: %q", pages)
	}
}

// testRPM goes without rpm's own list of what is there, which is empty on a host of Debian's.
func testRPM(t *testing.T, h *lab.Host) {
	const file = "/root/packages/*.rpm"
	out := h.Sh("rpm -i --nodeps " + file)
	if !strings.Contains(out, "etcdsup: installed, and not started\n") {
		t.Errorf("rpm -i says\n%s", out)
	}
	if out := h.Sh("rpm -V --nodeps etcdsup; rpm -q --qf '%{VERSION}-%{RELEASE} %{ARCH} %{LICENSE} %{BUILDTIME}' etcdsup"); out != testVersion+"-1 x86_64 Apache-2.0 1795872948" {
		t.Errorf("rpm -q says %q", out)
	}
	h.Sh("systemctl start etcdsup && etcdsup status && ls /usr/share/zsh/site-functions/_etcdsup")
	pid := h.Must("pgrep", "-x", "etcd")
	if out := h.Sh("rpm -U --replacepkgs --nodeps " + file); strings.Contains(out, "installed") || h.Must("pgrep", "-x", "etcd") != pid {
		t.Errorf("etcd was restarted, or rpm -U says\n%s", out)
	}
	if out := h.Sh("rpm -e etcdsup"); !strings.Contains(out, "stopping etcdsup.service\n") || !strings.Contains(out, "kept: /var/lib/etcdsup, ") {
		t.Errorf("rpm -e says\n%s", out)
	}
	if out, _, code := h.Exec("pgrep", "-a", "-u", "etcd"); code == 0 {
		t.Errorf("processes are left:\n%s", out)
	}
	h.Must("test", "-e", "/var/lib/etcdsup/default/data/member/snap/db")
	if _, _, code := h.Exec("test", "-e", binary); code == 0 {
		t.Errorf("%s is left", binary)
	}
}

const binary = "/usr/bin/etcdsup"
