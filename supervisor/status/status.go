// Package status holds the plain nouns that the supervisor loop publishes and everybody else shows:
// the control socket, the command line, metrics. It imports nothing of ours; whatever is not in a
// Status cannot be seen from outside the loop.
//
// A Status is immutable once published: readers share the pointer, the loop builds a new one for every change.
package status

import "time"

// Goal is what was last asked for (want), as opposed to State (is).
type Goal string

// The goals. They are durable: what was last asked for is what a reboot brings back.
const (
	GoalUp   Goal = "up"
	GoalDown Goal = "down"
)

// State is where etcd's process is in its life, in the words that users read.
type State string

// The states. Every one but Down, Held and Backoff has a living process.
const (
	StateDown     State = "down"     // no process, and none wanted
	StateStarting State = "starting" // process runs, not ready yet
	StateWaiting  State = "waiting"  // process runs and answers, but has no quorum: nothing to be done here
	StateReady    State = "ready"    // etcd said READY and a serializable health answer confirmed it
	StateSilent   State = "silent"   // was ready, health unanswered for several probes; still making progress or not yet judged
	StateStopping State = "stopping" // on its way down, see Stop
	StateBackoff  State = "backoff"  // waiting before the next start, see Restart
	StateHeld     State = "held"     // not started again by itself, see Reason
)

// Mode is how the next start of etcd is made. Normal is the only resting mode.
type Mode string

// The modes.
const (
	ModeNormal          Mode = "normal"
	ModeJoin            Mode = "join"
	ModeForceNewCluster Mode = "force-new-cluster"
)

// StopPhase is a step of the way from SIGTERM to nothing left.
type StopPhase string

// The phases of a stop, in their order.
const (
	StopTransfer StopPhase = "transfer-leadership" // asked the leader to hand over
	StopTerm     StopPhase = "term"                // SIGTERM sent, grace running
	StopQuit     StopPhase = "quit"                // SIGQUIT sent, stack dump being written
	StopKill     StopPhase = "kill"                // SIGKILL sent
	StopSweep    StopPhase = "sweep"               // etcd is dead; its leftover descendants are being ended
)

// Cause is the class of an exit or a failed start. The exit status alone never names it for certain.
type Cause string

// The classes of causes.
const (
	CauseClean       Cause = "clean"       // the stop that was asked for
	CauseConfig      Cause = "config"      // flags or files that etcd refuses
	CauseEnvironment Cause = "environment" // port taken, permission, disk
	CauseIdentity    Cause = "identity"    // removed, or another cluster's data
	CauseData        Cause = "data"        // damaged or missing data
	CauseVersion     Cause = "version"     // binary and data do not fit
	CauseQuorum      Cause = "quorum"      // not enough members
	CauseSignal      Cause = "signal"      // killed from outside (SIGKILL, OOM, SIGHUP)
	CauseHung        Cause = "hung"        // killed by us: no answer and no progress
	CauseUnknown     Cause = "unknown"
)

// Status is everything that can be seen of one supervised etcd at one instant.
type Status struct {
	Instance   string     `json:"instance"`
	Supervisor Supervisor `json:"supervisor"`
	Goal       Goal       `json:"goal"`
	State      State      `json:"state"`
	Since      time.Time  `json:"since"`            // when State was entered, wall clock
	Reason     string     `json:"reason,omitempty"` // one sentence: why this state, and for how long
	Next       string     `json:"next,omitempty"`   // the next safe command, where there is one
	Mode       Mode       `json:"mode"`
	Job        *Job       `json:"job,omitempty"`
	Diagnosis  *Diagnosis `json:"diagnosis,omitempty"`
	Process    *Process   `json:"process,omitempty"` // nil when no etcd lives
	Ready      bool       `json:"ready"`
	Health     Health     `json:"health"`
	Member     *Member    `json:"member,omitempty"` // nil until etcd answered once
	Restart    Restart    `json:"restart"`
	Stop       *Stop      `json:"stop,omitempty"` // nil unless State is stopping
	LastExit   *Exit      `json:"last_exit,omitempty"`
	Notices    []Fault    `json:"notices,omitempty"` // what is not as configured, with the command that would mend it
	Log        Log        `json:"log"`
	Config     Config     `json:"config"`
	Upgrade    *Upgrade   `json:"upgrade,omitempty"` // of etcdsup itself, the last one; nil: there was none
}

