package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

func sampleEntry(n int) Entry {
	who := status.Actor{UID: 0, PID: 4711, User: "root"}
	return Entry{Actor: who, Kind: KindCommand, Text: nth(n), Data: map[string]string{"mode": "join"}}
}

func auditOpened(t testing.TB, path string) *Audit {
	t.Helper()
	a, err := OpenAudit(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// auditOf is a closed audit log of n entries.
func auditOf(t testing.TB, n int) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "audit.jsonl")
	a := auditOpened(t, path)
	for i := range n {
		_, err := a.Append(sampleEntry(i + 1))
		must(t, err)
	}
	must(t, a.Close())
	return path
}

// broken is how the chain of these bytes breaks, nil when it holds.
func broken(t testing.TB, data []byte) *ChainError {
	t.Helper()
	_, _, err := verify(bytes.NewReader(data))
	var b *ChainError
	if err != nil && !errors.As(err, &b) {
		t.Fatal(err)
	}
	return b
}

func TestAuditGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "audit.jsonl")
	at := time.Date(2026, 11, 23, 1, 15, 0, 7, time.FixedZone("", 3600))
	var all []Entry
	for range 3 {
		a := auditOpened(t, path)
		if _, err := OpenAudit(path); !errors.Is(err, ErrLocked) {
			t.Errorf("opened twice: %v", err)
		}
		for range 2 {
			e := sampleEntry(len(all) + 1)
			e.At, e.Hash, e.Prev, e.Seq = at, "forged", "forged", 99
			got, err := a.Append(e)
			must(t, err)
			all = append(all, got)
		}
		if seq, head := a.Head(); seq != uint64(len(all)) || head != all[len(all)-1].Hash {
			t.Errorf("head %d, %s", seq, head)
		}
		must(t, a.Close())
	}
	for i, e := range all {
		prev := genesis
		if i > 0 {
			prev = all[i-1].Hash
		}
		want := sampleEntry(i + 1)
		want.Seq, want.At, want.Prev, want.Hash = uint64(i+1), at.UTC(), prev, e.Hash
		same(t, nth(i), e, want)
	}
	got, bad, err := ReadAudit(path, 0)
	must(t, err)
	same(t, "read back", got, all)
	r, err := Verify(path)
	must(t, err)
	same(t, "report", r, Report{Entries: 6, FirstAt: at.UTC(), LastAt: at.UTC(), Head: all[5].Hash})
	got, _, err = ReadAudit(path, 2)
	must(t, err)
	same(t, "newest", got, all[4:])
	if info, err := os.Stat(path); err != nil || bad != 0 || info.Mode() != 0o600 {
		t.Errorf("%d bad, mode %v, %v", bad, info.Mode(), err)
	}
}

func TestAuditThatIsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if _, err := Verify(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("verified: %v", err)
	}
	if got, bad, err := ReadAudit(path, 5); err != nil || bad > 0 || len(got) > 0 {
		t.Errorf("read %+v, %d bad, %v", got, bad, err)
	}
	must(t, auditOpened(t, path).Close())
	r, err := Verify(path)
	must(t, err)
	same(t, "empty", r, Report{Head: genesis})
}

// TestEveryByteCounts: any byte that was changed, taken out or put in is found.
func TestEveryByteCounts(t *testing.T) {
	data := contents(t, auditOf(t, 3))
	if b := broken(t, data); b != nil {
		t.Fatal(b)
	}
	for i := range data {
		line := bytes.Count(data[:i], []byte("\n")) + 1
		for _, flip := range []byte{1, 2, 0x20, 0x80} {
			changed := slices.Clone(data)
			changed[i] ^= flip
			if b := broken(t, changed); b == nil || b.Line != line {
				t.Fatalf("byte %d, flipped %x, of line %d: %v", i, flip, line, b)
			}
		}
		if b := broken(t, slices.Delete(slices.Clone(data), i, i+1)); b == nil {
			t.Fatalf("byte %d taken out", i)
		}
	}
	for i := range len(data) + 1 {
		for _, c := range []byte("\n x0\x00") {
			if b := broken(t, slices.Insert(slices.Clone(data), i, c)); b == nil {
				t.Fatalf("%q put in before byte %d", c, i)
			}
		}
	}
}

