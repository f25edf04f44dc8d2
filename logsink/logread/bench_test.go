package logread

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// benchLog writes lines such as etcd's into one file: 64 MiB, or 1 GiB with ETCDSUP_LONG=1.
func benchLog(b *testing.B) (dir string, size int64) {
	b.Helper()
	dir = b.TempDir()
	var block bytes.Buffer
	for i := range 5000 {
		level, msg := "info", "compacted Raft logs"
		if i%50 == 0 {
			level, msg = "warn", "apply request took too long"
		}
		fmt.Fprintf(&block, `{"level":%q,"ts":"2026-11-22T15:%02d:%02d.%06dZ","caller":"etcdserver/server.go:%d","msg":%q,"local-member-id":"8e9e05c52164694d","compact-index":%d,"took":"%dms"}`+"\n",
			level, i/60%60, i%60, i*7, i, msg, i*1000, i)
	}
	f, err := os.Create(filepath.Join(dir, "etcd.log"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for size < int64(rounds(64<<20, 1<<30)) {
		n, err := f.Write(block.Bytes())
		if err != nil {
			b.Fatal(err)
		}
		size += int64(n)
	}
	return dir, size
}

// peer runs a command over the file and says how long it took, best of three: the file is in memory then.
func peer(b *testing.B, dir string, argv ...string) time.Duration {
	b.Helper()
	best := time.Hour
	for range 3 {
		cmd := exec.Command(argv[0], append(argv[1:], filepath.Join(dir, "etcd.log"))...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		cmd.Stdout = sink{} // a pipe: grep stops at the first match if it sees /dev/null
		start := time.Now()
		if err := cmd.Run(); err != nil {
			b.Fatalf("%v: %v", argv, err)
		}
		best = min(best, time.Since(start))
	}
	return best
}

type sink struct{}

func (sink) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkRead(b *testing.B) {
	dir, size := benchLog(b)
	cases := []struct {
		name   string
		o      Options
		format Format
		argv   []string
	}{
		{"raw", Options{Plain: true}, Raw, []string{"cat"}},
		{"grep-word", Options{Plain: true, Grep: regexp.MustCompile("took too long")}, Raw, []string{"grep", "took too long"}},
		{"grep-expression", Options{Plain: true, Grep: regexp.MustCompile(`server\.go:[0-9]+0","msg":"apply`)}, Raw, []string{"grep", "-E", `server\.go:[0-9]+0","msg":"apply`}},
		{"grep-no-word", Options{Plain: true, Grep: regexp.MustCompile(`[0-9]{7}[a-f]{2}`)}, Raw, []string{"grep", "-cE", `[0-9]{7}[a-f]{2}|info`}},
		{"grep-ignore-case", Options{Plain: true, Grep: regexp.MustCompile("(?i)TOOK TOO")}, Raw, []string{"grep", "-i", "TOOK TOO"}},
		{"level", Options{Plain: true, Level: LevelWarn}, Raw, []string{"grep", `^{"level":"warn"`}},
		{"since", Options{Plain: true, Since: at("2026-11-22T15:30:00Z")}, Raw, []string{"grep", `"2026-11-22T15:[345]`}},
		{"pretty", Options{}, Pretty, []string{"cat"}},
		{"json", Options{}, JSON, []string{"cat"}},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			theirs := peer(b, dir, c.argv...)
			b.SetBytes(size)
			for b.Loop() {
				benchRead(b, dir, c.o, c.format)
			}
			ours := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(ours)/float64(theirs), "x-"+c.argv[0])
		})
	}
}

func benchRead(b *testing.B, dir string, o Options, f Format) {
	r, err := Open(dir, "etcd.log", o)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	show := NewRenderer(io.Discard, f, Style{})
	for line, err := range r.Lines(context.Background()) {
		if err != nil || show.Render(line) != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLast is how long the end of a long log takes.
func BenchmarkLast(b *testing.B) {
	dir, _ := benchLog(b)
	theirs := peer(b, dir, "tail", "-n", "100")
	for b.Loop() {
		benchRead(b, dir, Options{Last: 100}, Pretty)
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(theirs), "x-tail")
}

func BenchmarkParse(b *testing.B) {
	line := []byte(`{"level":"warn","ts":"2026-11-22T15:47:18.976123Z","caller":"etcdserver/util.go:123","msg":"apply request took too long","took":"113.2ms","expected-duration":"100ms","prefix":"","request":"header:<ID:7587862094632> put:<key:\"a\" value_size:5>","response":"size:5"}` + "\n")
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if e := Parse(line, time.UTC); e.Broken {
			b.Fatal("broken")
		}
	}
}
