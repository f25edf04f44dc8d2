package install_test

import (
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/packaging/lab"
)

// nested is a host within a host, with another service manager than systemd: processes, mounts and /run of its own.
type nested struct {
	t *testing.T
	h *lab.Host
}

// nest has a script become process 1 of a nested host; it makes /run/nested once it is up.
func nest(t *testing.T, h *lab.Host, boot string) nested {
	t.Helper()
	h.Write("/root/nest.sh", "mount -t tmpfs run /run\nmkdir -p /run/lock\n"+boot+"\n>/run/nested\nsleep infinity &\nwhile :; do wait; done\n", "644")
	n := nested{t, h}
	n.boot()
	return n
}

func (n nested) boot() {
	n.t.Helper()
	n.h.Sh("systemd-run -q --collect --unit=nest -p Delegate=yes unshare --pid --fork --kill-child --mount --mount-proc bash -c 'exec /root/init /root/nest.sh'")
	n.h.Sh("timeout 170 sh -c 'until nsenter -t $(pgrep -x init || echo 0) -m -p test -e /run/nested; do :; done' 2>/dev/null")
}

// reboot ends all processes of the nested host, and starts it again.
func (n nested) reboot() {
	n.t.Helper()
	n.h.Sh("systemctl kill -s KILL nest; timeout 170 sh -c 'while systemctl is-active -q nest || pgrep -x init; do :; done' >/dev/null")
	n.boot()
}

// sh runs a script in it that is to succeed.
func (n nested) sh(script string) string {
	n.t.Helper()
	n.h.Write("/root/script", script, "644")
	return n.h.Sh("nsenter -t $(pgrep -x init) -m -p sh -eu /root/script")
}

// newNested is a nested host that has our binary, and another's init scripts. Its process 1 has the name that init has.
func newNested(t *testing.T, before, boot string) nested {
	t.Helper()
	h := newHost(t)
	h.Sh("cp /bin/bash /root/init; mkdir -p /etc/runlevels/sysinit /etc/runlevels/boot /etc/runlevels/default /etc/rc0.d /etc/rc1.d /etc/rc2.d /etc/rc3.d /etc/rc4.d /etc/rc5.d /etc/rc6.d\n" + before)
	return nest(t, h, boot)
}

const installed = "etcdsup install -o json | grep -c '\"changes\": \\[\\]'"

func TestOpenRC(t *testing.T) {
	n := newNested(t, "", "openrc sysinit; openrc boot; openrc default")
	n.sh("etcdsup install --now 2>&1 | grep OpenRC; " + installed)
	n.sh("kill -9 $(pgrep -xf '/usr/local/bin/etcdsup run')")
	n.sh("timeout 170 sh -c 'until etcdsup start; do :; done' 2>/dev/null; pgrep -x etcd -u etcd")
	n.reboot()
	n.sh("timeout 170 sh -c 'until etcdsup start; do :; done' 2>/dev/null; rc-service etcdsup restart; sed -i s/60/61/ /etc/init.d/etcdsup; etcdsup uninstall --yes")
	if got := n.sh("ls /etc/init.d /etc/runlevels/default | grep etcdsup || true; pgrep etcd || true"); got != "" {
		t.Errorf("left: %s", got)
	}
	n.sh("test -d /var/lib/etcdsup/default/data/member; etcdsup uninstall --yes; etcdsup -i two install; test -x /etc/init.d/etcdsup-two")
}

// TestSysV: init scripts by the links of the runlevel, as init's rc runs them.
func TestSysV(t *testing.T) {
	n := newNested(t, "rm /sbin/openrc-init", "for s in /etc/rc2.d/S*; do test ! -x $s || $s start; done")
	n.sh("etcdsup install --now 2>&1 | grep SysV; " + installed)
	n.sh("kill -9 $(pgrep -xf '/usr/local/bin/etcdsup run'); service etcdsup start; timeout 170 sh -c 'until etcdsup start; do :; done' 2>/dev/null")
	n.reboot()
	n.sh("timeout 170 sh -c 'until etcdsup start; do :; done' 2>/dev/null; service etcdsup status; service etcdsup restart; echo '# mine' >>/etc/init.d/etcdsup")
	if out := n.sh("etcdsup uninstall --yes 2>&1"); !strings.Contains(out, "is kept as /etc/etcdsup/etcdsup.old-") {
		t.Errorf("the edited script is not kept:\n%s", out)
	}
	if got := n.sh("ls /etc/init.d /etc/rc2.d | grep etcdsup || true; pgrep etcd || true"); got != "" {
		t.Errorf("left: %s", got)
	}
}

// TestNoManager: a container has none, whatever is installed in it.
func TestNoManager(t *testing.T) {
	n := newNested(t, "rm -r /etc/rc2.d", "")
	for _, verb := range []string{"install --now", "uninstall --yes"} {
		out := n.sh("code=0; etcdsup " + verb + " 2>&1 || code=$?; echo exit code $code")
		if !strings.Contains(out, "etcdsup run") || !strings.HasSuffix(out, "exit code 12\n") {
			t.Errorf("%s: %s", verb, out)
		}
	}
}
