package datadir

import (
	"fmt"
	"slices"
	"strings"
)

// Code names a finding.
type Code string

// The codes.
const (
	CodeEmpty            Code = "empty-directory"
	CodeWALMissing       Code = "db-without-wal"
	CodeDBMissing        Code = "wal-without-db"
	CodeForeignDB        Code = "foreign-db"
	CodeDBBehindSnapshot Code = "db-behind-snapshot"
	CodeWALBehindDB      Code = "wal-behind-db"
	CodeLearner          Code = "learner"
	CodeRemoved          Code = "removed-member"
	CodeWALTorn          Code = "wal-torn-tail"
	CodeWALDamaged       Code = "wal-damaged"
	CodeWALEmptyFile     Code = "wal-empty-file"
	CodeWALGap           Code = "wal-gap"
	CodeWALConflict      Code = "wal-of-two-members"
	CodeDBDamaged        Code = "db-damaged"
	CodeDBOneMeta        Code = "db-one-meta-page"
	CodeSnapDamaged      Code = "snap-damaged"
	CodeRepaired         Code = "repaired-before"
	CodeLeftovers        Code = "leftover-files"
	CodePermissions      Code = "permissions"
	CodeProxy            Code = "proxy-directory"
	CodeOtherMember      Code = "other-than-recorded"
	CodeOlder            Code = "older-than-recorded"
	CodeHashMismatch     Code = "hash-mismatch"
	CodeNoHash           Code = "no-hash"
)

// kinds is what is said of each finding, beside its evidence.
var kinds = map[Code]struct {
	severity      Severity
	title, remedy string
}{
	CodeEmpty: {SeverityNote, "empty: etcd has never written here", ""},
	CodeWALMissing: {SeverityHeld, "there is a db and no WAL: etcd would begin a new cluster over old data, drop writes, and call itself healthy",
		"put the WAL back from where it was left, or join the cluster anew, or restore from a snapshot"},
	CodeDBMissing: {SeverityHeld, "there is a WAL and no db: the state at the last snapshot is missing",
		"put member/snap/db back, or join the cluster anew, or restore from a snapshot; do not start etcd, which would make an empty db in its place"},
	CodeForeignDB: {SeverityHeld, "the db is not that of the WAL", "put back the two that belong together, or join the cluster anew"},
	CodeDBBehindSnapshot: {SeverityHeld, "the db is older than the snapshot from which the WAL goes on",
		"put the newer db back, or join the cluster anew, or restore from a snapshot"},
	CodeWALBehindDB: {SeverityHeld, "the WAL lacks entries that the db has applied: its end was lost, or it is an older copy",
		"put back the WAL that belongs to the db; otherwise join the cluster anew, or take this db as a snapshot for a new cluster"},
	CodeLearner: {SeverityNote, "a learner's directory: it does not vote, and cannot be made a cluster of its own by force", ""},
	CodeRemoved: {SeverityHeld, "this member was removed from its cluster: etcd would stop at once, with exit code 0",
		"set the directory aside and join the cluster anew"},
	CodeWALTorn: {SeverityNote, "the last record of the WAL was not written out, as after a crash or a power loss; etcd cuts it off at its next start", ""},
	CodeWALDamaged: {SeverityHeld, "the WAL is damaged in its middle",
		"do not let etcd cut it off: join the cluster anew, or restore from a snapshot; on the only member, copy the directory before anything else"},
	CodeWALEmptyFile: {SeverityHeld, "a file of the WAL is empty: etcd would crash on it",
		"put the file back from a copy, or join the cluster anew; set an empty last file aside only where all before it is whole"},
	CodeWALGap:      {SeverityHeld, "files of the WAL are missing", "put them back from a copy, or join the cluster anew, or restore from a snapshot"},
	CodeWALConflict: {SeverityHeld, "files of the WAL are of different members", "put back the files that belong together"},
	CodeDBDamaged:   {SeverityHeld, "the db is damaged", "join the cluster anew, or restore from a snapshot"},
	CodeDBOneMeta:   {SeverityWarning, "one of the db's two meta pages cannot be read; etcd works with the other", "take a snapshot soon, and defragment, which writes the file anew"},
	CodeSnapDamaged: {SeverityWarning, "a .snap file is damaged; 3.6 and older take an older one, 3.7 needs none", ""},
	CodeRepaired: {SeverityWarning, "etcd has cut off or replaced something here before, and kept what it was",
		"compare the member with the others (etcdctl endpoint hashkv --cluster), then remove the *.broken files"},
	CodeLeftovers:   {SeverityNote, "files that etcd does not use", ""},
	CodePermissions: {SeverityWarning, "more than the owner may enter", "chmod 700 the folders"},
	CodeProxy:       {SeverityHeld, "there is a folder of the v2 proxy: 3.5 and older start as a proxy, 3.6 and later refuse", "set the folder proxy aside"},
	CodeOtherMember: {SeverityHeld, "this is not the directory that was here before", "put the right directory back, or tell that this one is meant"},
	CodeOlder: {SeverityHeld, "older than what was here before: the member would forget what it has promised",
		"put the newer directory back, or set this one aside and join the cluster anew"},
	CodeHashMismatch: {SeverityHeld, "the snapshot is not what was saved: its hash differs", "take another snapshot, or another copy of it"},
	CodeNoHash:       {SeverityNote, "a db without a hash: it cannot be told whether it is whole, and what was only in the WAL is not in it", ""},
}

