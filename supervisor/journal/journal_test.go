package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

func TestTransitionComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "transitions")
	s := opened(t, dir)
	if s.Current() != nil {
		t.Fatal("a new folder has a transition")
	}
	j := begun(t, s)
	story(t, j)
	want := j.State()
	must(t, s.Close())

	s = opened(t, dir)
	j = s.Current()
	same(t, "state after a restart", j.State(), want)
	same(t, "data", want.Data, map[string]string{"aside": "/var/lib/etcd.1", "member": "8e9e05c52164694d"})
	same(t, "phases", want.Phases, []Phase{PhaseUndoBegin, PhaseUndone, PhaseUndone})
	same(t, "begun", want.Begun(), []string{"set-aside", "add", "start"})
	same(t, "undone", want.Undone(), []string{"add", "start"})
	if len(want.Done()) > 0 || want.Why != "no leader" || want.Error != "" {
		t.Errorf("done %q, why %q, error %q", want.Done(), want.Why, want.Error)
	}
	if len(s.Repairs()) > 0 || !want.Undoing || !want.NoReturn() || want.Phase("add") != PhaseUndone || want.Phase("?") != PhasePending {
		t.Errorf("repairs %v, state %+v", s.Repairs(), want)
	}
	now, last, err := Read(dir)
	if must(t, err); last != nil || now.ID != want.ID || now.Outcome != status.OutcomeRunning || now.Step != 0 || !now.Undoing || now.Error != "no leader" {
		t.Errorf("seen from outside: %+v, %+v", now, last)
	}
	must(t, j.Undone("set-aside"), j.End(status.OutcomeRolledBack, "no leader", "Try again.", []string{"as before"}))
	if last, err = s.Last(); err != nil || s.Current() != nil {
		t.Fatal(err, s.Current())
	}
	if last.Outcome != status.OutcomeRolledBack || last.Error != "no leader" || last.Remedy != "Try again." || last.Ended.Before(last.Began) ||
		!slices.Equal(last.Result, []string{"as before"}) || last.Request.Mode != status.ModeJoin || len(last.Steps) != 3 {
		t.Errorf("last: %+v", last)
	}
	if err := j.Begin("add"); err == nil {
		t.Error("a step of an ended transition begins")
	}
}

func TestForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock stands still
		j := begun(t, opened(t, t.TempDir()))
		began := time.Now().UTC()
		for i, step := range samplePlan().Steps {
			<-time.After(time.Minute)
			must(t, j.Begin(step.Name))
			<-time.After(time.Second)
			must(t, j.Done(step.Name, nil))
			st := j.State()
			tr := st.Transition()
			at := began.Add(time.Duration(i)*61*time.Second + time.Minute)
			if tr.Step != i || tr.StepAt != at || tr.Steps[i].Began != at || tr.Steps[i].Ended != at.Add(time.Second) || tr.Began != began {
				t.Errorf("step %d: %+v", i, tr)
			}
			if len(st.Done()) != i+1 || st.NoReturn() != step.Final {
				t.Errorf("step %d: done %q, no return %v", i, st.Done(), st.NoReturn())
			}
		}
		must(t, j.Begin("start")) // what it started is gone after a reboot
		if st := j.State(); st.Phase("start") != PhaseBegin || !st.Steps[2].Ended.IsZero() || len(st.Done()) != 2 {
			t.Errorf("after it began again: %+v", st)
		}
	})
}

// TestStuck: a standstill is no end; it is there after a restart, and the next entry takes the transition up again.
func TestStuck(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	j := begun(t, s)
	must(t, j.Begin("add"), j.End(status.OutcomeStuck, "no quorum", "Wait.", []string{"It waits."}))
	if _, err := s.Begin(samplePlan()); s.Current() != j || !errors.Is(err, ErrUnderway) {
		t.Errorf("another may begin: %v", err)
	}
	must(t, s.Close())
	s = opened(t, dir)
	j = s.Current()
	now, last, err := Read(dir)
	if must(t, err); last != nil || now.Outcome != status.OutcomeStuck || now.Error != "no quorum" || now.Remedy != "Wait." || len(now.Result) != 1 || now.Ended.IsZero() {
		t.Errorf("after a restart: %+v, %+v", now, last)
	}
	must(t, j.Undoing("start", "cancelled"), j.Undone("start")) // although it never began: who could not write may make sure
	if st := j.State(); st.Outcome != status.OutcomeRunning || !st.Ended.IsZero() || st.Error != "" || st.Remedy != "" || st.Result != nil || st.Why != "cancelled" {
		t.Errorf("taken up again: %+v", st)
	}
}