func TestBreaksAreNamed(t *testing.T) {
	path := auditOf(t, 6)
	lines := bytes.SplitAfter(contents(t, path), []byte("\n"))[:6]
	other := bytes.SplitAfter(contents(t, auditOf(t, 6)), []byte("\n"))[:6] // the same, at other times
	for _, tt := range []struct {
		name  string
		lines [][]byte
		line  int
		how   Break
		words string
	}{
		{"one taken out", slices.Concat(lines[:2], lines[3:]), 3, BreakMissing, "entry 3 is"},
		{"two taken out", slices.Concat(lines[:2], lines[4:]), 3, BreakMissing, "entries 3 to 4 are"},
		{"beginning taken out", lines[2:], 1, BreakMissing, "entries 1 to 2"},
		{"exchanged", slices.Concat(lines[:2], [][]byte{lines[3], lines[2]}, lines[4:]), 3, BreakOrder, "entry 3 comes later"},
		{"doubled", slices.Concat(lines[:3], lines[2:]), 4, BreakOrder, "entry 3 is here"},
		{"edited", slices.Concat(lines[:2], [][]byte{bytes.Replace(lines[2], []byte("root"), []byte("evil"), 1)}, lines[3:]), 3, BreakChanged, "not what"},
		{"of another log", slices.Concat(lines[:2], [][]byte{other[2]}, lines[3:]), 3, BreakChanged, "written anew"},
		{"too long", slices.Concat(lines[:2], [][]byte{bytes.Repeat([]byte("x"), 3*auditLine), []byte("\n")}, lines[3:]), 3, BreakChanged, "not what"},
		{"end cut", slices.Concat(lines[:2], [][]byte{lines[2][:50]}), 3, BreakTorn, "no end"},
		{"long without end", slices.Concat(lines[:2], [][]byte{bytes.Repeat([]byte("x"), 3*auditLine)}), 3, BreakTorn, "no end"},
	} {
		put(t, path, bytes.Join(tt.lines, nil))
		var r Report
		var err error
		synctest.Test(t, func(*testing.T) { r, err = Verify(path) }) // which waits for what is unfinished
		var b *ChainError
		if !errors.As(err, &b) || b.Line != tt.line || b.Break != tt.how || !strings.Contains(b.Detail, tt.words) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if r.Entries != tt.line-1 {
			t.Errorf("%s: %d entries hold", tt.name, r.Entries)
		}
	}
}

// TestAuditCutAtEveryByte: the chain goes on from the last whole line, what was unfinished is kept, and that is told.
func TestAuditCutAtEveryByte(t *testing.T) {
	data := contents(t, auditOf(t, 3))
	root := quickDir(t)
	for n := range len(data) + 1 {
		dir := filepath.Join(root, fmt.Sprint(n))
		path := filepath.Join(dir, "audit.jsonl")
		must(t, os.Mkdir(dir, 0o700))
		put(t, path, data[:n])
		must(t, auditOpened(t, path).Close())
		whole := bytes.LastIndexByte(data[:n], '\n') + 1
		r, err := Verify(path)
		must(t, err)
		want := bytes.Count(data[:n], []byte("\n"))
		if whole < n {
			want++
			e, _, err := ReadAudit(path, 1)
			if must(t, err); e[0].Kind != KindLog || e[0].Actor != Self() || !bytes.Equal(contents(t, e[0].Data["kept"]), data[whole:n]) {
				t.Fatalf("cut at %d: told %+v", n, e)
			}
		}
		if r.Entries != want || !bytes.HasPrefix(contents(t, path), data[:whole]) {
			t.Fatalf("cut at %d: %d entries, want %d", n, r.Entries, want)
		}
		must(t, os.RemoveAll(dir))
	}
}

// TestAuditThatCannotBeGoneOnWith is set aside whole, and another begun that tells so.
func TestAuditThatCannotBeGoneOnWith(t *testing.T) {
	lines := bytes.SplitAfter(contents(t, auditOf(t, 4)), []byte("\n"))[:4]
	for name, data := range map[string][]byte{
		"two bad lines":      bytes.Join([][]byte{lines[0], []byte("a\n"), []byte("b\n")}, nil),
		"bad and unfinished": bytes.Join([][]byte{lines[0], []byte("a\n"), []byte("b")}, nil),
		"lost line end":      bytes.Join([][]byte{lines[0], bytes.TrimSpace(lines[1]), lines[2]}, nil),
		"all bad":            []byte("a\nb\n"),
		"much garbage":       bytes.Join([][]byte{lines[0], make([]byte, 3*auditLine)}, nil),
	} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		put(t, path, data)
		a := auditOpened(t, path)
		if _, err := OpenAudit(path); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: the new one is not locked: %v", name, err)
		}
		_, err := a.Append(sampleEntry(1))
		must(t, err)
		got, _, err := ReadAudit(path, 0)
		must(t, err)
		if len(got) != 2 || got[0].Seq != 1 || got[0].Kind != KindLog || !bytes.Equal(contents(t, got[0].Data["kept"]), data) {
			t.Errorf("%s: %+v", name, got)
		}
		if r, err := Verify(path); err != nil || r.Entries != 2 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestAuditReadsPastBadLines(t *testing.T) {
	path := auditOf(t, 4)
	lines := bytes.SplitAfter(contents(t, path), []byte("\n"))[:4]
	lines[2] = []byte("garbage\n")
	put(t, path, append(bytes.Join(lines, nil), "torn"...))
	got, bad, err := ReadAudit(path, 0)
	must(t, err)
	if len(got) != 3 || bad != 2 || got[2].Seq != 4 {
		t.Errorf("%d bad, %+v", bad, got)
	}
	if got, bad, err = ReadAudit(path, 2); err != nil || len(got) != 1 || bad != 1 {
		t.Errorf("newest: %+v, %d bad, %v", got, bad, err)
	}
}

