package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/etcdsup/etcdsup/supervisor/flow"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// fakeWorld is a host and a cluster as far as a change of mode can tell them apart, as values: what it is can be kept and
// put back. Directories are their content. After each effect it tells, and may be left for dead.
type fakeWorld struct {
	dirs    map[string]string
	members map[string]fakeMember // of the cluster that is joined, by ID
	up      bool
	mark    string
	forced  int // how often --force-new-cluster was given

	after func() // each effect; it may panic
}

type fakeMember struct {
	ours, started, voter bool
}

const (
	fakeDir  = "/d"
	ourPeer  = "http://b:2380"
	joinedAs = "joined as "
)

func (w *fakeWorld) clone() *fakeWorld {
	c := *w
	c.dirs, c.members = maps.Clone(w.dirs), maps.Clone(w.members)
	return &c
}

func (w *fakeWorld) site() flow.Site {
	return flow.Site{Name: "b", DataDir: fakeDir, PeerURLs: []string{ourPeer}, ClientURLs: []string{"http://b:2379"}, Running: w.up, Command: "etcdsup"}
}

func (w *fakeWorld) effect(do func()) error {
	do()
	w.after()
	return nil
}

func (w *fakeWorld) Progress(string)            {}
func (w *fakeWorld) Stop(context.Context) error { return w.effect(func() { w.up = false }) }

func (w *fakeWorld) Start(ctx context.Context) error { return w.Launch(ctx, "") }

func (w *fakeWorld) Launch(_ context.Context, bootstrap string) error {
	if w.dirs[fakeDir] == "" && bootstrap == "" {
		return errors.New("nothing to start from")
	}
	return w.effect(func() {
		w.up = true
		for id, m := range w.members {
			if w.dirs[fakeDir] == "" && m.ours && !m.started {
				w.dirs[fakeDir], m.started = joinedAs+id, true
				w.members[id] = m
			}
		}
	})
}

func (w *fakeWorld) Look(path string) (*flow.Source, error) {
	s := &flow.Source{Path: path, Empty: w.dirs[path] == "", ClusterID: "c1", MemberID: "m1", Role: "voter", Voters: 3, Peers: []flow.SourcePeer{{Name: "z", URLs: []string{"http://z:2380"}}}}
	if id, joined := strings.CutPrefix(w.dirs[path], joinedAs); joined {
		s.ClusterID, s.MemberID = "c2", id
	}
	if strings.Contains(w.dirs[path], "rebuilt") {
		s.Voters, s.Peers = 1, nil
	}
	return s, nil
}

func (w *fakeWorld) Copy(_ context.Context, from, to string, _ func(string)) error {
	return w.effect(func() { w.dirs[to] = "copy of " + w.dirs[from] })
}

func (w *fakeWorld) Room(string, int64) error      { return nil }
func (w *fakeWorld) Restart(context.Context) error { return nil }

func (w *fakeWorld) Hook(_ context.Context, h status.Hook, _ flow.HookFacts) (status.HookRun, error) {
	return status.HookRun{Argv: h.Argv, Outcome: status.HookDone}, nil
}

func (w *fakeWorld) Move(from, to string) error {
	switch {
	case w.dirs[from] == "" && w.dirs[to] != "":
		return nil // it was done
	case w.dirs[from] == "" || w.dirs[to] != "":
		return fmt.Errorf("cannot move %s (%q) to %s (%q)", from, w.dirs[from], to, w.dirs[to])
	}
	return w.effect(func() { w.dirs[to] = w.dirs[from]; delete(w.dirs, from) })
}

func (w *fakeWorld) Holds(path string) bool      { return w.dirs[path] != "" }
func (w *fakeWorld) Mark() string                { return w.mark }
func (w *fakeWorld) Expect(c, m string) error    { return w.effect(func() { w.mark = c + " " + m }) }
func (w *fakeWorld) RestoreMark(to string) error { return w.effect(func() { w.mark = to }) }
func (w *fakeWorld) HighWater() int64            { return 0 }
func (w *fakeWorld) Isolates() error             { return nil }