// findings collects them in the order in which they are found.
type findings struct{ all []Finding }

func (f *findings) add(code Code, evidence ...string) *Finding {
	k := kinds[code]
	f.all = append(f.all, Finding{Code: code, Severity: k.severity, Title: k.title, Evidence: evidence, Remedy: k.remedy})
	return &f.all[len(f.all)-1]
}

// judge says what is wrong, the gravest first.
func judge(l *look) []Finding {
	f := &findings{all: []Finding{}}
	if l.report.Kind == KindEmpty {
		f.empty(l.o.Known)
	} else {
		f.parts(l)
		f.wal(l.wal)
		f.together(l)
		f.identity(l.report)
		f.known(l)
	}
	f.surroundings(l)
	return f.sorted()
}

func (f *findings) sorted() []Finding {
	order := []Severity{SeverityHeld, SeverityWarning, SeverityNote}
	slices.SortStableFunc(f.all, func(a, b Finding) int {
		return slices.Index(order, a.Severity) - slices.Index(order, b.Severity)
	})
	return f.all
}

func (f *findings) empty(k *Known) {
	found := f.add(CodeEmpty)
	if k != nil && k.MemberID != "" {
		found.Severity = SeverityHeld
		found.Evidence = []string{fmt.Sprintf("member %s of cluster %s was here", k.MemberID, k.ClusterID)}
		found.Remedy = "mount or put back the data directory, or have the member join anew"
	}
}

// parts judges db and WAL each by itself, and that both are there.
func (f *findings) parts(l *look) {
	noWAL, noDB := l.wal.Verdict == VerdictMissing, l.db.Verdict == VerdictMissing
	switch {
	case noWAL && noDB:
		f.empty(l.o.Known)
	case noWAL && l.db.untouched() && len(l.found.snaps) == 0:
		f.empty(l.o.Known)
		f.all[len(f.all)-1].Evidence = append(f.all[len(f.all)-1].Evidence,
			"there is a db in which nothing was ever written, as a first start leaves behind that came to nothing")
	case noWAL:
		f.add(CodeWALMissing, "no *.wal in "+l.wal.Dir, fmt.Sprintf("the db has revision %d", l.db.Revision))
	case noDB:
		found := f.add(CodeDBMissing, l.db.Path+" is missing", fmt.Sprintf("the last snapshot is at index %d", l.wal.raft.SnapshotIndex))
		if l.wal.raft.SnapshotIndex == 0 {
			found.Severity, found.Remedy = SeverityWarning, ""
			found.Title = "there is a WAL and no db; the WAL goes back to the beginning, so etcd makes the db anew from it"
		}
	}
	if l.db.Verdict == VerdictDamaged || l.db.Verdict == VerdictEmpty {
		f.add(CodeDBDamaged, l.db.Path+": "+l.db.Problem)
	} else if l.db.oneMeta != "" && !l.report.Hot {
		f.add(CodeDBOneMeta, l.db.oneMeta)
	}
}

