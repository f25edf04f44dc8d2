package install_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/packaging"
	"github.com/etcdsup/etcdsup/packaging/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m, "openrc")) }

const unit = "/etc/systemd/system/etcdsup.service"

// newHost is one with the binary, and nothing else of ours.
func newHost(t *testing.T) *lab.Host {
	t.Helper()
	h := lab.Boot(t)
	h.CopyIn(lab.Program(t), "/usr/local/bin/etcdsup")
	return h
}

// plan is what the tests look at in the answer of install and uninstall.
type plan struct {
	Changes          []struct{ What, Diff, Kept string }
	Faults, Warnings []struct{ What, Remedy string }
	Notes            []string
}

// runs is a command of etcdsup that is to succeed.
func runs(t *testing.T, h *lab.Host, args ...string) plan {
	t.Helper()
	out := h.Must(append([]string{"etcdsup", "-o", "json"}, args...)...)
	var answer struct{ Plan plan }
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return answer.Plan
}

func (p plan) kept() string {
	for _, c := range p.Changes {
		if c.Kept != "" {
			return c.Kept
		}
	}
	return ""
}

func etcdPID(h *lab.Host, flags ...string) string {
	return h.Sh("etcdsup " + strings.Join(flags, " ") + " status -o json | grep -A1 '\"process\"' | tail -n 1")
}

// snapshot is all that an installation could change, with owners, modes and the times of files, but for what etcd writes.
func snapshot(h *lab.Host) string {
	const what = `\( -type f -printf '%p %u:%g %m %T@\n' -o -printf '%p %u:%g %m %l\n' \)`
	return h.Sh("cat /etc/passwd /etc/group; for d in /etc/systemd /etc/etcdsup /var/lib/etcdsup /data /srv; do test ! -e $d || " +
		"find $d \\( -path '*/default/*' -o -path '*/etcd/*' \\) -prune -o " + what + "; done | sort")
}

