package journal

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Phase is how far a step is.
type Phase string

// The phases of a step, in their order. A step that was done may begin again: after a reboot, for one, a process that
// it started is gone.
const (
	PhasePending   Phase = ""           // nothing of it has happened
	PhaseBegin     Phase = "begin"      // its effect may have happened, in part or wholly
	PhaseDone      Phase = "done"       // its effect has happened
	PhaseUndoBegin Phase = "undo-begin" // its effect may have been undone, in part or wholly
	PhaseUndone    Phase = "undone"     // its effect has been undone

	phaseNote Phase = "note" // of an entry, never of a step: only data
)

// allowed are the phases in which a step may be when an entry of a phase is written. Undoing may follow nothing: who
// could not write that a step begins may still want to be sure that nothing of it is there.
var allowed = map[Phase][]Phase{
	PhaseBegin:     {PhasePending, PhaseBegin, PhaseDone},
	PhaseDone:      {PhaseBegin},
	PhaseUndoBegin: {PhasePending, PhaseBegin, PhaseDone, PhaseUndoBegin},
	PhaseUndone:    {PhaseUndoBegin},
	phaseNote:      {PhaseBegin, PhaseDone, PhaseUndoBegin, PhaseUndone},
}

// State is what the lines of a journal amount to, and nothing else: no clock and no disk is asked. What its slices and
// maps hold is not to be changed.
type State struct {
	ID      string
	Plan    status.Plan // with the request
	Began   time.Time
	Steps   []status.Step     // of the plan, each with when it began, was done and was undone
	Phases  []Phase           // of the steps, by index
	Data    map[string]string // of all entries, a later one's value in place of an earlier one's
	Step    int               // index of the step that the last entry is about; 0 before the first
	StepAt  time.Time         // when that step, or its undoing, began last; Began before the first
	Undoing bool              // the undoing of a step has begun: there is no way forward any more
	Why     string            // with Undoing: what it follows

	Outcome status.Outcome // running; stuck until the next entry; done and rolled-back are the end
	Ended   time.Time      // when it ended or came to a standstill; zero while it runs
	Error   string         // of that, as the next two
	Remedy  string
	Result  []string

	lines int
}

// Phase is how far the step of that name is; a name that the plan does not have is pending for ever.
func (s *State) Phase(step string) Phase {
	if i := s.index(step); i >= 0 {
		return s.Phases[i]
	}
	return PhasePending
}

// Begun are the names of the steps that have begun, whatever became of them, in the order of the plan.
func (s *State) Begun() []string {
	return s.names(func(p Phase) bool { return p != PhasePending })
}

// Done are the names of the steps that are done, and neither begun again nor being undone, in the order of the plan.
func (s *State) Done() []string {
	return s.names(func(p Phase) bool { return p == PhaseDone })
}

// Undone are the names of the steps that are undone, in the order of the plan.
func (s *State) Undone() []string {
	return s.names(func(p Phase) bool { return p == PhaseUndone })
}

func (s *State) names(which func(Phase) bool) []string {
	var all []string
	for i, p := range s.Phases {
		if which(p) {
			all = append(all, s.Steps[i].Name)
		}
	}
	return all
}

// NoReturn reports whether a final step has begun: what was begun is to be completed.
func (s *State) NoReturn() bool {
	for i, p := range s.Phases {
		if s.Steps[i].Final && p != PhasePending {
			return true
		}
	}
	return false
}

// Transition is the state in the words that users read. Progress, and what there still is of what was set aside, are not
// known here.
func (s *State) Transition() *status.Transition {
	t := &status.Transition{
		ID: s.ID, Request: s.Plan.Request, Steps: slices.Clone(s.Steps), Step: s.Step, Undoing: s.Undoing,
		Began: s.Began, StepAt: s.StepAt, Ended: s.Ended,
		Outcome: s.Outcome, Error: s.Error, Remedy: s.Remedy, Result: s.Result, Hooks: status.HooksRan(s.Data), DataDir: s.Plan.Fact(status.FactDataDir),
	}
	if s.Outcome == status.OutcomeRunning {
		t.Error = s.Why
	}
	return t
}

