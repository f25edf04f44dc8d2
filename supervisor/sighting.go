package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// place is where an etcd has its data.
type place struct{ dir, wal string }

func placeOf(c *config.Config) place {
	dir := c.DataDir()
	return place{dir: dir, wal: cmp.Or(c.Arg("wal-dir"), dir+"/member/wal")}
}

func (p place) db() string { return p.dir + "/member/snap/db" }

// fingerprint is the place's present one. hint is one of earlier: where its oldest segment is still there, no folder is
// listed.
func (p place) fingerprint(hint Fingerprint) Fingerprint {
	f := Fingerprint{Dir: fileID(p.dir), DB: fileID(p.db()), WAL: fileID(p.wal)}
	if f.WAL == (FileID{}) {
		return f
	}
	if hint.First != "" && fileID(p.wal+"/"+hint.First) != (FileID{}) {
		f.First = hint.First
		return f
	}
	const form = "0000000000000000-0000000000000000.wal"
	if name, err := datadir.FirstSegment(p.wal); err == nil && len(name) == len(form) {
		f.First = name
	}
	return f
}

func fileID(path string) FileID {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return FileID{}
	}
	return FileID{Dev: st.Dev, Ino: st.Ino}
}

// sameAs tells whether nothing but etcd itself can have made this out of an earlier fingerprint. etcd removes old
// segments; a db it replaces only while it runs.
func (f Fingerprint) sameAs(earlier Fingerprint) bool {
	return f.First != "" && f.Dir == earlier.Dir && f.DB == earlier.DB && f.WAL == earlier.WAL &&
		earlier.First != "" && f.First >= earlier.First
}

// markEvery is how often the mark is refreshed at most.
const markEvery = 5 * time.Second

// sighting is what was seen of the running etcd's data last.
type sighting struct {
	pid                 int
	at                  time.Time
	clusterID, memberID string // by its WAL: read once for each process
	db                  dbStamp
}

// dbStamp changes with every commit of etcd's.
type dbStamp struct {
	id    FileID
	mtime unix.Timespec
	size  int64
}

func stampOf(path string) dbStamp {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return dbStamp{}
	}
	return dbStamp{FileID{st.Dev, st.Ino}, st.Mtim, st.Size}
}

// ForeignError says that the etcd that runs is not the member that is on record.
type ForeignError struct {
	Record              Mark
	ClusterID, MemberID string // that it has
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("etcd came up as member %s of cluster %s, but on record here is %s", e.MemberID, e.ClusterID, e.Record.who())
}

// who names the member of a mark.
func (m Mark) who() string {
	if m.MemberID == "" {
		return "a member of cluster " + m.ClusterID
	}
	return fmt.Sprintf("member %s of cluster %s", m.MemberID, m.ClusterID)
}

// Remember looks how far the running etcd's data is, if that is due, and raises the mark. save, which is nil when there is
// nothing to write, may wait for a disk; all else is a stat where nothing has changed, and else some reads. With c nil
// etcd has just ended: that is due in any case. The error is a *ForeignError when the data is of another member than
// the mark; nothing is remembered then.
func (m *Machine) Remember(c Child) (save func() error, err error) {
	cfg := m.config()
	if m.Marks == nil || !cfg.Etcd.Verify {
		return nil, nil
	}
	at, pid := placeOf(cfg), 0
	if c != nil {
		pid = c.Info().PID
	}
	if c == nil {
		m.Marks.eye.shut()
	} else if m.Marks.unchanged(pid) {
		return nil, nil
	}
	seen, due := m.Marks.due(pid, stampOf(at.db()), time.Now())
	if !due {
		return nil, nil
	}
	ours, known := m.locks(at.dir)
	if known && !ours {
		return nil, nil // the directory was moved away under the running etcd: what has its name now is none of its
	}
	if err := seen.identify(at, m.Marks.Mark(), known); err != nil {
		return nil, err
	}
	if c != nil {
		m.Marks.eye.open(at.db(), seen.db.id)
	}
	return m.Marks.see(seen, at)
}

// unchanged tells that there is nothing to see since the last sighting of this process. It never waits. What only has
// another name now, such as the whole data directory, is found when etcd writes next.
func (m *Marks) unchanged(pid int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last.pid == pid && m.now == m.kept && m.eye.sees(m.last.db)
}

// due tells whether it is time for another look, and gives the sighting that this one goes on from.
func (m *Marks) due(pid int, db dbStamp, now time.Time) (sighting, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ended := pid == 0
	switch {
	case ended && m.last.pid == 0, db == (dbStamp{}):
		return sighting{}, false
	case !ended && m.last.pid != pid:
		m.last = sighting{}
		return sighting{pid: pid, at: now, db: db}, true
	case !ended && now.Sub(m.last.at) < markEvery:
		return sighting{}, false
	case db == m.last.db && m.now == m.kept:
		return sighting{}, false
	}
	s := m.last
	s.at, s.db = now, db
	return s, true
}

// identify reads once for each process whose the WAL is. Where it is not known whether the directory is still the one
// that etcd was started on, another's WAL proves nothing against that etcd.
func (s *sighting) identify(at place, mark Mark, ours bool) error {
	if s.memberID == "" {
		var err error
		if s.clusterID, s.memberID, err = datadir.Identity(at.wal); err != nil {
			return err
		}
	}
	switch {
	case mark.Is(s.clusterID, s.memberID):
		return nil
	case ours:
		return &ForeignError{mark, s.clusterID, s.memberID}
	}
	return errNotOurs
}

var errNotOurs = errors.New("cannot tell whether the data directory is still the one that the running etcd has")

// see raises the mark to what the data shows.
func (m *Marks) see(s sighting, at place) (save func() error, err error) {
	p, err := datadir.Position(at.db())
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.now.Is(s.clusterID, s.memberID) {
		return nil, nil // reset meanwhile
	}
	m.last = s
	m.now = m.now.raisedTo(Mark{
		ClusterID: s.clusterID, MemberID: s.memberID, Term: p.Term, Index: p.Index, Revision: p.Revision,
		Dir: at.fingerprint(m.now.Dir),
	})
	if m.now == m.kept {
		return nil, nil
	}
	return m.save, nil
}

// locks tells whether the start lock is that of the directory which has this name now. known is false where an adopted
// etcd alone has the lock.
func (m *Machine) locks(dir string) (ours, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lock == nil {
		return false, false
	}
	return process.StillLocks(m.lock, dir), true
}

// verify compares what etcd says of itself with the mark. An answer alone proves nothing: it may be another member's,
// where the configuration names the endpoints of several. The WAL must say the same.
func (m *Machine) verify(clusterID, memberID string) error {
	if m.Marks == nil {
		return nil
	}
	mark := m.Marks.Mark()
	if mark.Is(clusterID, memberID) {
		return nil
	}
	at := placeOf(m.config())
	if cluster, member, err := datadir.Identity(at.wal); err == nil && cluster == clusterID && member == memberID {
		return &ForeignError{mark, cluster, member}
	}
	return nil
}

// hasEnded is told that an etcd has ended just now.
func (m *Machine) hasEnded() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endedAt = time.Now()
}

// recentEnd is how long after its death nobody but etcd itself can have changed its data. A person with a copy at hand is
// slower, and the restart after a crash faster.
const recentEnd = 2 * time.Second

// endedRecently tells whether our own etcd has just ended.
func (m *Machine) endedRecently() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.endedAt.IsZero() && time.Since(m.endedAt) < recentEnd
}
