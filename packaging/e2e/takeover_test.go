package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/packaging/lab"
	"github.com/etcdsup/etcdsup/supervisor/etcdbin"
	"github.com/etcdsup/etcdsup/supervisor/loadtest"
)

// oldHost is one that runs etcd by a start script, without etcdsup.
type oldHost struct {
	*service
	folder string
}

// newOldHost has etcd and its script in the folder, and etcdsup beside it; nothing runs yet.
func newOldHost(t testing.TB, folder string) *oldHost {
	t.Helper()
	h := lab.Boot(t)
	h.CopyIn(lab.Program(t), binary)
	o := &oldHost{service: &service{Host: h, instance: "default", unit: "etcdsup.service"}, folder: folder}
	o.client, o.peer = o.url(2379), o.url(2380)
	h.Sh("mkdir -p " + folder + "/log " + folder + "/conf")
	h.CopyIn(etcdbin.Builtin(t), folder+"/etcd")
	h.Write(folder+"/start-etcd.sh", fmt.Sprintf(`#!/bin/sh
# starts etcd in the foreground; supervise starts it again
cd %s
./etcd --name node1 --data-dir ./data \
  --listen-client-urls %[2]s,http://127.0.0.1:2379 --advertise-client-urls %[2]s \
  --listen-peer-urls %[3]s --initial-advertise-peer-urls %[3]s \
  --initial-cluster-token etcd-cluster-1 --initial-cluster node1=%[3]s \
  --initial-cluster-state new > ./log/etcd.log 2>&1
`, folder, o.client, o.peer), "755")
	return o
}

// of is the same host for a test that is a test, and no benchmark.
func (o *oldHost) of(t *testing.T) *oldHost {
	o.t = t
	return o
}

// underBaidu starts it under the stand-in with the options -f, -F and -p.
func (o *oldHost) underBaidu(t testing.TB) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "supervise")
	build := exec.Command("go", "build", "-o", program, "./testdata/supervise")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the stand-in: %v\n%s", err, out)
	}
	o.CopyIn(program, o.folder+"/supervise")
	o.Write("/etc/rc.local", "#!/bin/sh\ncd "+o.folder+" && ./supervise -f ./start-etcd.sh -F conf/supervise.conf -p ./status\n", "644")
	o.Sh("cd " + o.folder + " && setsid ./supervise -f ./start-etcd.sh -F conf/supervise.conf -p ./status </dev/null >/dev/null 2>&1 &")
}

// underDaemontools starts it under the supervise of the Debian package.
func (o *oldHost) underDaemontools() {
	o.Sh("mkdir -p /service/etcd && ln -s " + o.folder + "/start-etcd.sh /service/etcd/run && setsid supervise /service/etcd </dev/null >/dev/null 2>&1 &")
}

func (o *oldHost) awaitEtcd() (pid string) {
	o.t.Helper()
	o.await("etcd serves in the old way", func() bool {
		ctx, cancel := context.WithTimeout(o.t.Context(), time.Second)
		defer cancel()
		_, err := o.dial().Get(ctx, "a")
		return err == nil
	})
	return strings.TrimSpace(o.Must("pgrep", "-x", "etcd"))
}

// outcome is what the tests look at in the answer of a take-over.
type outcome struct {
	Result   string
	Keeper   string
	Downtime time.Duration `json:"downtime_ns"`
	Before   struct{ MemberID, ClusterID string }
	After    struct{ MemberID, ClusterID string }
	AtBoot   []string `json:"at_boot"`
	Warnings []string
}

// takeOver makes the change-over under load and wants it to succeed.
func (o *oldHost) takeOver(pid string) outcome {
	o.t.Helper()
	puts := loadtest.Start(o.t, o.dial())
	o.await("puts", func() bool { return puts.Count() > 100 })
	out := o.cli(0, "init", "--take-over", pid, "--yes", "-o", "json")
	served := puts.Count()
	o.await("puts go on", func() bool { return puts.Count() > served+100 })
	puts.Stop()
	o.t.Log(puts)
	puts.ExpectNoFailure(o.t)
	var got outcome
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		o.t.Fatalf("%v\n%s", err, out)
	}
	o.t.Logf("%s; %s; at boot: %q; %q", got.Keeper, got.Result, got.AtBoot, got.Warnings)
	if got.Before != got.After || got.After.MemberID == "" || got.Downtime <= 0 {
		o.t.Errorf("%+v", got)
	}
	return got
}

