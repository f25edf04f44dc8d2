package supervisor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var someMark = Mark{
	ClusterID: "cdf818194e3a8c32", MemberID: "8e9e05c52164694d", Term: 2, Index: 15, Revision: 9,
	Dir: Fingerprint{Dir: FileID{0xfe00, 0x8a01}, DB: FileID{0xfe00, 0x8a07}, WAL: FileID{0xfe00, 0x8a05}, First: "0000000000000000-0000000000000000.wal"},
}

func anyMark(t *rapid.T) Mark {
	id := rapid.StringMatching(`([1-9a-f][0-9a-f]{0,15})?`)
	file := func(name string) FileID { return FileID{rapid.Uint64().Draw(t, name), rapid.Uint64().Draw(t, name)} }
	return Mark{
		ClusterID: id.Draw(t, "cluster"), MemberID: id.Draw(t, "member"),
		Term: rapid.Uint64().Draw(t, "term"), Index: rapid.Uint64().Draw(t, "index"), Revision: rapid.Int64Min(0).Draw(t, "revision"),
		Dir: Fingerprint{Dir: file("dir"), DB: file("db"), WAL: file("wal"), First: rapid.StringMatching(`([0-9a-f]{16}-[0-9a-f]{16}\.wal)?`).Draw(t, "first")},
	}
}

func TestMarkIsReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, seq := anyMark(t), rapid.Uint64().Draw(t, "seq")
		slot := encodeSlot(m, seq)
		if got, n, err := decodeMark(slot); err != nil || got != m || n != seq || len(slot) != slotSize {
			t.Fatalf("%+v became %+v, %d, %v", m, got, n, err)
		}
	})
}

