package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// keeperOf is a machine that decides about the starts of an etcd whose data is in dir. Nothing is started by it.
func keeperOf(t testing.TB, dir string) *Machine {
	t.Helper()
	marks, _, err := OpenMarks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg := &config.Config{Etcd: config.Etcd{Verify: true, Args: []config.Arg{
		{Name: "data-dir", Values: []string{dir}}, {Name: "initial-advertise-peer-urls", Values: []string{ourURL}},
	}}}
	return &Machine{Config: cfg, Marks: marks, Binary: "/proc/self/exe"}
}

// holds takes the start lock, as a launch does before it decides.
func (m *Machine) holds(t testing.TB) {
	t.Helper()
	m.Close()
	lock, err := process.LockDir(m.Config.DataDir())
	if err != nil {
		t.Fatal(err)
	}
	m.lock = lock
	t.Cleanup(m.Close)
}

// remembers is Remember with the mark saved.
func (m *Machine) remembers(t testing.TB, c Child) Mark {
	t.Helper()
	save, err := m.Remember(c)
	if err == nil && save != nil {
		err = save()
	}
	if err != nil {
		t.Fatal(err)
	}
	return m.Mark()
}

// refused wants the start held for this reason.
func (m *Machine) refused(t testing.TB, cause status.Cause, code datadir.Code, words ...string) {
	t.Helper()
	m.holds(t)
	begins, err := m.admit()
	le, ok := errors.AsType[*LaunchError](err)
	if !ok || !le.Hold || le.Code != string(code) || le.Cause != cause || le.Next == "" {
		t.Fatalf("admitted as %d, %+v; want %s", begins, err, code)
	}
	for _, w := range words {
		if !strings.Contains(le.Error(), w) {
			t.Errorf("%q does not say %q", le, w)
		}
	}
}

