package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/flow"
	"github.com/etcdsup/etcdsup/supervisor/journal"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// executor carries transitions out: one at a time, from the journal, in a goroutine of its own. What it does to the host
// and to clusters is in world.go, what it does in which order in supervisor/flow.
type executor struct {
	d     *daemon
	store *journal.Store // nil: see fault
	audit *journal.Audit // nil: see fault
	fault error          // why no mode is changed here; nil: nothing stands against it

	auditing sync.Mutex
	news     chan struct{} // that now has changed; holds one

	mu     sync.Mutex
	now    *status.Transition // under way; replaced, never changed
	cancel context.CancelCauseFunc
	life   context.Context // ends with the daemon; set before anybody can ask
	waits  sync.WaitGroup
}

// errEnding is why a transition is left to the next etcdsup.
var errEnding = errors.New("etcdsup ends")

func transitionsDir(stateDir string) string { return filepath.Join(stateDir, "transitions") }

// run goes on with what is under way, and waits for the daemon's end. It is called once, when the loop runs.
func (x *executor) run(ctx context.Context) {
	if x.store == nil {
		return // nothing can be under way
	}
	if j := x.store.Current(); j != nil {
		x.d.log.Info("transition resumed", zap.String("id", j.State().ID), zap.Int("step", j.State().Step+1))
		x.record(journal.Self(), journal.KindDecision, "resumed after a restart of etcdsup", map[string]string{"transition": j.State().ID})
		_, _ = x.begin(j) // nothing else has begun yet
	}
	<-ctx.Done()
	x.mu.Lock()
	if x.cancel != nil {
		x.cancel(errEnding)
	}
	x.mu.Unlock()
	x.waits.Wait()
}

// publish shows what is under way in the status, each time that it has changed, until the daemon ends. One goroutine
// does it for all, so that what is shown last is what is so; and not under the lock, for the loop may wait for a disk.
func (x *executor) publish(ctx context.Context, show func(*status.Job)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-x.news:
			show(x.job())
		}
	}
}

// set makes a transition the one that is under way; nil: none is.
func (x *executor) set(t *status.Transition) {
	x.mu.Lock()
	x.now = t
	x.mu.Unlock()
	x.tellNews()
}

// tellNews has publish look. It never waits.
func (x *executor) tellNews() {
	select {
	case x.news <- struct{}{}:
	default: // publish has yet to look, and will see this too
	}
}

// begin carries a transition out from where it is.
func (x *executor) begin(j *journal.Journal) (*status.Transition, error) {
	s := j.State()
	return x.carry(j, &s, past(&s))
}

// rollBack undoes what a transition that stands still has done, whether or not that was begun.
func (x *executor) rollBack(j *journal.Journal) (*status.Transition, error) {
	s := j.State()
	p := past(&s)
	if !p.Undoing {
		s.Undoing, s.Why = true, flow.ErrCancelled.Error()
		p.Undoing, p.Why = s.Undoing, s.Why
	}
	return x.carry(j, &s, p)
}

// carry starts the goroutine that carries a transition out. It ends with the transition, or with the daemon. Of two who
// take up at once what stands still, one is refused.
func (x *executor) carry(j *journal.Journal, s *journal.State, p flow.Past) (*status.Transition, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cancel != nil {
		return nil, x.underway()
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(x.life))
	x.cancel, x.now = cancel, s.Transition()
	x.now.Outcome, x.now.Remedy = status.OutcomeRunning, "" // the journal says so with its next entry only
	if x.now.Error = ""; s.Undoing {
		x.now.Error = s.Why
	}
	x.tellNews()
	x.waits.Go(func() {
		defer cancel(nil)
		defer x.d.trim.work()()
		w := &world{x: x}
		if s.Plan.Request.Mode == status.ModeJoin {
			w.clusterID = s.Plan.Fact("cluster")
		}
		x.finish(s.ID, flow.Run(ctx, x.d.site(), w, diary{x, j}, p))
	})
	return x.now, nil
}

// past is the journal in flow's words.
func past(s *journal.State) flow.Past {
	p := flow.Past{ID: s.ID, Plan: s.Plan, Data: s.Data, Undoing: s.Undoing, Why: s.Why}
	for i, step := range s.Plan.Steps {
		switch s.Phases[i] {
		case journal.PhaseBegin, journal.PhaseUndoBegin:
			p.Begun = append(p.Begun, step.Name)
		case journal.PhaseDone:
			p.Begun, p.Done = append(p.Begun, step.Name), append(p.Done, step.Name)
		case journal.PhaseUndone:
			p.Begun, p.Undone = append(p.Begun, step.Name), append(p.Undone, step.Name)
		}
	}
	return p
}

// diary writes each entry into the journal, the audit log and our own log, and has it shown.
type diary struct {
	x *executor
	*journal.Journal
}

// Begin writes that a step begins.
func (y diary) Begin(step string) error {
	y.tell("begins", step, nil)
	return y.shown(y.Journal.Begin(step))
}