func TestMarkFormIsAsDocumented(t *testing.T) {
	const want = "etcdsup-mark 1 seq=7 cluster=cdf818194e3a8c32 member=8e9e05c52164694d term=2 index=15 revision=9 " +
		"dir=fe00:8a01 db=fe00:8a07 wal=fe00:8a05 first=0000000000000000-0000000000000000.wal crc=132e77a9\n"
	if got := string(bytes.TrimRight(encodeSlot(someMark, 7), "\x00")); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// stored is a state folder with these marks saved one after the other.
func stored(t testing.TB, marks ...Mark) (*Marks, string) {
	t.Helper()
	dir := t.TempDir()
	m, aside, err := OpenMarks(dir)
	if aside != "" || err != nil || m.Mark() != (Mark{}) {
		t.Fatalf("a new folder has %+v, %q, %v", m.Mark(), aside, err)
	}
	for _, mark := range marks {
		m.now = mark
		if err := m.save(); err != nil {
			t.Fatal(err)
		}
	}
	return m, dir
}

func raised(n uint64) Mark {
	m := someMark
	m.Index += n
	return m
}

func TestMarkSurvivesTheProcess(t *testing.T) {
	var marks []Mark
	for i := range uint64(5) {
		marks = append(marks, raised(i))
		_, dir := stored(t, marks...)
		m, aside, err := OpenMarks(dir)
		if err != nil || aside != "" || m.Mark() != raised(i) {
			t.Errorf("after %d marks: %+v, %q, %v", len(marks), m.Mark(), aside, err)
		}
		if peeked, ok := PeekMark(dir); !ok || peeked != raised(i) {
			t.Errorf("peeked %+v", peeked)
		}
	}
}

// TestATornWriteLosesNothing cuts the write of a slot at each byte, and lets it come as anything.
func TestATornWriteLosesNothing(t *testing.T) {
	for _, before := range [][]Mark{{raised(0)}, {raised(0), raised(1)}, {raised(0), raised(1), raised(2)}} {
		m, dir := stored(t, before...)
		old, next := m.Mark(), raised(9)
		whole, err := os.ReadFile(MarkPath(dir))
		if err != nil {
			t.Fatal(err)
		}
		at, slot := int((m.seq+1)%2)*slotSize, encodeSlot(next, m.seq+1)
		line := bytes.IndexByte(slot, '\n') + 1
		for cut := range line {
			for name, tear := range map[string]func([]byte){
				"the rest stays":   func(b []byte) { copy(b, slot[:cut]) },
				"the rest is zero": func(b []byte) { clear(b[copy(b, slot[:cut]):slotSize]) },
				"the head is lost": func(b []byte) { copy(b[cut:], slot[cut:]) },
			} {
				torn := bytes.Clone(whole)
				tear(torn[at:])
				if got, _, err := decodeMark(torn); err != nil || got != old && (got != next || !bytes.Equal(torn[at:at+line], slot[:line])) {
					t.Fatalf("cut at %d of %d, %s: %+v, %v", cut, line, name, got, err)
				}
			}
		}
	}
}

func TestGarbageIsSetAsideAndSaid(t *testing.T) {
	bad := encodeSlot(someMark, 1)
	bad[20] ^= 1
	for name, content := range map[string][]byte{
		"nothing": {}, "zeros": make([]byte, 2*slotSize), "text": []byte("hello\n"), "a bit": bad,
		"another version": []byte(strings.Replace(string(encodeSlot(someMark, 1)), "etcdsup-mark 1", "etcdsup-mark 2", 1)),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(MarkPath(dir), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := PeekMark(dir); ok {
			t.Errorf("%s: peeked", name)
		}
		m, aside, err := OpenMarks(dir)
		if err != nil || m.Mark() != (Mark{}) {
			t.Errorf("%s: %+v, %v", name, m.Mark(), err)
		}
		if kept, err := os.ReadFile(aside); err != nil || !bytes.Equal(kept, content) {
			t.Errorf("%s: set aside as %q: %v", name, aside, err)
		}
		m.now = someMark
		if err := m.save(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again, ok := PeekMark(dir); !ok || again != someMark {
			t.Errorf("%s: then %+v", name, again)
		}
	}
	dir := t.TempDir() // a folder of that name is no mark either
	if err := os.Mkdir(MarkPath(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, aside, err := OpenMarks(dir); err != nil || aside == "" {
		t.Errorf("a folder: %q, %v", aside, err)
	}
}

func TestMarkIsMadeAnewWhereSomebodyDeletedIt(t *testing.T) {
	m, dir := stored(t, someMark)
	if err := os.Remove(MarkPath(dir)); err != nil {
		t.Fatal(err)
	}
	m.now = raised(1)
	if err := m.save(); err != nil {
		t.Fatal(err)
	}
	if got, ok := PeekMark(dir); !ok || got != raised(1) {
		t.Errorf("got %+v", got)
	}
}

// TestAResetKeepsTheOldMark: it is renamed, and the new one may be lower, another or none.
func TestAResetKeepsTheOldMark(t *testing.T) {
	other := Mark{ClusterID: "1", MemberID: "2", Index: 3}
	for _, to := range []Mark{{}, other} {
		m, dir := stored(t, raised(0), raised(7))
		aside, err := m.reset(to)
		if err != nil || filepath.Dir(aside) != dir {
			t.Fatalf("%q, %v", aside, err)
		}
		if old, _, err := readMark(aside); err != nil || old != raised(7) {
			t.Errorf("kept %+v, %v", old, err)
		}
		if got, ok := PeekMark(dir); got != to || ok == (to == Mark{}) || m.Mark() != to {
			t.Errorf("on disk %+v, %v, in memory %+v, want %+v", got, ok, m.Mark(), to)
		}
		if err := m.save(); err != nil { // one that was on its way writes nothing of the old
			t.Fatal(err)
		}
		if got, _ := PeekMark(dir); got != to {
			t.Errorf("after a late save %+v", got)
		}
		if again, err := m.reset(someMark); err != nil || (again == "") != (to == Mark{}) || again == aside && again != "" {
			t.Errorf("second reset: %q, %v", again, err)
		}
	}
}

func TestTheMarkOnlyRises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyMark(t), anyMark(t)
		got := a.raisedTo(b)
		if got.Term < a.Term || got.Index < a.Index || got.Revision < a.Revision || got.Term < b.Term || got.Index < b.Index || got.Revision < b.Revision {
			t.Fatalf("%+v, seen as %+v, became %+v", a, b, got)
		}
	})
}

// FuzzMark holds that nothing in the file can do more than be refused, and that a mark has one form.
func FuzzMark(f *testing.F) {
	f.Add([]byte{})
	f.Add(encodeSlot(someMark, 1))
	f.Add(append(encodeSlot(someMark, 2), encodeSlot(raised(1), 3)...))
	f.Add(append(make([]byte, slotSize), encodeSlot(Mark{}, 1)...))
	f.Add(sealed("etcdsup-mark 1 seq=07 cluster=- member=- term=1 index=1 revision=1 dir=0:0 db=0:0 wal=0:0 first=-"))
	f.Add(sealed("etcdsup-mark 1 seq=7 cluster=- member=- term=1 index=1 revision=18446744073709551615 dir=0:0 db=0:0 wal=0:0 first=-"))
	f.Add(sealed("etcdsup-mark 1 seq=7 cluster=0 member= term=-1 index=1 revision=1 dir=:0 db=0:0:0 wal=0 first"))
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, content := range [][]byte{file, sealed(strings.TrimSuffix(string(file), "\n"))} {
			m, seq, err := decodeMark(content)
			if err != nil {
				if m != (Mark{}) || seq != 0 {
					t.Errorf("refused, and gave %+v", m)
				}
				continue
			}
			line, _, _ := bytes.Cut(encodeSlot(m, seq), []byte("\n"))
			if !bytes.Contains(content, line) {
				t.Errorf("%+v is not what stands there", m)
			}
		}
	})
}

// sealed gives a line the sum that belongs to it: a fuzzer does not find it.
func sealed(text string) []byte { return fmt.Appendf(nil, "%s crc=%08x\n", text, sumOf(text)) }
