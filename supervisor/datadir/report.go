package datadir

import "github.com/etcdsup/etcdsup/supervisor/status"

// Kind is what a path turned out to be.
type Kind string

// The kinds.
const (
	KindDirectory Kind = "directory" // a data directory, or what is left of one
	KindEmpty     Kind = "empty"     // a directory in which etcd has never written
	KindSnapshot  Kind = "snapshot"  // a file of etcdctl snapshot save: a db with its SHA-256 behind it
	KindDatabase  Kind = "database"  // a db alone: a copy of member/snap/db or a *.snap.db
)

// Role is what the member of the directory is to its cluster, as far as the data knows.
type Role string

// The roles.
const (
	RoleVoter   Role = "voter"
	RoleLearner Role = "learner"
	RoleRemoved Role = "removed" // the data knows that this member was struck off
	RoleUnknown Role = "unknown"
)

// Stop is how the etcd that last had the directory ended.
type Stop string

// The ways to end.
const (
	StopRunning Stop = "running" // it has not ended
	StopClean   Stop = "clean"   // in order: everything is in the db, and no file was left behind
	StopUnclean Stop = "unclean" // killed, crashed, or copied while it ran
	StopUnknown Stop = "unknown"
)

// Verdict is what became of a file under examination.
type Verdict string

// The verdicts.
const (
	VerdictOK      Verdict = "ok"
	VerdictTorn    Verdict = "torn"    // the last record was not written out; etcd cuts it off by itself
	VerdictDamaged Verdict = "damaged" // what was written out cannot be read any more
	VerdictEmpty   Verdict = "empty"   // not even the first record is there
	VerdictMissing Verdict = "missing"

	// VerdictUnfinished is a .snap file that is being written, or that was when etcd was killed: etcd never opens it.
	VerdictUnfinished Verdict = "unfinished"
)

// Severity is how much a finding matters.
type Severity string

// The severities.
const (
	SeverityHeld    Severity = "held"    // starting etcd on this would lose or harm something, or cannot work
	SeverityWarning Severity = "warning" // should be known before a start
	SeverityNote    Severity = "note"    // normal, and worth a line
)

// Report is everything that a data directory or a snapshot tells of itself. It is plain data, and its JSON is
// stable. IDs are hexadecimal, as etcdctl prints them; sizes are bytes. What the data does not tell is left out.
type Report struct {
	Path    string   `json:"path"`
	Kind    Kind     `json:"kind"`
	Hot     bool     `json:"hot"` // taken while etcd was running on it: each part is consistent, later parts are newer
	Holders []Holder `json:"holders,omitempty"`

	ClusterID   string     `json:"cluster_id,omitempty"` // by the WAL
	MemberID    string     `json:"member_id,omitempty"`  // by the WAL
	Name        string     `json:"name,omitempty"`
	Role        Role       `json:"role,omitempty"`
	Members     []Member   `json:"members,omitempty"`
	Removed     []string   `json:"removed,omitempty"` // IDs of members that were struck off
	MembersFrom string     `json:"members_from,omitempty"`
	LastStop    Stop       `json:"last_stop,omitempty"`
	Versions    Versions   `json:"versions"`
	Raft        *Raft      `json:"raft,omitempty"`
	DB          *DB        `json:"db,omitempty"`
	WAL         *WAL       `json:"wal,omitempty"`
	Snapshots   []SnapFile `json:"snapshots,omitempty"`
	Leftovers   []string   `json:"leftovers,omitempty"` // paths below Path that etcd does not use
	Hash        string     `json:"hash,omitempty"`      // of a snapshot file: "ok", "mismatch" or "none"
	Findings    []Finding  `json:"findings"`
}

// Held tells whether a finding speaks against a start.
func (r *Report) Held() bool {
	for _, f := range r.Findings {
		if f.Severity == SeverityHeld {
			return true
		}
	}
	return false
}

// Finding is one thing that is wrong, or worth knowing.
type Finding struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	Title    string   `json:"title"`
	Evidence []string `json:"evidence,omitempty"`
	Remedy   string   `json:"remedy,omitempty"`
}

// Holder is a process that has a lock on the directory's files.
type Holder struct {
	PID     int    `json:"pid"`
	Command string `json:"command,omitempty"`
}

