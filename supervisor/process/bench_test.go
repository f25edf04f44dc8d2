package process

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkRestart measures the time from SIGKILL of a running child to the first instruction of the next, as a
// supervisor's loop would make it (one goroutine waits, another one starts), and beside it the same of a bare
// vfork, exec and wait loop in C. The two take turns, so that the machine's moods hit both.
//
//	go test -run '^$' -bench Restart -benchtime 500x ./supervisor/process
func BenchmarkRestart(b *testing.B) {
	child := filepath.Join(b.TempDir(), "child")
	if out, err := exec.Command("cc", "-O2", "-static", "-o", child, "testdata/child.c").CombinedOutput(); err != nil {
		b.Fatalf("needs a C compiler: %v\n%s", err, out)
	}
	yard, ours := newYardstick(b, child), newRestarter(b, child)
	defer yard.close()
	defer ours.close()
	rest := time.NewTicker(3 * time.Millisecond) // the child is at rest before it is killed
	defer rest.Stop()
	var a, c []time.Duration
	for b.Loop() {
		<-rest.C
		a = append(a, yard.restart(b))
		<-rest.C
		c = append(c, ours.restart(b))
	}
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}} {
		x, y := quantile(a, q.at), quantile(c, q.at)
		b.ReportMetric(float64(y)/float64(x), "x-of-bare-"+q.name)
		if q.name != "p90" {
			b.ReportMetric(float64(x.Microseconds()), "bare-us-"+q.name)
			b.ReportMetric(float64(y.Microseconds()), "us-"+q.name)
		}
	}
}

func quantile(d []time.Duration, at float64) time.Duration {
	s := slices.Clone(d)
	slices.Sort(s)
	return s[int(float64(len(s)-1)*at)]
}

// stamps reads what the children write first: their time and their PID.
type stamps struct {
	r, w *os.File
	pid  int
}

func newStamps(b *testing.B) stamps {
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	r.Fd() // blocking: the poller is not to wake up along with the supervisor
	return stamps{r: r, w: w}
}

func (s *stamps) next(b *testing.B) time.Duration {
	var rec [16]byte
	if _, err := s.r.Read(rec[:]); err != nil {
		b.Fatal(err)
	}
	s.pid = int(binary.NativeEndian.Uint64(rec[8:]))
	return time.Duration(binary.NativeEndian.Uint64(rec[:]))
}

// kill ends the child and gives the time of the next one's first instruction after that.
func (s *stamps) kill(b *testing.B) time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	syscall.Kill(s.pid, syscall.SIGKILL)
	return s.next(b) - time.Duration(t.Nano())
}

// yardstick is the C loop.
type yardstick struct {
	stamps
	cmd *exec.Cmd
}

func newYardstick(b *testing.B, child string) *yardstick {
	y := &yardstick{stamps: newStamps(b)}
	y.cmd = exec.Command(child, "loop", child, "stamp")
	y.cmd.Stdout, y.cmd.Env = y.w, []string{}
	if err := y.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	y.next(b)
	return y
}

func (y *yardstick) restart(b *testing.B) time.Duration { return y.kill(b) }

func (y *yardstick) close() {
	syscall.Kill(y.pid, syscall.SIGTERM) // the loop ends with it
	y.cmd.Wait()
	y.r.Close()
	y.w.Close()
}

// restarter is the shape of the supervisor's loop: the waiter tells the loop, the loop starts.
type restarter struct {
	stamps
	deaths chan Exit
	done   chan struct{}
	failed error
}

func newRestarter(b *testing.B, child string) *restarter {
	s := &restarter{stamps: newStamps(b), deaths: make(chan Exit), done: make(chan struct{})}
	spec := Spec{Path: child, Args: []string{child, "stamp"}, Output: s.w, Env: []string{}}
	go s.loop(spec)
	s.next(b)
	return s
}

func (s *restarter) loop(spec Spec) {
	defer close(s.done)
	for {
		p, err := Start(spec)
		if err != nil {
			s.failed = err
			s.w.Close()
			return
		}
		go func() { s.deaths <- p.Wait() }()
		e := <-s.deaths
		p.Close()
		if e.Signal != unix.SIGKILL {
			return
		}
	}
}

func (s *restarter) restart(b *testing.B) time.Duration { return s.kill(b) }

func (s *restarter) close() {
	syscall.Kill(s.pid, syscall.SIGTERM)
	<-s.done
	s.r.Close()
	s.w.Close()
	if s.failed != nil {
		fmt.Println(s.failed)
	}
}
