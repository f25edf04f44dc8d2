// Package flow holds the transitions: which steps take a host from one start mode to another, what each does, and how it
// is undone. It decides and orders; all that it does to the host goes through a World, and all that it has done through
// a Journal, so that whoever comes after a kill can go on or go back.
//
// A plan is made from facts before anything has changed, and consists of the names of the very steps that run. A step is
// idempotent: after a kill in its midst it is done again from its beginning. A failure before the first final step is
// undone in reverse order; after it there is only forward.
package flow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Journal is where a transition is written down. Each call returns when its entry is on disk.
type Journal interface {
	Begin(step string) error
	Done(step string, data map[string]string) error
	Undoing(step, why string) error
	Undone(step string) error
	End(outcome status.Outcome, why, remedy string, result []string) error
}

// Past is what the journal tells of a transition. The zero value but for the plan is that of one that has just begun.
type Past struct {
	ID      string
	Plan    status.Plan
	Begun   []string // steps that were begun, in their order; the last may be half done
	Done    []string
	Undoing bool
	Undone  []string
	Data    map[string]string // what the steps have left for those after them
	Why     string            // with Undoing: the failure that it follows
}

// Trouble is why a transition is refused or ended, with what to do about it.
type Trouble struct {
	Err    error
	Remedy string
}

func (t *Trouble) Error() string { return t.Err.Error() }
func (t *Trouble) Unwrap() error { return t.Err }

// troublef makes one; remedy first, for it is the shorter.
func troublef(remedy, format string, args ...any) error {
	return &Trouble{Err: fmt.Errorf(format, args...), Remedy: remedy}
}

// RemedyOf is the remedy that comes with an error, or what mends all that it is made of; empty where none does.
func RemedyOf(err error) string {
	if all, ok := errors.AsType[Faults](err); ok {
		var remedies []string
		for _, f := range all {
			if f.Remedy != "" && !slices.Contains(remedies, f.Remedy) {
				remedies = append(remedies, f.Remedy)
			}
		}
		return strings.Join(remedies, "; and ")
	}
	if t, ok := errors.AsType[*Trouble](err); ok {
		return t.Remedy
	}
	return ""
}

// ErrCancelled is the cause with which a transition's context is cancelled by command: it is rolled back. A context that
// ends with another cause leaves the transition where it is, for the next etcdsup.
var ErrCancelled = errors.New("cancelled by command")

// step is one step as it runs. do may be called again after a kill; undo too, also when do was never finished.
type step struct {
	status.Step
	do   func(context.Context, *run) error
	undo func(context.Context, *run) error
}

// run is one transition under way.
type run struct {
	Site
	World
	id      string
	ask     status.ModeRequest
	plan    status.Plan
	step    string // the one that runs
	data    map[string]string
	fresh   map[string]string // what the present step adds to data
	again   bool              // the present step was begun before, by an etcdsup that was killed in it
	undoing bool
	moved   string // the data directory that the configuration names now, where that is not the plan's; only on the way back
	left    bool   // something could not be undone, and the result says what
	result  []string
}

func (r *run) keep(name, value string) {
	r.data[name] = value
	r.fresh[name] = value
}

func (r *run) say(format string, args ...any) {
	r.result = append(r.result, fmt.Sprintf(format, args...))
}

// dataSaid is what the steps before have said, a line for each sentence.
const dataSaid = "said"

func saidBefore(data map[string]string) []string {
	if data[dataSaid] == "" {
		return nil
	}
	return strings.Split(data[dataSaid], "\n")
}

// Ending is how a run ended. Left says that it did not end: the context did, and the journal has no end.
type Ending struct {
	Outcome status.Outcome
	Err     error
	Result  []string
	Left    bool
}

// Run carries a transition out from where its journal says that it is, to an end that is written there.
func Run(ctx context.Context, site Site, w World, j Journal, p Past) Ending {
	r := &run{Site: site, World: w, id: p.ID, ask: p.Plan.Request, plan: p.Plan, data: maps.Clone(p.Data)}
	if r.data == nil {
		r.data = map[string]string{}
	}
	r.result = saidBefore(r.data)
	steps, err := steps(p.Plan)
	if err != nil {
		return r.end(j, status.OutcomeStuck, err)
	}
	if err := r.settle(p); err != nil {
		return r.end(j, status.OutcomeStuck, err)
	}
	if p.Undoing {
		return r.back(ctx, j, steps, p, p.why())
	}
	return r.forward(ctx, j, steps, p)
}

// why is the failure that a rollback follows.
func (p *Past) why() error {
	if p.Why == ErrCancelled.Error() {
		return ErrCancelled
	}
	return errors.New(p.Why)
}

