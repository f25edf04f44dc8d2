package supervisor

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// oldState is a state folder as the first version of each format has left it, captured from a running etcdsup.
func oldState(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/format1")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFirstFormatsAreRead(t *testing.T) {
	dir := oldState(t)
	if err := Readable(dir); err != nil {
		t.Error(err)
	}
	files, l, err := OpenFiles(dir)
	if err != nil || l.Aside != "" || l.Bad != 0 || l.Seq != 5 {
		t.Fatalf("%+v, %v", l, err)
	}
	r := l.Record
	if r.Goal != status.GoalUp || r.Token != "o6x6adraelsc6i2kf3kp64iuse" || r.Run == nil || r.Run.ID.PID != 4890 || !r.Run.Ready || len(r.Run.Args) != 9 || r.Run.LogFrom != 17363 {
		t.Errorf("%+v", r)
	}
	if m, ok := PeekMark(dir); !ok || m.MemberID != "1658eb97678548d9" || m.Term != 3 || m.Index != 6 {
		t.Errorf("mark %+v, %v", m, ok)
	}
	if err := errors.Join(files.SaveRecord(r), files.AddEvent(status.Event{Seq: 6, Kind: status.EventStart})); err != nil {
		t.Fatal(err)
	}
	if events, err := ReadHistory(HistoryPath(dir), 0); err != nil || len(events) != 6 || events[2].Exit == nil || events[2].Exit.Signal != "SIGTERM" {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// nextFormat makes the record, the mark and the newest line of the history those of an etcdsup to come.
func nextFormat(t *testing.T, dir string) {
	t.Helper()
	record := []byte(`{"version": 2, "goals": ["up"], "run": "elsewhere"}`)
	mark := bytes.Replace(encodeSlot(Mark{MemberID: "1"}, 9), []byte("etcdsup-mark 1"), []byte("etcdsup-mark 2"), 1)
	line := []byte(`{"v":2,"seq":9,"kind":{"of":"another form"}}` + "\n")
	if err := errors.Join(os.WriteFile(RecordPath(dir), record, 0o600), os.WriteFile(MarkPath(dir), mark, 0o600), appendTo(HistoryPath(dir), line)); err != nil {
		t.Fatal(err)
	}
}

func TestNextFormatIsRefusedInWords(t *testing.T) {
	dir := oldState(t)
	nextFormat(t, dir)
	if err := Readable(dir); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("%v", err)
	}
	_, l, err := OpenFiles(dir)
	if err != nil || l.Aside == "" || l.Bad != 1 || l.Seq != 5 {
		t.Errorf("%+v, %v", l, err)
	}
	if _, aside, err := OpenMarks(dir); err != nil || aside == "" {
		t.Errorf("%q, %v", aside, err)
	}
}

// TestComingBackFromTheNextFormat: the new one has written what the old one cannot read, and was not fit to run.
func TestComingBackFromTheNextFormat(t *testing.T) {
	dir := oldState(t)
	r, _ := PeekRecord(dir)
	r.Goal = status.GoalDown
	if err := errors.Join(saveRecord(RecordPath(dir), r), KeepState(dir)); err != nil {
		t.Fatal(err)
	}
	want, _ := PeekMark(dir)
	nextFormat(t, dir)
	_, l, err := OpenFiles(dir)
	if err != nil || l.Aside == "" || l.Record.Goal != status.GoalDown || l.Record.Token != r.Token || l.Record.Run == nil || l.Record.Run.ID != r.Run.ID {
		t.Errorf("%+v, %v", l, err)
	}
	marks, aside, err := OpenMarks(dir)
	if err != nil || aside == "" || marks.Mark() != want {
		t.Errorf("%+v, %q, %v", marks.Mark(), aside, err)
	}
	if err := marks.save(); err != nil {
		t.Fatal(err)
	}
	if again, ok := PeekMark(dir); !ok || again != want {
		t.Errorf("%+v, %v", again, ok)
	}
	DropState(dir)
	if left, err := filepath.Glob(filepath.Join(dir, "*.before-upgrade")); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	nextFormat(t, dir) // much later, by hand: what was before that upgrade is no news any more
	if _, l, err := OpenFiles(dir); err != nil || l.Record.Run != nil || l.Record.Goal != status.GoalUp {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestUpgradeIsWrittenDown(t *testing.T) {
	dir := t.TempDir()
	if u := PeekUpgrade(dir); u != nil {
		t.Errorf("%+v", u)
	}
	want := &status.Upgrade{ID: "a", From: "v1", To: "v2", Binary: "/usr/bin/etcdsup.next", Outcome: status.UpgradeCameBack, Why: "it rained"}
	if err := SaveUpgrade(dir, want); err != nil {
		t.Fatal(err)
	}
	if got := PeekUpgrade(dir); got == nil || *got != *want {
		t.Errorf("%+v", got)
	}
	if err := os.WriteFile(UpgradePath(dir), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if u := PeekUpgrade(dir); u != nil {
		t.Errorf("%+v", u)
	}
	if err := KeepState(dir); err != nil { // there is nothing to keep
		t.Error(err)
	}
	if _, err := os.Stat(beforeUpgrade(RecordPath(dir))); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