// Supervisor is etcdsup itself.
type Supervisor struct {
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Binary  string    `json:"binary,omitempty"` // path that it was started from, and that an upgrade puts the new file at
}

// Process is the living etcd.
type Process struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Adopted bool      `json:"adopted"` // taken over from an etcdsup that died
	Binary  string    `json:"binary"`
	Version string    `json:"version,omitempty"` // as etcd answers; empty until it did

	Memory int64         `json:"memory,omitempty"` // bytes, at the time of asking: of its cgroup, or else resident
	CPU    time.Duration `json:"cpu_ns,omitempty"` // used since it was started
}

// Health is the last answer of etcd's health endpoint. Of an etcd that is gone there is none.
type Health struct {
	Serving  bool      `json:"serving"`           // the serializable health check answered true
	Quorum   bool      `json:"quorum"`            // a leader is known
	Detail   string    `json:"detail,omitempty"`  // etcd's own reason, or why there was no answer
	Asked    time.Time `json:"asked,omitzero"`    // when the last probe ended
	Answered time.Time `json:"answered,omitzero"` // when the last answer came
	Misses   int       `json:"misses,omitempty"`  // probes without answer since then
	Progress time.Time `json:"progress,omitzero"` // when CPU time or I/O of the process last moved
}

// Role is what the member is to raft.
type Role string

// The roles.
const (
	RoleLeader   Role = "leader"
	RoleFollower Role = "follower"
	RoleLearner  Role = "learner"
	RoleNone     Role = "no leader"
)

// Member is what etcd says of itself. IDs are hexadecimal, as etcdctl prints them.
type Member struct {
	Name      string    `json:"name,omitempty"`
	ID        string    `json:"id"`
	ClusterID string    `json:"cluster_id"`
	Role      Role      `json:"role"`
	LeaderID  string    `json:"leader_id,omitempty"`
	Term      uint64    `json:"term"`
	Index     uint64    `json:"index"`
	Applied   uint64    `json:"applied"`
	Revision  int64     `json:"revision"`
	DBSize    int64     `json:"db_size"`             // bytes on disk
	DBInUse   int64     `json:"db_in_use"`           // bytes of it in use
	Quota     int64     `json:"quota"`               // backend quota in bytes
	PeerURLs  []string  `json:"peer_urls,omitempty"` // under which the cluster lists it; none: it was not told
	Errors    []string  `json:"errors,omitempty"`    // alarms and the like, in etcd's words
	Asked     time.Time `json:"asked"`
}

// Restart is where the restart policy stands.
type Restart struct {
	Count    int           `json:"count"`              // starts after a death since etcdsup's record began
	LastHour int           `json:"last_hour"`          // starts within the last supervised hour
	PerHour  int           `json:"per_hour"`           // their limit
	Streak   int           `json:"streak"`             // deaths in a row without sustained readiness
	Delay    time.Duration `json:"delay_ns,omitempty"` // the wait that is running now
	NextAt   time.Time     `json:"next_at,omitzero"`   // when it ends, wall clock (for people only)
	Reason   string        `json:"reason,omitempty"`   // why this long
}

// Stop is a stop under way.
type Stop struct {
	Phase    StopPhase `json:"phase"`
	Began    time.Time `json:"began"`
	Deadline time.Time `json:"deadline"`       // of the phase, wall clock (for people only)
	Left     []int     `json:"left,omitempty"` // PIDs that are still there in StopSweep
}

