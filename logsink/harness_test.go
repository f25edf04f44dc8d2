package logsink

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary plays the other processes too.
const roleEnv = "LOGSINK_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "writer":
		playWriter()
	case "pump":
		playPump()
	case "bench":
		playBench()
	default:
		code := m.Run()
		if feedPath != "" {
			_ = os.RemoveAll(filepath.Dir(feedPath))
		}
		if code == 0 {
			if err := goleak.Find(goleak.IgnoreTopFunction(
				"gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun")); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
		os.Exit(code)
	}
}

func long() bool { return os.Getenv("ETCDSUP_LONG") != "" }

// stream is an endless sequence of numbered lines of varied length, the same
// for the same seed.
type stream struct {
	rnd  *rand.Rand
	seq  int
	rest []byte
	max  int
}

func newStream(seed uint64, longest int) *stream {
	return &stream{rnd: rand.New(rand.NewPCG(seed, 7)), max: longest}
}

const filler = "abcdefghijklmnopqrstuvwxyz0123456789-abcdefghijklmnopqrstuvwxyz_"

func (s *stream) line() []byte {
	s.seq++
	n := s.rnd.IntN(300)
	if s.rnd.IntN(200) == 0 {
		n = s.rnd.IntN(s.max)
	}
	b := fmt.Appendf(nil, "%09d ", s.seq)
	for len(b) < n {
		b = append(b, filler...)
	}
	return append(b, '\n')
}

func (s *stream) Read(p []byte) (int, error) {
	for len(s.rest) < len(p) {
		s.rest = append(s.rest, s.line()...)
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// playWriter writes the stream to its standard output in pieces of all sizes
// until its standard input is closed, ends the line, and says how much it was.
func playWriter() {
	seed, _ := strconv.ParseUint(os.Getenv("LOGSINK_TEST_SEED"), 10, 64)
	limit, _ := strconv.ParseInt(os.Getenv("LOGSINK_TEST_LIMIT"), 10, 64)
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	s, total := newStream(seed, 20000), int64(0)
	sizes := []int{1, 1, 2, 7, 15, 16, 17, 31, 100, 1000, 4096, 5000, 65536, 300000}
	rnd := rand.New(rand.NewPCG(seed, 99))
	write := func(b []byte) {
		n, err := os.Stdout.Write(b)
		total += int64(n)
		if err != nil {
			os.Exit(3)
		}
	}
	for stopped := false; !stopped; {
		select {
		case <-stop:
			stopped = true
		default:
			size := sizes[rnd.IntN(len(sizes))]
			b := make([]byte, size)
			for range 1 + 3000/size {
				_, _ = s.Read(b)
				write(b)
			}
			if limit > 0 && total >= limit {
				<-stop
			}
		}
	}
	if i := strings.IndexByte(string(s.rest), '\n'); i >= 0 {
		write(s.rest[:i+1])
	} else {
		write(s.line())
	}
	fmt.Fprintln(os.Stderr, total)
	os.Exit(0)
}

// playPump takes the pipe over and pumps until it is killed.
func playPump() {
	pid, _ := strconv.Atoi(os.Getenv("LOGSINK_TEST_PID"))
	p, err := RecoverPipe(pid)
	if err == nil {
		_, err = Start(p, testOptions(os.Getenv("LOGSINK_TEST_FILE")))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	fmt.Println("pumping")
	select {}
}

func testOptions(file string) Options {
	return Options{File: file, MaxSize: 3 << 20, Sync: 5 * time.Millisecond, Compress: strings.Contains(file, "gz"), MaxWait: -1}
}

// writer is a running playWriter.
type writer struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	total *strings.Builder
}

func startWriter(t testing.TB, p *Pipe, seed uint64, limit int64) *writer {
	t.Helper()
	w := &writer{cmd: exec.Command(os.Args[0]), total: new(strings.Builder)}
	w.cmd.Env = append(os.Environ(), roleEnv+"=writer", fmt.Sprintf("LOGSINK_TEST_SEED=%d", seed), fmt.Sprintf("LOGSINK_TEST_LIMIT=%d", limit))
	w.cmd.Stdout, w.cmd.Stderr = p.FIFO, w.total
	w.cmd.ExtraFiles = []*os.File{p.Ledger, p.Ledger} // the second is LedgerFD
	var err error
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if w.cmd.ProcessState == nil {
			_ = w.cmd.Process.Kill()
			_ = w.cmd.Wait()
		}
	})
	return w
}

// finish lets the writer end its line and returns what it wrote in bytes.
func (w *writer) finish(t testing.TB) int64 {
	t.Helper()
	_ = w.stdin.Close()
	if err := w.cmd.Wait(); err != nil {
		t.Fatalf("writer: %v: %s", err, w.total)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(w.total.String()), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// logFiles returns all parts of a log in order, the current file last.
func logFiles(t testing.TB, path string) []string {
	t.Helper()
	list, err := listArchives(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range list {
		if a.compressed() {
			if _, err := os.Stat(strings.TrimSuffix(a.path, gzipSuffix)); err == nil {
				continue
			}
		}
		out = append(out, a.path)
	}
	if _, err := os.Stat(path); err == nil {
		out = append(out, path)
	}
	return out
}

func openPart(t testing.TB, path string) (io.Reader, func()) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(path, gzipSuffix) {
		return f, func() { _ = f.Close() }
	}
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	return z, func() { _ = f.Close() }
}

func readLog(t testing.TB, path string) []byte {
	t.Helper()
	var all []byte
	for _, part := range logFiles(t, path) {
		r, done := openPart(t, part)
		b, err := io.ReadAll(r)
		done()
		if err != nil {
			t.Fatalf("%s: %v", part, err)
		}
		all = append(all, b...)
	}
	return all
}

// compareStream checks that the log is the first total bytes of a stream, and
// that each part ends with a line's end.
func compareStream(t testing.TB, path string, s io.Reader, total int64) {
	t.Helper()
	var at int64
	want := make([]byte, 64<<10)
	got := make([]byte, 64<<10)
	for _, part := range logFiles(t, path) {
		r, done := openPart(t, part)
		last := byte('\n')
		for {
			n, err := io.ReadFull(r, got)
			_, _ = io.ReadFull(s, want[:n])
			for i := range n {
				if got[i] != want[i] {
					done()
					t.Fatalf("%s differs at byte %d of the stream: %q instead of %q", filepath.Base(part),
						at+int64(i), clip(got[i:n]), clip(want[i:n]))
				}
			}
			at += int64(n)
			if n > 0 {
				last = got[n-1]
			}
			if err != nil {
				break
			}
		}
		done()
		if last != '\n' {
			t.Errorf("%s ends within a line", part)
		}
	}
	if at != total {
		t.Fatalf("the log has %d bytes, written were %d", at, total)
	}
}

func clip(b []byte) []byte { return b[:min(len(b), 60)] }

// patience bounds what a test waits for, on a machine that does much else.
const patience = 2 * time.Minute

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for cond by looking again and again.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func shut(c io.Closer) { _ = c.Close() }

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
