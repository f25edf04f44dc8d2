package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// The benchmarks of the whole program, as it is shipped: docs/benchmarks.md says how to run them and what they gave.
// What one part does alone is measured beside that part, in logsink, supervisor/process and supervisor/cluster.

// shipped is the program built as it is for a release, or the one that BENCH_ETCDSUP names.
func shipped(b *testing.B) string {
	b.Helper()
	if path := os.Getenv("BENCH_ETCDSUP"); path != "" {
		return path
	}
	path := filepath.Join(b.TempDir(), "etcdsup")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("cannot build etcdsup: %v\n%s", err, out)
	}
	return path
}

// daemonRun is one etcdsup on a folder of its own; it may be killed and started again.
type daemonRun struct {
	b       *testing.B
	program string
	dir     string
	conf    string
	client  *control.Client
	cmd     *exec.Cmd
}

// newDaemonRun starts etcdsup with these further lines of configuration. The end of the benchmark ends it, and its etcd.
func newDaemonRun(b *testing.B, program, conf string) *daemonRun {
	b.Helper()
	d := startDaemonRun(b, program, conf)
	b.Cleanup(d.end)
	return d
}

// startDaemonRun is newDaemonRun for a round of a benchmark: whoever calls ends it.
func startDaemonRun(b *testing.B, program, conf string) *daemonRun {
	b.Helper()
	dir, err := os.MkdirTemp("", "eu-bench") // short: a socket's path has 107 bytes
	if err != nil {
		b.Fatal(err)
	}
	d := &daemonRun{b: b, program: program, dir: dir, conf: filepath.Join(dir, "conf.yaml")}
	d.client = control.NewClient(filepath.Join(dir, "s"))
	text := fmt.Sprintf("instance: bench\ndir: %s\ncontrol:\n  socket: %s/s\n%s", dir, dir, conf)
	if err := os.WriteFile(d.conf, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	d.start()
	return d
}

func (d *daemonRun) start() {
	d.b.Helper()
	out, err := os.OpenFile(filepath.Join(d.dir, "out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.b.Fatal(err)
	}
	defer out.Close()
	d.cmd = exec.Command(d.program, "run", "-c", d.conf)
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = d.dir, out, out
	if err := d.cmd.Start(); err != nil {
		d.b.Fatal(err)
	}
}

// end stops etcd and the daemon in order, and removes its folder.
func (d *daemonRun) end() {
	defer os.RemoveAll(d.dir)
	_ = d.cmd.Process.Signal(unix.SIGTERM)
	kill := time.AfterFunc(20*time.Second, func() { _ = d.cmd.Process.Kill() })
	defer kill.Stop()
	if err := d.cmd.Wait(); err != nil {
		out, _ := os.ReadFile(filepath.Join(d.dir, "out"))
		d.b.Errorf("etcdsup: %v\n%s", err, out[max(0, len(out)-4000):])
	}
}

// ready waits until the daemon answers and says that its child is ready.
func (d *daemonRun) ready() *status.Status {
	d.b.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); <-poll.C {
		st, err := d.client.Status(context.Background(), false)
		if err == nil && st.Ready && st.Process != nil {
			return st
		}
	}
	out, _ := os.ReadFile(filepath.Join(d.dir, "out"))
	d.b.Fatalf("not ready within a minute:\n%s", out[max(0, len(out)-4000):])
	return nil
}

// stampChild is the C program that tells its first instruction's time, and that is the bare loop too.
func stampChild(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "child")
	out, err := exec.Command("cc", "-O2", "-static", "-o", path, "../../supervisor/process/testdata/child.c").CombinedOutput()
	if err != nil {
		b.Fatalf("needs a C compiler: %v\n%s", err, out)
	}
	return path
}

// restarts is one that starts the stamp child again and again.
type restarts struct {
	fifo *os.File
	name string
	pid  int
}

