package flow

import "github.com/etcdsup/etcdsup/supervisor/status"

// What follows the data directory's name in those beside it, before the ID of the transition that made them.
const (
	besideNew      = ".new-"
	besideRestored = ".restored-"
	besideAside    = ".aside-"
	besideFailed   = ".failed-"
)

// Asides are the directories that gave way in a transition, or were made by it and are not used, and that hold something
// now. What was put back, and what somebody has removed since, is none any more.
func Asides(t *status.Transition, holds func(path string) bool) []status.Aside {
	if t.DataDir == "" {
		return nil
	}
	all := []status.Aside{
		{Path: t.DataDir + besideAside + t.ID, Was: t.DataDir, What: "what was in " + t.DataDir + " before"},
		{Path: t.DataDir + besideFailed + t.ID, Was: t.DataDir, What: "what the learner had, which did not become a voter"},
	}
	if t.Outcome != status.OutcomeRunning { // until then it is worked on
		all = append(all,
			status.Aside{Path: t.DataDir + besideNew + t.ID, What: "the copy that was worked on, which is not used any more"},
			status.Aside{Path: t.DataDir + besideRestored + t.ID, What: "the directory with new IDs, which is not used"})
	}
	var there []status.Aside
	for _, a := range all {
		if holds(a.Path) {
			there = append(there, a)
		}
	}
	return there
}
