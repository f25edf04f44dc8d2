package e2e

import (
	"context"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/packaging/lab"
)

// BenchmarkServiceCrash is the time from SIGKILL of the installed etcdsup until the next one says that it supervises the
// same etcd. The measure beside it is what no service of this kind can do without: the executable is started twice, for what
// comes after the end of the one and for the next one; here for its version alone.
func BenchmarkServiceCrash(b *testing.B) {
	s := newService(b, lab.Boot(b))
	s.configure("")
	etcd := s.install().Process.PID
	var took, least []time.Duration
	for b.Loop() {
		before := s.awaitReady().Supervisor.PID
		least = append(least, timed(func() {
			_ = exec.Command(lab.Program(b), "version").Run()
			_ = exec.Command(lab.Program(b), "version").Run()
		}))
		pid := s.PID(before)
		took = append(took, timed(func() {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				b.Fatal(err)
			}
			s.awaitNext(before, etcd)
		}))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(quantile(took, 0.5))/float64(quantile(least, 0.5)), "×two-starts")
	b.ReportMetric(float64(quantile(took, 0.5).Milliseconds()), "ms-p50")
	b.ReportMetric(float64(quantile(took, 1).Milliseconds()), "ms-max")
	b.ReportMetric(float64(quantile(least, 0.5).Milliseconds()), "ms-two-starts")
}

// awaitNext asks as often as it can whether another etcdsup supervises that etcd.
func (s *service) awaitNext(before, etcd int) {
	s.t.Helper()
	client := s.control()
	for end := time.Now().Add(lab.Patience); time.Now().Before(end); <-time.After(time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), lab.Patience)
		st, err := client.Status(ctx, false)
		cancel()
		if err != nil || st.Supervisor.PID == before || st.Process == nil {
			continue
		}
		if st.Process.PID != etcd {
			s.t.Fatalf("etcd is %d now, not %d", st.Process.PID, etcd)
		}
		return
	}
	s.t.Fatal("no etcdsup has come")
}

func timed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

func quantile(all []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[int(q*float64(len(sorted)-1))]
}
