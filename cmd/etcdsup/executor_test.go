package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/journal"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestLastJobShown: however slowly it is shown, what is shown last is what is so: in the end, nothing.
func TestLastJobShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &executor{news: make(chan struct{}, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		var shown *status.Job
		go x.publish(ctx, func(j *status.Job) { // ends with ctx
			<-time.After(time.Second) // virtual: a loop that waits for its disk
			shown = j
		})
		steps := []status.Step{{Name: "check"}, {Name: "prove"}}
		running := func(step int) *status.Transition {
			return &status.Transition{Outcome: status.OutcomeRunning, Steps: steps, Step: step}
		}
		expect := func(name string) {
			t.Helper()
			<-time.After(time.Minute) // virtual
			synctest.Wait()
			if shown == nil != (name == "") || shown != nil && shown.Title != name {
				t.Errorf("shown is %+v, not %q", shown, name)
			}
		}
		for i := range steps {
			x.set(running(i))
			x.at("10 %")
		}
		expect("prove")
		x.at("20 %")
		x.set(&status.Transition{Outcome: status.OutcomeStuck, Steps: steps, Error: "no room"})
		expect("check")
		if shown == nil || shown.Error != "no room" || shown.Progress != "" {
			t.Errorf("stuck: %+v", shown)
		}
		x.set(running(0))
		expect("check")
		x.set(running(1))
		x.set(nil)
		expect("")
		cancel()
	})
}

// stuckExecutor has a force-new-cluster from /a that stands still.
func stuckExecutor(t *testing.T, undoing bool) (*executor, *journal.Journal) {
	t.Helper()
	store, err := journal.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	j, err := store.Begin(status.Plan{
		Request: status.ModeRequest{Mode: status.ModeForceNewCluster, From: "/a", NewIdentity: true, BumpRevision: 7},
		Steps:   []status.Step{{Name: "copy", Does: "copies", Undo: "leaves it"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if undoing {
		err = j.Undoing("copy", "no room")
	} else {
		err = j.Begin("copy")
	}
	if err := errors.Join(err, j.End(status.OutcomeStuck, "no room", "make room", nil)); err != nil {
		t.Fatal(err)
	}
	x := &executor{d: &daemon{g: &globals{}}, store: store, news: make(chan struct{}, 1)}
	s := j.State()
	x.set(s.Transition())
	return x, j
}

// TestStuckGoesOnForTheSameOnly: what was confirmed is what runs.
func TestStuckGoesOnForTheSameOnly(t *testing.T) {
	same := status.ModeRequest{Mode: status.ModeForceNewCluster, From: "/a", NewIdentity: true}
	other, join := same, status.ModeRequest{Mode: status.ModeJoin}
	other.From = "/b"
	x, j := stuckExecutor(t, false)
	p, err := x.PlanMode(t.Context(), same)
	if err != nil || p.Request.From != "/a" || !strings.Contains(strings.Join(p.Warnings, ""), "no room") {
		t.Errorf("the same again: %+v, %v", p, err)
	}
	for _, r := range []status.ModeRequest{other, join} {
		if p, err := x.PlanMode(t.Context(), r); codeOf(err) != control.CodeTransition {
			t.Errorf("%+v: %+v, %v", r, p, err)
		}
		if tr, err := x.goOn(j, r, "yes"); codeOf(err) != control.CodeTransition {
			t.Errorf("%+v: %+v, %v", r, tr, err)
		}
	}
	if tr, err := x.goOn(j, same, ""); codeOf(err) != control.CodeUnconfirmed {
		t.Errorf("unconfirmed: %+v, %v", tr, err)
	}
	x.cancel = func(error) {} // somebody else has taken it up
	if tr, err := x.goOn(j, same, "yes"); codeOf(err) != control.CodeTransition {
		t.Errorf("taken up twice: %+v, %v", tr, err)
	}
}

// TestStuckOnTheWayBack: there is no way forward any more.
func TestStuckOnTheWayBack(t *testing.T) {
	x, j := stuckExecutor(t, true)
	r := j.State().Plan.Request
	p, err := x.PlanMode(t.Context(), r)
	if e, ok := errors.AsType[*control.Error](err); !ok || !strings.Contains(e.Remedy, "mode normal") {
		t.Errorf("%+v, %v", p, err)
	}
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*control.Error](err); ok {
		return e.Code
	}
	return ""
}

// TestAuditEndMissing: that the end of the audit log was cut off, or all of it removed, no reader of the file can see.
func TestAuditEndMissing(t *testing.T) {
	cfg := &config.Config{Dir: t.TempDir()}
	path := auditPath(cfg.StateDir())
	audit, err := journal.OpenAudit(path)
	if err != nil {
		t.Fatal(err)
	}
	defer audit.Close()
	x := &executor{d: &daemon{cfg: cfg}, audit: audit}
	expect := func(broken string, entries int) {
		t.Helper()
		r, err := x.Audit(t.Context(), 10)
		if err != nil || !strings.Contains(r.Broken, broken) || r.Broken == "" != (broken == "") || len(r.Entries) != entries {
			t.Errorf("%+v, %v, not %q", r, err, broken)
		}
	}
	expect("", 0)
	for _, text := range []string{"start", "stop"} {
		if _, err := audit.Append(journal.Entry{Kind: journal.KindCommand, Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	expect("", 2)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(b, '\n') + 1
	if err := os.Truncate(path, int64(first)); err != nil {
		t.Fatal(err)
	}
	expect("entry 2 was written last, and the file has 1", 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("entry 2 was written last, and the file has 0", 0)
}
