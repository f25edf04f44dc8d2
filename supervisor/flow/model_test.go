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

// model is a host and a cluster as far as a transition can tell them apart: directories by their content, whether etcd
// runs, and who is in the cluster. Before and after each effect it may kill whoever works on it, or fail.
type model struct {
	dirs     map[string]string // path → content; missing: nothing there
	up       bool              // etcd runs
	members  map[string]string // ID → role
	presence map[string]Presence
	source   Source
	already  bool
	mark     string
	forced   int      // how often --force-new-cluster was given
	hooked   []string // hooks that were run
	told     HookFacts
	high     int64 // the newest revision on record

	noRoom, noIsolation error
	waits               int  // how often Judge finds another host's join
	turns               int  // how often Add does
	learner             bool // we are a learner whose join was not completed
	cut                 bool // the cluster cannot be reached
	lost                bool // the answer to a promotion is

	effects int // counted down to: 0 at the effect that goes wrong
	wrong   wrong
	asked   int
}

type wrong int

const (
	nothingWrong wrong = iota
	killBefore
	killAfter
	fail
)

// killed is what a kill looks like from inside.
type killed struct{}

var errInjected = errors.New("injected")

const dir, snapFile = "/d", "/snap"

func newModel() *model {
	return &model{
		dirs:     map[string]string{dir: "old", snapFile: "snap"},
		members:  map[string]string{},
		presence: map[string]Presence{},
		source:   Source{Path: dir, ClusterID: "c1", MemberID: "m1", Role: "voter", Voters: 3, PeerURLs: []string{"http://old:1"}, Revision: 10, Peers: []SourcePeer{{"b", []string{"http://b:1"}}}},
		up:       true,
		mark:     "the member that was",
	}
}

// effect is one change of the world, which may go wrong.
func (m *model) effect(do func()) error {
	m.asked++
	m.effects--
	if m.wrong == nothingWrong || m.effects != 0 {
		do()
		return nil
	}
	switch m.wrong {
	case killBefore:
		panic(killed{})
	case killAfter:
		do()
		panic(killed{})
	}
	return errInjected
}

func (m *model) Progress(string) {}

func (m *model) Stop(context.Context) error { return m.effect(func() { m.up = false }) }

func (m *model) Start(context.Context) error {
	if m.dirs[dir] == "" {
		return errors.New("nothing to start from")
	}
	return m.effect(func() { m.up = true })
}

func (m *model) Launch(ctx context.Context, bootstrap string) error {
	if bootstrap == "" {
		return m.Start(ctx)
	}
	return m.effect(func() {
		if m.dirs[dir] == "" {
			m.dirs[dir] = "joined"
		}
		m.up = true
	})
}

func (m *model) Restart(context.Context) error { return errors.New("nobody is deaf") }

func (m *model) Look(path string) (*Source, error) {
	s := m.source
	s.Path, s.Empty, s.Snapshot = path, m.dirs[path] == "", path == snapFile
	switch {
	case m.dirs[path] == "joined":
		s.ClusterID, s.MemberID = "c2", "m9"
	case strings.Contains(m.dirs[path], "rebuilt"):
		s.Voters, s.Peers = 1, nil
	}
	return &s, nil
}

func (m *model) Copy(_ context.Context, from, to string, _ func(string)) error {
	if m.dirs[to] != "" {
		return fmt.Errorf("%s is there", to)
	}
	return m.effect(func() { m.dirs[to] = "copy of " + m.dirs[from] })
}

func (m *model) Room(string, int64) error { return m.noRoom }

func (m *model) Move(from, to string) error {
	switch {
	case m.dirs[from] == "" && m.dirs[to] == "":
		return fmt.Errorf("cannot move %s: nothing is there", from)
	case m.dirs[from] == "":
		return nil
	case m.dirs[to] != "":
		return fmt.Errorf("cannot move %s: %s is there", from, to)
	}
	return m.effect(func() { m.dirs[to] = m.dirs[from]; delete(m.dirs, from) })
}

func (m *model) Holds(path string) bool { return m.dirs[path] != "" }
func (m *model) Mark() string           { return m.mark }

func (m *model) Expect(clusterID, memberID string) error {
	return m.effect(func() { m.mark = strings.TrimSpace(clusterID + " " + memberID) })
}

func (m *model) RestoreMark(mark string) error { return m.effect(func() { m.mark = mark }) }

func (m *model) Ask(_ context.Context, urls []string, _ string) map[string]Presence {
	found := map[string]Presence{}
	for _, u := range urls {
		found[u] = PresenceNobody
		if p, ok := m.presence[u]; ok {
			found[u] = p
		}
	}
	return found
}

func (m *model) KeepEntries(_ context.Context, path string) (uint64, error) {
	return 0, m.effect(func() { m.paint(path, "kept") })
}

func (m *model) paint(path, word string) {
	if !strings.Contains(m.dirs[path], word) {
		m.dirs[path] += " " + word
	}
}

func (m *model) Rebuild(_ context.Context, path string, force, _ bool) (*Proof, error) {
	if !strings.HasPrefix(m.dirs[path], "copy of ") {
		return nil, fmt.Errorf("rebuild of what is no copy: %q", m.dirs[path])
	}
	err := m.effect(func() {
		m.paint(path, "rebuilt")
		if force {
			m.forced++
		}
	})
	return &Proof{Revision: 12, Keys: 7}, err
}

func (m *model) Restore(_ context.Context, from, to string, _ int64) (*Proof, error) {
	return &Proof{Revision: 1000}, m.effect(func() { m.dirs[to] = "restored from " + from })
}