func (w *fakeWorld) Ask(_ context.Context, urls []string, _ string) map[string]flow.Presence {
	found := map[string]flow.Presence{}
	for _, u := range urls {
		found[u] = flow.PresenceNobody
	}
	return found
}

func (w *fakeWorld) KeepEntries(context.Context, string) (uint64, error) {
	return 0, w.effect(func() {})
}

func (w *fakeWorld) Rebuild(_ context.Context, dir string, force, _ bool) (*flow.Proof, error) {
	if w.dirs[dir] == "" {
		return nil, errors.New("nothing to rebuild")
	}
	return &flow.Proof{Revision: 12, Keys: 7}, w.effect(func() {
		if force {
			w.forced++
		}
		if !strings.Contains(w.dirs[dir], "rebuilt") {
			w.dirs[dir] += ", rebuilt"
		}
	})
}

func (w *fakeWorld) Restore(_ context.Context, from, to string, _ int64) (*flow.Proof, error) {
	return &flow.Proof{Revision: 1000}, w.effect(func() { w.dirs[to] = "restored from " + from })
}

func (w *fakeWorld) Prove(context.Context, int64) (*flow.Proof, error) {
	if !w.up {
		return nil, errors.New("etcd does not answer")
	}
	if id, joined := strings.CutPrefix(w.dirs[fakeDir], joinedAs); joined {
		return &flow.Proof{ClusterID: "c2", MemberID: id, Members: w.list().Members}, nil
	}
	return &flow.Proof{ClusterID: "c1", MemberID: "m1", Revision: 1000, Keys: 7, Members: []status.Peer{{ID: "m1", PeerURLs: []string{ourPeer}}}}, nil
}

func (w *fakeWorld) list() *status.Members {
	l := &status.Members{ClusterID: "c2"}
	for id, m := range w.members {
		p := status.Peer{ID: id, Started: m.started, Learner: !m.voter, Healthy: m.voter && (!m.ours || w.up)}
		if m.ours {
			p.PeerURLs = []string{ourPeer}
		}
		l.Members = append(l.Members, p)
	}
	return l
}

func (w *fakeWorld) Members(context.Context, []string) (*status.Members, error) { return w.list(), nil }

// Add is as etcd does it: one member at one URL, and none twice that was started.
func (w *fakeWorld) Add(context.Context, []string) (*flow.Joined, error) {
	for id, m := range w.members {
		switch {
		case m.ours && m.started:
			return nil, errors.New("the peer URL is that of a started member")
		case m.ours:
			return &flow.Joined{MemberID: id, InitialCluster: "all"}, nil
		}
	}
	id := fmt.Sprintf("b%d", len(w.members))
	return &flow.Joined{MemberID: id, InitialCluster: "all"}, w.effect(func() { w.members[id] = fakeMember{ours: true} })
}

func (w *fakeWorld) Remove(_ context.Context, _ []string, id string) error {
	return w.effect(func() { delete(w.members, id) })
}

func (w *fakeWorld) Catchup(_ context.Context, _ []string, id string) (flow.Catchup, error) {
	if w.dirs[fakeDir] != joinedAs+id || !w.up {
		return flow.Catchup{Trouble: "another etcd answers"}, nil
	}
	return flow.Catchup{Percent: 100, Ready: true}, nil
}

func (w *fakeWorld) Promote(_ context.Context, _ []string, id string) error {
	m, ok := w.members[id]
	if !ok {
		return errors.New("no such member")
	}
	m.voter = true
	return w.effect(func() { w.members[id] = m })
}

func (w *fakeWorld) Judge(context.Context, []string, bool) (*flow.Verdict, error) {
	v := &flow.Verdict{Members: w.list(), Endpoints: []string{"http://a:2379"}}
	for i := range v.Members.Members {
		p := &v.Members.Members[i]
		switch here := w.dirs[fakeDir] == joinedAs+p.ID; {
		case here && p.Learner:
			v.Learner = p
		case here:
			v.Already = p
		}
	}
	return v, nil
}