// Done writes that a step is done.
func (y diary) Done(step string, data map[string]string) error {
	y.tell("done", step, data)
	return y.shown(y.Journal.Done(step, data))
}

// Undoing writes that a step is being undone, and why.
func (y diary) Undoing(step, why string) error {
	y.tell("is being undone", step, map[string]string{"why": why})
	return y.shown(y.Journal.Undoing(step, why))
}

// Undone writes that a step is undone.
func (y diary) Undone(step string) error {
	y.tell("undone", step, nil)
	return y.shown(y.Journal.Undone(step))
}

func (y diary) tell(what, step string, data map[string]string) {
	y.x.d.log.Info("transition step", zap.String("id", y.State().ID), zap.String("step", step), zap.String("phase", what))
	y.x.record(journal.Self(), journal.KindStep, step+" "+what, data)
}

func (y diary) shown(err error) error {
	s := y.State()
	y.x.set(s.Transition())
	return err
}

// finish shows what a transition came to.
func (x *executor) finish(id string, e flow.Ending) {
	x.d.machine.Join("") // a member that was made has its WAL; one that was not is never to be started that way
	if e.Left {
		x.d.log.Info("transition left", zap.String("id", id))
		return
	}
	x.d.log.Info("transition ended", zap.String("id", id), zap.String("outcome", string(e.Outcome)), zap.Strings("result", e.Result), zap.Error(e.Err))
	x.record(journal.Self(), journal.KindOutcome, string(e.Outcome), map[string]string{"transition": id, "error": errorText(e.Err)})
	x.mu.Lock()
	x.now, x.cancel = nil, nil
	if j := x.store.Current(); j != nil { // stuck: it stays until it is taken up again, or ended by command
		s := j.State()
		x.now = s.Transition()
	}
	x.mu.Unlock()
	x.tellNews()
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// record adds to the audit log. A full disk must not stop what was asked for; it is said in our own log.
func (x *executor) record(actor status.Actor, kind, text string, data map[string]string) {
	x.auditing.Lock()
	defer x.auditing.Unlock()
	if x.audit == nil {
		x.d.log.Error("audit log not written", zap.String("kind", kind), zap.String("text", text), zap.Error(x.fault))
		return
	}
	maps.DeleteFunc(data, func(_, v string) bool { return v == "" })
	if _, err := x.audit.Append(journal.Entry{Actor: actor, Kind: kind, Text: text, Data: data}); err != nil {
		x.d.log.Error("audit log not written", zap.String("kind", kind), zap.String("text", text), zap.Error(err))
	}
}

// at shows the progress of the step that runs.
func (x *executor) at(progress string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.now == nil {
		return
	}
	t := *x.now
	t.Progress = progress
	x.now = &t
	x.tellNews()
}

// job is the transition that is under way or stands still, as the status has it; nil: none is.
func (x *executor) job() *status.Job {
	x.mu.Lock()
	defer x.mu.Unlock()
	t := x.now
	if t == nil {
		return nil
	}
	job := &status.Job{ID: t.ID, Mode: t.Request.Mode, Step: t.Step + 1, Of: len(t.Steps), Began: t.Began, Progress: t.Progress}
	if t.Step < len(t.Steps) {
		job.Title = t.Steps[t.Step].Name
	}
	if t.Outcome == status.OutcomeStuck {
		job.Error = cmp.Or(t.Error, "for no known reason")
	}
	return job
}

// ---- what the control socket asks ----

// Modes is what is under way, and what ended last.
func (x *executor) Modes(context.Context) (*status.Modes, error) {
	x.mu.Lock()
	defer x.mu.Unlock() // one that ends meanwhile is to be in one of the two
	m := &status.Modes{Mode: status.ModeNormal, Now: x.now}
	if x.now != nil {
		m.Mode = x.now.Request.Mode
	}
	var err error
	m.Last, err = x.store.Last()
	m.Now, m.Last = withAsides(m.Now), withAsides(m.Last)
	return m, err
}

// withAsides is a transition with what there is of the directories that gave way in it.
func withAsides(t *status.Transition) *status.Transition {
	if t == nil {
		return nil
	}
	full := *t
	full.SetAside = flow.Asides(t, holds)
	return &full
}

// PlanMode says what a request would do.
func (x *executor) PlanMode(ctx context.Context, r status.ModeRequest) (*status.Plan, error) {
	if err := x.guard(); err != nil {
		return nil, err
	}
	if j := x.stuck(); j != nil {
		return x.planOn(j, r)
	}
	p, err := x.plan(ctx, r)
	return p, asRefusal(err)
}

func (x *executor) plan(ctx context.Context, r status.ModeRequest) (*status.Plan, error) {
	w, site, cfg := &world{x: x}, x.d.site(), x.d.next()
	site.HookFaults = hookFaults(ctx, cfg)
	warnings, err := sound(cfg, r.Mode)
	if err == nil {
		site.Version, err = etcdVersion(ctx, cfg)
	}
	if err != nil {
		return nil, err
	}
	plan := flow.PlanForce
	if r.Mode == status.ModeJoin {
		plan = flow.PlanJoin
	}
	p, err := plan(ctx, site, w, r)
	if err == nil {
		p.Warnings = append(p.Warnings, warnings...)
	}
	return p, err
}

// asRefusal gives a refusal the form in which it travels, with its remedy.
func asRefusal(err error) error {
	if err == nil {
		return nil
	}
	return &control.Error{Message: err.Error(), Remedy: flow.RemedyOf(err), Code: control.CodeRefused, Faults: flow.FaultsOf(err)}
}

// ChangeMode begins a transition. It returns when the journal has it.
func (x *executor) ChangeMode(ctx context.Context, r status.ModeRequest, confirm string, actor status.Actor) (*status.Transition, error) {
	x.record(actor, journal.KindCommand, "mode "+string(r.Mode), requestData(r))
	if j := x.stuck(); j != nil {
		return x.goOn(j, r, confirm)
	}
	if err := x.guard(); err != nil {
		return nil, err
	}
	p, err := x.plan(ctx, r)
	if err != nil {
		return nil, asRefusal(err)
	}
	if p.Nothing != "" {
		return nil, nil
	}
	if err := confirmed(p, confirm); err != nil {
		return nil, err
	}
	j, err := x.store.Begin(*p)
	if errors.Is(err, journal.ErrUnderway) {
		return nil, x.underway()
	}
	if err != nil {
		return nil, err
	}
	return x.begin(j)
}

func wantedWord(p *status.Plan) string {
	if p.Confirm == "" {
		return "yes"
	}
	return p.Confirm
}

func requestData(r status.ModeRequest) map[string]string {
	data := map[string]string{}
	for name, v := range map[string]string{"from": r.From, "fenced": fmt.Sprint(r.Fenced), "endpoints": fmt.Sprint(r.Endpoints)} {
		if v != "" && v != "[]" {
			data[name] = v
		}
	}
	for name, on := range map[string]bool{"new-identity": r.NewIdentity, "replace": r.Replace, "allow-contact": r.AllowContact} {
		if on {
			data[name] = "yes"
		}
	}
	return data
}

// CancelMode has what is under way rolled back. What stands still is rolled back further, or, past the point from which
// there is a way back, ended as it is.
func (x *executor) CancelMode(_ context.Context, actor status.Actor) (*status.Transition, error) {
	x.record(actor, journal.KindCommand, "mode normal", nil)
	if j := x.stuck(); j != nil {
		return x.release(j)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.now == nil {
		return nil, nil
	}
	if t := x.now; slices.ContainsFunc(t.Steps[:t.Step+1], func(s status.Step) bool { return s.Final }) {
		return nil, &control.Error{Code: control.CodeFinal, Message: fmt.Sprintf("cannot cancel the %s: it is past the point from which there is a way back", t.Request.Mode), Remedy: "see " + x.d.g.commandLine("mode")}
	}
	if x.cancel == nil {
		return nil, x.underway() // it is just being resumed
	}
	x.cancel(flow.ErrCancelled) // once more does nothing
	return x.now, nil
}

// underway refuses what must not be done in the midst of a transition.
func (x *executor) underway() error {
	return &control.Error{Code: control.CodeTransition, Message: "a change of mode is under way", Remedy: "see it with " + x.d.g.commandLine("mode") + ", or cancel it with " + x.d.g.commandLine("mode normal")}
}

// guard is nil while no transition is under way. One that stands still leaves etcd to its users.
func (x *executor) guard() error { return x.between(func() error { return nil }) }

// between does something while no transition is under way, and lets none begin meanwhile.
func (x *executor) between(do func() error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.now == nil || x.now.Outcome == status.OutcomeStuck {
		return do()
	}
	return x.underway()
}

// AcceptData takes what is in the data directory for the member that belongs here.
func (x *executor) AcceptData(_ context.Context, actor status.Actor) error {
	x.record(actor, journal.KindCommand, "start --accept-data", nil)
	if err := x.guard(); err != nil {
		return err
	}
	mark, aside, err := x.d.machine.AcceptData()
	if err == nil {
		x.record(journal.Self(), journal.KindDecision, "the data directory was accepted as it is", map[string]string{"cluster": mark.ClusterID, "member": mark.MemberID, "old-mark": aside})
	}
	return err
}

// Audit is the end of the audit log. It has to end with what was written there last: only we know that.
func (x *executor) Audit(_ context.Context, n int) (*status.AuditReport, error) {
	x.auditing.Lock()
	defer x.auditing.Unlock()
	r, err := readAudit(auditPath(x.d.cfg.StateDir()), n)
	if err != nil {
		return nil, err
	}
	if seq, head := x.audit.Head(); r.Broken == "" && seq > 0 && r.Head != head {
		r.Broken = fmt.Sprintf("its end is missing: entry %d was written last, and the file has %d entries", seq, r.To)
	}
	return r, nil
}
