package journal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Journal is the transition that is under way. Each method that adds a line returns when it is on disk; after an
// error the line is not there and the state is what it was. An entry that the state does not allow is an error, too.
type Journal struct {
	store *Store
	adds  sync.Mutex // one entry after the other
	tape  tape       // under adds
	state atomic.Pointer[State]
}

func newJournal(s *Store, t tape, st State) *Journal {
	j := &Journal{store: s, tape: t}
	j.state.Store(&st)
	return j
}

// State is what has been journalled so far. It does not wait for the disk.
func (j *Journal) State() State { return j.state.Load().clone() }

// Begin says that a step begins: it is written before the step's effect. A step that had begun, or was done, may
// begin again.
func (j *Journal) Begin(step string) error { return j.add(record{Step: step, Phase: PhaseBegin}) }

// Note keeps facts that going on with a step needs, or undoing it, such as the name that a folder is about to get.
// Keys are shared by all steps. Keys and values must be valid UTF-8.
func (j *Journal) Note(step string, data map[string]string) error {
	return j.add(record{Step: step, Phase: phaseNote, Data: data})
}

// Done says that a step's effect has happened, with facts as in [Journal.Note]; data may be nil.
func (j *Journal) Done(step string, data map[string]string) error {
	return j.add(record{Step: step, Phase: PhaseDone, Data: data})
}

// Undoing says that a step is about to be undone, and why. From then on no step can begin.
func (j *Journal) Undoing(step, why string) error {
	return j.add(record{Step: step, Phase: PhaseUndoBegin, Why: why})
}

// Undone says that a step's effect is undone.
func (j *Journal) Undone(step string) error { return j.add(record{Step: step, Phase: PhaseUndone}) }

// End says how the transition ended, in errText why it did not go on, and in result what it leaves, a sentence each.
// After done and rolled-back another may begin. With stuck it only stands still, and stays the one that is under way:
// the next entry takes it up again.
func (j *Journal) End(outcome status.Outcome, errText, remedy string, result []string) error {
	err := j.add(record{Outcome: outcome, Error: errText, Remedy: remedy, Result: result})
	if err != nil || !isEnd(outcome) {
		return err
	}
	j.close()
	j.store.current.CompareAndSwap(j, nil)
	j.store.retire()
	return nil
}

func (j *Journal) close() {
	j.adds.Lock()
	defer j.adds.Unlock()
	j.tape.f.Close()
}

// add writes a line and folds it, as it is read back from its bytes: what is in memory is what a crash would leave.
func (j *Journal) add(r record) error {
	j.adds.Lock()
	defer j.adds.Unlock()
	r.N, r.At = j.state.Load().lines+1, time.Now().UTC()
	if err := j.write(r); err != nil {
		return fmt.Errorf("cannot write %s to journal %s: %w", r.subject(), j.tape.f.Name(), err)
	}
	return nil
}

func (j *Journal) write(r record) error {
	if err := r.checkText(); err != nil {
		return err
	}
	line, err := encode(r)
	if err != nil {
		return err
	}
	back, ok := decode(bytes.TrimSuffix(line, []byte("\n")))
	if !ok {
		return errors.New("it does not come back as it was written")
	}
	next := j.State()
	if err := next.apply(back); err != nil {
		return err
	}
	if err := j.tape.add(line); err != nil {
		return err
	}
	j.state.Store(&next)
	return nil
}

// checkText refuses what JSON cannot hold, where another text in its place would lead astray: a path on Linux may be
// any bytes.
func (r record) checkText() error {
	texts := slices.AppendSeq(slices.Collect(maps.Keys(r.Data)), maps.Values(r.Data))
	if r.Plan != nil {
		texts = append(texts, r.Plan.Request.From)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%q is not valid UTF-8", text)
		}
	}
	return nil
}

func (r record) subject() string {
	switch {
	case r.Plan != nil:
		return "the plan"
	case r.Outcome != "":
		return "the outcome"
	default:
		return fmt.Sprintf("%s of step %s", r.Phase, r.Step)
	}
}
