package cluster

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
)

// wakeups are the voluntary context switches of all threads of this process so far.
func wakeups(t testing.TB) int {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // the thread ended
		}
		_, rest, _ := strings.Cut(string(b), "\nvoluntary_ctxt_switches:")
		n := 0
		fmt.Sscan(rest, &n)
		total += n
	}
	return total
}

// BenchmarkProbeWakeups compares one probe of ours with the ordinary way, against the same etcd and by the same clock.
func BenchmarkProbeWakeups(b *testing.B) {
	m := etcdtest.Start(b, 1)[0]
	b.Run("raw socket", func(b *testing.B) {
		p := newProber(b, m.MetricsURL, time.Second)
		b.ReportMetric(wakeupsEach(b, func() error {
			if h := p.Probe(b.Context()); !h.Quorum {
				return fmt.Errorf("%+v", h)
			}
			return nil
		}), "wakeups/probe")
	})
	b.Run("net-http", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{}, Timeout: time.Second}
		defer client.CloseIdleConnections()
		b.ReportMetric(wakeupsEach(b, func() error { return get(client, m.MetricsURL+"/health") }), "wakeups/probe")
	})
	b.Run("nothing", func(b *testing.B) { // the clock alone
		b.ReportMetric(wakeupsEach(b, func() error { return nil }), "wakeups/probe")
	})
	b.Run("duration", func(b *testing.B) {
		p := newProber(b, m.MetricsURL, time.Second)
		for b.Loop() {
			if h := p.Probe(b.Context()); !h.Quorum {
				b.Fatalf("%+v", h)
			}
		}
	})
}

// wakeupsEach is what one call of do costs, the tick before it included.
func wakeupsEach(b *testing.B, do func() error) float64 {
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	n, before := max(20, b.N), 0
	for i := range n + 3 {
		if i == 3 { // whatever was under way before has come to rest
			before = wakeups(b)
		}
		<-every.C
		if err := do(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(wakeups(b)-before) / float64(n)
}

func get(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}
