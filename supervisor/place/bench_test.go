package place

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkCopy copies a data directory of 500 MB, by turns with cp -a, and prints how many times faster it is, by the
// medians: until all is copied against cp -a, which leaves the writing to the kernel's leisure, and until all is on
// disk against cp -a and sync -f, as a copy must be that is to survive a power cut. The goal is 0.9 for each.
// ETCDSUP_BENCH_DIR names another folder to copy.
func BenchmarkCopy(b *testing.B) {
	from := os.Getenv("ETCDSUP_BENCH_DIR")
	if from == "" {
		from = benchDir(b)
	}
	dir := b.TempDir()
	to := filepath.Join(dir, "copy")
	var copied, whole, cp, synced []time.Duration
	ways := []func(){
		func() { copied, whole = ourCopy(b, from, to, copied, whole) },
		func() { cp = append(cp, command(b, "cp", "-a", from, to)) },
		func() { synced = append(synced, command(b, "sh", "-c", `cp -a "$0" "$1" && sync -f "$1"`, from, to)) },
	}
	for i := 0; b.Loop(); i++ {
		for j := range ways {
			command(b, "sync", "-f", dir)
			ways[(i+j)%len(ways)]()
			if err := os.RemoveAll(to); err != nil {
				b.Fatal(err)
			}
		}
	}
	size, err := Size(from)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(size)/median(whole)/1e6, "MB/s")
	b.ReportMetric(median(cp)/median(copied), "x-cp")
	b.ReportMetric(median(synced)/median(whole), "x-cp-synced")
}

// ourCopy adds the time until all was copied, and until Copy returned.
func ourCopy(b *testing.B, from, to string, copied, whole []time.Duration) (c, w []time.Duration) {
	began := time.Now()
	var all time.Duration
	_, err := Copy(b.Context(), from, to, func(done, total int64) {
		if done == total && all == 0 {
			all = time.Since(began)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	return append(copied, all), append(whole, time.Since(began))
}

func command(b *testing.B, name string, args ...string) time.Duration {
	began := time.Now()
	if err := exec.Command(name, args...).Run(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

func median(all []time.Duration) float64 {
	slices.Sort(all)
	return all[len(all)/2].Seconds()
}

func benchDir(b *testing.B) string {
	from := filepath.Join(b.TempDir(), "data")
	write(b, filepath.Join(from, "member/snap/db"), noise(300<<20, 1))
	for i, name := range []string{"0000000000000000-0000000000000000.wal", "0000000000000001-0000000000001000.wal", "0000000000000002-0000000000002000.wal"} {
		write(b, filepath.Join(from, "member/wal", name), noise(64<<20, byte(i)))
	}
	writeAt(b, filepath.Join(from, "member/wal/0000000000000003-0000000000003000.wal"), 64<<20, 0, noise(8<<20, 7))
	writeAt(b, filepath.Join(from, "member/wal/0.tmp"), 64<<20, 0, nil)
	return from
}
