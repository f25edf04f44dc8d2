package logsink

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The benchmarks compare the sink, in a process of its own, with `cat > file`,
// run by turns. The figures are medians of the rounds' ratios.

var feedPath string

func feedProgram(b testing.TB) string {
	b.Helper()
	if feedPath != "" {
		return feedPath
	}
	dir, err := os.MkdirTemp("", "feed")
	if err != nil {
		b.Fatal(err)
	}
	feedPath = filepath.Join(dir, "feed")
	if out, err := exec.Command("cc", "-O2", "-o", feedPath, "testdata/feed.c").CombinedOutput(); err != nil {
		b.Fatalf("cc: %v: %s", err, out)
	}
	return feedPath
}

// logger is either rival, reading from in.
type logger struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser // closed to make the sink drain and end
	out   *bufio.Reader
	pipe  *Pipe
	in    *os.File // what the feed writes to
	file  string
}

func startCat(b testing.TB, dir string) *logger {
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(dir, "cat.log")
	f := must[*os.File](b)(os.Create(file))
	cmd := exec.Command("/bin/cat")
	cmd.Stdin, cmd.Stdout = r, f
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	_, _ = r.Close(), f.Close()
	return &logger{cmd: cmd, in: w, file: file}
}

func startSink(b testing.TB, dir string) *logger {
	p := must[*Pipe](b)(NewPipe(0))
	file := filepath.Join(dir, "sink.log")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"=bench", "LOGSINK_TEST_FILE="+file)
	cmd.ExtraFiles = []*os.File{p.FIFO, p.Ledger}
	cmd.Stderr = os.Stderr
	stdin := must[io.WriteCloser](b)(cmd.StdinPipe())
	stdout := must[io.ReadCloser](b)(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	l := &logger{cmd: cmd, stdin: stdin, out: bufio.NewReader(stdout), pipe: p, in: p.FIFO, file: file}
	if _, err := l.out.ReadString('\n'); err != nil {
		b.Fatal("the sink did not start")
	}
	return l
}