func TestInstallTwice(t *testing.T) {
	h := newHost(t)
	if p := runs(t, h, "install", "--now"); len(p.Changes) == 0 {
		t.Error("it says that it changed nothing")
	}
	pid, before := etcdPID(h), snapshot(h)
	if got := h.Sh("stat -c '%U:%G %a' /var/lib/etcdsup/default; systemctl is-enabled etcdsup"); got != "etcd:etcd 700\nenabled\n" {
		t.Errorf("%q", got)
	}
	for _, args := range [][]string{{"install", "--now"}, {"install"}, {"install", "--diff"}} {
		if p := runs(t, h, args...); len(p.Changes) != 0 {
			t.Errorf("%v changes %+v", args, p.Changes)
		}
	}
	if after := snapshot(h); after != before || etcdPID(h) != pid {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestNewConfigurationOfARunningService is not in force before it is read, and the service need not be started.
func TestNewConfigurationOfARunningService(t *testing.T) {
	h := newHost(t)
	runs(t, h, "install", "--now")
	h.Write("/root/new.yaml", "log:\n  max_size: 7MiB\n", "600")
	for _, more := range [][]string{{"--diff"}, {"--now"}} {
		p := runs(t, h, append([]string{"install", "--config", "/root/new.yaml"}, more...)...)
		if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "etcdsup reload has it read this one") {
			t.Errorf("%v: %q", more, notes)
		}
	}
	if p := runs(t, h, "install", "--now"); len(p.Notes) > 0 {
		t.Errorf("nothing is new, and it says %q", p.Notes)
	}
	if out := h.Must("etcdsup", "install"); !strings.Contains(out, "it runs already") || strings.Contains(out, "start it") {
		t.Error(out)
	}
}

func TestLocalEditsAreShownAndKept(t *testing.T) {
	h := newHost(t)
	runs(t, h, "install")
	h.Sh("sed -i s/LimitNOFILE=65536/LimitNOFILE=1234/ " + unit)
	h.Write(unit+".d/mine.conf", "[Service]\nNice=1\n", "644")
	before := snapshot(h)
	p := runs(t, h, "install", "--diff")
	if !strings.Contains(p.Changes[0].Diff, "\n-LimitNOFILE=1234\n+LimitNOFILE=65536\n") || !strings.Contains(strings.Join(p.Notes, "\n"), "mine.conf") {
		t.Errorf("%+v", p)
	}
	if after := snapshot(h); after != before {
		t.Errorf("--diff has changed\n%s\nto\n%s", before, after)
	}
	kept := runs(t, h, "install").kept()
	if !strings.Contains(h.Read(kept), "LimitNOFILE=1234\n") || !strings.Contains(h.Read(unit), "LimitNOFILE=65536\n") {
		t.Errorf("%s does not have the old unit, or the new one is not in its place", kept)
	}
	if h.Read(unit+".d/mine.conf") != "[Service]\nNice=1\n" {
		t.Error("a drop-in was touched")
	}
	if out := h.Sh("systemctl list-unit-files 'etcdsup*' --no-legend | wc -l"); out != "1\n" {
		t.Errorf("systemd reads what was set aside: %s units", out)
	}
}

func TestUninstallLeavesWhatIsTheUsers(t *testing.T) {
	h := newHost(t)
	h.Write("/root/mine.yaml", "log:\n  max_size: 7MiB\n", "600")
	runs(t, h, "install", "--now", "--config", "/root/mine.yaml")
	if out, errOut, code := h.Exec("etcdsup", "uninstall"); code != 2 || out != "" || !strings.Contains(errOut, "--yes") {
		t.Errorf("without a terminal: %d, %s%s", code, out, errOut)
	}
	left := h.Must("etcdsup", "uninstall", "--yes", "-o", "json")
	for _, name := range []string{"/etc/etcdsup/default.yaml", "/var/lib/etcdsup/default/data", "/var/lib/etcdsup/default/log", "/var/lib/etcdsup/default/state", "etcd"} {
		if !strings.Contains(left, `"name": "`+name+`"`) {
			t.Errorf("it does not say that %s stays: %s", name, left)
		}
	}
	if _, _, code := h.Exec("pgrep", "-x", "etcdsup|etcd"); code == 0 {
		t.Error("something runs on")
	}
	h.Sh("test -d /var/lib/etcdsup/default/data/member; test -s /var/lib/etcdsup/default/log/etcd.log; id etcd; test ! -e " + unit)
	if got := h.Sh("stat -c '%U:%G %a' /etc/etcdsup/default.yaml; cat /etc/etcdsup/default.yaml"); got != "root:etcd 640\nlog:\n  max_size: 7MiB\n" {
		t.Errorf("%q", got)
	}
	if p := runs(t, h, "uninstall", "--yes"); len(p.Changes) != 0 {
		t.Errorf("a second time it does %+v", p.Changes)
	}
	runs(t, h, "install", "--now")
}

// TestInstance has its data where the unit lets nobody write, and a user of its own beside another instance's.
func TestInstance(t *testing.T) {
	h := newHost(t)
	h.Write("/root/a.yaml", "etcd:\n  args:\n    data-dir: /data/etcd\n", "644")
	h.Write("/root/b.yaml", "etcd:\n  args:\n    listen-client-urls: http://127.0.0.1:3379\n    listen-peer-urls: http://127.0.0.1:3380\n", "644")
	runs(t, h, "-i", "a", "install", "--now", "-c", "/root/a.yaml")
	h.Sh("test -d /data/etcd/member")
	runs(t, h, "-i", "b", "install", "--now", "-c", "/root/b.yaml", "--user", "kv")
	if got := h.Sh("ps -C etcd -o user= | sort"); got != "etcd\nkv\n" {
		t.Errorf("etcds run as %q", got)
	}
	if p := runs(t, h, "-i", "b", "install"); len(p.Changes) != 0 {
		t.Errorf("a second time it does %+v", p.Changes)
	}
	h.Reboot()
	h.Sh("for i in a b; do etcdsup -i $i start --timeout 3m; done")
	runs(t, h, "-i", "a", "uninstall", "--yes")
	h.Sh("etcdsup -i b status; systemctl is-active etcdsup@b; test -d /data/etcd/member")
	runs(t, h, "-i", "b", "uninstall", "--yes")
	if got := h.Sh("ls /etc/systemd/system | grep etcdsup || true"); got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestAllFaultsBeforeAnyChange(t *testing.T) {
	h := newHost(t)
	h.Sh("mkdir -p /srv/etcd/member; cp /usr/local/bin/etcdsup /root/etcdsup; systemd-run --unit=taker --setenv=HOME=/root etcdsup run --dir /run/taker" +
		" --set etcd.args.listen-client-urls=http://127.0.0.1:4379 --set etcd.args.listen-peer-urls=http://127.0.0.1:4380; timeout 170 sh -c 'until etcdsup --dir /run/taker start; do :; done' 2>/dev/null")
	h.Write("/root/x.yaml", `log:
  max_sizee: 3
etcd:
  args:
    data-dir: /srv/etcd
    trusted-ca-file: /root/ca.pem
    listen-client-urls: http://127.0.0.1:4379
    listen-peer-urls: http://127.0.0.1:80
`, "600")
	before := snapshot(h)
	out, errOut, code := h.Exec("/root/etcdsup", "install", "--now", "-o", "json", "-c", "/root/x.yaml")
	for _, fault := range []string{"max_sizee", "/srv/etcd", "/root/ca.pem", "127.0.0.1:4379", "127.0.0.1:80", "/root/etcdsup"} {
		if !strings.Contains(errOut, fault) {
			t.Errorf("%s is not named", fault)
		}
	}
	if code != 6 || snapshot(h) != before {
		t.Errorf("exit code %d\n%s%s\nbefore:\n%s\nafter:\n%s", code, out, errOut, before, snapshot(h))
	}
}

// TestPowerCutAfterInstall: what was said to be installed is there, and starts.
func TestPowerCutAfterInstall(t *testing.T) {
	h := newHost(t)
	h.Write("/root/a.yaml", "etcd:\n  args:\n    data-dir: /data/etcd\n", "644")
	h.Sh("sync")
	runs(t, h, "install", "-c", "/root/a.yaml")
	before := snapshot(h)
	h.PowerCut()
	h.Up()
	if after := snapshot(h); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	h.Must("etcdsup", "start", "--timeout", "3m")
	if got := h.Sh("ps -C etcd -o user="); got != "etcd\n" {
		t.Errorf("etcd runs as %q", got)
	}
}

// TestClosedFolders: a umask of 077 made them, as root's own.
func TestClosedFolders(t *testing.T) {
	h := newHost(t)
	h.Sh("umask 077; mkdir /etc/etcdsup /var/lib/etcdsup; echo 'log: {max_size: 7MiB}' >/etc/etcdsup/default.yaml; mkdir -p /var/lib/etcdsup/default/state")
	runs(t, h, "install", "--now")
	if got := h.Sh("etcdsup config show log.max_size; stat -c %U /var/lib/etcdsup/default/state"); !strings.Contains(got, "7MiB") || !strings.HasSuffix(got, "\netcd\n") {
		t.Errorf("%s", got)
	}
	if p := runs(t, h, "install"); len(p.Changes) != 0 {
		t.Errorf("a second time it does %+v", p.Changes)
	}
}

// TestPackagedUnit is what a package brings: it stays in force, so that the next package can change it.
func TestPackagedUnit(t *testing.T) {
	h := newHost(t)
	h.Sh("cp /usr/local/bin/etcdsup /usr/bin/etcdsup; rm /usr/local/bin/etcdsup")
	h.Write("/usr/lib/systemd/system/etcdsup.service", packaging.Unit{}.Text(), "644")
	runs(t, h, "install", "--now")
	h.Sh("test ! -e " + unit + "; systemctl is-active etcdsup; systemctl is-enabled etcdsup")
	h.Must("etcdsup", "stop")
	runs(t, h, "-i", "other", "install")
	if p := runs(t, h, "-i", "other", "install"); len(p.Changes) != 0 || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0].What, "127.0.0.1:2379") {
		t.Errorf("of two instances with one port it says %+v", p)
	}
	runs(t, h, "uninstall", "--yes")
	h.Sh("test -e /usr/lib/systemd/system/etcdsup.service; ! systemctl is-active etcdsup")
}