// TestStateIsOnesOwn: who was given a state cannot change the journal's.
func TestStateIsOnesOwn(t *testing.T) {
	j := begun(t, opened(t, t.TempDir()))
	before := j.State()
	must(t, j.Begin("add"), j.Note("add", map[string]string{"a": "b"}))
	if before.Phase("add") != PhasePending || len(before.Data) != 0 {
		t.Errorf("it has changed: %+v", before)
	}
}

func TestEntriesOutOfPlaceAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*Journal) error
	}{
		{"unknown step", func(j *Journal) error { return j.Begin("fly") }},
		{"done before it began", func(j *Journal) error { return j.Done("add", nil) }},
		{"note before it began", func(j *Journal) error { return j.Note("add", nil) }},
		{"undone what never began", func(j *Journal) error { return j.Undone("add") }},
		{"undone without undoing", func(j *Journal) error { return j.Undone("set-aside") }},
		{"done twice", func(j *Journal) error { return j.Done("set-aside", nil) }},
		{"still running at its end", func(j *Journal) error { return j.End(status.OutcomeRunning, "", "", nil) }},
		{"no outcome", func(j *Journal) error { return j.End("", "", "", nil) }},
		{"forward while undoing", func(j *Journal) error {
			return errors.Join(errorOf(j.Undoing("set-aside", "no leader") != nil), j.Begin("add"))
		}},
		{"value that is no text", func(j *Journal) error { return j.Note("set-aside", map[string]string{"to": "/a\xff"}) }},
		{"key that is no text", func(j *Journal) error { return j.Note("set-aside", map[string]string{"\xff": ""}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := opened(t, dir)
			j := begun(t, s)
			must(t, j.Begin("set-aside"), j.Done("set-aside", nil))
			if err := tt.do(j); err == nil {
				t.Fatal("accepted")
			}
			want := j.State()
			must(t, s.Close())
			same(t, "state", opened(t, dir).Current().State(), want)
		})
	}
}

func errorOf(wrong bool) error {
	if wrong {
		panic("the preparation failed")
	}
	return nil
}

func TestPlansThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(*status.Plan){
		"no steps":        func(p *status.Plan) { p.Steps = nil },
		"nameless step":   func(p *status.Plan) { p.Steps[1].Name = "" },
		"steps of a name": func(p *status.Plan) { p.Steps[1].Name = "start" },
		"no mode":         func(p *status.Plan) { p.Request.Mode = "" },
		"mode of a path":  func(p *status.Plan) { p.Request.Mode = "../join" },
		"path no text":    func(p *status.Plan) { p.Request.From = "/\xff" },
	} {
		s := opened(t, t.TempDir())
		p := samplePlan()
		change(&p)
		if j, err := s.Begin(p); err == nil || s.Current() != nil {
			t.Errorf("%s: begun %v", name, j)
		}
		if left := names(t, s.dir); len(left) > 0 {
			t.Errorf("%s: leaves %q", name, left)
		}
		begun(t, s)
	}
}

