package main

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/journal"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// A transition that came neither forward nor back stands still until somebody asks for the same again, or cancels it.

// stuck is the transition that stands still; nil: none does.
func (x *executor) stuck() *journal.Journal {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.now == nil || x.now.Outcome != status.OutcomeStuck {
		return nil
	}
	return x.store.Current()
}

// release ends what stands still.
func (x *executor) release(j *journal.Journal) (*status.Transition, error) {
	s := j.State()
	if !s.NoReturn() {
		return x.rollBack(j)
	}
	why := "ended by command; what was not shown: " + s.Error
	if err := j.End(status.OutcomeDone, "", s.Remedy, append(slices.Clone(s.Result), why)); err != nil {
		return nil, err
	}
	x.set(nil)
	s = j.State()
	return s.Transition(), nil
}

// planOn is the plan of what stands still, for one who asks for the same again. A new plan could not be made in the midst
// of it, and nothing else may cross it.
func (x *executor) planOn(j *journal.Journal, r status.ModeRequest) (*status.Plan, error) {
	s := j.State()
	if s.Undoing || !sameRequest(s.Plan.Request, r) {
		return nil, x.standsStill(&s)
	}
	p := s.Plan
	where := ""
	if s.Step < len(p.Steps) {
		where = " at step " + p.Steps[s.Step].Name
	}
	p.Warnings = append(slices.Clone(p.Warnings), fmt.Sprintf("this goes on with the %s that stands still%s: %s", p.Request.Mode, where, s.Error))
	return &p, nil
}

// sameRequest tells whether somebody asks again for what was asked for before. What the plan added need not be repeated:
// it is shown before it is confirmed.
func sameRequest(was, is status.ModeRequest) bool {
	is.NewIdentity = is.NewIdentity || was.NewIdentity
	is.BumpRevision = cmp.Or(is.BumpRevision, was.BumpRevision)
	return reflect.DeepEqual(was, is)
}

// standsStill refuses what is asked for while another transition stands still.
func (x *executor) standsStill(s *journal.State) error {
	how := "go on with it or cancel it first: see " + x.d.g.commandLine("mode")
	if s.Undoing {
		how = "have it rolled back further: " + x.d.g.commandLine("mode normal")
	}
	return &control.Error{Code: control.CodeTransition, Message: fmt.Sprintf("a %s stands still: %s", s.Plan.Request.Mode, s.Error), Remedy: how}
}

// goOn takes up what stands still, for one who asks for the same again.
func (x *executor) goOn(j *journal.Journal, r status.ModeRequest, confirm string) (*status.Transition, error) {
	p, err := x.planOn(j, r)
	if err != nil {
		return nil, err
	}
	if err := confirmed(p, confirm); err != nil {
		return nil, err
	}
	return x.begin(j)
}

func confirmed(p *status.Plan, word string) error {
	if p.Confirmed(word) {
		return nil
	}
	return &control.Error{Code: control.CodeUnconfirmed, Message: "the confirmation does not fit the plan", Remedy: "read the plan, then confirm it with " + wantedWord(p)}
}
