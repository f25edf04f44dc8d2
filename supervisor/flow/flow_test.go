package flow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// attempt runs a transition once; dead tells that it was killed.
func attempt(m *model, j *memory) (e Ending, dead bool) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(killed); !ok {
				panic(p)
			}
			dead = true
		}
	}()
	return Run(context.Background(), m.site(), m, j, j.copyOf()), false
}

type scene struct {
	name  string
	ask   status.ModeRequest
	model func() *model
	after func(*model) error // what a done transition leaves
}

func scenes() []scene {
	force, join := status.ModeForceNewCluster, status.ModeJoin
	is := func(path, want string) func(*model) error {
		return func(m *model) error {
			if m.dirs[path] != want || !m.up {
				return fmt.Errorf("%s holds %q, not %q; up %v", path, m.dirs[path], want, m.up)
			}
			return nil
		}
	}
	empty := func() *model { m := newModel(); delete(m.dirs, dir); m.up = false; return m }
	with := func(id string) func() *model {
		return func() *model { m := newModel(); m.members[id] = "voter"; return m }
	}
	return []scene{
		{"force in place", status.ModeRequest{Mode: force}, newModel, is(dir, "copy of old kept rebuilt")},
		{"force from a directory", status.ModeRequest{Mode: force, From: "/from"}, func() *model { m := newModel(); m.dirs["/from"] = "theirs"; return m }, is(dir, "copy of theirs kept rebuilt")},
		{"force from a snapshot", status.ModeRequest{Mode: force, From: snapFile}, newModel, is(dir, "restored from /snap")},
		{"new identity", status.ModeRequest{Mode: force, NewIdentity: true}, newModel, is(dir, "restored from /d.new-id/member/snap/db")},
		{"force where nothing was", status.ModeRequest{Mode: force, From: "/from"}, func() *model { m := empty(); m.dirs["/from"] = "theirs"; return m }, is(dir, "copy of theirs kept rebuilt")},
		{"join", status.ModeRequest{Mode: join}, with("a"), is(dir, "joined")},
		{"join where nothing was", status.ModeRequest{Mode: join}, func() *model { m := empty(); m.members["a"] = "voter"; return m }, is(dir, "joined")},
		{"a learner that was left", status.ModeRequest{Mode: join}, leftLearner, is(dir, "joined")},
		{"a learner that was left and is down", status.ModeRequest{Mode: join}, func() *model { m := leftLearner(); m.up = false; return m }, is(dir, "joined")},
		{"replace", status.ModeRequest{Mode: join, Replace: true}, func() *model { m := with("a")(); m.members["dead"] = "voter"; return m }, is(dir, "joined")},
	}
}

// leftLearner is a host whose learner runs, and nobody remembers why.
func leftLearner() *model {
	m := newModel()
	m.dirs[dir], m.learner = "joined", true
	m.members["a"], m.members["m9"] = "voter", "learner"
	return m
}

func (s scene) begin(t *testing.T) (*model, *memory) {
	t.Helper()
	m := s.model()
	plan := PlanForce
	if s.ask.Mode == status.ModeJoin {
		plan = PlanJoin
	}
	p, err := plan(t.Context(), m.site(), m, s.ask)
	if err != nil {
		t.Fatal(err)
	}
	return m, &memory{past: Past{ID: "id", Plan: *p}}
}

// lost is the content that was there before and is nowhere now.
func lost(before, now map[string]string) string {
	for path, what := range before {
		if !slices.Contains(slices.Collect(maps.Values(now)), what) {
			return path
		}
	}
	return ""
}

func TestDone(t *testing.T) {
	for _, s := range scenes() {
		m, j := s.begin(t)
		before := maps.Clone(m.dirs)
		e, _ := attempt(m, j)
		if e.Outcome != status.OutcomeDone || j.ended != status.OutcomeDone {
			t.Errorf("%s: %+v", s.name, e)
		}
		if err := s.after(m); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		if path := lost(before, m.dirs); path != "" {
			t.Errorf("%s: what was in %s is gone: %v", s.name, path, m.dirs)
		}
	}
}