// TestCutAtEveryByte: whatever byte the file ends with, the state is that of the whole lines before it, no byte is
// lost, and the next entry goes on from there.
func TestCutAtEveryByte(t *testing.T) {
	name, data := wholeJournal(t)
	states := folds(t, name, data)
	root := quickDir(t)
	for n := range data {
		dir := filepath.Join(root, fmt.Sprint(n))
		file := filepath.Join(dir, name)
		must(t, os.Mkdir(dir, 0o700))
		put(t, file, data[:n])
		lines := bytes.Count(data[:n], []byte("\n"))
		seen, _, err := Read(dir)
		must(t, err)
		s := opened(t, dir)
		if j := s.Current(); lines == 0 {
			if j != nil || seen != nil || len(s.Repairs()) != 1 {
				t.Fatalf("cut at %d: current %v, seen %v, repairs %v", n, j, seen, s.Repairs())
			}
			begun(t, s)
		} else {
			same(t, fmt.Sprintf("cut at %d", n), j.State(), states[lines])
			same(t, fmt.Sprintf("cut at %d, seen", n), seen, states[lines].Transition())
			goOn(t, s, j, lines)
		}
		keptAside(t, s.Repairs(), data[:n])
		must(t, s.Close(), os.RemoveAll(dir))
	}
}

// goOn adds the entry that was being written once more, and reads it.
func goOn(t *testing.T, s *Store, j *Journal, lines int) {
	t.Helper()
	if j.End(status.OutcomeRolledBack, "cut", "", nil) != nil {
		t.Fatalf("cannot go on from line %d", lines)
	}
	r, err := readFile(s.dir, j.State().ID)
	if err != nil || len(r.torn) > 0 || r.state.lines != lines+1 || r.state.Error != "cut" {
		t.Fatalf("after going on from line %d: %+v, %v", lines, r, err)
	}
}

// keptAside: what does not belong to whole lines is under the name that was told.
func keptAside(t *testing.T, repairs []Repair, data []byte) {
	t.Helper()
	torn := data[bytes.LastIndexByte(data, '\n')+1:]
	if len(torn) == 0 && len(data) > 0 {
		if len(repairs) > 0 {
			t.Fatalf("repaired at a line end: %v", repairs)
		}
		return
	}
	if len(repairs) != 1 || !bytes.Equal(contents(t, repairs[0].Kept), torn) || repairs[0].What == "" {
		t.Fatalf("%d bytes: repairs %+v", len(data), repairs)
	}
}

// TestGarbageTail: a last line of any bytes is an unfinished one, with a line end or without.
func TestGarbageTail(t *testing.T) {
	name, data := wholeJournal(t)
	states := folds(t, name, data)
	lines := bytes.SplitAfter(data, []byte("\n"))
	whole := bytes.Join(lines[:5], nil)
	for what, tail := range map[string][]byte{
		"zeros":            make([]byte, 512),
		"zeros, line end":  append(make([]byte, 512), '\n'),
		"line end":         []byte("\n"),
		"no JSON":          []byte("hello\n"),
		"JSON, no check":   []byte(`{"n":6,"step":"start","phase":"begin"}` + "\n"),
		"wrong check":      []byte(`{"crc":"00000000","n":6,"step":"start","phase":"begin"}` + "\n"),
		"line without end": bytes.TrimSuffix(lines[5], []byte("\n")),
	} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, name), slices.Concat(whole, tail))
		s := opened(t, dir)
		same(t, what, s.Current().State(), states[5])
		if r := s.Repairs(); len(r) != 1 || !bytes.Equal(contents(t, r[0].Kept), tail) {
			t.Errorf("%s: repairs %+v", what, r)
		}
		same(t, what+", file", contents(t, filepath.Join(dir, name)), whole)
	}
}

// TestTornTwice: what was kept is never written over.
func TestTornTwice(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	file := s.path(begun(t, s).State().ID)
	for _, tail := range []string{"one", "two", "three"} {
		must(t, s.Close())
		put(t, file, append(contents(t, file), tail...))
		s = opened(t, dir)
		if got := contents(t, s.Repairs()[0].Kept); string(got) != tail {
			t.Errorf("kept %q, want %q", got, tail)
		}
	}
	if got := string(contents(t, file+".torn")); got != "one" {
		t.Errorf("the first is now %q", got)
	}
}