func (r *run) forward(ctx context.Context, j Journal, steps []step, p Past) Ending {
	for i, s := range steps {
		if slices.Contains(p.Done, s.Name) {
			continue
		}
		if r.again = slices.Contains(p.Begun, s.Name); !r.again {
			p.Begun = append(p.Begun, s.Name)
			if err := j.Begin(s.Name); err != nil {
				return r.turn(ctx, j, steps, p, i, err)
			}
		}
		r.fresh, r.step = map[string]string{}, s.Name
		said := len(r.result)
		if err := s.do(ctx, r); err != nil {
			return r.turn(ctx, j, steps, p, i, err)
		}
		if len(r.result) > said { // for who ends the transition, if that is another etcdsup
			r.keep(dataSaid, strings.Join(r.result, "\n"))
		}
		if err := j.Done(s.Name, r.fresh); err != nil {
			return r.turn(ctx, j, steps, p, i, err)
		}
		p.Done = append(p.Done, s.Name)
	}
	return r.end(j, status.OutcomeDone, nil)
}

// turn decides what follows a failure: nothing when the daemon itself is ending, the way back where there is one, or
// a standstill.
func (r *run) turn(ctx context.Context, j Journal, steps []step, p Past, at int, err error) Ending {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), ErrCancelled) {
		return Ending{Outcome: status.OutcomeRunning, Left: true, Err: err}
	}
	if errors.Is(context.Cause(ctx), ErrCancelled) {
		err = ErrCancelled
	}
	for _, s := range steps[:at+1] {
		if s.Final && (slices.Contains(p.Done, s.Name) || s.Name == steps[at].Name) {
			return r.end(j, status.OutcomeStuck, err)
		}
	}
	return r.back(context.WithoutCancel(ctx), j, steps, p, err)
}

// back undoes what was begun, in reverse order. What cannot be undone stops it: nothing is left half undone unsaid.
func (r *run) back(ctx context.Context, j Journal, steps []step, p Past, why error) Ending {
	r.undoing = true
	for _, s := range slices.Backward(steps) {
		if !slices.Contains(p.Begun, s.Name) || slices.Contains(p.Undone, s.Name) || s.undo == nil {
			continue
		}
		if err := j.Undoing(s.Name, why.Error()); err != nil {
			return r.end(j, status.OutcomeStuck, errors.Join(why, err))
		}
		if err := s.undo(ctx, r); err != nil {
			return r.end(j, status.OutcomeStuck, &Trouble{Remedy: RemedyOf(err), Err: fmt.Errorf("%w; and cannot undo step %s: %w", why, s.Name, err)})
		}
		if err := j.Undone(s.Name); err != nil {
			return r.end(j, status.OutcomeStuck, errors.Join(why, err))
		}
	}
	if r.left {
		r.say("everything else is as it was before")
	} else {
		r.say("everything is as it was before")
	}
	return r.end(j, status.OutcomeRolledBack, why)
}

func (r *run) end(j Journal, o status.Outcome, err error) Ending {
	why := ""
	if err != nil {
		why = err.Error()
	}
	if e := j.End(o, why, r.remedy(o, err), r.result); e != nil && o == status.OutcomeDone {
		err = e // all is done; only that it is, is not written down, and it will be found done again
	}
	return Ending{Outcome: o, Err: err, Result: r.result}
}

// remedy is what comes with an error, or else the next command for such an end.
func (r *run) remedy(o status.Outcome, err error) string {
	command := r.command()
	switch text := RemedyOf(err); {
	case err == nil || text != "":
		return text
	case o == status.OutcomeStuck && r.undoing:
		return "once that is mended: " + r.Command + " mode normal, which goes on undoing"
	case o == status.OutcomeStuck:
		return "once that is mended: " + command + ", which goes on where it stood still"
	case errors.Is(err, ErrCancelled):
		return ""
	}
	return "once that is mended, ask for it again: " + command
}

// command is what was asked for, as a user types it.
func (r *run) command() string {
	words := []string{r.Command, "mode", string(r.ask.Mode)}
	if r.ask.From != "" {
		words = append(words, "--from", r.ask.From)
	}
	if len(r.ask.Endpoints) > 0 {
		words = append(words, "--endpoint", strings.Join(r.ask.Endpoints, ","))
	}
	for flag, on := range map[string]bool{"--new-identity": r.ask.NewIdentity, "--replace": r.ask.Replace} {
		if on {
			words = append(words, flag)
		}
	}
	return strings.Join(words, " ")
}

// steps are the steps that a plan names. A plan of a newer etcdsup may name one that this one does not know.
func steps(p status.Plan) ([]step, error) {
	known := forceSteps
	if p.Request.Mode == status.ModeJoin {
		known = joinSteps
	}
	var out []step
	for _, s := range p.Steps {
		i := slices.IndexFunc(known, func(k step) bool { return k.Name == s.Name || k.Name == hookStep && hookNumber(s.Name) > 0 })
		if i < 0 {
			return nil, troublef("go on with the etcdsup that began it", "cannot go on with a %s: step %q is not known to this etcdsup", p.Request.Mode, s.Name)
		}
		step := known[i]
		step.Step = s
		out = append(out, step)
	}
	return out, nil
}

// choose makes the list of a plan: those of the known steps for which use says yes, with what it says of them.
func choose(known []step, use func(name string) (does, undo string, yes bool)) []status.Step {
	var out []status.Step
	for _, s := range known {
		if does, undo, yes := use(s.Name); yes {
			out = append(out, status.Step{Name: s.Name, Does: does, Undo: undo, Final: s.Final})
		}
	}
	return out
}
