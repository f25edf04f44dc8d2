// Package datadir looks at an etcd data directory, or at a snapshot file, and says what it is: whose, how far, in what
// state, and what is wrong with it. It only reads: it makes no file, takes no lock, repairs nothing, and works on a
// read-only mount, on a copy, and while etcd runs.
package datadir

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Options is what is known beside the path.
type Options struct {
	// WALDir is where the WAL is when etcd has --wal-dir; empty: member/wal below the directory.
	WALDir string
	// Known is what was written down of the member that should be here; nil when nothing was.
	Known *Known
	// Holders names the processes that hold a lock on any of these files, without taking one. May be nil: then a
	// running etcd is noticed only when it writes meanwhile.
	Holders func(files []string) []Holder
}

// Known is a record of earlier days: the directory must not be of another member, nor be behind it. Fields that are
// zero are not compared. IDs are hexadecimal.
type Known struct {
	ClusterID string
	MemberID  string
	Term      uint64
	Index     uint64 // of raft's log
	Revision  int64
}

// Look examines a data directory, its member folder, or a snapshot file. The error is for a path that cannot be read,
// and wraps fs.ErrNotExist where there is nothing; everything that is wrong with what is there is a finding.
func Look(path string, o Options) (*Report, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot look at the data: %w", err)
	}
	if !info.IsDir() {
		return lookAtFile(path)
	}
	l := &look{o: o, dir: filepath.Clean(path)}
	if filepath.Base(l.dir) == "member" && !exists(filepath.Join(l.dir, "member")) {
		l.dir = filepath.Dir(l.dir)
	}
	l.report = &Report{Path: l.dir, Kind: KindDirectory, Role: RoleUnknown, LastStop: StopUnknown, Findings: []Finding{}}
	if err := l.run(); err != nil {
		return nil, err
	}
	return l.report, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// look is one examination of a directory.
type look struct {
	o      Options
	dir    string
	report *Report
	db     *dbFacts
	wal    *walFacts
	found  *contents
	// reached is the db's index when the WAL had been read: not below the db's own.
	reached uint64
}

func (l *look) walDir() string {
	if l.o.WALDir != "" {
		return l.o.WALDir
	}
	return filepath.Join(l.dir, "member", "wal")
}

func (l *look) snapDir() string { return filepath.Join(l.dir, "member", "snap") }

func (l *look) run() error {
	var err error
	if l.found, err = l.list(); err != nil {
		return fmt.Errorf("cannot look at the data: %w", err)
	}
	r := l.report
	r.Leftovers = l.found.leftovers
	if l.o.Holders != nil {
		r.Holders = l.o.Holders(l.found.locked)
	}
	r.Hot = len(r.Holders) > 0
	if err := l.readWhole(); err != nil {
		return err
	}
	l.fill()
	r.Findings = judge(l)
	return nil
}

// readWhole reads db and WAL. A raft snapshot that came between them makes the db look older than it is: how far it is
// now is asked for once more then.
func (l *look) readWhole() error {
	if err := l.read(); err != nil {
		return err
	}
	l.report.Hot = l.report.Hot || l.wal.grew || l.dbChanged()
	l.reached = l.db.ConsistentIndex
	if s := l.wal.newestSnapshot(); s != nil && l.db.Verdict == VerdictOK && l.reached < s.GetIndex() {
		if now, err := Position(l.db.Path); err == nil {
			l.reached = now.Index // what is snapshotted in the WAL is in the db before
		}
	}
	return nil
}

// read reads the db first: an entry is in the WAL before it is in the db, so a WAL that is read later has all of them.
func (l *look) read() error {
	var err error
	if l.db, err = readDB(filepath.Join(l.snapDir(), "db"), 0, l.report.Hot); err != nil {
		return err
	}
	if l.wal, err = l.readWAL(); err != nil {
		return fmt.Errorf("cannot read the WAL: %w", err)
	}
	return nil
}

func (l *look) readWAL() (*walFacts, error) {
	w, err := readWAL(l.walDir(), l.db.ConsistentIndex, l.report.Hot)
	if errors.Is(err, fs.ErrNotExist) {
		return &walFacts{WAL: WAL{Dir: l.walDir(), Verdict: VerdictMissing}}, nil
	}
	return w, err
}

// dbChanged tells of an etcd that writes, where its lock cannot be seen: in another container, or over NFS.
func (l *look) dbChanged() bool {
	if l.db.Verdict != VerdictOK {
		return false
	}
	f, size, err := openFile(l.db.Path)
	if err != nil {
		return false
	}
	defer f.Close()
	b, err := openBolt(f, size)
	return err == nil && b.meta.txid != l.db.txid
}

// contents is what lies in the directory, by name.
type contents struct {
	snaps     []string // *.snap and *.snap.db in member/snap
	leftovers []string
	broken    []string // *.broken: of these etcd has repaired or replaced one
	spare     bool     // a segment made in advance, which an orderly stop removes
	locked    []string // the files that a running etcd has a lock on
	proxy     bool     // of the v2 proxy, which is gone
	loose     []string // folders that others may enter, with their permissions
	empty     bool
}