// TestDamageIsRefused: a line that is not what was written, with others behind it, is no crash of ours.
func TestDamageIsRefused(t *testing.T) {
	name, data := wholeJournal(t)
	lines := bytes.SplitAfter(bytes.TrimSuffix(data, lastOf(data)), []byte("\n")) // without its end
	lines = lines[:len(lines)-1]
	for what, tt := range map[string]struct {
		line  int
		bytes [][]byte
	}{
		"first line":      {1, slices.Concat([][]byte{[]byte("{}\n")}, lines[1:])},
		"middle line":     {4, slices.Concat(lines[:3], [][]byte{[]byte("garbage\n")}, lines[4:])},
		"line taken out":  {4, slices.Concat(lines[:3], lines[4:])},
		"line twice":      {5, slices.Concat(lines[:4], lines[3:])},
		"lines exchanged": {4, slices.Concat(lines[:3], [][]byte{lines[4], lines[3]}, lines[5:])},
		"many bad lines":  {4, slices.Concat(lines[:3], [][]byte{[]byte("a\nb\n")})},
		"newer format":    {1, [][]byte{newerLine(t)}},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, name)
		put(t, file, bytes.Join(tt.bytes, nil))
		put(t, filepath.Join(dir, "20010101T000000Z-join.jsonl"), []byte("torn"))
		_, err := Open(dir)
		var bad *FileError
		if !errors.As(err, &bad) || bad.Line != tt.line || bad.File != file || bad.Remedy == "" || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, %+v", what, err, bad)
		}
		same(t, what+", file", contents(t, file), bytes.Join(tt.bytes, nil))
		if got := names(t, dir); len(got) != 2 {
			t.Errorf("%s: the folder now has %q", what, got)
		}
		if _, _, err := Read(dir); !errors.As(err, &bad) {
			t.Errorf("%s: read without an error: %v", what, err)
		}
	}
}

func lastOf(data []byte) []byte {
	return data[bytes.LastIndexByte(data[:len(data)-1], '\n')+1:]
}

func newerLine(t *testing.T) []byte {
	plan := samplePlan()
	line, err := encode(record{N: 1, Format: Format + 1, Plan: &plan})
	must(t, err)
	return line
}

// TestEveryChangedByteIsNoticed: a byte that was changed on disk is damage or an unfinished last line, never another
// story.
func TestEveryChangedByteIsNoticed(t *testing.T) {
	name, data := wholeJournal(t)
	id := strings.TrimSuffix(name, suffix)
	last := len(data) - len(lastOf(data))
	for i := range data {
		for _, flip := range []byte{1, 0x20, 0x80} {
			changed := slices.Clone(data)
			changed[i] ^= flip
			r, err := read(id, name, changed)
			var bad *FileError
			switch {
			case i < last && errors.As(err, &bad):
			case i >= last && err == nil && int(r.whole) == last && len(r.torn) > 0:
			default:
				t.Fatalf("byte %d: %+v, %v", i, r.state, err)
			}
		}
	}
}

// TestDamageOfTheEnded: what has ended does not stand in the way, but is not told as if it were whole.
func TestDamageOfTheEnded(t *testing.T) {
	name, data := wholeJournal(t)
	data[len(data)/2] ^= 1
	dir := t.TempDir()
	put(t, filepath.Join(dir, name), data)
	s := opened(t, dir)
	var bad *FileError
	if _, err := s.Last(); !errors.As(err, &bad) {
		t.Errorf("last: %v", err)
	}
	must(t, begun(t, s).End(status.OutcomeDone, "", "", nil))
	if last, err := s.Last(); err != nil || last.Outcome != status.OutcomeDone {
		t.Errorf("last: %+v, %v", last, err)
	}
}

func TestTwoWithoutEnd(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	j := begun(t, s)
	put(t, filepath.Join(dir, "20990101T000000Z-join.jsonl"), contents(t, s.path(j.State().ID)))
	must(t, s.Close())
	var bad *FileError
	if _, err := Open(dir); !errors.As(err, &bad) || bad.Remedy == "" || !strings.Contains(bad.Error(), j.State().ID) {
		t.Errorf("opened: %v", err)
	}
}