// TestStartThatFails says what systemd and the service said.
func TestStartThatFails(t *testing.T) {
	h := newHost(t)
	h.Write(unit+".d/mine.conf", "[Service]\nExecStart=\nExecStart=/bin/sh -c 'echo the reason >&2; exit 3'\n", "644")
	out, errOut, code := h.Exec("etcdsup", "install", "--now")
	if code != 1 || out != "" || !strings.Contains(errOut, "the reason") || !strings.Contains(errOut, "mine.conf") {
		t.Errorf("%d, %s%s", code, out, errOut)
	}
}

func TestWithoutRoot(t *testing.T) {
	h := newHost(t)
	asks := func() string {
		_, errOut, code := h.Exec("setpriv", "--reuid", "65534", "--clear-groups", "env", "HOME=/nonexistent", "etcdsup", "status")
		if code != 3 {
			t.Errorf("status of another user: %d, %s", code, errOut)
		}
		return errOut
	}
	if got := asks(); strings.Contains(got, "sudo") {
		t.Errorf("nothing is installed, and it says %s", got)
	}
	runs(t, h, "install", "--now")
	if got := asks(); !strings.Contains(got, "/var/lib/etcdsup/default: ") || !strings.Contains(got, "→ sudo etcdsup status\n") {
		t.Errorf("etcdsup runs, and another user is told %s", got)
	}
	for _, verb := range []string{"install", "uninstall"} {
		if out, errOut, code := h.Exec("setpriv", "--reuid", "65534", "--clear-groups", "etcdsup", verb); code != 7 || out != "" || !strings.Contains(errOut, "cannot "+verb+" a service: only root") || !strings.Contains(errOut, "→ sudo etcdsup "+verb+"\n") {
			t.Errorf("%s: %d, %s%s", verb, code, out, errOut)
		}
	}
}
