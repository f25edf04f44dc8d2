package supervisor

import (
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Keeper is where records and events end up. Its methods may block on a disk; they are called from one goroutine.
type Keeper interface {
	SaveRecord(Record) error
	AddEvent(status.Event) error
}

// note is one thing for the scribe to write down.
type note struct {
	record *Record
	event  *status.Event
	save   func() error // has something else written that is kept elsewhere
	done   chan<- error // told when this and all before it are on disk; may be nil
}

// scribe writes records and events so that the loop never waits for a disk. Of several records that wait, only
// the newest is written. It ends when notes is closed, after the last one; trouble gets what went wrong.
func scribe(k Keeper, notes <-chan note, trouble chan<- error) {
	for n := range notes {
		batch := collect(n, notes)
		err := writeBatch(k, batch)
		if err != nil {
			select {
			case trouble <- err:
			default: // one report that waits is enough
			}
		}
		for _, b := range batch {
			if b.done != nil {
				b.done <- err
			}
		}
	}
}

// collect takes all notes that wait already.
func collect(first note, notes <-chan note) []note {
	batch := []note{first}
	for {
		select {
		case n, ok := <-notes:
			if !ok {
				return batch
			}
			batch = append(batch, n)
		default:
			return batch
		}
	}
}

func writeBatch(k Keeper, batch []note) (first error) {
	var record *Record
	for _, n := range batch {
		if n.record != nil {
			record = n.record
		}
	}
	if record != nil {
		first = k.SaveRecord(*record)
	}
	for _, n := range batch {
		var err error
		switch {
		case n.event != nil:
			err = k.AddEvent(*n.event)
		case n.save != nil:
			err = n.save()
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// Files is the Keeper on disk. The zero value is not usable; see OpenFiles.
type Files struct {
	record  string
	history *history
}

// RecordPath is where the record lies in an instance's state folder.
func RecordPath(stateDir string) string { return stateDir + "/record.json" }

// HistoryPath is where the history lies in an instance's state folder.
func HistoryPath(stateDir string) string { return stateDir + "/history.jsonl" }

// Loaded is what an earlier etcdsup left.
type Loaded struct {
	Record Record // with a token and a goal, also where there was none
	Aside  string // where an unreadable record is now; empty: there was none
	Seq    uint64 // of the newest history entry
	Bad    int    // history lines that cannot be understood
	Copied bool   // the folder is a copy of another instance's: whatever runs by it is that one's
	Unkept error  // why the token could not be saved: an etcd started before a kill may not be found again
}

// OpenFiles loads record and history of a state folder. The folder must exist.
func OpenFiles(stateDir string) (*Files, Loaded, error) {
	rec, aside, err := loadRecord(RecordPath(stateDir))
	if err != nil {
		return nil, Loaded{}, err
	}
	h, bad, err := openHistory(HistoryPath(stateDir))
	if err != nil {
		return nil, Loaded{}, err
	}
	l := Loaded{Record: rec, Aside: aside, Bad: bad, Seq: h.seq}
	if l.Record.Token, l.Copied, l.Unkept = loadToken(stateDir, rec.Token); l.Copied {
		l.Record.Run = nil
	}
	if rec.Goal == "" {
		l.Record.Goal = status.GoalUp
	}
	return &Files{record: RecordPath(stateDir), history: h}, l, nil
}

// SaveRecord replaces the record.
func (f *Files) SaveRecord(r Record) error { return saveRecord(f.record, r) }

// AddEvent appends to the history.
func (f *Files) AddEvent(e status.Event) error { return f.history.add(e) }