func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	if _, err := Open(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	j := begun(t, s)
	if _, err := s.Begin(samplePlan()); !errors.Is(err, ErrUnderway) || !strings.Contains(err.Error(), j.State().ID) {
		t.Errorf("begun twice: %v", err)
	}
	must(t, s.Close())
	s = opened(t, dir)
	if _, err := s.Begin(samplePlan()); !errors.Is(err, ErrUnderway) {
		t.Errorf("begun after a restart: %v", err)
	}
	must(t, s.Current().End(status.OutcomeDone, "", "", nil))
	begun(t, s)
}

// TestManyAtOnce: of many that begin at once one does, entries of several goroutines come one after the other, and
// who looks on meanwhile sees no half of one.
func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	var began atomic.Int32
	together(8, func() {
		if _, err := s.Begin(samplePlan()); err == nil {
			began.Add(1)
		} else if !errors.Is(err, ErrUnderway) {
			t.Error(err)
		}
	})
	j := s.Current()
	must(t, j.Begin("add"))
	together(8, func() {
		if err := j.Note("add", nil); err != nil {
			t.Error(err)
		}
		if now, _, err := Read(dir); err != nil || now.ID != j.State().ID {
			t.Errorf("seen: %+v, %v", now, err)
		}
	})
	want := j.State()
	if began.Load() != 1 || want.lines != 10 {
		t.Errorf("%d began, %d lines", began.Load(), want.lines)
	}
	must(t, s.Close())
	same(t, "after a restart", opened(t, dir).Current().State(), want)
}

// together does it in n goroutines and waits for all.
func together(n int, do func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(do)
	}
	all.Wait()
}

// TestNamesKeepTheirOrder: a clock that was set back does not make an older transition the last.
func TestNamesKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock stands still
		dir := t.TempDir()
		put(t, filepath.Join(dir, "20301231T235959Z-join.jsonl"), []byte("torn"))
		s := opened(t, dir)
		var ids []string
		for i := range 3 {
			j := begun(t, s)
			ids = append(ids, j.State().ID)
			if j.State().Began.Year() != time.Now().UTC().Year() {
				t.Errorf("began %v", j.State().Began)
			}
			must(t, j.End(status.OutcomeDone, "", "", []string{nth(i)}))
			if last, err := s.Last(); err != nil || last.Result[0] != nth(i) {
				t.Errorf("last: %+v, %v", last, err)
			}
		}
		same(t, "names", ids, []string{"20310101T000000Z-join", "20310101T000001Z-join", "20310101T000002Z-join"})
	})
}

func TestOldOnesMoveAside(t *testing.T) {
	name, data := wholeJournal(t)
	dir := t.TempDir()
	for i := range kept + 2 {
		put(t, filepath.Join(dir, fmt.Sprintf("20200101T%06dZ-join.jsonl", i%60+i/60*100)), data)
	}
	put(t, filepath.Join(dir, "20200101T000000Z-join.jsonl.torn"), []byte("x"))
	put(t, filepath.Join(dir, "note"), nil)
	must(t, os.Mkdir(filepath.Join(dir, "old"), 0o700))
	put(t, filepath.Join(dir, "old", "20200101T000000Z-join.jsonl"), []byte("was here"))
	s := opened(t, dir)
	same(t, "old", names(t, filepath.Join(dir, "old")), []string{"20200101T000000Z-join.jsonl", "20200101T000000Z-join.jsonl.1",
		"20200101T000000Z-join.jsonl.torn", "20200101T000001Z-join.jsonl"})
	same(t, "what was there", string(contents(t, filepath.Join(dir, "old", "20200101T000000Z-join.jsonl"))), "was here")
	same(t, "what was moved", contents(t, filepath.Join(dir, "old", "20200101T000000Z-join.jsonl.1")), data)
	if got := names(t, dir); len(got) != kept+2 || got[0] != "20200101T000002Z-join.jsonl" {
		t.Errorf("%d left, from %s (of %s)", len(got), got[0], name)
	}
	must(t, begun(t, s).End(status.OutcomeDone, "", "", nil))
	if ids, err := idsIn(dir); err != nil || len(ids) != kept || ids[0] != "20200101T000003Z-join" {
		t.Errorf("after one more: %d, %v", len(ids), err)
	}
}

