package flow

import (
	"fmt"
	"slices"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// asidesOf are the paths that are told of a transition that has ended.
func asidesOf(m *model, j *memory, o status.Outcome) []string {
	var paths []string
	t := &status.Transition{ID: "id", DataDir: j.past.Plan.Fact(status.FactDataDir), Outcome: o}
	for _, a := range Asides(t, m.Holds) {
		paths = append(paths, a.Path)
	}
	slices.Sort(paths)
	return paths
}

// besides are the paths that there are now and were not before, but for the data directory itself.
func besides(before, now *model) []string {
	var paths []string
	for path := range now.dirs {
		if _, was := before.dirs[path]; !was && path != dir {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// TestAsides: every directory that a transition leaves beside the data is told, and nothing else, however it ends.
func TestAsides(t *testing.T) {
	for _, s := range scenes() {
		for at := 0; ; at++ {
			m, j := s.begin(t)
			m.effects, m.wrong, m.asked = at, fail, 0
			e, _ := attempt(m, j)
			want := besides(s.model(), m)
			if got := asidesOf(m, j, e.Outcome); !slices.Equal(got, want) {
				t.Errorf("%s, failed at effect %d, %s: told %v, there are %v", s.name, at, e.Outcome, got, want)
			}
			if at > 0 && e.Outcome == status.OutcomeDone {
				break
			}
		}
	}
	m, j := scenes()[0].begin(t)
	attempt(m, j)
	if got := fmt.Sprint(asidesOf(m, j, status.OutcomeDone)); got != "[/d.aside-id]" {
		t.Errorf("in place: %s", got)
	}
	if got := Asides(&status.Transition{ID: "id"}, m.Holds); got != nil {
		t.Errorf("of one whose directory is not known: %v", got)
	}
}