// TestKilledAnywhere kills at each effect, before and after it, and lets the next one go on.
func TestKilledAnywhere(t *testing.T) { synctest.Test(t, testKilledAnywhere) }

func testKilledAnywhere(t *testing.T) {
	for _, s := range scenes() {
		for _, how := range []wrong{killBefore, killAfter} {
			for at := 1; ; at++ {
				m, j := s.begin(t)
				before := maps.Clone(m.dirs)
				m.effects, m.wrong, m.asked = at, how, 0
				_, dead := attempt(m, j)
				if !dead {
					break
				}
				m.wrong = nothingWrong
				e, _ := attempt(m, j)
				what := fmt.Sprintf("%s, killed at effect %d (%d)", s.name, at, how)
				if last := j.past.Begun[len(j.past.Begun)-1]; e.Outcome == status.OutcomeRolledBack && last == "rebuild" {
					backAsBefore(t, what, s, m, j) // the flag was given once
				} else if err := s.after(m); e.Outcome != status.OutcomeDone || err != nil {
					t.Errorf("%s: %+v, %v", what, e, err)
				}
				if len(slices.Compact(slices.Clone(m.hooked))) != len(m.hooked) {
					t.Errorf("%s: hooks %v", what, m.hooked)
				}
				if m.forced > 1 {
					t.Errorf("%s: --force-new-cluster was given %d times", what, m.forced)
				}
				if path := lost(before, m.dirs); path != "" {
					t.Errorf("%s, killed at effect %d: what was in %s is gone: %v", s.name, at, path, m.dirs)
				}
			}
		}
	}
}

// TestFailedAnywhere lets each effect fail. Before the final step all is as it was; and it is so too when the undoing is
// killed at any of its effects.
func TestFailedAnywhere(t *testing.T) { synctest.Test(t, testFailedAnywhere) }

func testFailedAnywhere(t *testing.T) {
	for _, s := range scenes() {
		for at := 1; ; at++ {
			m, j := s.begin(t)
			m.effects, m.wrong, m.asked = at, fail, 0
			e, _ := attempt(m, j)
			if m.effects > 0 {
				break // there are no more effects
			}
			if e.Outcome == status.OutcomeDone { // it was tried again
				if err := s.after(m); err != nil {
					t.Errorf("%s, failed once at effect %d: %v", s.name, at, err)
				}
				continue
			}
			backAsBefore(t, fmt.Sprintf("%s, failed at effect %d", s.name, at), s, m, j)
			for killAt := 1; ; killAt++ {
				m, j := s.begin(t)
				if !failThenKill(m, j, at, killAt) {
					break
				}
				attempt(m, j)
				backAsBefore(t, fmt.Sprintf("%s, failed at effect %d, undoing killed at its effect %d", s.name, at, killAt), s, m, j)
			}
		}
	}
}

// failThenKill reports false when the undoing has fewer effects.
func failThenKill(m *model, j *memory, at, killAt int) bool {
	m.effects, m.wrong = at, fail
	j.wrong = func() error {
		if j.past.Undoing && m.wrong == fail {
			m.effects, m.wrong = killAt, killAfter
		}
		return nil
	}
	_, dead := attempt(m, j)
	j.wrong, m.wrong = nil, nothingWrong
	return dead
}

func backAsBefore(t *testing.T, what string, s scene, m *model, j *memory) {
	t.Helper()
	was := s.model()
	if j.ended != status.OutcomeRolledBack {
		t.Errorf("%s: ended %s: %s", what, j.ended, j.why)
	}
	if m.dirs[dir] != was.dirs[dir] || m.up != was.up && !was.learner {
		t.Errorf("%s: %v, up %v; before %v", what, m.dirs, m.up, was.dirs)
	}
	if m.mark != was.mark {
		t.Errorf("%s: what was known of the member is lost", what)
	}
	delete(was.members, "dead") // which is dead, and no part of a cluster any more
	delete(m.members, "dead")
	if was.learner { // which is left as it is, and may have become a voter
		was.members["m9"] = m.members["m9"]
	}
	if !maps.Equal(m.members, was.members) {
		t.Errorf("%s: members %v, before %v", what, m.members, was.members)
	}
	if path := lost(s.model().dirs, m.dirs); path != "" {
		t.Errorf("%s: what was in %s is gone: %v", what, path, m.dirs)
	}
}