// expectNew wants etcd to be the service's, and nothing of the old way.
func (o *oldHost) expectNew() {
	o.t.Helper()
	o.expectKey("a", "before")
	if st := o.awaitReady(); st.Config.DataDir != o.folder+"/data" {
		o.t.Errorf("etcd runs on %s", st.Config.DataDir)
	}
	if out := o.Must("pgrep", "-x", "etcd"); len(strings.Fields(out)) != 1 {
		o.t.Errorf("etcds that run: %q", out)
	}
	if got := o.Sh("systemctl is-enabled etcdsup; systemctl is-active etcdsup"); got != "enabled\nactive\n" {
		o.t.Errorf("the service is %q", got)
	}
}

// TestTakeOver takes an etcd over from what keeps it, with a client that writes all the while.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		folder string
		start  func(*testing.T, *oldHost)
		gone   string // pattern of what is not to run any longer
	}{
		"supervise -f": {"/home/work/etcd", func(t *testing.T, o *oldHost) { o.underBaidu(t) }, "supervise -f"},
		"daemontools":  {"/srv/etcd", func(_ *testing.T, o *oldHost) { o.underDaemontools() }, "supervise /service"},
		"script": {"/opt/etcd", func(_ *testing.T, o *oldHost) {
			o.Sh("setsid sh -c 'while true; do " + o.folder + "/start-etcd.sh; done' </dev/null >/dev/null 2>&1 &")
		}, "while true"},
		"nohup": {"/data/etcd", func(_ *testing.T, o *oldHost) {
			o.Sh("sed -i 's/^.etcd/exec &/; s/^\\.\\/etcd/exec .\\/etcd/' " + o.folder + "/start-etcd.sh; nohup " + o.folder + "/start-etcd.sh </dev/null >/dev/null 2>&1 &")
		}, "start-etcd"},
		"unit": {"/data/etcd", func(_ *testing.T, o *oldHost) {
			o.Write("/etc/systemd/system/old.service", "[Service]\nExecStart="+o.folder+"/start-etcd.sh\nRestart=always\n[Install]\nWantedBy=multi-user.target\n", "644")
			o.Sh("systemctl daemon-reload; systemctl enable --now old.service")
		}, "start-etcd"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOldHost(t, c.folder).of(t)
			c.start(t, o)
			pid := o.awaitEtcd()
			o.put("a", "before")
			t.Log(o.cli(0, "init", "--take-over", pid, "--plan"))
			o.takeOver(pid)
			o.expectNew()
			if out, _, code := o.Exec("pgrep", "-af", c.gone); code == 0 {
				t.Errorf("it still runs: %s", out)
			}
		})
	}
}

// recorded is the record's step at which a take-over stands.
func (o *oldHost) recorded() string {
	out, _, _ := o.Exec("cat", "/var/lib/etcdsup/default.take-over.json")
	var record struct{ Step string }
	_ = json.Unmarshal([]byte(out), &record)
	return record.Step
}

// oldWay lists etcd and what keeps it, with their users.
func (o *oldHost) oldWay() string {
	return o.Must("sh", "-c", `ps -eo user,args | grep -E 'etc[d]|supervis[e]' | sort`)
}