func (f *findings) wal(w *walFacts) {
	for _, s := range w.Segments {
		where := fmt.Sprintf("%s, byte %d: %s", s.Name, s.Offset, s.Problem)
		switch s.Verdict {
		case VerdictTorn:
			f.add(CodeWALTorn, where)
		case VerdictEmpty:
			f.add(CodeWALEmptyFile, fmt.Sprintf("%s has %d bytes, and no record", s.Name, s.Size))
		case VerdictDamaged:
			evidence := []string{where}
			if s.Lost > 0 {
				evidence = append(evidence, fmt.Sprintf("%d good records behind it, up to index %d", s.Lost, w.lost.last))
			}
			f.add(CodeWALDamaged, evidence...)
		}
	}
	if w.gap != "" {
		f.add(CodeWALGap, w.gap)
	}
	if w.conflict {
		f.add(CodeWALConflict, "the first records of the files name different members or clusters")
	}
}

// together judges whether db and WAL fit.
func (f *findings) together(l *look) {
	w, d := l.wal, l.db
	if w.metadata == nil || d.Verdict != VerdictOK && d.Verdict != VerdictEmpty {
		return
	}
	if f.foreign(l) {
		return
	}
	if at := w.raft.SnapshotIndex; l.reached < at && !l.hasSnapDB(at) {
		f.add(CodeDBBehindSnapshot, fmt.Sprintf("the db has index %d, the snapshot %d", l.reached, at))
	}
	f.first(l)
	if w.Verdict != VerdictDamaged && l.db.ConsistentIndex > w.raft.LastIndex && w.raft.LastIndex > 0 && !l.walEndsInSnapshot() {
		f.add(CodeWALBehindDB, fmt.Sprintf("the db has applied index %d, the WAL ends at %d", l.db.ConsistentIndex, w.raft.LastIndex))
	}
}

// first finds that the WAL begins behind the point from which it should go on.
func (f *findings) first(l *look) {
	if len(l.wal.Segments) == 0 {
		return
	}
	if _, from, _ := parseSegmentName(l.wal.Segments[0].Name); from > l.wal.raft.SnapshotIndex && l.wal.gap == "" {
		f.add(CodeWALGap, fmt.Sprintf("the WAL begins at index %d, the last snapshot it knows is at %d", from, l.wal.raft.SnapshotIndex))
	}
}

// walEndsInSnapshot: a member that was sent a snapshot has its entries in the db and not in the WAL.
func (l *look) walEndsInSnapshot() bool { return l.wal.raft.SnapshotIndex >= l.db.ConsistentIndex }

func (l *look) hasSnapDB(index uint64) bool {
	return slices.ContainsFunc(l.report.Snapshots, func(s SnapFile) bool { return isSnapDB(s.Name) && s.Index == index })
}