func newRestarts(b *testing.B, name string) *restarts {
	b.Helper()
	r := &restarts{name: filepath.Join(b.TempDir(), name)}
	if err := unix.Mkfifo(r.name, 0o600); err != nil {
		b.Fatal(err)
	}
	fd, err := unix.Open(r.name, unix.O_RDWR|unix.O_CLOEXEC, 0) // blocking, and never at its end
	if err != nil {
		b.Fatal(err)
	}
	r.fifo = os.NewFile(uintptr(fd), r.name)
	b.Cleanup(func() { _ = r.fifo.Close() })
	return r
}

func (r *restarts) argument() string { return "--stamp=" + r.name }

// next waits for the next child's first instruction.
func (r *restarts) next(b *testing.B) time.Duration {
	b.Helper()
	var rec [16]byte
	n, err := 0, error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(r.fifo.Fd()), Events: unix.POLLIN}}, 30_000)
	}
	if n != 1 {
		b.Fatalf("no child within 30 s: %v", err)
	}
	if _, err := r.fifo.Read(rec[:]); err != nil {
		b.Fatal(err)
	}
	r.pid = int(binary.NativeEndian.Uint64(rec[8:]))
	return time.Duration(binary.NativeEndian.Uint64(rec[:]))
}

// restart kills the child and gives the time to the first instruction of the next one.
func (r *restarts) restart(b *testing.B) time.Duration {
	b.Helper()
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	_ = unix.Kill(r.pid, unix.SIGKILL)
	return r.next(b) - time.Duration(t.Nano())
}

// standInConf is the configuration of a stand-in child.
func standInConf(program, argument string) string {
	name, value, _ := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
	return fmt.Sprintf("etcd:\n  binary: %s\n  verify: false\n  args:\n    %s: %s\nhealth:\n  ready: started\n", program, name, value)
}

// BenchmarkRestart is the time from SIGKILL of the child to the first instruction of the next, of the whole daemon
// and of a bare vfork, exec and wait loop in C, by turns. The child has run for 3.2 s; for 50 ms, so that there are many rounds; or for
// 20 s, so that the daemon has given its memory back and must fetch it again.
func BenchmarkRestart(b *testing.B) {
	program, child := shipped(b), stampChild(b)
	for _, c := range []struct {
		name string
		ran  time.Duration
	}{{"ran=3.2s", 3200 * time.Millisecond}, {"ran=50ms", 50 * time.Millisecond}, {"ran=20s", 20 * time.Second}} {
		b.Run(c.name, func(b *testing.B) { benchRestart(b, program, child, c.ran) })
	}
}

func benchRestart(b *testing.B, program, child string, ran time.Duration) {
	bare, ours := newRestarts(b, "bare"), newRestarts(b, "ours")
	loop := exec.Command(child, "loop", child, bare.argument())
	if err := loop.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = unix.Kill(bare.pid, unix.SIGTERM) // which ends the loop too
		_ = loop.Wait()
	}()
	bare.next(b)
	d := newDaemonRun(b, program, standInConf(child, ours.argument())+"restart:\n  delay: 0\n  max_delay: 0\n  per_hour: 3600\n")
	ours.next(b)
	d.ready()
	rest := time.NewTicker(ran)
	defer rest.Stop()
	var x, y []time.Duration
	var ratio []float64
	for b.Loop() {
		<-rest.C
		x, y = append(x, bare.restart(b)), append(y, ours.restart(b))
		ratio = append(ratio, float64(y[len(y)-1])/float64(x[len(x)-1]))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(middle(ratio), "×bare-paired")
	b.ReportMetric(float64(quantile(y, 0.5))/float64(quantile(x, 0.5)), "×bare-p50")
	b.ReportMetric(float64(quantile(y, 0.9))/float64(quantile(x, 0.9)), "×bare-p90")
	b.ReportMetric(float64(quantile(x, 0.5).Microseconds()), "bare-µs")
	b.ReportMetric(float64(quantile(y, 0.5).Microseconds()), "µs")
}

func middle(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func quantile(d []time.Duration, at float64) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[int(float64(len(s)-1)*at)]
}