// TestFullDisk: an entry that does not fit is an error and not in the journal, which goes on once there is room.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	dir := smallDisk(t, "64k")
	s := opened(t, dir)
	j := begun(t, s)
	must(t, j.Begin("add"))
	want := j.State()
	empty := fill(t, dir)
	for range 2 {
		if err := j.Note("add", map[string]string{"long": longText()}); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("on a full disk: %v", err)
		}
		same(t, "state", j.State(), want)
		r, err := readFile(dir, want.ID)
		if must(t, err); len(r.torn) > 0 {
			t.Errorf("%d bytes of the line are there", len(r.torn))
		}
		same(t, "on disk", r.state, want)
	}
	empty()
	must(t, j.Note("add", map[string]string{"long": longText()}), j.Done("add", nil))
	want = j.State()
	must(t, s.Close())
	same(t, "after a restart", opened(t, dir).Current().State(), want)
}

// TestNoRoomToBegin: a transition that cannot be journalled does not begin and leaves nothing.
func TestNoRoomToBegin(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	dir := smallDisk(t, "64k")
	s := opened(t, filepath.Join(dir, "transitions"))
	empty := fill(t, dir)
	if _, err := s.Begin(samplePlan()); !errors.Is(err, unix.ENOSPC) || s.Current() != nil {
		t.Fatalf("begun: %v", err)
	}
	if left := names(t, s.dir); len(left) > 0 {
		t.Errorf("leaves %q", left)
	}
	empty()
	begun(t, s)
}

// TestUnknownEnd: once a line could not be taken back, nothing is added until the file was read again.
func TestUnknownEnd(t *testing.T) {
	r, w, err := os.Pipe() // can neither be synced nor cut
	must(t, err)
	defer r.Close()
	defer w.Close()
	tp := tape{f: w}
	first := tp.add([]byte("a\n"))
	if first == nil || tp.size != 0 {
		t.Fatalf("a pipe was synced: %v", first)
	}
	w.Close()
	if err := tp.add([]byte("b\n")); !errors.Is(err, first) {
		t.Errorf("tried again: %v", err)
	}
}

// TestGoingOnAfterCuts: any entries, cut anywhere, as often as one likes: what was synced is there, and it goes on.
func TestGoingOnAfterCuts(t *testing.T) {
	root := quickDir(t)
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		must(t, err)
		defer os.RemoveAll(dir)
		s := opened(t, dir)
		defer func() { s.Close() }()
		history := []State{begun(t, s).State()}
		for range rapid.IntRange(1, 4).Draw(rt, "crashes") {
			history = entries(rt, s.Current(), history)
			file := s.path(history[0].ID)
			must(t, s.Close())
			lines := cutSomewhere(rt, file)
			history = history[:lines]
			s = opened(t, dir)
			same(t, "after a crash", s.Current().State(), history[lines-1])
		}
	})
}

// entries adds some entries that the state allows.
func entries(rt *rapid.T, j *Journal, history []State) []State {
	for range rapid.IntRange(0, 8).Draw(rt, "entries") {
		step := rapid.SampledFrom([]string{"set-aside", "add", "start"}).Draw(rt, "step")
		data := map[string]string{rapid.String().Draw(rt, "key"): rapid.String().Draw(rt, "value")}
		do := []func() error{
			func() error { return j.Begin(step) }, func() error { return j.Note(step, data) }, func() error { return j.Done(step, data) },
			func() error { return j.Undoing(step, "no leader") }, func() error { return j.Undone(step) },
			func() error { return j.End(status.OutcomeStuck, step, "", nil) },
		}
		if rapid.SampledFrom(do).Draw(rt, "do")() == nil {
			history = append(history, j.State())
		}
	}
	return history
}

// cutSomewhere leaves at least the first line, and returns how many.
func cutSomewhere(rt *rapid.T, file string) int {
	data, err := os.ReadFile(file)
	if err != nil {
		rt.Fatal(err)
	}
	n := rapid.IntRange(bytes.IndexByte(data, '\n')+1, len(data)).Draw(rt, "cut")
	if err := os.Truncate(file, int64(n)); err != nil {
		rt.Fatal(err)
	}
	return bytes.Count(data[:n], []byte("\n"))
}
