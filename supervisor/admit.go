package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// beginning is what etcd is told of the cluster that it becomes a member of.
type beginning uint8

const (
	asConfigured beginning = iota // what the configuration has: nobody decides about this start
	newborn                       // it is to begin in an empty directory
	continued                     // nothing: it has its data, by which it goes
)

// isGone refuses the start where the directory itself is missing although a member was in it. It comes before the start
// lock, which would make an empty one in its place: then the right one could not be moved back so easily. m.mu is held.
func (m *Machine) isGone(dir string) error {
	if !m.decides(m.Config) || fileID(dir) != (FileID{}) {
		return nil
	}
	known := m.Marks.Mark()
	if known.MemberID == "" {
		return nil
	}
	return refusal(Decide(Circumstances{Known: known, Report: &datadir.Report{Path: dir, Kind: datadir.KindEmpty}}))
}

// launchError makes any error one that the loop can go by.
func launchError(err error) error {
	if _, ok := errors.AsType[*LaunchError](err); ok {
		return err
	}
	return &LaunchError{Err: err, Cause: status.CauseEnvironment}
}

// decides tells whether starts are decided about: a stand-in's data says nothing to us.
func (m *Machine) decides(c *config.Config) bool { return m.Marks != nil && c.Etcd.Verify }

// admit decides whether etcd may be started now. The start lock is held, so that nobody begins on the directory meanwhile.
// After a crash it takes a few calls of stat, since the restart is what clients wait for; otherwise the data is read.
func (m *Machine) admit() (beginning, error) {
	cfg := m.config()
	if !m.decides(cfg) {
		return asConfigured, nil
	}
	at, known := placeOf(cfg), m.Marks.Mark()
	program := programAt(m.Binary)
	c := Circumstances{Known: known, Recent: m.endedRecently(), Dir: at.fingerprint(known.Dir), NewBinary: !m.ran(program)}
	d := Decide(c)
	if d.Look {
		var err error
		if c.Report, err = datadir.Look(at.dir, datadir.Options{WALDir: at.wal}); err != nil {
			return 0, &LaunchError{Err: fmt.Errorf("cannot start etcd: %w", err), Cause: status.CauseEnvironment}
		}
		c.Join, c.PeerURLs, c.Token, c.Version = m.joins(), peerURLs(cfg), clusterToken(cfg), m.version(cfg)
		c.Peers, c.Twin = m.askPeers(c.Report)
		d = Decide(c)
	}
	if !d.Start {
		return 0, refusal(d)
	}
	m.Marks.startsOn(c.Dir)
	m.runsNow(program)
	if d.First {
		return newborn, nil
	}
	return continued, nil
}

// refusal is a decision against a start as the loop takes it.
func refusal(d Decision) error {
	return &LaunchError{Err: errors.New(d.Held), Cause: d.Cause, Hold: true, Code: d.Code, Next: d.Next}
}

// startsOn notes which directory etcd is started on. It reaches the disk with the next refresh.
func (m *Marks) startsOn(f Fingerprint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Dir = f
}

// program is an executable as it stands on disk: one that was replaced, in place or by another, is another.
type program struct {
	FileID
	size     int64
	modified unix.Timespec
}

// programAt is zero where there is none.
func programAt(path string) program {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return program{}
	}
	return program{FileID{Dev: st.Dev, Ino: st.Ino}, st.Size, st.Mtim}
}

// ran tells whether a program is the one that ran last, and was found to fit the data then.
func (m *Machine) ran(p program) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return p != (program{}) && p == m.fits
}

func (m *Machine) runsNow(p program) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fits = p
}

// version is that of the etcd that is to be started; empty: it does not say.
func (m *Machine) version(c *config.Config) string {
	if m.Version == nil {
		return ""
	}
	return m.Version(c)
}

// unfit refuses a start with files that etcd stumbles over. It reads those of its clients only after it has become a
// member that votes and leads, and then ends: each start of it would cost the cluster an election.
func (m *Machine) unfit() error {
	if why, remedy := m.looksUnfit(m.config()); why != "" {
		return refusal(refuse(status.CauseConfig, CodeUnfit, why, remedy+"; then etcdsup start"))
	}
	return nil
}