// TestTakeOverPutsTheOldWayBack: the service cannot run etcd, so it is as before, with the data that clients wrote.
func TestTakeOverPutsTheOldWayBack(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T, *oldHost){
		"supervise -f": func(t *testing.T, o *oldHost) { o.underBaidu(t) },
		"daemontools":  func(_ *testing.T, o *oldHost) { o.underDaemontools() },
		"script": func(_ *testing.T, o *oldHost) {
			o.Sh("setsid " + o.folder + "/start-etcd.sh </dev/null >/dev/null 2>&1 &")
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOldHost(t, "/srv/etcd").of(t)
			o.Write("/etc/systemd/system/etcdsup.service.d/test.conf", "[Service]\nInaccessiblePaths=/srv/etcd/etcd\n", "644")
			o.Write("/etc/etcdsup/default.yaml", "log:\n  max_size: 7MiB\n", "644")
			start(t, o)
			pid := o.awaitEtcd()
			o.put("a", "before")
			before := o.oldWay()
			puts := loadtest.Start(t, o.dial())
			o.await("puts", func() bool { return puts.Count() > 100 })
			if _, errOut, code := o.Exec(binary, "init", "--take-over", pid, "--yes"); code != 1 || !strings.Contains(errOut, "--replace") {
				t.Errorf("over a configuration that exists: %d, %s", code, errOut)
			}
			out := o.cli(10, "init", "--take-over", pid, "--yes", "--replace", "--timeout", "10s")
			if !strings.Contains(out, "cannot run /srv/etcd/etcd: permission denied") {
				t.Errorf("the cause is not named in\n%s", out)
			}
			t.Log(out)
			served := puts.Count()
			o.await("puts go on", func() bool { return puts.Count() > served+100 })
			puts.Stop()
			t.Log(puts)
			puts.ExpectNoFailure(t)
			o.expectKey("a", "before")
			if after := o.oldWay(); after != before || !strings.Contains(before, "etcd") {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			if got := o.Read("/etc/etcdsup/default.yaml"); got != "log:\n  max_size: 7MiB\n" {
				t.Errorf("the configuration is %q", got)
			}
			o.Sh("test ! -e /etc/systemd/system/etcdsup.service; test ! -e /var/lib/etcdsup/default.take-over.json; test ! -e /service/etcd/down")
		})
	}
}

// cutOff is a take-over that was killed when supervise had been told to leave etcd alone, and nothing runs.
func cutOff(t *testing.T) *oldHost {
	t.Helper()
	o := newOldHost(t, "/srv/etcd").of(t)
	o.underDaemontools()
	pid := o.awaitEtcd()
	o.put("a", "before")
	o.Sh("sync; pkill -STOP -x supervise")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	run := o.Command(ctx, binary, "init", "--take-over", pid, "--yes")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	o.await("supervise is told", func() bool { return o.recorded() == "release" })
	o.Sh("pkill -9 -f take-over")
	_ = run.Wait()
	o.Sh("pkill -CONT -x supervise")
	return o
}

func TestTakeOverGoesOn(t *testing.T) {
	t.Parallel()
	t.Run("killed", func(t *testing.T) {
		o := cutOff(t)
		t.Log(o.cli(0, "init", "--take-over", "1", "--yes"))
		o.expectNew()
	})
	t.Run("killed, and put back", func(t *testing.T) {
		o := cutOff(t)
		if plan := o.cli(0, "init", "--back", "--plan"); !strings.Contains(plan, "have etcd started again by") || !strings.Contains(plan, "nothing was changed") {
			t.Error(plan)
		}
		if out := o.cli(2, "init", "--back"); !strings.Contains(out, "--yes") {
			t.Error(out)
		}
		if step := o.recorded(); step != "release" {
			t.Errorf("neither a plan nor a question changes anything, but the take-over is at %q", step)
		}
		t.Log(o.cli(0, "init", "--back", "--yes"))
		o.awaitEtcd()
		o.expectKey("a", "before")
		o.Sh("test ! -e /etc/systemd/system/etcdsup.service; pgrep -x supervise")
	})
	t.Run("killed, and put back where nothing can be written down", func(t *testing.T) {
		o := cutOff(t)
		o.Sh("mount --bind /var/lib/etcdsup /var/lib/etcdsup; mount -o remount,ro,bind /var/lib/etcdsup")
		out := o.cli(1, "init", "--back", "--yes")
		if !strings.Contains(out, "read-only file system") || !strings.Contains(out, "runs etcd again as before") {
			t.Error(out)
		}
		t.Log(out)
		o.awaitEtcd()
		o.expectKey("a", "before")
		before := o.oldWay()
		o.Sh("umount /var/lib/etcdsup")
		t.Log(o.cli(0, "init", "--back", "--yes"))
		if after := o.oldWay(); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		o.Sh("test ! -e /etc/systemd/system/etcdsup.service; test ! -e /var/lib/etcdsup/default.take-over.json")
	})
	t.Run("killed, and started in the old way by hand", func(t *testing.T) {
		o := cutOff(t)
		o.Sh("svc -d /service/etcd")
		o.await("etcd is gone", func() bool { _, _, code := o.Exec("pkill", "-x", "etcd"); return code != 0 })
		o.Sh("setsid " + o.folder + "/start-etcd.sh </dev/null >/dev/null 2>&1 &")
		pid := o.awaitEtcd()
		if out := o.cli(10, "init", "--take-over", "1", "--yes"); !strings.Contains(out, "process "+pid+" has the data") {
			t.Error(out)
		}
		if now := strings.TrimSpace(o.Must("pgrep", "-x", "etcd")); now != pid {
			t.Errorf("etcd is process %s, and was %s", now, pid)
		}
	})
	t.Run("power cut", func(t *testing.T) {
		o := cutOff(t)
		o.PowerCut()
		o.Up()
		t.Log(o.cli(0, "init", "--take-over", "1", "--yes"))
		o.expectNew()
	})
}