// footprint is what a process holds and how often its threads have slept so far.
type footprint struct{ rssKB, ussKB, switches int }

func footprintOf(b *testing.B, pid int) (f footprint) {
	b.Helper()
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	f.rssKB = field(rollup, "Rss:")
	f.ussKB = field(rollup, "Private_Clean:") + field(rollup, "Private_Dirty:")
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, t := range threads {
		text, _ := os.ReadFile(t) // a thread that has ended meanwhile sleeps no more
		f.switches += field(text, "voluntary_ctxt_switches:")
	}
	return f
}

func field(text []byte, name string) int {
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) >= 2 && string(f[0]) == name {
			n := 0
			_, _ = fmt.Sscan(string(f[1]), &n)
			return n
		}
	}
	return 0
}

// BenchmarkIdle is what the daemon costs while nothing happens, over a minute: with the built-in etcd and a probe every
// 10 s, and with a stand-in. The child that only sleeps is the measure beside it. One round takes a minute and a half.
func BenchmarkIdle(b *testing.B) {
	program, child := shipped(b), stampChild(b)
	stamps := newRestarts(b, "stamps")
	for _, c := range []struct{ name, conf string }{
		{"etcd", builtinConf(b)}, {"stand-in", standInConf(child, stamps.argument())},
	} {
		b.Run(c.name, func(b *testing.B) { benchIdle(b, program, c.conf) })
	}
}

// settled is longer than the daemon waits before it gives memory back.
const settled, watched = 30 * time.Second, time.Minute

func benchIdle(b *testing.B, program, conf string) {
	d := newDaemonRun(b, program, conf)
	sleeper := d.ready().Process.PID
	for b.Loop() {
		<-time.After(settled)
		before, child := footprintOf(b, d.cmd.Process.Pid), footprintOf(b, sleeper)
		<-time.After(watched)
		after := footprintOf(b, d.cmd.Process.Pid)
		b.ReportMetric(float64(after.rssKB)/1024, "RSS-MiB")
		b.ReportMetric(float64(after.ussKB)/1024, "USS-MiB")
		b.ReportMetric(float64(after.rssKB)/float64(child.rssKB), "RSS×child")
		b.ReportMetric(float64(after.switches-before.switches)/watched.Minutes(), "wakeups/min")
	}
	b.ReportMetric(0, "ns/op")
}

// builtinConf is a built-in etcd on ports that are free now.
func builtinConf(b *testing.B) string {
	b.Helper()
	return fmt.Sprintf("etcd:\n  args:\n    listen-client-urls: %[1]s\n    advertise-client-urls: %[1]s\n"+
		"    listen-peer-urls: %[2]s\n    initial-advertise-peer-urls: %[2]s\n", freeURL(b), freeURL(b))
}

func freeURL(b *testing.B) string { return freeURLAt(b, "127.0.0.1") }

func freeURLAt(b *testing.B, addr string) string {
	b.Helper()
	l, err := net.Listen("tcp", addr+":0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// BenchmarkTakeOver is the time from SIGKILL of the daemon, and its start again at once, until status says that the
// same etcd is ready. The measure beside it is the same program's version command: the start of the executable alone.
func BenchmarkTakeOver(b *testing.B) {
	program := shipped(b)
	d := newDaemonRun(b, program, builtinConf(b))
	etcd := d.ready().Process.PID
	var took, start []time.Duration
	for b.Loop() {
		start = append(start, timed(func() { _ = exec.Command(program, "version").Run() }))
		took = append(took, timed(func() {
			_ = d.cmd.Process.Kill()
			_ = d.cmd.Wait()
			d.start()
			if pid := d.ready().Process.PID; pid != etcd {
				b.Fatalf("etcd is %d now, not %d", pid, etcd)
			}
		}))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(quantile(took, 0.5))/float64(quantile(start, 0.5)), "×version")
	b.ReportMetric(float64(quantile(took, 0.5).Milliseconds()), "ms-p50")
	b.ReportMetric(float64(quantile(took, 1).Milliseconds()), "ms-max")
}

func timed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}
