package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/packaging/lab"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestLife is the everyday life of a service: installed, started, configured anew, stopped, and over boots of all kinds.
func TestLife(t *testing.T) {
	t.Parallel()
	s := newService(t, lab.Boot(t))
	s.configure("")
	s.part(t, "start", testStart)
	s.part(t, "two of them", testTwo)
	s.part(t, "units", testUnits)
	s.part(t, "log", testLog)
	s.part(t, "group", testGroup)
	s.part(t, "reload", testReload)
	s.part(t, "restart", testRestart)
	s.part(t, "start that fails", testStartFails)
	s.part(t, "stop", testStop)
	s.part(t, "stop of a hung one", testStopHung)
	s.part(t, "boot", testBoot)
	s.part(t, "boot with etcd stopped", testBootStopped)
	s.part(t, "power cut", testPowerCut)
}

// testTwo has a second instance beside the first: each has its own etcd, data and commands.
func testTwo(t *testing.T, s *service) {
	first := s.awaitReady()
	b := s.another("b", 3379)
	b.configure("")
	b.install()
	b.put("a", "of b")
	s.expectKey("a", "1")
	b.cli(0, "restart")
	b.systemctl("restart", b.unit)
	b.awaitReady()
	b.expectKey("a", "of b")
	b.systemctl("disable", "--now", b.unit)
	if st := s.awaitReady(); st.Process.PID != first.Process.PID || st.Supervisor.PID != first.Supervisor.PID {
		t.Errorf("what was done to another instance reached this one: %+v, was %+v", st.Process, first.Process)
	}
}

// testUnits asks systemd itself about the units.
func testUnits(t *testing.T, s *service) {
	for _, unit := range []string{s.unit, "etcdsup@b.service"} {
		out, errOut, code := s.Exec("systemd-analyze", "verify", "--man=no", unit) // there is no man on the host
		if code != 0 || out+errOut != "" {
			t.Errorf("verify %s: exit code %d\n%s%s", unit, code, out, errOut)
		}
		out, errOut, code = s.Exec("systemd-analyze", "security", "--threshold=20", unit) // tenths
		if code != 0 {
			t.Errorf("security of %s is worse than 2.0:\n%s%s", unit, out, errOut)
		}
	}
}

func testStart(t *testing.T, s *service) {
	st := s.install()
	if sub, pid := s.property("SubState"), s.property("MainPID"); sub != "running" || pid == "0" {
		t.Errorf("%s, PID %s", sub, pid)
	}
	s.await("its state in one sentence", func() bool { return strings.HasPrefix(s.property("StatusText"), "etcd is ready, PID ") })
	if len(st.Notices) > 0 {
		t.Errorf("notices: %+v", st.Notices)
	}
	if who := s.Must("ps", "-C", "etcd", "-o", "user="); who != "etcd\n" {
		t.Errorf("etcd runs as %q", who)
	}
	if got := s.Must("stat", "-c", "%U:%G %a", s.dir(), "/etc/etcdsup"); got != "etcd:etcd 700\nroot:root 755\n" {
		t.Errorf("folders: %q", got)
	}
	if st.Process.Memory == 0 || st.Process.CPU == 0 {
		t.Errorf("no figures of etcd's cgroup: %+v", st.Process)
	}
	if text := s.cli(0, "status"); !strings.Contains(text, "ready") {
		t.Errorf("status says\n%s", text)
	}
	s.put("a", "1")
}

// testLog has the log rotated within the sandbox: the new file is given to the owner of the old one.
func testLog(t *testing.T, s *service) {
	before := s.awaitReady().Log
	s.cli(0, "logs", "rotate")
	st := s.awaitStatus("a rotation", func(st *status.Status) bool { return st.Log.Rotations > before.Rotations })
	if st.Log.Trouble != "" || st.Log.Archives == 0 {
		t.Errorf("after a rotation: %+v", st.Log)
	}
	if got := s.Must("stat", "-c", "%U:%G %a", s.dir()+"/log/etcd.log"); got != "etcd:etcd 600\n" {
		t.Errorf("the new file: %q", got)
	}
	s.cli(0, "restart") // for lines in the new file
	s.Must("systemctl", "kill", "--kill-whom=main", "-s", "USR1", s.unit)
	s.awaitStatus("a rotation by signal", func(st *status.Status) bool { return st.Log.Rotations > before.Rotations+1 })
}

// testGroup lets the members of a group in, to which the service's user belongs.
func testGroup(t *testing.T, s *service) {
	s.Must("usermod", "-aG", "games", "etcd")
	s.configure("control: {group: games}\n")
	s.systemctl("restart", s.unit)
	s.awaitReady()
	if got := s.Must("stat", "-c", "%G %a", s.dir()+"/run/control.sock"); got != "games 660\n" {
		t.Errorf("the control socket: %q", got)
	}
	s.configure("")
	s.systemctl("restart", s.unit)
	s.awaitReady()
}