func TestTakeOverRefuses(t *testing.T) {
	t.Parallel()
	o := newOldHost(t, "/srv/etcd").of(t)
	o.underDaemontools()
	pid := o.awaitEtcd()
	before := o.Must("find", "/etc", "/var/lib")
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{1, "the process is gone", []string{"--take-over", "1000000"}},
		{1, "no take-over of instance", []string{"--back"}},
		{2, "--yes", []string{"--take-over", pid}},
		{2, "leave --config out", []string{"--take-over", pid, "--yes", "--config", "/etc/x.yaml"}},
	} {
		if out := o.cli(c.code, append([]string{"init"}, c.args...)...); !strings.Contains(out, c.says) {
			t.Errorf("%v: %s", c.args, out)
		}
	}
	if after := o.Must("find", "/etc", "/var/lib"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// second is another etcd of the same host, which nothing keeps.
func (o *oldHost) second(port int) (pid string) {
	o.t.Helper()
	client, peer := o.url(port), o.url(port+1)
	o.Sh(fmt.Sprintf("cd %s && setsid ./etcd --name node2 --data-dir ./data2 --listen-client-urls %[2]s --advertise-client-urls %[2]s "+
		"--listen-peer-urls %[3]s --initial-advertise-peer-urls %[3]s --initial-cluster node2=%[3]s </dev/null >/dev/null 2>&1 &", o.folder, client, peer))
	o.await("a second etcd", func() bool {
		out, _, _ := o.Exec("pgrep", "-f", "^./etcd --name node2")
		pid = strings.TrimSpace(out)
		return pid != ""
	})
	return pid
}

// TestTakeOverLeavesAServiceAlone: what etcdsup keeps already is neither taken over nor its unit rewritten.
func TestTakeOverLeavesAServiceAlone(t *testing.T) {
	t.Parallel()
	o := newOldHost(t, "/srv/etcd").of(t)
	o.Sh("setsid " + o.folder + "/start-etcd.sh </dev/null >/dev/null 2>&1 &")
	o.cli(0, "init", "--take-over", o.awaitEtcd(), "--yes")
	before := o.Must("find", "/etc", "/var/lib/etcdsup", "-maxdepth", "2")
	served := strings.TrimSpace(o.Must("pgrep", "-x", "etcd"))
	second := o.second(12379)
	for _, c := range []struct {
		says string
		args []string
	}{
		{"its service etcdsup.service is there already", []string{"--take-over", second, "--yes", "--replace"}},
		{"etcdsup keeps it already", []string{"--take-over", served, "--yes", "--replace"}},
		{"etcdsup keeps it already", []string{"--from-pid", served, "--replace"}},
		{"no keeper of etcd", []string{"--from-pid", "1", "--replace"}},
	} {
		if out := o.cli(1, append([]string{"init"}, c.args...)...); !strings.Contains(out, c.says) {
			t.Errorf("%v: %s", c.args, out)
		}
	}
	o.Sh("systemctl stop etcdsup")
	if out := o.cli(1, "init", "--take-over", second, "--yes", "--replace"); !strings.Contains(out, "is there already") {
		t.Errorf("a service that is enabled: %s", out)
	}
	if after := o.Must("find", "/etc", "/var/lib/etcdsup", "-maxdepth", "2"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestTakeOverOfAUnit: one that could not be put back, or that others start again, is refused before it is touched.
func TestTakeOverOfAUnit(t *testing.T) {
	t.Parallel()
	o := newOldHost(t, "/data/etcd").of(t)
	unit := "[Service]\nExecStart=" + o.folder + "/start-etcd.sh\nTimeoutStopSec=2\nExecStop=/bin/sleep 3\nRestart=always\n[Install]\nWantedBy=multi-user.target\n"
	o.Write(o.folder+"/old.service", unit, "644")
	o.Sh("systemctl link " + o.folder + "/old.service; systemctl enable --now old.service")
	refused := func(says string) {
		t.Helper()
		if out := o.cli(1, "init", "--take-over", o.awaitEtcd(), "--yes"); !strings.Contains(out, says) {
			t.Error(out)
		}
	}
	refused("it is a link to")
	o.Sh("cp --remove-destination " + o.folder + "/old.service /etc/systemd/system/old.service; systemctl daemon-reload")
	o.Write("/etc/systemd/system/api.service", "[Unit]\nRequires=old.service\n[Service]\nExecStart=/bin/sleep infinity\n", "644")
	o.Sh("systemctl daemon-reload; systemctl start api.service")
	refused("api.service")
	o.Sh("systemctl stop api.service; rm /etc/systemd/system/api.service; systemctl daemon-reload; systemctl disable old.service; systemctl start old.service")
	o.Write("/etc/systemd/system/etcdsup.service.d/test.conf", "[Service]\nInaccessiblePaths="+o.folder+"/etcd\n", "644")
	t.Log(o.cli(10, "init", "--take-over", o.awaitEtcd(), "--yes", "--timeout", "5s"))
	o.awaitEtcd()
	if log := o.Must("journalctl", "-u", "old.service", "-o", "cat", "--no-pager"); strings.Contains(log, "timed out") || strings.Contains(log, "SIGKILL") {
		t.Errorf("etcd was not waited for:\n%s", log)
	}
	if got, _, _ := o.Exec("systemctl", "is-enabled", "old.service"); got != "disabled\n" {
		t.Errorf("a unit that was not enabled is %q", got)
	}
	if left := o.Sh("find /run/systemd/system -name '*take-over*'"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// TestTakeOverWithAuthentication: what etcd answers to nobody is said, and a user for the proof is taken from the environment.
func TestTakeOverWithAuthentication(t *testing.T) {
	t.Parallel()
	o := newOldHost(t, "/srv/etcd").of(t)
	o.underDaemontools()
	pid := o.awaitEtcd()
	cl := o.dial()
	if _, err := cl.UserAdd(t.Context(), "root", "secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.UserGrantRole(t.Context(), "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.AuthEnable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := o.cli(1, "init", "--take-over", pid, "--yes"); !strings.Contains(out, "user name is empty") || !strings.Contains(out, "ETCDSUP_CLUSTER_USER=") {
		t.Error(out)
	}
	o.Write("/root/secret", "secret\n", "600")
	out, errOut, code := o.Exec("env", "ETCDSUP_CLUSTER_USER=root", "ETCDSUP_CLUSTER_PASSWORD_FILE=/root/secret", binary, "init", "--take-over", pid, "--yes")
	if code != 0 || !strings.Contains(errOut, "the service does not see ETCDSUP_CLUSTER_USER") {
		t.Errorf("%d: %s%s", code, out, errOut)
	}
}

// TestTakeOverLeavesTheRestOfAUnitAlone: svscan is a unit, and looks after another service beside etcd.
func TestTakeOverLeavesTheRestOfAUnitAlone(t *testing.T) {
	t.Parallel()
	o := newOldHost(t, "/srv/etcd").of(t)
	o.Sh("mkdir -p /service/etcd /service/other && ln -s " + o.folder + "/start-etcd.sh /service/etcd/run")
	o.Write("/service/other/run", "#!/bin/sh\nexec sleep 4321\n", "755")
	o.Write("/etc/systemd/system/scan.service", "[Service]\nExecStart=/usr/bin/svscan /service\n", "644")
	o.Sh("systemctl daemon-reload; systemctl start scan.service")
	pid := o.awaitEtcd()
	o.put("a", "before")
	other := o.Must("pgrep", "-f", "^sleep 4321")
	if got := o.takeOver(pid); got.Keeper != "supervise in /service/etcd" {
		t.Errorf("it is kept by %s", got.Keeper)
	}
	o.expectNew()
	if now := o.Must("pgrep", "-f", "^sleep 4321"); now != other {
		t.Errorf("the other service is process %s, and was %s", now, other)
	}
	o.Must("systemctl", "is-active", "scan.service")
}