func TestAuditEntryOfAnyBytes(t *testing.T) {
	path := auditOf(t, 0)
	a := auditOpened(t, path)
	e := sampleEntry(1)
	e.Text, e.Data = "a\xffb\n<c>\u2028", map[string]string{"\xff": "\x00"}
	got, err := a.Append(e)
	if must(t, err); got.Text != "a\ufffdb\n<c>\u2028" {
		t.Errorf("text %q", got.Text)
	}
	e.Text = strings.Repeat("x", auditLine)
	if _, err := a.Append(e); err == nil {
		t.Error("an entry of any length is taken")
	}
	_, err = a.Append(sampleEntry(2))
	must(t, err)
	if r, err := Verify(path); err != nil || r.Entries != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestVerifyWhileWriting: whoever looks on while entries are added sees a log that holds.
func TestVerifyWhileWriting(t *testing.T) {
	path := auditOf(t, 1)
	a := auditOpened(t, path)
	written := make(chan error, 1)
	go func() { // ends after its entries
		var err error
		for i := 0; i < 100 && err == nil; i++ {
			e := sampleEntry(i)
			e.Data["long"] = strings.Repeat("x", 10000) // of several pages
			_, err = a.Append(e)
		}
		written <- err
	}()
	for n := 0; ; n++ {
		select {
		case err := <-written:
			must(t, err)
			t.Logf("%d verified meanwhile", n)
			return
		default:
		}
		if _, err := Verify(path); err != nil {
			t.Error(err)
		}
	}
}

func TestAuditOfMany(t *testing.T) {
	path := auditOf(t, 1)
	a := auditOpened(t, path)
	together(8, func() {
		if _, err := a.Append(sampleEntry(2)); err != nil {
			t.Error(err)
		}
	})
	if r, err := Verify(path); err != nil || r.Entries != 9 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAuditOnAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	dir := smallDisk(t, "64k")
	path := filepath.Join(dir, "audit.jsonl")
	a := auditOpened(t, path)
	_, err := a.Append(sampleEntry(1))
	must(t, err)
	empty := fill(t, dir)
	long := sampleEntry(2)
	long.Text = longText()
	if _, err := a.Append(long); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("on a full disk: %v", err)
	}
	if r, err := Verify(path); err != nil || r.Entries != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	empty()
	_, err = a.Append(long)
	must(t, err)
	if r, err := Verify(path); err != nil || r.Entries != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestAuditReplaced: somebody removes, edits or rotates the file of an audit log that is open. What comes after is not
// written where nobody finds it, and what is missing shows.
func TestAuditReplaced(t *testing.T) {
	for name, c := range map[string]struct {
		replace func(path string) error
		broken  bool
	}{
		"removed":      {os.Remove, true},
		"moved":        {func(path string) error { return os.Rename(path, path+".1") }, true},
		"same content": {func(path string) error { return rewritten(path, func(b []byte) []byte { return b }) }, false},
		"end cut off": {func(path string) error {
			return rewritten(path, func(b []byte) []byte { return b[:len(b)-1-len(b)/3] })
		}, true},
		"garbage": {func(path string) error { return rewritten(path, func([]byte) []byte { return []byte("a\nb\nc") }) }, true},
	} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		a := auditOpened(t, path)
		for n := range 3 {
			if _, err := a.Append(sampleEntry(n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.replace(path); err != nil {
			t.Fatal(err)
		}
		e, err := a.Append(sampleEntry(3))
		if err != nil || e.Seq != 5 { // 4 tells of it
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		entries, _, err := ReadAudit(path, 2)
		if err != nil || len(entries) != 2 || entries[0].Kind != KindLog || entries[1].Hash != e.Hash {
			t.Errorf("%s: the file ends with %+v, %v", name, entries, err)
		}
		_, err = Verify(path)
		if _, broken := errors.AsType[*ChainError](err); broken != c.broken {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// rewritten puts another file with changed content in the place of one.
func rewritten(path string, change func([]byte) []byte) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".edited", change(b), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".edited", path)
}