func (s *State) index(step string) int {
	return slices.IndexFunc(s.Plan.Steps, func(p status.Step) bool { return p.Name == step })
}

func (s *State) ended() bool { return isEnd(s.Outcome) }

// isEnd: a transition that is stuck is still under way, until it is taken up again or cancelled.
func isEnd(o status.Outcome) bool { return o == status.OutcomeDone || o == status.OutcomeRolledBack }

func (s *State) clone() State {
	c := *s
	c.Steps, c.Phases, c.Data = slices.Clone(s.Steps), slices.Clone(s.Phases), maps.Clone(s.Data)
	return c
}

// apply adds a line. After an error the state is no longer to be used.
func (s *State) apply(r record) error {
	if r.N != s.lines+1 {
		return fmt.Errorf("says that it is line %d", r.N)
	}
	s.lines++
	switch {
	case s.lines == 1:
		return s.begin(r)
	case s.ended():
		return errors.New("the transition has ended")
	case r.Outcome != "":
		return s.stop(r)
	default:
		return s.enter(r)
	}
}

func (s *State) begin(r record) error {
	if r.Format < 1 || r.Plan == nil {
		return errors.New("there is no plan")
	}
	if r.Step != "" || r.Outcome != "" {
		return errors.New("says more than the plan")
	}
	if err := checkPlan(*r.Plan); err != nil {
		return err
	}
	s.Plan, s.Began, s.StepAt, s.Outcome = *r.Plan, r.At, r.At, status.OutcomeRunning
	s.Steps, s.Phases, s.Data = slices.Clone(r.Plan.Steps), make([]Phase, len(r.Plan.Steps)), map[string]string{}
	return nil
}

// checkPlan accepts a plan whose steps can be told apart.
func checkPlan(p status.Plan) error {
	if len(p.Steps) == 0 {
		return errors.New("the plan has no steps")
	}
	names := map[string]bool{}
	for i, step := range p.Steps {
		if step.Name == "" || names[step.Name] {
			return fmt.Errorf("step %d of the plan has no name of its own: %q", i+1, step.Name)
		}
		names[step.Name] = true
	}
	return nil
}

func (s *State) enter(r record) error {
	i := s.index(r.Step)
	if i < 0 {
		return fmt.Errorf("the plan has no step %q", r.Step)
	}
	from, known := allowed[r.Phase]
	switch {
	case !known:
		return fmt.Errorf("there is no phase %q", r.Phase)
	case !slices.Contains(from, s.Phases[i]):
		return fmt.Errorf("%s cannot follow %s of step %s", r.Phase, s.Phases[i].word(), r.Step)
	case r.Phase == PhaseBegin && s.Undoing:
		return fmt.Errorf("step %s cannot begin: steps are being undone", r.Step)
	}
	s.Step = i
	s.Ended, s.Outcome, s.Error, s.Remedy, s.Result = time.Time{}, status.OutcomeRunning, "", "", nil
	s.reach(i, r)
	maps.Copy(s.Data, r.Data)
	return nil
}

// reach takes a step to the phase of an entry.
func (s *State) reach(i int, r record) {
	step := &s.Steps[i]
	switch r.Phase {
	case PhaseBegin:
		step.Began, step.Ended, s.StepAt = r.At, time.Time{}, r.At
	case PhaseDone:
		step.Ended = r.At
	case PhaseUndoBegin:
		s.StepAt, s.Undoing = r.At, true
		s.Why = cmp.Or(r.Why, s.Why)
	case PhaseUndone:
		step.Undone = r.At
	default:
		return
	}
	s.Phases[i] = r.Phase
}

func (p Phase) word() string {
	if p == PhasePending {
		return "nothing"
	}
	return string(p)
}

// stop ends the transition, or has it stand still.
func (s *State) stop(r record) error {
	if !isEnd(r.Outcome) && r.Outcome != status.OutcomeStuck {
		return fmt.Errorf("%q is no outcome to end with", r.Outcome)
	}
	s.Ended, s.Outcome, s.Error, s.Remedy, s.Result = r.At, r.Outcome, r.Error, r.Remedy, r.Result
	return nil
}