// Exit is one death of etcd, or one start that failed before etcd existed.
type Exit struct {
	PID       int           `json:"pid,omitempty"`
	Started   time.Time     `json:"started"`
	Ended     time.Time     `json:"ended"`
	Ran       time.Duration `json:"ran_ns"`
	Code      *int          `json:"code,omitempty"`   // nil when a signal ended it or the status is unknown
	Signal    string        `json:"signal,omitempty"` // "SIGTERM", …
	Core      bool          `json:"core,omitempty"`
	Unknown   bool          `json:"unknown,omitempty"` // adopted process on a kernel that does not tell
	Adopted   bool          `json:"adopted,omitempty"`
	Ready     bool          `json:"ready"` // it had been ready
	Asked     bool          `json:"asked"` // we were stopping it
	Cause     Cause         `json:"cause"`
	Detail    string        `json:"detail,omitempty"` // one sentence
	Said      string        `json:"said,omitempty"`   // the most telling of its last lines, in etcd's words
	LastLines []string      `json:"last_lines,omitempty"`
}

// EventKind says what a history entry tells of.
type EventKind string

// The kinds of history entries.
const (
	EventStart EventKind = "start"
	EventAdopt EventKind = "adopt"
	EventReady EventKind = "ready"
	EventExit  EventKind = "exit"
	EventFail  EventKind = "start-failed"

	EventUpgrade EventKind = "upgrade" // of etcdsup itself, done or failed
)

// Event is one entry of the history, the newest last.
type Event struct {
	Seq  uint64    `json:"seq"` // counts from 1 over the life of the instance
	At   time.Time `json:"at"`
	Kind EventKind `json:"kind"`
	PID  int       `json:"pid,omitempty"`
	Note string    `json:"note,omitempty"` // the decision behind it, one sentence
	Exit *Exit     `json:"exit,omitempty"` // for exit and start-failed
}

// Log is what became of etcd's output.
type Log struct {
	File         string    `json:"file"`
	Size         int64     `json:"size"`          // of File, bytes
	Archives     int       `json:"archives"`      // rotated files
	ArchiveBytes int64     `json:"archive_bytes"` // bytes in them
	Written      uint64    `json:"written"`       // bytes written to files since this etcdsup started
	Buffered     int64     `json:"buffered"`      // bytes taken from the pipe, not in a file yet
	DroppedBytes uint64    `json:"dropped_bytes"` // since this pipe was made
	DroppedLines uint64    `json:"dropped_lines"` //
	LastDropped  time.Time `json:"last_dropped,omitzero"`
	Rotations    uint64    `json:"rotations"`
	Trouble      string    `json:"trouble,omitempty"` // why bytes cannot be written right now
	TroubleSince time.Time `json:"trouble_since,omitzero"`
}

// Config says where the running settings come from.
type Config struct {
	File    string   `json:"file,omitempty"` // empty: defaults only
	Dir     string   `json:"dir"`            // the instance's base folder
	DataDir string   `json:"data_dir"`
	Client  []string `json:"client_urls,omitempty"`
	Pending []string `json:"pending,omitempty"` // changed settings that wait for a restart of etcd
}

// Job is a mode transition under way; nil when none is.
type Job struct {
	ID    string    `json:"id"`
	Mode  Mode      `json:"mode"`
	Step  int       `json:"step"`
	Of    int       `json:"of"`
	Title string    `json:"title"`
	Began time.Time `json:"began"`
	// Progress is of the step, such as "42 %, 120 MB/s".
	Progress string `json:"progress,omitempty"`
	// Error is why it stands still until somebody takes it up again; empty: it runs.
	Error string `json:"error,omitempty"`
}

// Diagnosis is a named cause with its evidence and its remedy.
type Diagnosis struct {
	Code     string   `json:"code"`
	Cause    Cause    `json:"cause"`
	Title    string   `json:"title"`
	Evidence []string `json:"evidence,omitempty"`
	Remedy   string   `json:"remedy"`
}
