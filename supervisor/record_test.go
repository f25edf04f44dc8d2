package supervisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

func sampleRecord() Record {
	return Record{
		Version: recordVersion, Token: "abc", Goal: status.GoalUp, BootID: "boot", SavedAt: 5 * time.Hour, Count: 3, Streak: 2,
		LastDelay: time.Second, Starts: []time.Duration{time.Hour, 2 * time.Hour},
		Run: &Run{ID: process.ID{BootID: "boot", PID: 4711, StartTicks: 99}, Started: time.Unix(1e9, 0).UTC(), Binary: "/usr/bin/etcd", Args: []string{"--name=a"}},
	}
}

func TestRecordComesBack(t *testing.T) {
	path := RecordPath(t.TempDir())
	want := sampleRecord()
	if err := saveRecord(path, want); err != nil {
		t.Fatal(err)
	}
	got, aside, err := loadRecord(path)
	if err != nil || aside != "" || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, aside %q, %v", got, aside, err)
	}
}

// TestTornRecordIsSetAside cuts a record at every byte: it is either whole, or set aside with all its bytes.
func TestTornRecordIsSetAside(t *testing.T) {
	whole, err := json.Marshal(sampleRecord())
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		path := RecordPath(t.TempDir())
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		got, aside, err := loadRecord(path)
		if err != nil || aside == "" || !reflect.DeepEqual(got, Record{}) {
			t.Fatalf("cut at %d: record %+v, aside %q, %v", n, got, aside, err)
		}
		if kept, err := os.ReadFile(aside); err != nil || !bytes.Equal(kept, whole[:n]) {
			t.Fatalf("cut at %d: set aside as %q, %v", n, kept, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("cut at %d: still under its name: %v", n, err)
		}
	}
}

// TestStartsOfTheFutureAreNotTrusted: a wait is counted from them, and would have no end.
func TestStartsOfTheFutureAreNotTrusted(t *testing.T) {
	r := sampleRecord()
	r.Starts = append(r.Starts, r.SavedAt+1)
	path := RecordPath(t.TempDir())
	if err := saveRecord(path, r); err != nil {
		t.Fatal(err)
	}
	if got, aside, err := loadRecord(path); err != nil || aside == "" || !reflect.DeepEqual(got, Record{}) {
		t.Errorf("got %+v, aside %q, %v", got, aside, err)
	}
}

func TestASecondUnreadableRecordDoesNotReplaceTheFirst(t *testing.T) {
	path := RecordPath(t.TempDir())
	seen := map[string]string{}
	for _, text := range []string{"first", "second", "third"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, aside, err := loadRecord(path)
		if err != nil {
			t.Fatal(err)
		}
		seen[aside] = text
	}
	for aside, want := range seen {
		if got, err := os.ReadFile(aside); err != nil || string(got) != want {
			t.Errorf("%s holds %q, want %q (%v)", aside, got, want, err)
		}
	}
	if len(seen) != 3 {
		t.Errorf("three records were set aside under %d names", len(seen))
	}
}

func TestRecordOfALaterVersionIsNotTrusted(t *testing.T) {
	r := sampleRecord()
	r.Version = recordVersion + 1
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseRecord(data); err == nil {
		t.Error("a record of a version that is not known was accepted")
	}
}

func FuzzRecord(f *testing.F) {
	whole, err := json.Marshal(sampleRecord())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"version":1,"goal":"up","run":{"id":{"PID":1}}}`))
	f.Add([]byte(`{"version":1,"goal":"down","starts_ns":[3,2]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data)
		if err != nil {
			return
		}
		if r.Run != nil && r.Run.ID.PID <= 1 {
			t.Errorf("accepted a record that would have PID %d signalled", r.Run.ID.PID)
		}
		b := r.budgetAt("another boot", time.Hour)
		if w := b.wait(testPolicy.restart, time.Hour); w > hour {
			t.Errorf("a record made the next start wait %v", w)
		}
	})
}

func TestHistoryKeepsTheNewestThousand(t *testing.T) {
	path := HistoryPath(t.TempDir())
	h, _, err := openHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	const total = 3*historyKept + 17
	for i := range total {
		if err := h.add(status.Event{Seq: uint64(i + 1), Kind: status.EventStart}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadHistory(path, 0)
	if err != nil || len(got) < historyKept || len(got) > 2*historyKept || got[len(got)-1].Seq != total {
		t.Fatalf("%d events, the last %+v, %v", len(got), got[len(got)-1], err)
	}
	for i := 1; i < len(got); i++ {
		if got[i].Seq != got[i-1].Seq+1 {
			t.Fatalf("entry %d is followed by %d", got[i-1].Seq, got[i].Seq)
		}
	}
}

func TestTornHistoryLineCostsOnlyItself(t *testing.T) {
	path := HistoryPath(t.TempDir())
	text := `{"seq":1,"kind":"start"}` + "\n" + `{"seq":2,"kind":"ex`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h, bad, err := openHistory(path)
	if err != nil || bad != 1 || h.seq != 1 {
		t.Fatalf("bad %d, seq %d, %v", bad, h.seq, err)
	}
	if err := h.add(status.Event{Seq: 3, Kind: status.EventStart}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadHistory(path, 0)
	if err != nil || len(got) != 2 || got[1].Seq != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	if data, _ := os.ReadFile(path); !strings.HasPrefix(string(data), text) {
		t.Error("the torn line was not left as it was")
	}
}

func TestOpenFilesTellsWhatItFound(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(RecordPath(dir), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(HistoryPath(dir), []byte("{\"seq\":41,\"kind\":\"start\"}\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, l, err := OpenFiles(dir)
	if err != nil || l.Bad != 1 || l.Seq != 41 || filepath.Dir(l.Aside) != dir {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestLongHistoryLineCostsOnlyItself: what was written after it is still read, and the numbers go on.
func TestLongHistoryLineCostsOnlyItself(t *testing.T) {
	path := HistoryPath(t.TempDir())
	long := `{"seq":2,"note":"` + strings.Repeat("x", 10<<20) + "\"}\n"
	if err := os.WriteFile(path, []byte("{\"seq\":1}\n"+long+"{\"seq\":3}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, bad, err := openHistory(path)
	if err != nil || bad != 1 || h.seq != 3 || h.lines != 3 {
		t.Fatalf("%d bad, seq %d, %d lines, %v", bad, h.seq, h.lines, err)
	}
	events, err := ReadHistory(path, 0)
	if err != nil || len(events) != 2 || events[1].Seq != 3 {
		t.Errorf("read %d events, %v", len(events), err)
	}
}

func TestAFolderInPlaceOfTheRecordIsSetAside(t *testing.T) {
	path := RecordPath(t.TempDir())
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, aside, err := loadRecord(path); err != nil || aside == "" {
		t.Errorf("aside %q, %v", aside, err)
	}
}
