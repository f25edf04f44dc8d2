package datadir

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
)

// BenchmarkLook looks at a directory with 1 GB of written WAL and db, and prints the highest memory of the process.
// The goal is 2 s and 100 MB. With ETCDSUP_BENCH_DIR it takes that directory instead.
func BenchmarkLook(b *testing.B) {
	dir := os.Getenv("ETCDSUP_BENCH_DIR")
	if dir == "" {
		dir = gigabyte(b)
	}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the peak counts from here
		b.Fatal(err)
	}
	var r *Report
	for b.Loop() {
		var err error
		if r, err = Look(dir, Options{}); err != nil || r.Held() {
			b.Fatal(err, r.Findings)
		}
	}
	b.ReportMetric(float64(r.DB.FileSize+r.WAL.Size)/1e6, "MB-dir")
	b.ReportMetric(peak(b), "MB-RSS")
}

func peak(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "VmHWM:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb / 1024
		}
	}
	return 0
}

func gigabyte(b *testing.B) string {
	m := etcdtest.Start(b, 1)[0]
	c := dial(b, m)
	value := strings.Repeat("x", 1<<16)
	for i := range 17000 {
		if _, err := c.Put(b.Context(), "big-"+strconv.Itoa(i), value[:1000+i*7%64000]); err != nil {
			b.Fatal(err)
		}
	}
	m.Stop()
	if _, err := os.Stat(filepath.Join(m.DataDir, "member")); err != nil {
		b.Fatal(err)
	}
	return m.DataDir
}
