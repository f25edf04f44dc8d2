package logsink

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newSink starts a sink on a new pipe; both end with the test.
func newSink(t testing.TB, o Options, buffer int64) (*Sink, *Pipe) {
	t.Helper()
	if o.File == "" {
		o.File = filepath.Join(t.TempDir(), "etcd.log")
	}
	p := must[*Pipe](t)(NewPipe(buffer))
	s := must[*Sink](t)(Start(p, o))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		_ = p.Close()
	})
	return s, p
}

func say(t testing.TB, p *Pipe, text string) {
	t.Helper()
	if _, err := p.FIFO.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func drain(t testing.TB, s *Sink) {
	t.Helper()
	if err := s.Drain(deadline(t)); err != nil {
		t.Fatal(err)
	}
}

func rotate(t testing.TB, s *Sink) {
	t.Helper()
	if err := s.Rotate(deadline(t)); err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, path string) string {
	t.Helper()
	return string(must[[]byte](t)(os.ReadFile(path)))
}

func awaitEvent(t testing.TB, s *Sink, kind Kind) Event {
	t.Helper()
	end := time.After(patience)
	for {
		select {
		case e := <-s.Events():
			if e.Kind == kind {
				return e
			}
		case <-end:
			t.Fatalf("no event %q", kind)
		}
	}
}

func TestLinesArriveWithoutAnybodyAsking(t *testing.T) {
	s, p := newSink(t, Options{}, 0)
	say(t, p, "one\ntwo\nthr")
	file := s.Stats().File
	eventually(t, "whole lines are there", func() bool { b, _ := os.ReadFile(file); return string(b) == "one\ntwo\n" })
	say(t, p, "ee\n")
	eventually(t, "the third is there", func() bool { b, _ := os.ReadFile(file); return string(b) == "one\ntwo\nthree\n" })
}

func TestBoundaryEndsALine(t *testing.T) {
	s, p := newSink(t, Options{}, 0)
	for _, flush := range []bool{false, true} {
		say(t, p, "torn")
		if flush {
			drain(t, s)
		}
		for range 2 { // the second finds nothing to do
			if err := s.Boundary(); err != nil {
				t.Fatal(err)
			}
		}
		say(t, p, "next\n")
		drain(t, s)
	}
	if got := content(t, s.Stats().File); got != "torn\nnext\ntorn\nnext\n" {
		t.Errorf("%q", got)
	}
}

func TestTail(t *testing.T) {
	s, p := newSink(t, Options{}, 0)
	say(t, p, "a\nb\nc\n")
	drain(t, s)
	rotate(t, s)
	say(t, p, "d\ne\nunfin")
	eventually(t, "all is taken", func() bool { st := s.Stats(); return st.Size == 4 && st.Buffered == 5 })
	for n, want := range map[int]string{0: "", 1: "unfin", 2: "e,unfin", 3: "d,e,unfin", 5: "b,c,d,e,unfin", 99: "a,b,c,d,e,unfin"} {
		if got := strings.Join(s.Tail(n), ","); got != want {
			t.Errorf("Tail(%d) is %q, not %q", n, got, want)
		}
	}
}

func TestFileTakenAway(t *testing.T) {
	for name, take := range map[string]func(path string) error{
		"removed":   os.Remove,
		"renamed":   func(path string) error { return os.Rename(path, path+".1") },
		"truncated": func(path string) error { return os.Truncate(path, 0) },
		"folder":    func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "logs", "etcd.log")
			s, p := newSink(t, Options{File: file}, 0)
			say(t, p, "before\n")
			drain(t, s)
			if err := take(file); err != nil {
				t.Fatal(err)
			}
			say(t, p, "after\n")
			drain(t, s)
			all := content(t, file)
			if old, err := os.ReadFile(file + ".1"); err == nil {
				all = string(old) + all
			}
			want := "after\n"
			if name == "renamed" {
				want = "before\nafter\n"
			}
			if all != want {
				t.Errorf("%q instead of %q", all, want)
			}
			say(t, p, "more\n")
			drain(t, s)
			if got := content(t, file); !strings.HasSuffix(got, "more\n") || strings.Contains(got, "\x00") {
				t.Errorf("then %q", got)
			}
		})
	}
}

func TestRotationsInOneMillisecond(t *testing.T) {
	s, p := newSink(t, Options{}, 0)
	var want strings.Builder
	for i := range 200 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		say(t, p, line)
		drain(t, s)
		rotate(t, s)
	}
	rotate(t, s) // an empty file is left alone
	if got := string(readLog(t, s.Stats().File)); got != want.String() {
		t.Errorf("lines are lost or out of order: %d bytes of %d", len(got), want.Len())
	}
	if n := s.Stats().Rotations; n != 200 {
		t.Errorf("%d rotations", n)
	}
}

