package status

import "time"

// ModeRequest asks for a transition. Only the fields of its mode may be set.
type ModeRequest struct {
	Mode Mode `json:"mode"`

	// For force-new-cluster.
	From         string   `json:"from,omitempty"`          // absolute path of a data directory or a snapshot file; empty: the data that is there
	NewIdentity  bool     `json:"new_identity,omitempty"`  // restore into a cluster with new IDs
	BumpRevision int64    `json:"bump_revision,omitempty"` // with NewIdentity; 0: computed
	Fenced       []string `json:"fenced,omitempty"`        // hosts of which the operator says that they are off
	Peers        []string `json:"peers,omitempty"`         // further peer URLs at which an old member might answer
	AllowContact bool     `json:"allow_contact,omitempty"` // go on where the forced run cannot be isolated

	// For join.
	Endpoints []string `json:"endpoints,omitempty"` // client URLs of the cluster; empty: those of the configuration
	Replace   bool     `json:"replace,omitempty"`   // remove the dead member that has our name or peer URL
}

// Step is one step of a plan: what it will do, and how it is undone.
type Step struct {
	Name string `json:"name"` // stable, for programs: "set-aside"
	Does string `json:"does"` // one sentence
	Undo string `json:"undo"` // one sentence; empty: there is none, or none is needed
	// Final says that from this step on there is no way back: what was begun is completed.
	Final bool `json:"final,omitempty"`

	// In a Transition, wall clock; zero where it has not come to that.
	Began  time.Time `json:"began,omitzero"`
	Ended  time.Time `json:"ended,omitzero"`  // when it was done
	Undone time.Time `json:"undone,omitzero"` // when it was undone
}

// Plan is what a transition will do, from the very list that runs. Facts are what was found while it was made.
type Plan struct {
	Request  ModeRequest `json:"request"`
	Steps    []Step      `json:"steps"`
	Facts    []Fact      `json:"facts,omitempty"`
	Warnings []string    `json:"warnings,omitempty"`
	Hooks    []Hook      `json:"hooks,omitempty"` // that the steps hook-1, hook-2, … run
	// Nothing says that there is nothing to do, and why: the member is what was asked for already.
	Nothing string `json:"nothing,omitempty"`
	// Confirm is what a person has to type: a cluster ID. Empty: yes is enough.
	Confirm string `json:"confirm,omitempty"`
}

// Fact is one thing that a plan goes by, such as {"cluster", "1c45a069f3a1d796"}.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Outcome is how a transition ended.
type Outcome string

// The outcomes.
const (
	OutcomeRunning    Outcome = "running"
	OutcomeDone       Outcome = "done"
	OutcomeRolledBack Outcome = "rolled-back" // everything is as it was before
	OutcomeStuck      Outcome = "stuck"       // neither forward nor back by itself; see Error and Remedy
)

// Transition is a change of mode, under way or ended.
type Transition struct {
	ID       string      `json:"id"`
	Request  ModeRequest `json:"request"`
	Steps    []Step      `json:"steps"`
	Step     int         `json:"step"` // index of the step that runs, or ran last
	Undoing  bool        `json:"undoing,omitempty"`
	Progress string      `json:"progress,omitempty"` // of the step: "42 %, 120 MB/s"
	Began    time.Time   `json:"began"`
	StepAt   time.Time   `json:"step_at"` // when Step began
	Ended    time.Time   `json:"ended,omitzero"`
	Outcome  Outcome     `json:"outcome"`
	Error    string      `json:"error,omitempty"` // why it did not go on
	Remedy   string      `json:"remedy,omitempty"`
	Result   []string    `json:"result,omitempty"`    // what it ended with, a sentence each
	DataDir  string      `json:"data_dir,omitempty"`  // that it is about
	SetAside []Aside     `json:"set_aside,omitempty"` // what gave way and is there still
	Hooks    []HookRun   `json:"hooks,omitempty"`     // that have been run
}

// Fault is one thing that stands against a plan.
type Fault struct {
	What   string `json:"what"`             // "cannot …: why"
	Remedy string `json:"remedy,omitempty"` // what to do about it; empty: nothing that is known
}

// Aside is a directory that gave way and was kept, or that was made and not used.
type Aside struct {
	Path string `json:"path"`          // where it is now
	Was  string `json:"was,omitempty"` // where it was before; empty: it was made at Path
	What string `json:"what"`          // what it is, in words
}

// FactDataDir is the name of the fact that says which directory a plan is about.
const FactDataDir = "data-dir"

// Fact is the value of the plan's fact of that name; empty: it has none.
func (p *Plan) Fact(name string) string {
	for _, f := range p.Facts {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Modes is the answer to "which mode": the resting one, or what is under way, and the last that ended.
type Modes struct {
	Mode Mode        `json:"mode"`
	Now  *Transition `json:"now,omitempty"`
	Last *Transition `json:"last,omitempty"`
}