// TestCancelled is rolled back; an etcdsup that ends leaves the transition to the next.
func TestCancelled(t *testing.T) {
	for _, cause := range []error{ErrCancelled, errors.New("etcdsup ends")} {
		s := scenes()[5]
		m, j := s.begin(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		w := &stopper{model: m, at: func() { cancel(cause) }}
		e := Run(ctx, m.site(), w, j, j.copyOf())
		if errors.Is(cause, ErrCancelled) {
			backAsBefore(t, "cancelled", s, m, j)
			continue
		}
		if !e.Left || j.ended != "" {
			t.Errorf("left: %+v, %s", e, j.ended)
		}
		if e, _ := attempt(m, j); e.Outcome != status.OutcomeDone {
			t.Errorf("taken up again: %+v", e)
		}
	}
}

// stopper ends the context while the learner catches up.
type stopper struct {
	*model
	at func()
}

func (s *stopper) Catchup(ctx context.Context, _ []string, _ string) (Catchup, error) {
	s.at()
	<-ctx.Done()
	return Catchup{}, ctx.Err()
}

func TestRefusals(t *testing.T) {
	force := status.ModeRequest{Mode: status.ModeForceNewCluster}
	for _, tt := range []struct {
		name   string
		change func(*model, *status.ModeRequest)
		want   string
		remedy string
	}{
		{"old member alive", func(m *model, _ *status.ModeRequest) { m.presence["http://b:1"] = PresenceAlive }, "member b answers at http://b:1, with the same cluster ID c1", "mode join"},
		{"alive although fenced", func(m *model, r *status.ModeRequest) {
			m.presence["http://b:1"] = PresenceAlive
			r.Fenced = []string{"b"}
		}, "answers", ""},
		{"nothing known", func(m *model, _ *status.ModeRequest) { m.presence["http://old:1"] = PresenceUnknown }, "http://old:1", "--fenced old"},
		{"empty", func(m *model, _ *status.ModeRequest) { delete(m.dirs, dir) }, "no data", "--from"},
		{"learner", func(m *model, _ *status.ModeRequest) { m.source.Role = "learner" }, "learner", "--new-identity"},
		{"removed", func(m *model, _ *status.ModeRequest) { m.source.Role = "removed" }, "removed", ""},
		{"missing", func(m *model, r *status.ModeRequest) { m.source.Missing, r.From = true, "/nowhere" }, "no such file", "host of etcdsup"},
		{"bumped too far", func(m *model, r *status.ModeRequest) { r.NewIdentity, r.BumpRevision = true, math.MaxInt64 }, "revision is 10", "--bump-revision"},
		{"older etcd", func(m *model, _ *status.ModeRequest) { m.source.Versions = status.DataVersions{Cluster: "3.8"} }, "is older", "an etcd 3.8"},
		{"skipped minor", func(m *model, _ *status.ModeRequest) { m.source.Versions.Cluster = "3.5" }, "skips a minor", "an etcd 3.6"},
		{"skipped minor, by restore", func(m *model, r *status.ModeRequest) { m.source.Versions.Storage, r.NewIdentity = "3.5", true }, "skips a minor", "an etcd 3.6"},
		{"held", func(m *model, _ *status.ModeRequest) { m.source.Held = []string{"no WAL"} }, "no WAL", "inspect"},
	} {
		m, ask := newModel(), force
		tt.change(m, &ask)
		_, err := PlanForce(t.Context(), m.site(), m, ask)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(RemedyOf(err), tt.remedy) {
			t.Errorf("%s: %v; remedy %q", tt.name, err, RemedyOf(err))
		}
		if m.asked > 0 {
			t.Errorf("%s: planning changed something", tt.name)
		}
	}
}

// TestAllFaultsAreTold at once, each with its remedy.
func TestAllFaultsAreTold(t *testing.T) {
	m, ask := newModel(), status.ModeRequest{Mode: status.ModeForceNewCluster}
	m.source.Role, m.source.Held = "learner", []string{"no WAL", "a torn db"}
	m.source.Peers = append(m.source.Peers, SourcePeer{"d", []string{"http://d:1"}}, SourcePeer{"e", []string{"http://e:1"}})
	m.presence = map[string]Presence{"http://b:1": PresenceAlive, "http://d:1": PresenceAlive, "http://e:1": PresenceUnknown}
	m.noRoom, m.noIsolation = errors.New("no space"), errors.New("no namespaces")
	site := m.site()
	site.WALDir, site.Mounted = "/wal", true
	_, err := PlanForce(t.Context(), site, m, ask)
	var got []string
	for _, f := range FaultsOf(err) {
		got = append(got, f.What)
		if f.Remedy == "" && f.What != "no space" {
			t.Errorf("%s: no remedy", f.What)
		}
	}
	want := []string{"the WAL is apart", "learner", "no WAL", "torn db", "no space", "member b answers", "member d answers", "http://e:1", "isolate"}
	if len(got) != len(want) {
		t.Fatalf("%d faults: %q", len(got), got)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) || !strings.Contains(err.Error(), want[i]) {
			t.Errorf("%q is not about %q", got[i], want[i])
		}
	}
	if one := FaultsOf(&Trouble{Err: errors.New("a"), Remedy: "b"}); len(one) != 1 || one[0] != (status.Fault{What: "a", Remedy: "b"}) {
		t.Errorf("%+v", one)
	}
}