// playBench runs a sink until standard input ends and prints its CPU seconds.
func playBench() {
	p := &Pipe{FIFO: os.NewFile(3, "fifo"), Ledger: os.NewFile(4, "ledger")}
	maxSize := int64(100 << 20)
	s, err := Start(p, Options{File: os.Getenv("LOGSINK_TEST_FILE"), MaxSize: maxSize})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	before := cpuSeconds()
	fmt.Println("pumping")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := s.Drain(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	st := s.Stats()
	fmt.Println("drained", cpuSeconds()-before, st.DroppedBytes)
	os.Exit(0)
}

func cpuSeconds() float64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// end lets the logger finish and returns its CPU seconds.
func (l *logger) end(b testing.TB) (cpu float64) {
	b.Helper()
	if l.pipe == nil {
		if err := l.cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		return (l.cmd.ProcessState.UserTime() + l.cmd.ProcessState.SystemTime()).Seconds()
	}
	_ = l.stdin.Close()
	line, err := l.out.ReadString('\n')
	if err != nil {
		b.Fatal("the sink did not drain")
	}
	f := strings.Fields(line)
	cpu, _ = strconv.ParseFloat(f[1], 64)
	if f[2] != "0" {
		b.Errorf("%s bytes dropped", f[2])
	}
	return cpu
}

func (l *logger) close(b testing.TB) {
	if l.pipe != nil {
		_ = l.cmd.Wait()
		_ = l.pipe.Close()
	}
}

type run struct{ mbps, cpu float64 }

func feedRun(b testing.TB, l *logger, lineLen int, total int64) run {
	b.Helper()
	feed := exec.Command(feedProgram(b), "lines", strconv.Itoa(lineLen), strconv.FormatInt(total, 10))
	feed.Stdout = l.in
	stdin := must[io.WriteCloser](b)(feed.StdinPipe())
	if err := feed.Start(); err != nil {
		b.Fatal(err)
	}
	if l.pipe == nil {
		_ = l.in.Close()
	}
	start := time.Now()
	_, _ = stdin.Write([]byte{'g'})
	_ = stdin.Close()
	if err := feed.Wait(); err != nil {
		b.Fatal(err)
	}
	cpu := l.end(b)
	took := time.Since(start).Seconds()
	l.close(b)
	if got := written(l.file); got/int64(lineLen) != total/int64(lineLen) && got < total {
		b.Fatalf("%d bytes written, %d arrived", total, got)
	}
	return run{float64(total) / 1e6 / took, cpu / (float64(total) / 1e9)}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func BenchmarkThroughput(b *testing.B) {
	for _, c := range []struct {
		len   int
		total int64
	}{{1024, 336e6}, {200, 220e6}} {
		b.Run(fmt.Sprintf("line=%d", c.len), func(b *testing.B) {
			var speed, cpu, mine, cats, ratioCPU []float64
			for b.Loop() {
				dir := b.TempDir()
				k := feedRun(b, startCat(b, dir), c.len, c.total)
				s := feedRun(b, startSink(b, dir), c.len, c.total)
				speed = append(speed, s.mbps/k.mbps)
				ratioCPU = append(ratioCPU, s.cpu/k.cpu)
				mine, cats, cpu = append(mine, s.mbps), append(cats, k.mbps), append(cpu, s.cpu)
				_ = os.RemoveAll(dir)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(mine), "MB/s")
			b.ReportMetric(median(cats), "cat-MB/s")
			b.ReportMetric(median(speed), "×cat")
			b.ReportMetric(median(cpu), "cpu-s/GB")
			b.ReportMetric(median(ratioCPU), "cpu×cat")
		})
	}
}

// tickRun returns the 10th, 50th and 99th percentile, in µs.
func tickRun(b testing.TB, l *logger) (p [3]float64) {
	b.Helper()
	feed := exec.Command(feedProgram(b), "tick", "500", "3000", l.file)
	feed.Stdout = l.in
	var out strings.Builder
	feed.Stderr = &out
	if err := feed.Run(); err != nil {
		b.Fatal(err)
	}
	if l.pipe == nil {
		_ = l.in.Close()
	}
	l.end(b)
	l.close(b)
	var v []float64
	for f := range strings.FieldsSeq(out.String()) {
		n, _ := strconv.ParseFloat(f, 64)
		v = append(v, n/1e3)
	}
	slices.Sort(v)
	return [3]float64{v[len(v)/10], v[len(v)/2], v[len(v)*99/100]}
}

func BenchmarkLatency(b *testing.B) {
	var own, ratio [3][]float64
	for b.Loop() {
		dir := b.TempDir()
		cat, sink := tickRun(b, startCat(b, dir)), tickRun(b, startSink(b, dir))
		for i := range own {
			own[i], ratio[i] = append(own[i], sink[i]), append(ratio[i], sink[i]/cat[i])
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, name := range []string{"p10", "p50", "p99"} {
		b.ReportMetric(median(own[i]), name+"-µs")
		b.ReportMetric(median(ratio[i]), name+"×cat")
	}
}

// BenchmarkFrozenWait is the longest a child's write takes, flat out, while the
// file takes nothing.
func BenchmarkFrozenWait(b *testing.B) {
	var waits []float64
	for b.Loop() {
		var ice sync.RWMutex
		p := must[*Pipe](b)(NewPipe(0))
		s := must[*Sink](b)(start(p, Options{File: filepath.Join(b.TempDir(), "etcd.log")}, func(path string) appender {
			return frozen{newLumberjack(path), &ice}
		}))
		drain(b, s)
		ice.Lock()
		feed := exec.Command(feedProgram(b), "paced", "500", "1", "2000")
		var out strings.Builder
		feed.Stdout, feed.Stderr = p.FIFO, &out
		if err := feed.Run(); err != nil {
			b.Fatal(err)
		}
		ice.Unlock()
		ns, _ := strconv.ParseFloat(strings.Fields(out.String())[0], 64)
		waits = append(waits, ns/1e6)
		if s.Stats().DroppedLines == 0 {
			b.Error("nothing was dropped")
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		_ = p.Close()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(waits), "ms-median")
	b.ReportMetric(slices.Max(waits), "ms-max")
}