// A clock set back makes names that sort before older ones, or that exist.
func TestClockSetBack(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "etcd.log")
	older := archiveName(file, time.Now().Add(time.Hour))
	soon := archiveName(file, time.Now().Add(30*time.Millisecond))
	for _, name := range []string{older, soon + ".x", soon} {
		if err := os.WriteFile(name, []byte("old\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, p := newSink(t, Options{File: file}, 0)
	for i := range 60 { // through the time when soon is the present
		say(t, p, fmt.Sprintf("%d\n", i))
		drain(t, s)
		rotate(t, s)
	}
	want := "old\nold\n"
	for i := range 60 {
		want += fmt.Sprintf("%d\n", i)
	}
	if got := string(readLog(t, file)); got != want {
		t.Errorf("%q", got)
	}
}

func TestRotationByAge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "etcd.log")
	s, p := newSink(t, Options{File: file, RotateEvery: 100 * time.Millisecond}, 0)
	say(t, p, "old\n")
	e := awaitEvent(t, s, Rotated)
	if got := content(t, e.Path); got != "old\n" {
		t.Errorf("%q", got)
	}
	if st := must[os.FileInfo](t)(os.Stat(file)); st.Size() != 0 {
		t.Errorf("the new file has %d bytes", st.Size())
	}
}

func TestRetention(t *testing.T) {
	at := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	list := make([]archive, 10)
	for i := range list {
		list[i] = archive{at: at.Add(time.Duration(i) * time.Hour), size: 100}
	}
	now := at.Add(10 * time.Hour)
	for name, c := range map[string]struct {
		o    Options
		cur  int64
		want int
	}{
		"nothing said":   {Options{MaxSize: 100}, 50, 0},
		"count":          {Options{MaxSize: 100, KeepFiles: 4}, 50, 6},
		"age":            {Options{MaxSize: 100, KeepFor: 150 * time.Minute}, 50, 8},
		"total":          {Options{MaxSize: 100, KeepTotal: 650}, 50, 5},
		"small total":    {Options{MaxSize: 100, KeepTotal: 150}, 50, 9},
		"current alone":  {Options{MaxSize: 1000, KeepTotal: 150}, 500, 10},
		"total is ample": {Options{MaxSize: 100, KeepTotal: 5000}, 50, 0},
	} {
		if got := excess(list, &c.o, c.cur, now); got != c.want {
			t.Errorf("%s: %d removed, not %d", name, got, c.want)
		}
	}
}