// older is a world in which there is an older copy of the data, from before any other member came.
type older struct{ *model }

func (w older) Look(path string) (*Source, error) {
	s, err := w.model.Look(path)
	if path == "/older" {
		s.Voters, s.Peers = 1, nil
	}
	return s, err
}

// TestOlderCopyOfALivingCluster: members that the copy does not know are known here, and asked.
func TestOlderCopyOfALivingCluster(t *testing.T) {
	m := newModel()
	m.dirs["/older"] = "older"
	m.presence["http://b:1"] = PresenceAlive
	_, err := PlanForce(t.Context(), m.site(), older{m}, status.ModeRequest{Mode: status.ModeForceNewCluster, From: "/older"})
	if err == nil || !strings.Contains(err.Error(), "member b answers at http://b:1") {
		t.Errorf("%v", err)
	}
	m.presence["http://b:1"] = PresenceNobody
	plan, err := PlanForce(t.Context(), m.site(), older{m}, status.ModeRequest{Mode: status.ModeForceNewCluster, From: "/older"})
	if err != nil || !strings.Contains(plan.Fact(factOld), "http://b:1") {
		t.Fatalf("%+v, %v", plan, err)
	}
	m.presence["http://b:1"] = PresenceAlive // by the time that it runs
	j := &memory{past: Past{ID: "id", Plan: *plan}}
	if e := Run(t.Context(), m.site(), older{m}, j, j.copyOf()); e.Outcome != status.OutcomeRolledBack || !strings.Contains(e.Err.Error(), "member b answers") {
		t.Errorf("%+v", e)
	}
}

