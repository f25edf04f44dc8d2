package install_test

import (
	"slices"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/packaging/lab"
)

// BenchmarkInstall is "install --now" on a host that has nothing of ours but the binary, until etcd is ready; against
// systemctl start of the same service, likewise without data, on the same host and by turns.
func BenchmarkInstall(b *testing.B) {
	h := lab.Boot(b)
	h.CopyIn(lab.Program(b), "/usr/local/bin/etcdsup")
	var all, bare, ratios []float64
	for b.Loop() {
		install := timed(func() { h.Must("etcdsup", "install", "--now") })
		h.Sh("systemctl stop etcdsup; rm -r /var/lib/etcdsup/default")
		start := timed(func() { h.Sh("systemctl start etcdsup; etcdsup start") })
		h.Sh("etcdsup uninstall --yes; userdel etcd; rm -r /var/lib/etcdsup")
		all, bare, ratios = append(all, install), append(bare, start), append(ratios, install/start)
	}
	b.ReportMetric(0, "ns/op") // it has the cleaning up in it
	b.ReportMetric(median(ratios), "×start")
	b.ReportMetric(median(all), "s-install")
	b.ReportMetric(slices.Max(all), "s-install-worst")
	b.ReportMetric(median(bare), "s-start")
}

// timed is how many seconds f takes.
func timed(f func()) float64 {
	began := time.Now()
	f()
	return time.Since(began).Seconds()
}

func median(of []float64) float64 {
	s := slices.Sorted(slices.Values(of))
	return s[len(s)/2]
}
