package flow

import (
	"context"
	"errors"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Site is the host's own side: what the configuration says of the member that is to live here.
type Site struct {
	Name       string
	DataDir    string
	WALDir     string   // empty: in the data directory
	Mounted    bool     // the data directory is a mount point
	Link       string   // where the data directory leads as a symbolic link; empty: it is none
	PeerURLs   []string // advertised
	ClientURLs []string // advertised
	Version    string   // of the etcd that would run: "3.7.3"
	Running    bool     // etcd is up while the plan is made
	Command    string   // how a user types a command for this instance: "etcdsup -i events"
	Configured []string // peer URLs of the other members that initial-cluster names

	Hooks      []status.Hook // to be run after a rebuild
	HookFaults []string      // why some of them cannot be run, a sentence each
}

// Source is what the data of a directory or snapshot tells, as far as a plan needs it.
type Source struct {
	Path       string
	Snapshot   bool // a file
	Empty      bool
	Missing    bool   // and there is not even a directory
	Hot        bool   // somebody writes to it
	Own        bool   // the one who does is the etcd of this host
	Holder     string // who: "PID 4711, etcd"
	ClusterID  string
	MemberID   string
	Role       string // "voter", "learner", "removed", "unknown"
	Voters     int    // that the data knows
	Peers      []SourcePeer
	PeerURLs   []string // of the member itself
	Revision   int64
	Size       int64 // bytes
	Clean      bool  // the last stop was in order: all of the WAL is in the db
	Auth       bool
	Versions   status.DataVersions
	Kubernetes bool
	Held       []string // findings that speak against a start
	Notes      []string // other findings
}

// SourcePeer is another member that the data knows.
type SourcePeer struct {
	Name string
	URLs []string
}

// Presence is what became of asking an address of an old member.
type Presence string

// The presences.
const (
	PresenceNobody  Presence = "nobody"  // the host says that nobody listens there
	PresenceUnknown Presence = "unknown" // no answer at all: it may be off, or cut off
	PresenceAlive   Presence = "alive"   // a member of that cluster answers
	PresenceOther   Presence = "other"   // somebody else answers
)

// Proof is what was shown of the cluster at the end.
type Proof struct {
	ClusterID string
	MemberID  string
	Revision  int64
	Keys      int64
	Members   []status.Peer
}

// HookFacts are what a hook is told of the rebuild. What is not known is empty.
type HookFacts struct {
	Transition                      string // its ID
	MemberID                        string
	ClusterIDBefore, ClusterIDAfter string
	RevisionBefore, RevisionAfter   string
}

// Joined is what the cluster says of a new member that was added.
type Joined struct {
	MemberID       string // hexadecimal
	InitialCluster string // for its first start
}

// Catchup is how far a learner is.
type Catchup struct {
	Percent int    // of what the leader has
	Bytes   int64  // that the learner has
	Ready   bool   // it may be promoted
	Trouble string // why nothing can be said of it now: the cluster does not answer, or etcd is being started again
	// Of one that does not serve yet:
	Introduced bool          // its own database has it as a member that has started
	Age        time.Duration // of its etcd
}

// ErrTurn says that a member cannot be added as long as the join of another host is under way.
var ErrTurn = errors.New("the join of another host is under way")

// World is the host and the clusters as the steps see them. Every method may block until its context ends; each is
// safe to repeat.
type World interface {
	// Progress tells how far the step is, for everybody who watches. It returns at once.
	Progress(text string)

	// Stop returns when nothing of etcd's is left, and sees to it that it stays down, across restarts of etcdsup too.
	Stop(ctx context.Context) error
	// Start starts etcd from its data and returns when it serves, or when it ends again: then with its own words.
	Start(ctx context.Context) error
	// Launch starts etcd and returns as soon as it runs: a learner is never ready. bootstrap is the initial-cluster of a
	// member that joins; empty: a start from the data.
	Launch(ctx context.Context, bootstrap string) error
	// Restart ends the etcd that runs, starts it again and returns as soon as it runs.
	Restart(ctx context.Context) error

	// Look reads a data directory or a snapshot. A missing one is empty.
	Look(path string) (*Source, error)
	// Copy makes to out of from; to appears whole or not at all. bytes are what it needs at most.
	Copy(ctx context.Context, from, to string, progress func(string)) error
	// Room is an error when a copy of so many bytes beside path has no room.
	Room(path string, bytes int64) error
	// Move renames a directory within its folder. to must be missing or empty; a move that was done already is no error.
	Move(from, to string) error
	// Holds tells whether there is something at path: an empty directory is nothing.
	Holds(path string) bool
	// Mark is what is known of the member that is here, as text; Expect forgets it, for another one is to come, and from
	// then on starts no etcd on the data of anybody else; RestoreMark has it known again. An ID may be empty: not known.
	Mark() string
	Expect(clusterID, memberID string) error
	RestoreMark(mark string) error

	// Ask asks peer URLs whether a member of that cluster answers there.
	Ask(ctx context.Context, urls []string, clusterID string) map[string]Presence

	// KeepEntries makes all entries of a stopped directory's WAL committed, so that a forced run loses none.
	KeepEntries(ctx context.Context, dir string) (kept uint64, err error)
	// Rebuild runs etcd isolated on a stopped directory until it is a one-member cluster with the peer URLs of the site
	// whose later starts dial nobody.
	Rebuild(ctx context.Context, dir string, force, allowContact bool) (*Proof, error)
	// Restore makes a directory with new IDs out of a snapshot or a db.
	Restore(ctx context.Context, from, to string, bump int64) (*Proof, error)

	// Prove asks the etcd of this host who it is, whether it reads and writes, and how many keys it had at a revision;
	// 0: now.
	Prove(ctx context.Context, revision int64) (*Proof, error)
	// Hook runs a command of the user's. The error is that of ctx, which ended it; all else is in what it gives.
	Hook(ctx context.Context, h status.Hook, about HookFacts) (status.HookRun, error)

	// HighWater is the newest revision that was ever recorded of the member here; 0: none was.
	HighWater() int64
	// Isolates is an error when a forced run cannot be kept from reaching others here.
	Isolates() error

	// Members is the list of the cluster that is to be joined.
	Members(ctx context.Context, endpoints []string) (*status.Members, error)
	// Add makes this host a learner of the cluster. It finds an earlier one again. The error is ErrTurn while another
	// host's learner is in the way.
	Add(ctx context.Context, endpoints []string) (*Joined, error)
	Remove(ctx context.Context, endpoints []string, id string) error
	// Catchup fails only when etcd here has gone for good; what may pass is told as trouble.
	Catchup(ctx context.Context, endpoints []string, id string) (Catchup, error)
	Promote(ctx context.Context, endpoints []string, id string) error
	// Judge says whether this host may join: a refusal is an error with its remedy. remove is a dead member that has our
	// place; already says that we are a started member.
	Judge(ctx context.Context, endpoints []string, replace bool) (*Verdict, error)
}

// Verdict is what speaks for and against a join.
type Verdict struct {
	Members  *status.Members
	Wait     string // why the join has to wait for that of another host; Remedy is for when it waits in vain
	Remedy   string
	Already  *status.Peer // we are this voter
	Down     bool         // with Already: its etcd does not run
	Learner  *status.Peer // we are this learner, by our data, whose join has not come to its end
	Remove   *status.Peer // it has our place, and is to be removed first
	Before   status.Count
	After    status.Count
	Version  string // of the cluster
	Warnings []string
	// Endpoints are all client URLs by which the cluster may be reached: the one that was asked may die meanwhile.
	Endpoints []string
	Bytes     int64 // that the new member will need on its disk
}