// testReload wants to hear what is in force and what waits, in the journal and in the status.
func testReload(t *testing.T, s *service) {
	pid := s.awaitReady().Process.PID
	s.configure("    snapshot-count: 5000\nlog: {max_size: 5MiB}\n")
	s.systemctl("reload", s.unit)
	journal := s.Must("journalctl", "-u", s.unit, "-o", "cat", "-n", "30")
	for _, want := range []string{"in force now: ", "log.max_size", "waits for a restart of etcd: ", "etcd.args.snapshot-count"} {
		if !strings.Contains(journal, want) {
			t.Errorf("%q is not in the journal:\n%s", want, journal)
		}
	}
	if st := s.awaitReady(); st.Process.PID != pid || len(st.Config.Pending) != 1 || st.Config.Pending[0] != "etcd.args.snapshot-count" {
		t.Errorf("etcd %d, was %d; waiting: %q", st.Process.PID, pid, st.Config.Pending)
	}
	s.configure("    no-such-flag: 1\n")
	if _, _, code := s.Exec("systemctl", "reload", s.unit); code == 0 {
		t.Error("a faulty configuration was reloaded")
	}
	if st := s.awaitReady(); st.Process.PID != pid || s.property("ActiveState") != "active" {
		t.Errorf("a faulty configuration has ended something: %+v", st)
	}
	s.configure("    snapshot-count: 5000\n")
}

func testRestart(t *testing.T, s *service) {
	before := s.awaitReady()
	s.systemctl("restart", s.unit)
	after := s.awaitReady()
	if after.Process.PID == before.Process.PID || after.Supervisor.PID == before.Supervisor.PID {
		t.Errorf("restart left etcd %d and etcdsup %d", after.Process.PID, after.Supervisor.PID)
	}
	if line := s.Must("ps", "-C", "etcd", "-o", "args="); !strings.Contains(line, "--snapshot-count=5000") {
		t.Errorf("what waited for a restart is not in force: %s", line)
	}
	s.expectKey("a", "1")
}

// testStartFails: an etcdsup that cannot run is started again more and more seldom, and runs once it can.
func testStartFails(_ *testing.T, s *service) {
	s.awaitReady()
	s.configure("    no-such-flag: 1\n")
	s.Exec("systemctl", "restart", s.unit) // it fails
	var crashes struct {
		Failed int
	}
	s.await("several ends in a row", func() bool {
		out, _, _ := s.Exec("cat", s.dir()+"/crashes.json")
		return json.Unmarshal([]byte(out), &crashes) == nil && crashes.Failed >= 5
	})
	s.await("a wait", func() bool {
		return strings.Contains(s.Must("journalctl", "-u", s.unit, "-o", "cat", "-n", "50"), "in a row: the next start waits")
	})
	s.configure("    snapshot-count: 5000\n")
	s.awaitReady()
	s.expectKey("a", "1")
}

func testStop(t *testing.T, s *service) {
	s.awaitReady()
	s.systemctl("stop", s.unit)
	if got := s.property("Result"); got != "success" {
		t.Errorf("the stop's result is %s", got)
	}
	s.expectNothingLeft()
	s.systemctl("start", s.unit)
	s.awaitReady()
	s.expectKey("a", "1")
}

// testStopHung stops an etcdsup that does nothing any more: when it is killed at last, nothing of etcd is left either.
func testStopHung(t *testing.T, s *service) {
	s.dropIn("[Service]\nTimeoutStopSec=2\nWatchdogSec=0\n")
	s.systemctl("restart", s.unit)
	s.awaitReady()
	s.hang()
	s.systemctl("stop", s.unit)
	if got := s.property("Result"); got != "timeout" {
		t.Errorf("the stop's result is %s", got)
	}
	s.expectNothingLeft()
	s.Must("rm", "-r", "/etc/systemd/system/"+s.unit+".d")
	s.systemctl("daemon-reload")
	s.systemctl("start", s.unit)
	s.awaitReady()
	s.expectKey("a", "1")
}

// hang stops etcdsup again and again: with SIGTERM systemd sends SIGCONT.
func (s *service) hang() {
	s.t.Helper()
	s.systemctl("kill", "--kill-whom=main", "--signal=STOP", s.unit)
	s.Must("systemd-run", "--quiet", "--collect", "--property=Nice=-20", "sh", "-c", "while kill -STOP $0; do :; done", s.property("MainPID"))
}

func testBoot(t *testing.T, s *service) {
	before := s.awaitReady()
	s.Reboot()
	if after := s.awaitReady(); after.Process.Started.Equal(before.Process.Started) || after.Process.Adopted {
		t.Errorf("after a boot: process %+v", after.Process)
	}
	s.expectKey("a", "1")
}

// testBootStopped: what was stopped on purpose is not brought up by a boot; the service is.
func testBootStopped(t *testing.T, s *service) {
	s.awaitReady()
	s.cli(0, "stop")
	s.Reboot()
	st := s.awaitStatus("an answer", func(*status.Status) bool { return true })
	if st.Goal != status.GoalDown || st.Process != nil || s.property("ActiveState") != "active" {
		t.Errorf("goal %s, process %+v, unit %s", st.Goal, st.Process, s.property("ActiveState"))
	}
	s.cli(0, "start")
	s.awaitReady()
	s.expectKey("a", "1")
}

// testPowerCut cuts the power once with etcd up and once with it stopped a moment before: what was said last is what
// comes back, with every write that was answered.
func testPowerCut(t *testing.T, s *service) {
	s.awaitReady()
	s.put("b", "answered")
	s.PowerCut()
	s.Up()
	s.awaitReady()
	s.expectKey("b", "answered")
	s.cli(0, "stop")
	s.PowerCut()
	s.Up()
	if st := s.awaitStatus("an answer", func(*status.Status) bool { return true }); st.Goal != status.GoalDown || st.Process != nil {
		t.Errorf("goal %s, process %+v", st.Goal, st.Process)
	}
	s.cli(0, "start")
	s.PowerCut()
	s.Up()
	s.awaitReady()
	s.expectKey("b", "answered")
}