func TestFencedAndOthers(t *testing.T) {
	m, ask := newModel(), status.ModeRequest{Mode: status.ModeForceNewCluster, Fenced: []string{"b"}}
	m.presence["http://b:1"], m.presence["http://old:1"] = PresenceUnknown, PresenceOther
	p, err := PlanForce(t.Context(), m.site(), m, ask)
	if err != nil || !strings.Contains(strings.Join(p.Warnings, " "), "--fenced b") || p.Confirm != "c1" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestVersionWarnings(t *testing.T) {
	m := newModel()
	m.source.Versions.Cluster = "3.5"
	site := m.site()
	site.Version = "3.6.0"
	p, err := PlanForce(t.Context(), site, m, status.ModeRequest{Mode: status.ModeForceNewCluster})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3.5.26", "3.6.1 or later"} {
		if !strings.Contains(strings.Join(p.Warnings, "\n"), want) {
			t.Errorf("%q is not in %q", want, p.Warnings)
		}
	}
}

func TestPlanIsWhatRuns(t *testing.T) {
	for _, s := range scenes() {
		m, j := s.begin(t)
		attempt(m, j)
		var planned []string
		if err := j.past.Plan.Request.Validate(); err != nil {
			t.Errorf("%s: the request in the plan cannot be asked for: %v", s.name, err)
		}
		for _, step := range j.past.Plan.Steps {
			planned = append(planned, step.Name)
			if step.Does == "" {
				t.Errorf("%s: step %s says nothing", s.name, step.Name)
			}
		}
		if !slices.Equal(planned, j.past.Done) {
			t.Errorf("%s: planned %v, done %v", s.name, planned, j.past.Done)
		}
	}
}