// Member is one member that the data knows.
type Member struct {
	ID         string   `json:"id"`
	Name       string   `json:"name,omitempty"` // empty: never started
	PeerURLs   []string `json:"peer_urls,omitempty"`
	ClientURLs []string `json:"client_urls,omitempty"`
	Learner    bool     `json:"learner,omitempty"`
	Self       bool     `json:"self,omitempty"` // the member whose directory this is
	Pending    string   `json:"pending,omitempty"`
}

// Versions is which etcd the data is of, and which may have it. Versions are "major.minor".
type Versions struct {
	Cluster   string   `json:"cluster,omitempty"`
	Storage   string   `json:"storage,omitempty"`   // written by 3.6 and later
	Downgrade string   `json:"downgrade,omitempty"` // target of a downgrade under way
	MayOpen   []string `json:"may_open,omitempty"`  // by etcd's rules and its upgrade policy; empty: not known
}

// Data is the same for those who judge versions.
func (v Versions) Data() status.DataVersions {
	return status.DataVersions{Cluster: v.Cluster, Storage: v.Storage, Downgrade: v.Downgrade}
}

// Raft is the state of the log.
type Raft struct {
	Term          uint64 `json:"term"`
	Vote          string `json:"vote,omitempty"`
	Commit        uint64 `json:"commit"`      // as last written down; what is applied may be ahead of it
	FirstIndex    uint64 `json:"first_index"` // of the entries that are in the WAL
	LastIndex     uint64 `json:"last_index"`
	LastTerm      uint64 `json:"last_term"`
	SnapshotIndex uint64 `json:"snapshot_index"` // of the newest snapshot from which a start replays
	SnapshotTerm  uint64 `json:"snapshot_term"`
}

// WAL is the write-ahead log on disk.
type WAL struct {
	Dir      string    `json:"dir"`
	Verdict  Verdict   `json:"verdict"` // the worst of the segments
	Segments []Segment `json:"segments,omitempty"`
	Size     int64     `json:"size"` // of all segments
}

// Segment is one file of the WAL.
type Segment struct {
	Name       string  `json:"name"`
	Size       int64   `json:"size"`
	Used       int64   `json:"used"` // up to the end of the last good record
	Records    int64   `json:"records"`
	FirstIndex uint64  `json:"first_index,omitempty"`
	LastIndex  uint64  `json:"last_index,omitempty"`
	Verdict    Verdict `json:"verdict"`
	Offset     int64   `json:"offset,omitempty"`  // of the first bad record
	Problem    string  `json:"problem,omitempty"` // what is wrong there
	Lost       int64   `json:"lost,omitempty"`    // good records behind the bad one
}

// DB is the database.
type DB struct {
	Path     string  `json:"path"`
	Verdict  Verdict `json:"verdict"`
	Problem  string  `json:"problem,omitempty"`
	FileSize int64   `json:"file_size"`
	Size     int64   `json:"size"`             // as etcd counts it: without what is allocated in advance
	InUse    int64   `json:"in_use,omitempty"` // 0: not counted
	// Approximate says that InUse and Records were counted while etcd was writing.
	Approximate bool  `json:"approximate,omitempty"`
	PageSize    int   `json:"page_size,omitempty"`
	Records     int64 `json:"records,omitempty"` // versions of keys, deletions included
	Keys        int64 `json:"keys,omitempty"`    // all entries of all buckets, as etcdutl snapshot status counts

	ConsistentIndex  uint64 `json:"consistent_index"` // what the db has applied
	Term             uint64 `json:"term,omitempty"`   // of that entry
	Revision         int64  `json:"revision"`
	CompactRevision  int64  `json:"compact_revision"`
	CompactScheduled int64  `json:"compact_scheduled,omitempty"`
	AuthEnabled      bool   `json:"auth_enabled,omitempty"`
	Kubernetes       bool   `json:"kubernetes,omitempty"` // keys below /registry/ were seen

	txid    uint64
	oneMeta string // what is wrong with one of the two meta pages
}

// SnapFile is a snapshot of raft in the directory.
type SnapFile struct {
	Name    string  `json:"name"`
	Size    int64   `json:"size"`
	Index   uint64  `json:"index,omitempty"`
	Term    uint64  `json:"term,omitempty"`
	Verdict Verdict `json:"verdict"`
	Problem string  `json:"problem,omitempty"`
}
