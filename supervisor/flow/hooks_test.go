package flow

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// ranHooks are the outcomes of the hooks in a journal.
func ranHooks(j *memory) []status.HookOutcome {
	var all []status.HookOutcome
	for _, h := range status.HooksRan(j.past.Data) {
		all = append(all, h.Outcome)
	}
	return all
}

func TestHooks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		wrong  wrong
		at     int // effect after the last one without hooks
		killed bool
		hooked []string
		want   []status.HookOutcome
		says   string
	}{
		{"all done", nothingWrong, 0, false, []string{"one", "two"}, []status.HookOutcome{status.HookDone, status.HookDone}, ""},
		{"one fails", fail, 1, false, []string{"two"}, []status.HookOutcome{status.HookFailed, status.HookDone}, "run it by hand: one 'a b'"},
		{"killed before", killBefore, 2, true, []string{"one"}, []status.HookOutcome{status.HookDone, status.HookInterrupted}, "run it by hand: two"},
		{"killed after", killAfter, 1, true, []string{"one", "two"}, []status.HookOutcome{status.HookInterrupted, status.HookDone}, "run it by hand: one 'a b'"},
	} {
		s := scenes()[0]
		all, j := s.begin(t)
		attempt(all, j)
		before := all.asked - len(j.past.Plan.Hooks)
		m, j := s.begin(t)
		m.wrong, m.effects, m.asked = tt.wrong, before+tt.at, 0
		e, dead := attempt(m, j)
		if dead != tt.killed {
			t.Errorf("%s: killed %v", tt.name, dead)
		}
		if dead {
			m.wrong = nothingWrong
			e, _ = attempt(m, j)
		}
		said := strings.Join(e.Result, "\n")
		if e.Outcome != status.OutcomeDone || !slices.Equal(m.hooked, tt.hooked) || !slices.Equal(ranHooks(j), tt.want) || !strings.Contains(said, tt.says) {
			t.Errorf("%s: %+v; ran %v, outcomes %v", tt.name, e, m.hooked, ranHooks(j))
		}
		if tt.says == "" == strings.Contains(said, "by hand") || !strings.Contains(said, "has one voter") {
			t.Errorf("%s: says %s", tt.name, said) // also when another etcdsup had proven it
		}
		want := HookFacts{Transition: "id", MemberID: "m1", ClusterIDBefore: "c1", ClusterIDAfter: "c1", RevisionBefore: "12", RevisionAfter: "1000"}
		if m.told != want {
			t.Errorf("%s: told %+v", tt.name, m.told)
		}
	}
}

func TestHooksInThePlan(t *testing.T) {
	m, ask := newModel(), status.ModeRequest{Mode: status.ModeForceNewCluster}
	site := m.site()
	site.HookFaults = []string{"two is not there"}
	p, err := PlanForce(t.Context(), site, m, ask)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range p.Steps[len(p.Steps)-3:] {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"prove", "hook-1", "hook-2"}) || !slices.Contains(p.Warnings, "two is not there") {
		t.Errorf("%+v", p)
	}
	if does := p.Steps[len(p.Steps)-2].Does; !strings.Contains(does, "one 'a b'") {
		t.Errorf("says %q", does)
	}
	for name, want := range map[string]int{"hook-1": 1, "hook-12": 12, "hook": 0, "hook-": 0, "hook-0": 0, "hook--1": 0, "hook-01": 0, "prove": 0} {
		if got := hookNumber(name); got != want {
			t.Errorf("%s: %d", name, got)
		}
	}
}

func TestKubernetesIsToldWhatToDo(t *testing.T) {
	for _, restored := range []bool{false, true} {
		m, ask := newModel(), status.ModeRequest{Mode: status.ModeForceNewCluster, NewIdentity: restored}
		m.source.Kubernetes, m.high = true, 5000
		p, err := PlanForce(t.Context(), m.site(), m, ask)
		if err != nil {
			t.Fatal(err)
		}
		e, _ := attempt(m, &memory{past: Past{ID: "id", Plan: *p}})
		said := strings.Join(e.Result, "\n")
		for _, want := range []string{"was 12 in the data and is 1000", "revision 5000 has been seen", "every kube-apiserver"} {
			if !strings.Contains(said, want) {
				t.Errorf("says nothing of %q: %s", want, said)
			}
		}
		if restored != strings.Contains(said, "compacted") {
			t.Errorf("%s", said)
		}
	}
}

func TestHookRunsInTheJournal(t *testing.T) {
	h := status.HookRun{Argv: []string{"/bin/sh", "-c", "a  b"}, Outcome: status.HookFailed, Stdout: "x\n"}
	data := map[string]string{"hook-1": h.Text(), "hook-2": h.Text(), "hook-4": h.Text()}
	got, err := json.Marshal(status.HooksRan(data))
	want, _ := json.Marshal([]status.HookRun{h, h})
	if err != nil || !bytes.Equal(got, want) || status.CommandText(h.Argv) != "a b" {
		t.Errorf("%s, %v", got, err)
	}
}
