package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// setModes makes the change and publishes a status, as the daemon does when a step ends. The transitions in it are not to
// be changed any more.
func (f *fakeDaemon) setModes(change func(*status.Modes)) {
	f.mu.Lock()
	change(&f.modes)
	f.mu.Unlock()
	f.Publish(func(*status.Status) {})
}

func (f *fakeDaemon) Modes(context.Context) (*status.Modes, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.modes
	return &m, nil
}

func (f *fakeDaemon) PlanMode(_ context.Context, r status.ModeRequest) (*status.Plan, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.plan
	p.Request = r
	return &p, f.script("plan " + requestLine(r))
}

func (f *fakeDaemon) ChangeMode(_ context.Context, r status.ModeRequest, confirm string, _ status.Actor) (*status.Transition, error) {
	if !f.plan.Confirmed(confirm) {
		return nil, &control.Error{Message: "this is not what the plan asks for", Code: control.CodeUnconfirmed}
	}
	if err := f.script("change " + requestLine(r)); err != nil {
		return nil, err
	}
	m, _ := f.Modes(context.Background())
	return m.Now, nil
}

func (f *fakeDaemon) CancelMode(context.Context, status.Actor) (*status.Transition, error) {
	m, _ := f.Modes(context.Background())
	return m.Now, f.script("cancel")
}

func (f *fakeDaemon) AcceptData(context.Context, status.Actor) error { return f.script("accept-data") }

func (f *fakeDaemon) Audit(context.Context, int) (*status.AuditReport, error) {
	return &f.audit, f.script("audit")
}

// requestLine is a request in one line.
func requestLine(r status.ModeRequest) string {
	b, _ := json.Marshal(r) // of plain fields
	return string(b)
}

// joinPlan is one with everything in it.
func joinPlan() status.Plan {
	return status.Plan{
		Steps: []status.Step{
			{Name: "check", Does: "ask the cluster whether it can take a member"},
			{Name: "set-aside", Does: "rename /var/lib/etcd to /var/lib/etcd.aside-j1", Undo: "rename it back"},
			{Name: "add", Does: "add n3 to the cluster as a learner", Undo: "remove it from the cluster"},
			{Name: "start", Does: "start etcd with the list of members that the cluster returned", Undo: "stop it"},
			{Name: "catch-up", Does: "wait until it has what the leader has"},
			{Name: "promote", Does: "make it a voter", Final: true},
		},
		Facts:    []status.Fact{{Name: "cluster", Value: "1c45a069f3a1d796"}, {Name: "now", Value: "2 of 2 voters healthy, quorum 2: none may fail"}},
		Warnings: []string{"the clocks of the hosts differ by 12 s"},
	}
}

func forcePlan() status.Plan {
	return status.Plan{
		Steps: []status.Step{
			{Name: "check", Does: "ask every old member that is known whether it still lives"},
			{Name: "copy", Does: "copy /backup/etcd to /var/lib/etcd.new-f1", Undo: "leave the copy where it is"},
			{Name: "prove", Does: "show that there is one voter, and that it reads and writes", Final: true},
		},
		Facts:   []status.Fact{{Name: "cluster", Value: "1c45a069f3a1d796"}, {Name: "revision", Value: "10234"}},
		Confirm: "1c45a069f3a1d796",
	}
}

// transition is one by a plan, of which the first steps are done, a second each, and the next one runs.
func transition(id string, mode status.Mode, p status.Plan, done int) *status.Transition {
	tr := &status.Transition{
		ID: id, Request: status.ModeRequest{Mode: mode}, Steps: append([]status.Step{}, p.Steps...), Step: min(done, len(p.Steps)-1),
		Began: at(0), StepAt: at(0).Add(time.Duration(done) * time.Second), Outcome: status.OutcomeRunning,
	}
	for i := range min(done+1, len(p.Steps)) {
		tr.Steps[i].Began = at(0).Add(time.Duration(i) * time.Second)
		if i < done {
			tr.Steps[i].Ended = at(0).Add(time.Duration(i+1) * time.Second)
		}
	}
	return tr
}

// finished is a transition whose steps are all done.
func finished(id string, mode status.Mode, p status.Plan) *status.Transition {
	tr := transition(id, mode, p, len(p.Steps))
	tr.Outcome, tr.Ended = status.OutcomeDone, at(0).Add(time.Duration(len(p.Steps))*time.Second)
	tr.Result = []string{"n3 is a voter of cluster 1c45a069f3a1d796, which has 3 now"}
	tr.DataDir = "/var/lib/etcd"
	tr.SetAside = []status.Aside{{Path: "/var/lib/etcd.aside-j1", Was: "/var/lib/etcd", What: "what was in /var/lib/etcd before"}}
	return tr
}

// rolledBack is a transition that failed at a step and was undone.
func rolledBack(id string, mode status.Mode, p status.Plan, failed int) *status.Transition {
	tr := transition(id, mode, p, failed)
	for i := range failed {
		if tr.Steps[i].Undo != "" {
			tr.Steps[i].Undone = at(1)
		}
	}
	tr.Step, tr.Undoing, tr.Outcome, tr.Ended = 0, true, status.OutcomeRolledBack, at(1)
	tr.Error, tr.Remedy = "cannot start etcd: port 2380 is taken", "end what listens there, then join again"
	tr.Result = []string{"everything is as it was before"}
	return tr
}