func (l *look) list() (*contents, error) {
	c := &contents{empty: true}
	top, err := readDir(l.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range top {
		switch e.Name() {
		case "member":
			c.empty = false
		case "proxy":
			c.proxy = true
		default:
			c.leftovers = append(c.leftovers, e.Name())
		}
	}
	member, err := readDirIfThere(filepath.Join(l.dir, "member"))
	if err != nil {
		return nil, err
	}
	for _, e := range member {
		if e.Name() != "snap" && e.Name() != "wal" {
			c.leftovers = append(c.leftovers, "member/"+e.Name())
		}
	}
	if err := errors.Join(l.listSnap(c), l.listWAL(c)); err != nil {
		return nil, err
	}
	if !c.empty {
		l.checkModes(c)
	}
	slices.Sort(c.leftovers)
	return c, nil
}

func readDirIfThere(path string) ([]os.DirEntry, error) {
	entries, err := readDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return entries, err
}

func (l *look) listSnap(c *contents) error {
	entries, err := readDirIfThere(l.snapDir())
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "db":
			c.locked = append(c.locked, filepath.Join(l.snapDir(), name))
		case isSnap(name), isSnapDB(name):
			c.snaps = append(c.snaps, name)
		default:
			c.leftover("member/snap/" + name)
		}
	}
	slices.Sort(c.snaps)
	return err
}

func (l *look) listWAL(c *contents) error {
	entries, err := readDirIfThere(l.walDir())
	for _, e := range entries {
		name := e.Name()
		if _, _, ok := parseSegmentName(name); ok {
			c.locked = append(c.locked, filepath.Join(l.walDir(), name))
		} else if name == "0.tmp" || name == "1.tmp" {
			c.spare = true
		} else {
			c.leftover(l.short(filepath.Join(l.walDir(), name)))
		}
	}
	c.empty = c.empty && len(entries) == 0
	return err
}

func (l *look) short(path string) string {
	if rel, err := filepath.Rel(l.dir, path); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}

func (c *contents) leftover(name string) {
	c.leftovers = append(c.leftovers, name)
	if strings.HasSuffix(name, ".broken") {
		c.broken = append(c.broken, name)
	}
}

// checkModes finds folders that are open to more than their owner.
func (l *look) checkModes(c *contents) {
	for _, dir := range slices.Compact([]string{l.dir, filepath.Join(l.dir, "member"), l.snapDir(), l.walDir()}) {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o077 != 0 {
			c.loose = append(c.loose, fmt.Sprintf("%s has %04o", dir, info.Mode().Perm()))
		}
	}
}

// fill puts into the report what was read.
func (l *look) fill() {
	r := l.report
	if l.found.empty {
		r.Kind, r.Role = KindEmpty, ""
		return
	}
	for _, name := range l.found.snaps {
		if isSnapDB(name) {
			r.Snapshots = append(r.Snapshots, readSnapDB(l.snapDir(), name))
		} else if s, there := readSnap(l.snapDir(), name); there { // etcd removes old ones while it runs
			r.Snapshots = append(r.Snapshots, l.wal.unfinished(s))
		}
	}
	r.DB, r.WAL = &l.db.DB, &l.wal.WAL
	if l.wal.raft.LastIndex > 0 || l.wal.metadata != nil {
		if s := l.wal.newestSnapshot(); s != nil {
			l.wal.raft.SnapshotIndex, l.wal.raft.SnapshotTerm = s.GetIndex(), s.GetTerm()
		}
		r.Raft = &l.wal.raft
	}
	r.ClusterID, r.MemberID = hexID(l.wal.clusterID), hexID(l.wal.memberID)
	fillVersions(r, l.db)
	l.fillMembers()
	r.LastStop = l.lastStop()
}

func fillVersions(r *Report, d *dbFacts) {
	r.Versions = Versions{Cluster: d.cluster, Storage: d.storage, Downgrade: d.downgrade}
	r.Versions.MayOpen = r.Versions.Data().MayOpen()
}

// fillMembers takes the members from the db and adds what the WAL knows beyond it; without a db, only the WAL knows.
func (l *look) fillMembers() {
	r := l.report
	switch {
	case len(l.db.members) > 0 || len(l.db.removed) > 0:
		r.MembersFrom = "db"
		r.Members, r.Removed = l.wal.members(l.db.members, l.db.removed, l.db.ConsistentIndex, true)
	case len(l.wal.changes) > 0:
		r.MembersFrom = "wal"
		r.Members, r.Removed = l.wal.members(nil, nil, 0, false)
	}
	for i := range r.Members {
		if m := &r.Members[i]; m.ID == r.MemberID {
			m.Self = true
			r.Name, r.Role = m.Name, RoleVoter
			if m.Learner {
				r.Role = RoleLearner
			}
		}
	}
	if slices.Contains(r.Removed, r.MemberID) {
		r.Role = RoleRemoved
	}
}

// lastStop reads it off two signs: a stop in order writes all that was applied into the db, and removes the segment
// that was made in advance.
func (l *look) lastStop() Stop {
	switch {
	case l.report.Hot:
		return StopRunning
	case l.wal.Verdict == VerdictMissing || l.db.Verdict != VerdictOK:
		return StopUnknown
	case l.found.spare || l.wal.Verdict != VerdictOK || l.db.ConsistentIndex < l.wal.raft.Commit:
		return StopUnclean
	case l.db.ConsistentIndex == l.wal.raft.LastIndex:
		return StopClean
	}
	return StopUnknown
}

// lookAtFile examines a snapshot, or a db alone.
func lookAtFile(path string) (*Report, error) {
	r := &Report{Path: path, Kind: KindDatabase, Hash: "none", Findings: []Finding{}}
	f, size, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot look at the data: %w", err)
	}
	defer f.Close()
	body := int64(0)
	if hasHash(size) {
		r.Kind, body = KindSnapshot, size-sha256.Size
		ok, err := checkHash(f, size)
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", path, err)
		}
		if r.Hash = "mismatch"; ok {
			r.Hash = "ok"
		}
	}
	d, err := readDB(path, body, false)
	if err != nil {
		return nil, err
	}
	r.DB, r.Members, r.Removed = &d.DB, d.members, d.removed
	if len(r.Members) > 0 {
		r.MembersFrom = "db"
	}
	fillVersions(r, d)
	r.Findings = judgeFile(r)
	return r, nil
}
