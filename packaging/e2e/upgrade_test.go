package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/packaging/lab"
	"github.com/etcdsup/etcdsup/supervisor/loadtest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestUpgrade replaces the executable below the running service: it stays the same main process, and systemd sees nothing.
// One that does not work gives way to the old one.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	s := newService(t, lab.Boot(t))
	s.configure("")
	etcd := s.install().Process.PID
	puts := loadtest.Start(t, s.dial())
	s.part(t, "package", func(t *testing.T, s *service) { s.upgradeByPackage(t, etcd) })
	for _, tt := range []struct {
		how, why string
		restarts bool // systemd starts the old one again
	}{
		{"refuses", "the moon is full", false},
		{"panics", "ended before it supervised", true},
		{"hangs", "did not supervise within 3s", true},
	} {
		s.part(t, tt.how, func(t *testing.T, s *service) { s.upgradeToBroken(t, tt.how, tt.why, tt.restarts, etcd) })
	}
	s.part(t, "once more", func(t *testing.T, s *service) { s.upgradeByPackage(t, etcd) })
	puts.Stop()
	t.Log(puts)
	puts.ExpectNoFailure(t)
	s.systemctl("stop", s.unit)
	s.expectNothingLeft()
}

// upgradeByPackage does what a package does: a new file is in the place when the old one is asked to have it run.
func (s *service) upgradeByPackage(t *testing.T, etcd int) {
	before, restarts := s.property("MainPID"), s.property("NRestarts")
	s.Sh("ln -f " + binary + " " + binary + ".previous; cp " + binary + " " + binary + ".unpacked; date +%N >>" + binary + ".unpacked; mv " + binary + ".unpacked " + binary)
	want := s.sum(binary)
	out := s.Must(binary+".previous", "upgrade", "--all", "--within", "1m")
	t.Log(strings.TrimSpace(out))
	st := s.awaitReady()
	if st.Upgrade == nil || st.Upgrade.Outcome != status.UpgradeDone || st.Process.PID != etcd {
		t.Errorf("etcd %d, upgrade %+v", st.Process.PID, st.Upgrade)
	}
	if now := s.property("MainPID"); now != before || s.property("NRestarts") != restarts || s.property("ActiveState") != "active" {
		t.Errorf("main process %s became %s, %s", before, now, s.property("ActiveState"))
	}
	if s.sum(binary) != want || s.sum("/proc/"+before+"/exe") != want {
		t.Error("the new executable is not in its place, or does not run")
	}
	if !strings.Contains(s.property("StatusText"), "etcd is") {
		t.Errorf("systemd is told %q", s.property("StatusText"))
	}
}

func (s *service) sum(path string) string {
	s.t.Helper()
	sum, _, _ := strings.Cut(s.Must("sha256sum", path), " ")
	return sum
}

func (s *service) upgradeToBroken(t *testing.T, how, why string, restarts bool, etcd int) {
	old, before := s.sum(binary), s.property("MainPID")
	s.CopyIn(buildBroken(t, how), "/root/broken")
	if out := s.cli(13, "upgrade", "--binary", "/root/broken", "--within", "3s"); !strings.Contains(out, why) {
		t.Errorf("not said why, %q: %s", why, out)
	}
	st := s.awaitReady()
	if st.Process.PID != etcd || s.sum(binary) != old || s.property("ActiveState") != "active" {
		t.Errorf("etcd %d, not %d; unit %s", st.Process.PID, etcd, s.property("ActiveState"))
	}
	if now := s.property("MainPID"); (now != before) != restarts {
		t.Errorf("main process %s became %s", before, now)
	}
	if restarts && !strings.Contains(s.cli(0, "status"), why) {
		t.Errorf("the status does not say why")
	}
}

// buildBroken makes the new etcdsup that is broken in that way.
func buildBroken(t *testing.T, how string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), how)
	cmd := exec.Command("go", "build", "-ldflags", "-X main.how="+how, "-o", path, "./testdata/broken")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}