func TestCompressionAndBudget(t *testing.T) {
	file := filepath.Join(t.TempDir(), "etcd.log")
	// An earlier process was killed while it compressed, and just after.
	half := archiveName(file, time.Now().Add(-time.Hour))
	done := archiveName(file, time.Now().Add(-2*time.Hour))
	for name, text := range map[string]string{half: "half\n", half + tempSuffix: "rubbish", done: "done\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("gzip", "-k", done).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s, p := newSink(t, Options{File: file, MaxSize: 100 << 10, Compress: true, KeepFiles: 50}, 0)
	want := "done\nhalf\n"
	src := newStream(1, 1000)
	for range 20 {
		b := make([]byte, 50000)
		_, _ = src.Read(b)
		say(t, p, string(b))
		want += string(b)
	}
	drain(t, s)
	eventually(t, "all is compressed", func() bool {
		list, _ := listArchives(file)
		for _, a := range list {
			if !a.compressed() {
				return false
			}
		}
		names, _ := filepath.Glob(filepath.Dir(file) + "/*.tmp")
		return len(list) == 11 && len(names) == 0
	})
	if got := string(readLog(t, file)); got != want {
		t.Errorf("%d bytes instead of %d", len(got), len(want))
	}
	eventually(t, "statistics are brought up to date", func() bool { return s.Stats().Archives == 11 })
	o := *s.opts.Load()
	o.KeepFiles = 3
	if err := s.Reconfigure(o); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three are left", func() bool { return s.Stats().Archives == 3 && len(logFiles(t, file)) == 4 })
}

func TestReconfigureMovesTheLog(t *testing.T) {
	s, p := newSink(t, Options{}, 0)
	say(t, p, "here\n")
	drain(t, s)
	old := s.Stats().File
	file := filepath.Join(t.TempDir(), "new", "etcd.log")
	if err := s.Reconfigure(Options{File: file}); err != nil {
		t.Fatal(err)
	}
	say(t, p, "there\n")
	drain(t, s)
	if a, b := content(t, old), content(t, file); a != "here\n" || b != "there\n" {
		t.Errorf("%q, %q", a, b)
	}
	if err := s.Reconfigure(Options{File: "relative"}); err == nil {
		t.Error("a relative path was accepted")
	}
}

func TestTornFileIsMended(t *testing.T) {
	file := filepath.Join(t.TempDir(), "etcd.log")
	if err := os.WriteFile(file, []byte("whole\ntor"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, p := newSink(t, Options{File: file}, 0)
	say(t, p, "new\n")
	drain(t, s)
	if got := content(t, file); got != "whole\ntor\nnew\n" {
		t.Errorf("%q", got)
	}
	awaitEvent(t, s, FileMended)
}

func TestLongLines(t *testing.T) {
	s, p := newSink(t, Options{MaxSize: 1 << 20}, 0)
	var want bytes.Buffer
	for i := range 6 {
		line := append(bytes.Repeat([]byte{byte('a' + i)}, 700<<10), '\n')
		want.Write(line)
		say(t, p, string(line))
	}
	drain(t, s)
	if got := readLog(t, s.Stats().File); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes instead of %d", len(got), want.Len())
	}
	for _, part := range logFiles(t, s.Stats().File) {
		if n := fileSize(part); n > 1<<20 && n != 700<<10+1 {
			t.Errorf("%s has %d bytes", part, n)
		}
	}
}

func TestOneSinkAtATime(t *testing.T) {
	s, p := newSink(t, Options{}, 0)
	if _, err := Start(p, Options{File: s.Stats().File}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second sink: %v", err)
	}
}

func TestClosedSink(t *testing.T) {
	s, _ := newSink(t, Options{}, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Drain(deadline(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("Drain: %v", err)
	}
	if err := s.Boundary(); !errors.Is(err, ErrClosed) {
		t.Errorf("Boundary: %v", err)
	}
	_, _ = s.Stats(), s.Tail(3)
}

func TestRecoverPipeRefuses(t *testing.T) {
	child := func(stdout, fd4 *os.File) int {
		cmd := exec.Command("/bin/cat")
		in := must2(cmd.StdinPipe())
		cmd.Stdout, cmd.ExtraFiles = stdout, []*os.File{fd4, fd4}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
		return cmd.Process.Pid
	}
	a, b := must[*Pipe](t)(newPipe(1<<20, 4096)), must[*Pipe](t)(newPipe(1<<20, 4096))
	defer shut(a)
	defer shut(b)
	null := must[*os.File](t)(os.OpenFile("/dev/null", os.O_RDWR, 0))
	defer shut(null)
	for name, pid := range map[string]int{"not a ledger": child(a.FIFO, null), "another pipe's": child(a.FIFO, b.Ledger)} {
		if _, err := RecoverPipe(pid); !errors.Is(err, ErrNoLedger) {
			t.Errorf("%s: %v", name, err)
		}
		p, err := RecoverFIFO(pid, 0)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = p.Close()
	}
	if _, err := RecoverPipe(child(null, a.Ledger)); err == nil || errors.Is(err, ErrNoLedger) {
		t.Errorf("standard output that is no pipe: %v", err)
	}
	p, err := RecoverPipe(child(a.FIFO, a.Ledger))
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
}

// TestKeepPipe goes on with descriptors that somebody else kept, when nobody is left who wrote into them.
func TestKeepPipe(t *testing.T) {
	p := must[*Pipe](t)(NewPipe(0))
	say(t, p, "the last words\n")
	kept := func(f *os.File) *os.File {
		return os.NewFile(uintptr(must[int](t)(unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0))), "kept")
	}
	fifo, ledger := kept(p.FIFO), kept(p.Ledger)
	other := must[*Pipe](t)(NewPipe(0))
	if _, err := KeepPipe(kept(p.FIFO), kept(other.Ledger)); err == nil {
		t.Error("another pipe's ledger was taken")
	}
	if _, err := KeepPipe(kept(p.Ledger), kept(p.Ledger)); err == nil {
		t.Error("a file that is no pipe was taken")
	}
	shut(other)
	shut(p)
	q := must[*Pipe](t)(KeepPipe(fifo, ledger))
	defer shut(q)
	file := filepath.Join(t.TempDir(), "etcd.log")
	s := must[*Sink](t)(Start(q, Options{File: file}))
	defer shut(s)
	drain(t, s)
	if text := content(t, file); text != "the last words\n" {
		t.Errorf("in the log: %q", text)
	}
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestQuiet: without output, no thread of the sink runs.
func TestQuiet(t *testing.T) {
	_, p := newSink(t, Options{RotateEvery: time.Hour, Sync: time.Second}, 0)
	say(t, p, "one line\n")
	waitFor(1200 * time.Millisecond) // the sync and the guard's last look
	// Other threads of the Go runtime account for a few, and for many while they collect what earlier tests left.
	least := int64(math.MaxInt64)
	for end := time.Now().Add(patience); least > 20; least = min(least, sleepsInASecond()) {
		if time.Now().After(end) {
			t.Fatalf("%d wake-ups in the quietest second", least)
		}
	}
}

func sleepsInASecond() int64 {
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	waitFor(time.Second)
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	return after.Nvcsw - before.Nvcsw
}

func waitFor(d time.Duration) { <-time.After(d) }