func (m *Machine) looksUnfit(cfg *config.Config) (why, remedy string) {
	if m.Unfit == nil || !cfg.Etcd.Verify {
		return "", ""
	}
	return m.Unfit(cfg)
}

// Restartable is why an etcd that runs must not be stopped in order to be started again: it would not be started. Both
// are empty where nothing is known against it; what only a look at the stopped data can tell is left to the start.
func (m *Machine) Restartable() (why, remedy string) {
	cfg := m.config()
	if why, remedy = m.looksUnfit(cfg); why != "" {
		return why, remedy
	}
	if !m.decides(cfg) || m.ran(programAt(m.Binary)) {
		return "", ""
	}
	of, err := datadir.VersionsOf(placeOf(cfg).db())
	if err != nil {
		return "", ""
	}
	v := status.JudgeVersion(m.version(cfg), of.Data())
	return v.Refuse, v.Remedy
}

// joins tells whether the next start is that of a member which a cluster has added.
func (m *Machine) joins() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.joining != ""
}

// askPeers asks the peers where somebody has said how, see Machine.Peers.
func (m *Machine) askPeers(r *datadir.Report) (*status.Members, *Twin) {
	if m.Peers == nil {
		return nil, nil
	}
	return m.Peers(r)
}

func peerURLs(c *config.Config) []string {
	for _, a := range c.Etcd.Args {
		if a.Name == "initial-advertise-peer-urls" {
			return a.Values
		}
	}
	return nil
}

// clusterToken is that of a new cluster whose members the configuration lists; empty: somebody else lists them.
func clusterToken(c *config.Config) string {
	token := "etcd-cluster" // etcd's default
	for _, a := range c.Etcd.Args {
		switch {
		case strings.HasPrefix(a.Name, "discovery"):
			return ""
		case a.Name == "initial-cluster-token":
			token = a.Value()
		}
	}
	return token
}

// Mark is who lives in the data directory by the record, and how far that member is known to be.
func (m *Machine) Mark() Mark {
	if m.Marks == nil {
		return Mark{}
	}
	return m.Marks.Mark()
}

// ResetMark forgets the member of the mark: another one is to come, or its data in another form. What was known is kept
// in a file beside the mark. etcd must be down.
func (m *Machine) ResetMark() error { return m.SetMark(Mark{}) }

// SetMark replaces the mark, for instance by one that [Machine.Mark] gave before, when the data that it is of is put
// back. One with a cluster ID alone has the next etcd turned away if it comes up in another cluster.
func (m *Machine) SetMark(to Mark) error {
	if m.Marks == nil {
		return nil
	}
	_, err := m.Marks.reset(to)
	return err
}

// AcceptData makes the mark that of the data which is there now, because a person says that it is meant, and returns it.
// The old mark is kept in a file beside it, whose path is aside; empty: there was none. Where the directory is empty,
// the next start is a first one. What else speaks against a start still does.
func (m *Machine) AcceptData() (accepted Mark, aside string, err error) {
	cfg := m.config()
	if !m.decides(cfg) {
		return Mark{}, "", errors.New("cannot accept the data: starts of this etcd are not decided by its data")
	}
	at := placeOf(cfg)
	r, err := datadir.Look(at.dir, datadir.Options{WALDir: at.wal})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Mark{}, "", fmt.Errorf("cannot accept the data: %w", err)
	}
	if err == nil && !isEmpty(r) {
		if r.MemberID == "" || r.ClusterID == "" {
			return Mark{}, "", fmt.Errorf("cannot accept the data: nothing in %s says of which member it is", at.dir)
		}
		accepted = Mark{ClusterID: r.ClusterID, MemberID: r.MemberID, Dir: at.fingerprint(Fingerprint{})}
		if d := r.DB; d != nil && d.Verdict == datadir.VerdictOK {
			accepted.Term, accepted.Index, accepted.Revision = d.Term, d.ConsistentIndex, d.Revision
		}
	}
	aside, err = m.Marks.reset(accepted)
	return accepted, aside, err
}