func (m *Machine) admits(t testing.TB, want beginning) {
	t.Helper()
	m.holds(t)
	if begins, err := m.admit(); err != nil || begins != want {
		t.Fatalf("admitted as %d, %v; want %d", begins, err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// cycle starts and stops an etcd, whose election raises term and index.
func cycle(e *etcdtest.Member) {
	e.Start()
	e.WaitHealthy()
	e.Stop()
}

// TestStartsByTheData follows one member from its first start, with real data that is moved away, aged and replaced.
func TestStartsByTheData(t *testing.T) {
	e := etcdtest.New(t, 1)[0]
	m := keeperOf(t, e.DataDir)
	dir, away := e.DataDir, e.DataDir+".away"

	m.admits(t, newborn) // which makes the directory
	e.Start()
	e.WaitHealthy()
	c := &actor{pid: e.PID()}
	mark := m.remembers(t, c)
	if mark.MemberID == "" || mark.Index == 0 || mark.Term == 0 || mark.Dir.First == "" {
		t.Fatalf("remembered %+v", mark)
	}
	if save, err := m.Remember(c); save != nil || err != nil {
		t.Errorf("another look at once: %v", err)
	}
	e.Stop()
	m.hasEnded()
	if end := m.remembers(t, nil); end.Index < mark.Index || !end.Is(mark.ClusterID, mark.MemberID) {
		t.Errorf("at the end %+v, before %+v", end, mark)
	}
	if kept, ok := PeekMark(filepath.Dir(m.Marks.path)); !ok || kept != m.Mark() {
		t.Errorf("on disk %+v, in memory %+v", kept, m.Mark())
	}
	copyDir(t, dir, away)
	cycle(e)
	m.remembers(t, nil)

	t.Run("restart", func(t *testing.T) { spareTheLook(t, m) })
	t.Run("moved away", func(t *testing.T) {
		must(t, os.Rename(dir, dir+".right"))
		if le, ok := errors.AsType[*LaunchError](m.takeLock()); !ok || !le.Hold || le.Code != string(datadir.CodeEmpty) {
			t.Errorf("a missing directory: %v", m.takeLock())
		}
		if fileID(dir) != (FileID{}) {
			t.Error("an empty one was made in its place")
		}
		m.refused(t, status.CauseData, datadir.CodeEmpty, "is empty", mark.MemberID)
		must(t, os.Remove(dir))
		must(t, os.Rename(dir+".right", dir))
		must(t, m.isGone(dir))
		m.admits(t, continued)
	})
	t.Run("older", func(t *testing.T) {
		must(t, os.Rename(dir, dir+".right"))
		must(t, os.Rename(away, dir))
		m.refused(t, status.CauseData, datadir.CodeOlder, "older", fmt.Sprint(m.Mark().Index))
		before := m.Mark()
		accepted, aside, err := m.AcceptData()
		if err != nil || aside == "" || accepted.Index >= before.Index || accepted != m.Mark() || !before.Is(accepted.ClusterID, accepted.MemberID) {
			t.Errorf("accepted %+v, %q, %v; before %+v", accepted, aside, err, before)
		}
		if old, _, err := readMark(aside); err != nil || old.Known() != before.Known() {
			t.Errorf("the mark set aside is %+v, %v", old, err)
		}
		m.admits(t, continued)
		must(t, m.SetMark(before)) // as a flow does that is rolled back
		m.refused(t, status.CauseData, datadir.CodeOlder)
		must(t, os.Rename(dir, away))
		must(t, os.Rename(dir+".right", dir))
		m.admits(t, continued)
	})
	t.Run("without WAL", func(t *testing.T) {
		wal := filepath.Join(dir, "member", "wal")
		must(t, os.Rename(wal, wal+".away"))
		m.refused(t, status.CauseData, datadir.CodeWALMissing, "no WAL")
		if _, _, err := m.AcceptData(); err == nil {
			t.Error("accepted what says of no member whose it is")
		}
		must(t, os.Rename(wal+".away", wal))
		m.admits(t, continued)
	})
	t.Run("somebody else", func(t *testing.T) { findStranger(t, m, c, e) })
	t.Run("peers", func(t *testing.T) { withPeers(t, m) })
	t.Run("another etcd", func(t *testing.T) { changeProgram(t, m) })
	t.Run("reset", func(t *testing.T) {
		must(t, m.ResetMark())
		m.admits(t, continued)
		if m.Mark().MemberID != "" {
			t.Error("a start alone is remembered as a member")
		}
		must(t, os.Rename(dir, dir+".right"))
		must(t, m.isGone(dir))
		m.admits(t, newborn)
		if accepted, _, err := m.AcceptData(); err != nil || accepted != (Mark{}) {
			t.Errorf("of an empty directory %+v, %v", accepted, err)
		}
	})
}

// spareTheLook damages what only a look would find: after a crash nobody looks.
func spareTheLook(t *testing.T, m *Machine) {
	first := filepath.Join(m.Config.DataDir(), "member", "wal", m.Mark().Dir.First)
	b, err := os.ReadFile(first)
	must(t, err)
	must(t, os.WriteFile(first, make([]byte, len(b)), 0o600))
	m.hasEnded()
	m.endedAt = m.endedAt.Add(time.Hour) // just now, however slow the machine is
	m.admits(t, continued)
	m.endedAt = time.Now().Add(-recentEnd)
	m.refused(t, status.CauseData, datadir.CodeWALEmptyFile)
	must(t, os.WriteFile(first, b, 0o600))
	m.admits(t, continued)
}

// changeProgram has etcds of other versions start on the data, also where it is our own etcd that has just crashed: in
// the place of an executable there may be another since it was started.
func changeProgram(t *testing.T, m *Machine) {
	path := filepath.Join(t.TempDir(), "etcd")
	was, asked := m.Binary, 0
	must(t, os.WriteFile(path, []byte("one"), 0o700))
	version := "3.7.3"
	m.Binary, m.Version = path, func(*config.Config) string { asked++; return version }
	defer func() { m.Binary, m.Version = was, nil }()
	m.hasEnded()
	m.admits(t, continued)
	m.hasEnded()
	m.admits(t, continued)
	if why, _ := m.Restartable(); asked != 1 || why != "" {
		t.Errorf("one etcd was asked %d times for its version", asked)
	}
	for _, version = range []string{"3.6.16", "3.9.0"} {
		must(t, os.WriteFile(path, []byte("another"), 0o700))
		m.hasEnded()
		if why, remedy := m.Restartable(); !strings.Contains(why, version) || remedy == "" {
			t.Errorf("a restart with %s: %q, %q", version, why, remedy)
		}
		m.refused(t, status.CauseVersion, CodeVersion, version, "3.7")
	}
	version = "" // it does not say
	m.admits(t, continued)
}

// TestUnfitFiles: a start with files that etcd would stumble over is held, whatever the data is.
func TestUnfitFiles(t *testing.T) {
	m := keeperOf(t, filepath.Join(t.TempDir(), "data"))
	m.Unfit = func(*config.Config) (string, string) { return "the key does not fit", "mend it" }
	err := m.unfit()
	le, ok := errors.AsType[*LaunchError](err)
	if !ok || !le.Hold || le.Code != CodeUnfit || le.Cause != status.CauseConfig || !strings.Contains(le.Next, "mend it") {
		t.Errorf("launched: %+v", err)
	}
	m.Config.Etcd.Verify = false
	if err := m.unfit(); err != nil {
		t.Errorf("a stand-in: %v", err)
	}
}

// findStranger has the data of another member than the mark's.
func findStranger(t *testing.T, m *Machine, c Child, e *etcdtest.Member) {
	right := m.Mark()
	wrong := right
	wrong.MemberID = "1234"
	must(t, m.SetMark(wrong))
	m.refused(t, status.CauseIdentity, datadir.CodeOtherMember, right.MemberID, "recorded 1234")
	if _, err := m.Remember(c); !isForeign(err) {
		t.Errorf("it came up: %v", err)
	}
	if m.Mark() != wrong {
		t.Errorf("and the mark became %+v", m.Mark())
	}
	// By its own answer only where its WAL says the same: somebody else may have answered.
	if err := m.verify(right.ClusterID, right.MemberID); !isForeign(err) {
		t.Errorf("it says so itself: %v", err)
	}
	for _, id := range []string{"1234", "5678"} {
		if err := m.verify(right.ClusterID, id); err != nil {
			t.Errorf("an answer of member %s: %v", id, err)
		}
	}
	// An adopted etcd may run on a directory that was moved away since.
	m.Close()
	if _, err := m.Remember(&actor{pid: e.PID() + 1}); err == nil || isForeign(err) {
		t.Errorf("without the lock: %v", err)
	}
	must(t, os.Rename(m.Config.DataDir(), m.Config.DataDir()+".moved"))
	m.holds(t)
	must(t, os.Remove(m.Config.DataDir()))
	copyDir(t, m.Config.DataDir()+".moved", m.Config.DataDir())
	if save, err := m.Remember(&actor{pid: e.PID() + 2}); err != nil || save != nil {
		t.Errorf("another directory has the name: %v", err)
	}
	must(t, os.RemoveAll(m.Config.DataDir()))
	must(t, os.Rename(m.Config.DataDir()+".moved", m.Config.DataDir()))
	must(t, m.SetMark(Mark{ClusterID: "99"})) // as for a member that is to join cluster 99
	m.holds(t)
	if _, err := m.Remember(&actor{pid: e.PID() + 3}); !isForeign(err) || !strings.Contains(err.Error(), "cluster 99") {
		t.Errorf("in another cluster than expected: %v", err)
	}
	must(t, m.SetMark(right))
	m.admits(t, continued)
}

func isForeign(err error) bool {
	_, ok := errors.AsType[*ForeignError](err)
	return ok
}

func withPeers(t *testing.T, m *Machine) {
	var asked *datadir.Report
	m.Peers = func(r *datadir.Report) (*status.Members, *Twin) {
		asked = r
		return list("other", "z", "n1", true), nil
	}
	m.refused(t, status.CauseIdentity, CodeOtherCluster)
	if asked == nil || asked.MemberID != m.Mark().MemberID {
		t.Errorf("asked with %+v", asked)
	}
	m.Peers = func(*datadir.Report) (*status.Members, *Twin) { return nil, &Twin{URL: theirURL} }
	m.refused(t, status.CauseIdentity, CodeTwin)
	m.Peers = func(r *datadir.Report) (*status.Members, *Twin) {
		return list(r.ClusterID, r.MemberID, "n1", true), nil
	}
	m.admits(t, continued)
	m.Peers = nil
}

// TestMemberIsComparedWithTheMark: what etcd says of itself reaches the loop as what it is.
func TestMemberIsComparedWithTheMark(t *testing.T) {
	m := keeperOf(t, t.TempDir())
	m.Asker = answering{&status.Member{ClusterID: "c", ID: "a"}}
	for _, mark := range []Mark{{}, {ClusterID: "c", MemberID: "a"}, {ClusterID: "x", MemberID: "y"}} { // there is no WAL to confirm the last
		must(t, m.SetMark(mark))
		if mem, version, err := m.Member(t.Context()); err != nil || mem.ID != "a" || version != "3.7.0" {
			t.Errorf("%+v, %s, %v", mem, version, err)
		}
	}
}

type answering struct{ who *status.Member }

func (a answering) Probe(context.Context, string) Health { return Health{} }
func (a answering) Member(context.Context, []string) (*status.Member, string, error) {
	return a.who, "3.7.0", nil
}
func (a answering) Transfer(context.Context, []string) string { return "" }

// TestLooksAreFewAndCheap: at most one in five seconds, and none where the db is as it was.
func TestLooksAreFewAndCheap(t *testing.T) {
	m, _ := stored(t, someMark)
	now, db := time.Now(), dbStamp{id: FileID{1, 2}, size: 3}
	is := func(pid int, db dbStamp, after time.Duration, want bool) {
		t.Helper()
		s, due := m.due(pid, db, now.Add(after))
		if due != want {
			t.Errorf("process %d after %v: %v", pid, after, due)
		}
		if due {
			m.last = s
		}
	}
	is(0, db, 0, false) // nothing has run
	is(7, dbStamp{}, 0, false)
	is(7, db, 0, true)
	is(7, db, time.Second, false)
	is(7, db, time.Minute, false)
	db.size++
	is(7, db, time.Minute, true)
	db.size++
	is(7, db, time.Minute+markEvery-1, false)
	is(7, db, time.Minute+markEvery, true)
	db.size++
	is(8, db, time.Minute+markEvery, true) // another process
	is(0, db, time.Minute+markEvery, false)
	db.size++
	is(0, db, time.Minute+markEvery, true) // its end
	m.now.Index++                          // which could not be saved
	is(0, db, time.Minute+markEvery, true)
}

// TestArgumentsOfEachBeginning: flags for a first start are given to a first start, and to what nobody decides about.
func TestArgumentsOfEachBeginning(t *testing.T) {
	e := config.Etcd{Args: []config.Arg{
		{Name: "discovery-srv", Values: []string{"example.com"}}, {Name: "initial-advertise-peer-urls", Values: []string{ourURL}},
		{Name: "initial-cluster", Values: []string{"a=" + ourURL}}, {Name: "initial-cluster-token", Values: []string{"t"}}, {Name: "name", Values: []string{"a"}},
	}}
	all := []string{"--discovery-srv=example.com", "--initial-advertise-peer-urls=" + ourURL, "--initial-cluster=a=" + ourURL, "--initial-cluster-token=t", "--name=a"}
	for b, want := range map[beginning][]string{
		asConfigured: all,
		newborn:      append(slices.Clone(all), "--initial-cluster-state=new"),
		continued:    {"--initial-advertise-peer-urls=" + ourURL, "--name=a"},
	} {
		if got := b.tell(arguments(e, "", ""), false); !slices.Equal(got, want) {
			t.Errorf("beginning %d: %q", b, got)
		}
	}
	joining := arguments(e, "", "b="+theirURL)
	if got := newborn.tell(slices.Clone(joining), true); !slices.Equal(got, joining) {
		t.Errorf("of a join: %q", got)
	}
	if got := continued.tell(slices.Clone(joining), true); slices.ContainsFunc(got, func(a string) bool { return strings.HasPrefix(a, "--initial-cluster") }) {
		t.Errorf("of a join that goes on: %q", got)
	}
}

// BenchmarkAdmit is what a decision adds to a restart after a crash.
func BenchmarkAdmit(b *testing.B) {
	e := etcdtest.Start(b, 1)[0]
	m := keeperOf(b, e.DataDir)
	m.holds(b)
	m.remembers(b, &actor{pid: e.PID()})
	e.Stop()
	m.remembers(b, nil)
	for b.Loop() {
		m.endedAt = time.Now()
		if _, err := m.admit(); err != nil {
			b.Fatal(err)
		}
	}
}
