package flow

import (
	"context"
	"strings"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Facts of a force-new-cluster that its later steps go by.
const (
	factData = "data"      // "none": there was nothing in the data directory
	factOld  = "old-peers" // where somebody of the same cluster may answer, by comma
)

func dataFact(holds bool) status.Fact {
	if holds {
		return status.Fact{Name: factData, Value: "there"}
	}
	return status.Fact{Name: factData, Value: "none"}
}

// placed tells that the new directory has taken its place, whatever the journal has of it: then there is nothing to copy
// and nothing to rebuild any more, and nothing to set aside but our own work.
func (r *run) placed() bool {
	return r.Holds(r.DataDir) && !r.Holds(r.next()) && (r.Holds(r.asideDir()) || r.fact(factData) == "none")
}

// unlessPlaced is a step that comes before.
func unlessPlaced(do func(context.Context, *run) error) func(context.Context, *run) error {
	return func(ctx context.Context, r *run) error {
		if r.placed() {
			return nil
		}
		return do(ctx, r)
	}
}

// twin is where somebody of the same cluster answers; empty: nowhere.
func (r *run) twin(ctx context.Context) string {
	old := r.fact(factOld)
	if old == "" || r.restores() { // what is restored has other IDs
		return ""
	}
	urls := strings.Split(old, ",")
	found := r.Ask(ctx, urls, r.fact("cluster"))
	for _, u := range urls {
		if found[u] == PresenceAlive {
			return u
		}
	}
	return ""
}