func (m *model) Prove(context.Context, int64) (*Proof, error) {
	if !m.up {
		return nil, errors.New("etcd does not answer")
	}
	if m.dirs[dir] == "joined" {
		return &Proof{ClusterID: "c2", MemberID: "m9", Members: []status.Peer{{ID: "m9", PeerURLs: m.site().PeerURLs, Learner: m.members["m9"] != "voter"}}}, nil
	}
	if m.learner {
		return &Proof{ClusterID: "c2", MemberID: "m9", Members: []status.Peer{{ID: "m9", PeerURLs: m.site().PeerURLs, Learner: m.members["m9"] != "voter"}}}, nil
	}
	return &Proof{ClusterID: "c1", MemberID: "m1", Revision: 1000, Keys: 7, Members: []status.Peer{{ID: "m1", PeerURLs: m.site().PeerURLs}}}, nil
}

func (m *model) Hook(_ context.Context, h status.Hook, about HookFacts) (status.HookRun, error) {
	ran := status.HookRun{Argv: h.Argv, Outcome: status.HookDone}
	if err := m.effect(func() { m.hooked, m.told = append(m.hooked, h.Argv[0]), about }); err != nil {
		ran.Outcome, ran.Detail = status.HookFailed, err.Error()
	}
	return ran, nil
}

func (m *model) HighWater() int64 { return m.high }
func (m *model) Isolates() error  { return m.noIsolation }

func (m *model) Members(context.Context, []string) (*status.Members, error) {
	if m.cut {
		return nil, errInjected
	}
	l := &status.Members{ClusterID: "c2"}
	for id, role := range m.members {
		peer := status.Peer{ID: id, Learner: role == "learner", Healthy: role == "voter"}
		if id == "m9" {
			peer.PeerURLs = m.site().PeerURLs
		}
		l.Members = append(l.Members, peer)
	}
	return l, nil
}

func (m *model) Add(context.Context, []string) (*Joined, error) {
	if m.turns--; m.turns >= 0 {
		return nil, ErrTurn
	}
	err := m.effect(func() {
		if m.members["m9"] == "" {
			m.members["m9"] = "learner"
		}
	})
	return &Joined{MemberID: "m9", InitialCluster: "a=http://a:1,c=http://c:1"}, err
}

func (m *model) Remove(_ context.Context, _ []string, id string) error {
	if m.cut {
		return errInjected
	}
	return m.effect(func() { delete(m.members, id) })
}

func (m *model) Catchup(context.Context, []string, string) (Catchup, error) {
	return Catchup{Percent: 100, Ready: true}, nil
}

func (m *model) Promote(_ context.Context, _ []string, id string) error {
	if err := m.effect(func() { m.members[id] = "voter" }); err != nil || m.lost {
		return errInjected
	}
	return nil
}

func (m *model) Judge(context.Context, []string, bool) (*Verdict, error) {
	l := &status.Members{ClusterID: "c2", Members: []status.Peer{{ID: "a", Healthy: true, Started: true}}}
	v := &Verdict{Members: l, Before: status.Count{Voters: 1, Healthy: 1}, After: status.Count{Voters: 2, Healthy: 2}}
	if m.waits--; m.waits >= 0 {
		v.Wait, v.Remedy = "another joins", "wait"
	}
	if m.learner {
		v.Learner = &status.Peer{ID: "m9", Name: "c", Learner: true}
	}
	if m.already {
		v.Already = &status.Peer{ID: "m9", Name: "c"}
	}
	if m.members["dead"] != "" {
		v.Remove = &status.Peer{ID: "dead", Name: "c"}
	}
	return v, nil
}

// memory is a journal that outlives a kill.
type memory struct {
	past  Past
	ended status.Outcome
	why   string
	wrong func() error // before each entry
}

func (j *memory) check() error {
	if j.wrong == nil {
		return nil
	}
	return j.wrong()
}

func (j *memory) Begin(s string) error {
	if err := j.check(); err != nil {
		return err
	}
	j.past.Begun = append(j.past.Begun, s)
	return nil
}

func (j *memory) Done(s string, data map[string]string) error {
	if err := j.check(); err != nil {
		return err
	}
	j.past.Done = append(j.past.Done, s)
	if j.past.Data == nil {
		j.past.Data = map[string]string{}
	}
	maps.Copy(j.past.Data, data)
	return nil
}

func (j *memory) Undoing(_, why string) error {
	j.past.Undoing, j.past.Why = true, why
	return j.check()
}

func (j *memory) Undone(s string) error {
	j.past.Undone = append(j.past.Undone, s)
	return j.check()
}

func (j *memory) End(o status.Outcome, why, _ string, _ []string) error {
	j.ended, j.why = o, why
	return j.check()
}

// copyOf is what a new etcdsup reads from disk.
func (j *memory) copyOf() Past {
	p := j.past
	p.Begun, p.Done, p.Undone, p.Data = slices.Clone(p.Begun), slices.Clone(p.Done), slices.Clone(p.Undone), maps.Clone(p.Data)
	return p
}

func (m *model) site() Site {
	return Site{Name: "c", DataDir: dir, PeerURLs: []string{"http://c:1"}, ClientURLs: []string{"http://c:2"}, Running: m.up, Command: "etcdsup", Version: "3.7.3",
		Hooks: []status.Hook{{Argv: []string{"one", "a b"}}, {Argv: []string{"two"}}}}
}