// foreign tells a db of another member or cluster by two signs: it does not know the WAL's member, or it has applied an
// entry of another term than the WAL has at that index. A db that has applied nothing yet knows no member either.
func (f *findings) foreign(l *look) bool {
	w, d := l.wal, l.db
	self := l.report.MemberID
	knows := slices.Contains(d.removed, self) || slices.ContainsFunc(d.members, func(m Member) bool { return m.ID == self })
	pending := slices.ContainsFunc(l.report.Members, func(m Member) bool { return m.ID == self })
	switch {
	case len(d.members) > 0 && !knows && !pending:
		f.add(CodeForeignDB, fmt.Sprintf("the WAL is of member %s; the db knows %s", self, memberIDs(d.members)))
		return true
	case w.termThere != 0 && d.Term != 0 && w.termThere != d.Term:
		f.add(CodeForeignDB, fmt.Sprintf("entry %d is of term %d in the WAL, of term %d in the db", d.ConsistentIndex, w.termThere, d.Term))
		return true
	}
	return false
}

func memberIDs(members []Member) string {
	var ids []string
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return strings.Join(ids, ", ")
}

func (f *findings) identity(r *Report) {
	switch r.Role {
	case RoleLearner:
		f.add(CodeLearner)
	case RoleRemoved:
		f.add(CodeRemoved, fmt.Sprintf("member %s is among those removed", r.MemberID))
	}
}

func (f *findings) known(l *look) {
	if l.o.Known != nil {
		f.all = append(f.all, l.report.Against(*l.o.Known)...)
	}
}

// Against compares a directory that has a WAL with what was written down of the member that should be here. The revision
// counts only where the db is up to the log: after a crash it is behind, and etcd catches up from the WAL.
func (r *Report) Against(k Known) []Finding {
	f := &findings{}
	if r.Raft == nil {
		return nil
	}
	var other []string
	if k.ClusterID != "" && k.ClusterID != r.ClusterID {
		other = append(other, fmt.Sprintf("cluster %s, recorded %s", r.ClusterID, k.ClusterID))
	}
	if k.MemberID != "" && k.MemberID != r.MemberID {
		other = append(other, fmt.Sprintf("member %s, recorded %s", r.MemberID, k.MemberID))
	}
	if len(other) > 0 {
		f.add(CodeOtherMember, other...)
		return f.all
	}
	var older []string
	last := max(r.Raft.LastIndex, r.Raft.SnapshotIndex)
	if r.Raft.Term < k.Term {
		older = append(older, fmt.Sprintf("term %d, recorded %d", r.Raft.Term, k.Term))
	}
	if last < k.Index {
		older = append(older, fmt.Sprintf("index %d, recorded %d", last, k.Index))
	}
	if d := r.DB; d != nil && d.Verdict == VerdictOK && d.ConsistentIndex >= last && d.Revision < k.Revision {
		older = append(older, fmt.Sprintf("revision %d, recorded %d", d.Revision, k.Revision))
	}
	if len(older) > 0 {
		f.add(CodeOlder, older...)
	}
	return f.all
}

func (f *findings) surroundings(l *look) {
	c := l.found
	if c.proxy {
		f.add(CodeProxy, "proxy")
	}
	for _, s := range l.report.Snapshots {
		if s.Verdict == VerdictDamaged {
			f.add(CodeSnapDamaged, s.Name+": "+s.Problem)
		}
	}
	if len(c.broken) > 0 {
		f.add(CodeRepaired, c.broken...)
	}
	if rest := without(c.leftovers, c.broken); len(rest) > 0 {
		f.add(CodeLeftovers, rest...)
	}
	if len(c.loose) > 0 {
		f.add(CodePermissions, c.loose...)
	}
}

func without(all, gone []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(gone, s) })
}

func judgeFile(r *Report) []Finding {
	f := &findings{all: []Finding{}}
	if r.DB.Verdict != VerdictOK {
		f.add(CodeDBDamaged, r.DB.Path+": "+r.DB.Problem)
	} else if r.DB.oneMeta != "" {
		f.add(CodeDBOneMeta, r.DB.oneMeta)
	}
	switch r.Hash {
	case "mismatch":
		f.add(CodeHashMismatch)
	case "none":
		f.add(CodeNoHash)
	}
	return f.sorted()
}
