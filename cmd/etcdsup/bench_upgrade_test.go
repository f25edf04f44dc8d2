package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/exetest"
)

// BenchmarkUpgrade is for how long nobody reads etcd's output while etcdsup is replaced. The measure beside it is the same
// program's version command: the start of the executable alone.
func BenchmarkUpgrade(b *testing.B) {
	text, err := os.ReadFile(shipped(b))
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	write := func(name, tail string) string {
		path := filepath.Join(dir, name)
		exetest.Write(b, path, append(text[:len(text):len(text)], tail...))
		return path
	}
	program, others := write("etcdsup", ""), []string{write("one", "1"), write("other", "2")}
	d := newDaemonRun(b, program, builtinConf(b))
	d.ready()
	var gaps, start []time.Duration
	for n := 0; b.Loop(); n++ {
		start = append(start, timed(func() { _ = exec.Command(others[n%2], "version").Run() }))
		d.command("upgrade", "--binary", others[n%2])
		gaps = append(gaps, d.ready().Upgrade.Gap)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(quantile(gaps, 0.5))/float64(quantile(start, 0.5)), "×version")
	b.ReportMetric(float64(quantile(gaps, 0.5).Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(quantile(gaps, 1).Microseconds())/1000, "ms-max")
}
