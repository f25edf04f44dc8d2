package logread

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// logDir is a log folder that a test writes the way etcdsup does.
type logDir struct {
	t   *testing.T
	dir string
	now time.Time // of the next rotation
}

func newLogDir(t *testing.T) *logDir {
	return &logDir{t: t, dir: t.TempDir(), now: at("2026-11-22T10:00:00Z")}
}

func (d *logDir) path(name string) string { return filepath.Join(d.dir, name) }

func (d *logDir) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *logDir) write(name, text string) {
	d.t.Helper()
	f, err := os.OpenFile(d.path(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	d.must(err)
	_, err = f.WriteString(text)
	d.must(errors.Join(err, f.Close()))
}

func (d *logDir) append(text string) { d.t.Helper(); d.write("etcd.log", text) }

// rotate renames the current file and makes a new one; it returns the archive's name.
func (d *logDir) rotate() string {
	d.t.Helper()
	d.now = d.now.Add(time.Minute)
	name := "etcd-" + d.now.Format(archiveTime) + ".log"
	d.append("")
	d.must(os.Rename(d.path("etcd.log"), d.path(name)))
	d.append("")
	return name
}

func (d *logDir) compress(name string) {
	d.t.Helper()
	plain, err := os.ReadFile(d.path(name))
	d.must(err)
	d.must(os.WriteFile(d.path(name+".gz.tmp"), []byte("half"), 0o644))
	d.must(os.WriteFile(d.path(name+".gz.tmp"), gzipped(d.t, plain), 0o644))
	d.must(os.Rename(d.path(name+".gz.tmp"), d.path(name+".gz")))
	d.must(os.Remove(d.path(name)))
}

func gzipped(t *testing.T, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(plain); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read is everything that Options ask for, as raw bytes.
func (d *logDir) read(o Options, block int64) string {
	d.t.Helper()
	r, err := open(d.dir, "etcd.log", o, block)
	d.must(err)
	defer r.Close()
	var out bytes.Buffer
	show := NewRenderer(&out, Raw, Style{})
	for line, err := range r.Lines(context.Background()) {
		d.must(err)
		d.must(show.Render(line))
	}
	d.must(show.Flush())
	return out.String()
}

func entry(level, ts, msg string) string {
	return fmt.Sprintf(`{"level":%q,"ts":%q,"msg":%q}`+"\n", level, ts, msg)
}

func TestReadAcrossFiles(t *testing.T) {
	d := newLogDir(t)
	d.append("one\ntwo\n")
	first := d.rotate()
	d.append("three\n")
	second := d.rotate()
	d.append("four\nfive without an end")
	d.compress(first)
	// An attempt at compression that was cut short lies beside the archive that it was to replace.
	d.must(os.WriteFile(d.path(second+".gz"), []byte("torn"), 0o644))
	for _, foreign := range []string{"etcd-notatime.log", "etcd-2026-11-22T10-00-00.000.txt", "etcdsup.log", "other-2026-11-22T10-00-00.000.log", "etcd-2026-11-22T10-00-00.000.log.gz.tmp"} {
		d.must(os.WriteFile(d.path(foreign), []byte("foreign\n"), 0o644))
	}
	if got, want := d.read(Options{}, firstBlock), "one\ntwo\nthree\nfour\nfive without an end"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := d.read(Options{Last: 3}, firstBlock), "three\nfour\nfive without an end"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := d.read(Options{Last: None}, firstBlock); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}

func TestReadFileWithoutLastNewlineDoesNotGlue(t *testing.T) {
	d := newLogDir(t)
	d.append("torn")
	d.rotate()
	d.append("next\n")
	if got, want := d.read(Options{}, firstBlock), "torn\nnext\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReadDamagedArchive(t *testing.T) {
	d := newLogDir(t)
	whole := gzipped(t, []byte(strings.Repeat("line of an archive\n", 20000)))
	d.must(os.WriteFile(d.path("etcd-2026-11-22T09-00-00.000.log.gz"), whole[:len(whole)-10], 0o644))
	d.must(os.WriteFile(d.path("etcd-2026-11-22T09-30-00.000.log.gz"), []byte("no gzip at all"), 0o644))
	d.append("current\n")
	var notices []string
	got := d.read(Options{Notice: func(s string) { notices = append(notices, s) }}, firstBlock)
	if !strings.HasPrefix(got, "line of an archive\n") || !strings.HasSuffix(got, "current\n") {
		t.Errorf("got %.40q … %q", got, got[max(0, len(got)-40):])
	}
	if len(notices) != 2 {
		t.Errorf("notices: %q", notices)
	}
}

func TestOpenWithoutLog(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(dir, "etcd.log", Options{})
	if err != nil || !r.Empty() {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "none"), "etcd.log", Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func TestFilters(t *testing.T) {
	d := newLogDir(t)
	d.append(entry("info", "2026-11-22T10:00:00Z", "a"))
	d.append(entry("error", "2026-11-22T10:01:00Z", "b") + "b's trace\n")
	d.rotate()
	d.append("trace goes on\n" + `{"level":"warn","ts":"2026-11-22T10:01:30Z","logger":"etcdsup","msg":"log output dropped"}` + "\n")
	d.append("after the gap\npanic: p\n\ngoroutine 1\n" + entry("info", "2026-11-22T10:03:00Z", "c"))
	level := Options{Level: LevelError}
	tests := map[string]struct {
		o    Options
		want []string
	}{
		"level": {level, []string{`"b"`, "b's trace", "trace goes on", "dropped", "panic: p", "", "goroutine 1"}},
		"since": {Options{Since: at("2026-11-22T10:01:30Z")}, []string{"dropped", "after the gap", "panic: p", "", "goroutine 1", `"c"`}},
		"until": {Options{Until: at("2026-11-22T10:01:00Z")}, []string{`"a"`, `"b"`, "b's trace", "trace goes on"}},
		"grep":  {Options{Grep: regexp.MustCompile("trace$")}, []string{"b's trace"}},
		"grep within a level": {Options{Level: LevelError, Grep: regexp.MustCompile("trace|panic")},
			[]string{"b's trace", "trace goes on", "panic: p"}},
		"last of a level": {Options{Level: LevelError, Last: 5}, []string{"trace goes on", "dropped", "panic: p", "", "goroutine 1"}},
		"nothing":         {Options{Level: LevelFatal, Since: at("2026-11-22T10:02:00Z")}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.o.Location = time.UTC
			var got []string
			for line := range strings.Lines(d.read(tt.o, firstBlock)) {
				got = append(got, strings.TrimSuffix(line, "\n"))
			}
			if !slices.EqualFunc(got, tt.want, strings.Contains) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// What was printed before any time is as old as its file.
func TestSinceKeepsLinesWithoutTimeInAFreshFile(t *testing.T) {
	d := newLogDir(t)
	d.append("flag provided but not defined: -x\nUsage:\n")
	if got := d.read(Options{Since: time.Now().Add(-time.Hour)}, firstBlock); !strings.Contains(got, "Usage") {
		t.Errorf("fresh file: %q", got)
	}
	old := time.Now().Add(-2 * time.Hour)
	d.must(os.Chtimes(d.path("etcd.log"), old, old))
	if got := d.read(Options{Since: time.Now().Add(-time.Hour)}, firstBlock); got != "" {
		t.Errorf("old file: %q", got)
	}
}

func TestSinceLeavesOldArchivesUnread(t *testing.T) {
	d := newLogDir(t)
	d.must(os.WriteFile(d.path("etcd-2026-11-22T09-00-00.000.log.gz"), []byte("damage that nobody should see"), 0o644))
	d.append(entry("info", "2026-11-22T10:00:00Z", "a"))
	notice := func(s string) { t.Errorf("touched: %s", s) }
	if got := d.read(Options{Since: at("2026-11-22T09:30:00Z"), Notice: notice}, firstBlock); !strings.Contains(got, `"a"`) {
		t.Errorf("got %q", got)
	}
	d.must(os.WriteFile(d.path("etcd-2026-11-22T12-00-00.000.log.gz"), []byte("more damage"), 0o644))
	d.must(os.Rename(d.path("etcd.log"), d.path("etcd-2026-11-22T11-00-00.000.log")))
	d.must(os.Remove(d.path("etcd-2026-11-22T09-00-00.000.log.gz")))
	if got := d.read(Options{Until: at("2026-11-22T10:30:00Z"), Notice: notice}, firstBlock); !strings.Contains(got, `"a"`) {
		t.Errorf("got %q", got)
	}
}

// rounds is how often a random test is repeated.
func rounds(ordinary, long int) int {
	if os.Getenv("ETCDSUP_LONG") == "1" {
		return long
	}
	return ordinary
}

// randomLog fills a folder with every kind of line over several files, some of them compressed.
func randomLog(t *testing.T, rnd *rand.Rand) *logDir {
	d := newLogDir(t)
	ts := at("2026-11-22T10:00:00Z")
	var archives []string
	for range 1 + rnd.IntN(5) {
		for range rnd.IntN(60) {
			ts = ts.Add(time.Duration(rnd.IntN(5000)) * time.Millisecond)
			d.append(randomLine(rnd, ts))
		}
		if rnd.IntN(4) > 0 {
			archives = append(archives, d.rotate())
		}
	}
	if rnd.IntN(3) == 0 {
		d.append("unfinished")
	}
	for _, name := range archives {
		if rnd.IntN(2) == 0 {
			d.compress(name)
		}
	}
	return d
}

func randomLine(rnd *rand.Rand, ts time.Time) string {
	switch rnd.IntN(8) {
	case 0:
		return "panic: p\n\n"
	case 1, 2, 3:
		return "\tcontinued " + strings.Repeat("x", rnd.IntN(100)) + "\n"
	case 4:
		return ts.Format("2006-01-02 15:04:05.000000") + " W | pkg: text\n"
	}
	return entry([]string{"info", "warn", "error"}[rnd.IntN(3)], ts.Format(time.RFC3339Nano), "m")
}

// The last n lines are the last n of what is shown without n, for every filter and however small the blocks are
// in which the files are read from their end.
func TestLastIsTheEndOfAll(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range rounds(10, 500) {
		d := randomLog(t, rnd)
		for _, o := range []Options{
			{}, {Plain: true}, {Level: LevelWarn}, {Level: LevelError, Plain: true}, {Since: at("2026-11-22T10:00:30Z")},
			{Grep: regexp.MustCompile("cont|panic")}, {Level: LevelError, Until: at("2026-11-22T10:02:00Z"), Grep: regexp.MustCompile("[a-z]")},
		} {
			o.Location = time.UTC
			all := slices.Collect(strings.Lines(d.read(o, firstBlock)))
			for _, n := range []int{1, 2, 3, 7, 20, 50, 1000} {
				o.Last = n
				want := strings.Join(all[max(0, len(all)-n):], "")
				if got := d.read(o, 1+rnd.Int64N(300)); got != want {
					t.Fatalf("%+v:\ngot\n%s\nwant\n%s", o, got, want)
				}
			}
		}
	}
}

// Lines that are shown from the middle on know the entry that they belong to.
func TestLastKnowsTheHead(t *testing.T) {
	d := newLogDir(t)
	d.append(entry("error", "2026-11-22T10:00:00Z", "a") + strings.Repeat("\ttrace\n", 100))
	d.rotate()
	d.append(strings.Repeat("\tmore trace\n", 100))
	r, err := open(d.dir, "etcd.log", Options{Last: 2}, 50)
	d.must(err)
	defer r.Close()
	n := 0
	for e, err := range r.Entries(context.Background()) {
		d.must(err)
		n++
		if e.Kind != KindMore || e.Level != LevelError || !e.Time.Equal(at("2026-11-22T10:00:00Z")) || e.Msg != "\tmore trace" {
			t.Errorf("got %+v", e)
		}
	}
	if n != 2 {
		t.Errorf("%d lines", n)
	}
}

func TestLongLines(t *testing.T) {
	d := newLogDir(t)
	long := `{"level":"error","ts":"2026-11-22T10:00:00Z","msg":"` + strings.Repeat("x", 3*MaxLine) + `"}` + "\n"
	text := "first\n" + long + "last\n" + strings.Repeat("\x00", 2*MaxLine+5) + "\xff\r\n"
	d.append(text)
	if d.read(Options{}, firstBlock) != text {
		t.Error("raw output is not what was written")
	}
	if got := d.read(Options{Last: 3}, firstBlock); got != strings.TrimPrefix(text, "first\n") {
		t.Errorf("the last 3 lines have %d bytes", len(got))
	}
	if got := d.read(Options{Grep: regexp.MustCompile(`"level"`)}, firstBlock); got != long {
		t.Errorf("a line that matches has %d bytes", len(got))
	}
	checkPretty(t, Line{Raw: []byte(long[:MaxLine]), Kind: KindJSON, Level: LevelError, Cut: true})
	checkJSON(t, Line{Raw: []byte(long[:MaxLine]), Kind: KindJSON, Level: LevelError, Cut: true})
	r := &lineReader{r: strings.NewReader(strings.Repeat("y", 6*MaxLine))}
	for _, err := r.next(); err == nil; _, err = r.next() {
		if len(r.buf) > 2*MaxLine {
			t.Fatalf("a line without an end takes %d bytes", len(r.buf))
		}
	}
}

func TestReadStopsWithTheContext(t *testing.T) {
	d := newLogDir(t)
	d.append(strings.Repeat("line\n", 100000))
	r, err := Open(d.dir, "etcd.log", Options{})
	d.must(err)
	defer r.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	for _, err := range r.Lines(ctx) {
		d.must(err)
		n++
		cancel()
	}
	if n > 5000 {
		t.Errorf("%d lines after the end", n)
	}
}

// TestOnlyFilesAreRead: the open of a FIFO would wait for somebody to write.
func TestOnlyFilesAreRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcd.log")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openIfThere(path); err == nil || !strings.Contains(err.Error(), "no file") {
		t.Errorf("a FIFO: %v", err)
	}
}