func TestAlreadyAMember(t *testing.T) {
	m := newModel()
	m.already = true
	p, err := PlanJoin(t.Context(), m.site(), m, status.ModeRequest{Mode: status.ModeJoin})
	if err != nil || p.Nothing == "" || len(p.Steps) > 0 || m.asked > 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestUnknownStep(t *testing.T) {
	j := &memory{past: Past{ID: "id", Plan: status.Plan{Request: status.ModeRequest{Mode: status.ModeJoin}, Steps: []status.Step{{Name: "of a later version"}}}}}
	if e, _ := attempt(newModel(), j); e.Outcome != status.OutcomeStuck || RemedyOf(e.Err) == "" {
		t.Errorf("%+v", e)
	}
}

// TestJournalFull: where an entry cannot be written down, its effect is not made, or is undone.
func TestJournalFull(t *testing.T) { synctest.Test(t, testJournalFull) }

func testJournalFull(t *testing.T) {
	for _, s := range scenes() {
		for at := 1; ; at++ {
			m, j := s.begin(t)
			n := 0
			j.wrong = func() error {
				if n++; n == at {
					return errors.New("no space left on device")
				}
				return nil
			}
			e, _ := attempt(m, j)
			if n < at {
				break
			}
			if e.Outcome == status.OutcomeRolledBack {
				backAsBefore(t, fmt.Sprintf("%s, entry %d not written", s.name, at), s, m, j)
			}
			if path := lost(s.model().dirs, m.dirs); path != "" {
				t.Errorf("%s, entry %d not written: what was in %s is gone: %v", s.name, at, path, m.dirs)
			}
		}
	}
}

// edits are those of a configuration that bear on a transition, by the key that the refusal has to name.
var edits = map[string]func(*Site){
	"data-dir":                    func(s *Site) { s.DataDir = "/other" },
	"name":                        func(s *Site) { s.Name = "other" },
	"initial-advertise-peer-urls": func(s *Site) { s.PeerURLs = []string{"http://other:1"} },
	"wal-dir":                     func(s *Site) { s.WALDir = "/wal" },
	"symbolic link":               func(s *Site) { s.Link = "/elsewhere" },
}

// killedAt is a transition that was killed after an effect; false: it has fewer.
func (s scene) killedAt(t *testing.T, effect int) (*model, *memory, bool) {
	m, j := s.begin(t)
	m.wrong, m.effects = killAfter, effect
	_, dead := attempt(m, j)
	m.wrong = nothingWrong
	return m, j, dead
}

// TestOtherSite: with a configuration that was edited meanwhile nothing goes forward, and with the old one it does.
func TestOtherSite(t *testing.T) {
	for _, s := range scenes() {
		for flag, edit := range edits {
			m, j, dead := s.killedAt(t, 1) // some have no more than one
			if !dead {
				t.Fatalf("%s: not killed", s.name)
			}
			site, asked := m.site(), m.asked
			edit(&site)
			e := Run(t.Context(), site, m, j, j.copyOf())
			if e.Outcome != status.OutcomeStuck || m.asked != asked || !strings.Contains(e.Err.Error()+RemedyOf(e.Err), flag) || RemedyOf(e.Err) == "" {
				t.Errorf("%s with another %s: %+v, %d effects", s.name, flag, e, m.asked-asked)
			}
			if e, _ := attempt(m, j); e.Outcome == status.OutcomeStuck {
				t.Errorf("%s with the old %s again: %+v", s.name, flag, e)
			}
		}
	}
}

// TestOtherSiteGoesBack: what was begun is undone by what the plan knows, whatever the configuration says by then and
// wherever it was killed. Etcd is left down where it would be started on other data.
func TestOtherSiteGoesBack(t *testing.T) { synctest.Test(t, testOtherSiteGoesBack) }

func testOtherSiteGoesBack(t *testing.T) {
	for _, s := range scenes() {
		for flag, edit := range edits {
			for effect := 1; flag != "symbolic link"; effect++ {
				m, j, dead := s.killedAt(t, effect)
				if !dead {
					break
				}
				site := m.site()
				edit(&site)
				p := j.copyOf()
				p.Undoing, p.Why = true, ErrCancelled.Error()
				e := Run(t.Context(), site, m, j, p)
				if !errors.Is(e.Err, ErrCancelled) {
					t.Errorf("%s with another %s: %v", s.name, flag, e.Err)
				}
				if flag == "data-dir" && !m.up {
					if told := strings.Join(e.Result, " "); s.model().up && !strings.Contains(told, "/other") {
						t.Errorf("%s: that etcd is left down is not told: %q", s.name, told)
					}
					m.up = s.model().up
				}
				backAsBefore(t, fmt.Sprintf("%s with another %s, killed after effect %d", s.name, flag, effect), s, m, j)
			}
		}
	}
}

// TestAllEditsAreTold, each with the value that is to be put back.
func TestAllEditsAreTold(t *testing.T) {
	m, j, _ := scenes()[5].killedAt(t, 1)
	site := m.site()
	for _, edit := range edits {
		edit(&site)
	}
	e := Run(t.Context(), site, m, j, j.copyOf())
	for _, want := range []string{"etcd.args.name back to c", "etcd.args.data-dir back to /d", "etcd.args.initial-advertise-peer-urls back to http://c:1", "mode normal, which rolls it back"} {
		if !strings.Contains(RemedyOf(e.Err), want) {
			t.Errorf("%q is not told: %s", want, RemedyOf(e.Err))
		}
	}
}

// TestNewDirectoryGone: what was to take the data directory's place has gone meanwhile. Nothing is started then.
func TestNewDirectoryGone(t *testing.T) {
	for _, s := range scenes() {
		if s.ask.Mode != status.ModeForceNewCluster {
			continue
		}
		m, j := s.begin(t)
		j.wrong = func() error {
			if slices.Contains(j.past.Done, "set-aside") {
				panic(killed{})
			}
			return nil
		}
		if _, dead := attempt(m, j); !dead {
			t.Fatalf("%s: not killed", s.name)
		}
		j.wrong = nil
		delete(m.dirs, dir+".new-id")
		delete(m.dirs, dir+".restored-id")
		e, _ := attempt(m, j)
		was := s.model()
		if e.Outcome != status.OutcomeRolledBack || m.up != was.up || m.dirs[dir] != was.dirs[dir] || m.mark != was.mark {
			t.Errorf("%s: %+v, up %v on %q, mark %q", s.name, e, m.up, m.dirs[dir], m.mark)
		}
	}
}
