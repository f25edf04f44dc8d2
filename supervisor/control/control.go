// Package control is how everybody outside the daemon reaches it: HTTP with JSON over a Unix socket, allowed by
// peer credentials. It holds both ends. The server renders what the Daemon publishes and passes commands on to it;
// the client mirrors the same nouns for the command line.
//
// With no client connected the server costs nothing: one goroutine parked in accept, no timers.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Daemon is what the server needs of the running supervisor. All methods are called from several goroutines at once.
// Who asks is in their ctx, see ActorOf.
//
// An error that should reach the user with its remedy is an *Error; any other is shown as it is.
type Daemon interface {
	// Status is the newest published status, at once and without asking etcd. Never nil.
	Status() *status.Status
	// Watch returns a channel that has a token whenever a newer status was published since the last receive.
	// It holds one token, so a slow reader is told once and never holds the publisher up. The function ends it.
	Watch() (<-chan struct{}, func())
	// Refresh asks etcd for its member details, publishes the result and returns it. When etcd does not answer
	// it returns the newest status, which says so; it fails only when the daemon is ending.
	Refresh(ctx context.Context) (*status.Status, error)

	// Start, Stop and Restart return once the loop has accepted the command and published a status that shows it,
	// not when it is done. What follows is seen in the statuses.
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	Restart(ctx context.Context) error

	// RotateLog returns when etcd's log goes to a new file.
	RotateLog(ctx context.Context) error
	// Reload reads the configuration again and applies what needs no restart. With any fault in it nothing changes.
	Reload(ctx context.Context) (*status.Reload, error)
	// Upgrade has another executable take this one's place. It returns when the new one has said that it can, and the
	// answers that are under way are sent before it does.
	Upgrade(ctx context.Context, o UpgradeOrder) (*status.Upgrade, error)
	// Members asks etcd for the cluster's list and each member for how it is.
	Members(ctx context.Context) (*status.Members, error)
	// ChangeMember carries one change out, unless it would cost the quorum, and returns the list after it.
	ChangeMember(ctx context.Context, o status.MemberOrder) (*status.Members, error)
	// History returns the newest n events, oldest first.
	History(ctx context.Context, n int) ([]status.Event, error)

	Modes
}

// Modes is the part of a Daemon that changes the mode. Requests have been validated when they come here, but not compared
// with the host and the cluster. While a transition is under way PlanMode and ChangeMode refuse with CodeTransition.
type Modes interface {
	// Modes is the present mode, the transition that is under way, and the last that ended; at once. Never nil.
	Modes(ctx context.Context) (*status.Modes, error)
	// PlanMode says what a transition would do, and changes nothing. Its ctx ends with the client.
	PlanMode(ctx context.Context, r status.ModeRequest) (*status.Plan, error)
	// ChangeMode makes the plan anew, refuses with CodeUnconfirmed when it is not confirmed by its own word, and returns
	// once the journal has it. What follows is seen in the statuses and by Modes. It returns nil without an error when
	// the plan has nothing to do.
	ChangeMode(ctx context.Context, r status.ModeRequest, confirm string, who status.Actor) (*status.Transition, error)
	// CancelMode has the transition that is under way rolled back, and returns once the journal has that: nil when none
	// is under way. From its first final step on a transition is refused to be cancelled, with CodeFinal.
	CancelMode(ctx context.Context, who status.Actor) (*status.Transition, error)
	// AcceptData takes note that the data directory is the one that is meant, whatever was known of the one before.
	AcceptData(ctx context.Context, who status.Actor) error
	// Audit returns the newest n entries of the audit log and what the check of its chain came to. Never nil.
	Audit(ctx context.Context, n int) (*status.AuditReport, error)
}

// Version is what the daemon says of itself.
type Version struct {
	API     string `json:"api"`     // of the routes, "v1"
	Version string `json:"version"` // of etcdsup
	PID     int    `json:"pid"`     // of etcdsup
}

// UpgradeOrder is what an upgrade is asked for with.
type UpgradeOrder struct {
	Binary string        // path of the new executable
	Within time.Duration // in which it has to answer, and after that to supervise; 0: UpgradeWithin
}

// The time that a new executable is given.
const (
	UpgradeWithin    = 10 * time.Second
	MaxUpgradeWithin = 5 * time.Minute
)

// MaxHistory is the most events that one answer holds, and as many as the daemon keeps. It is also the most entries of
// the audit log in one answer.
const MaxHistory = 1000

// Error is a refusal or failure as it travels over the socket. Message is for people, Code for programs.
type Error struct {
	Message string `json:"error"`
	Remedy  string `json:"remedy,omitempty"` // what the user can do about it
	Code    string `json:"code"`             // one of the Code constants, or the daemon's own

	Faults []status.Fault `json:"faults,omitempty"` // all that stands against a plan; error and remedy then tell them together

	Problems json.RawMessage `json:"problems,omitempty"` // with the code config: every fault of the configuration, with place and remedy
}

func (e *Error) Error() string { return e.Message }

// Is lets callers ask errors.Is(err, ErrDenied) of what came over the socket.
func (e *Error) Is(target error) bool { return target == ErrDenied && e.Code == CodeDenied }

// The codes that the server itself uses.
const (
	CodeDenied     = "denied"      // peer credentials are not among the allowed ones
	CodeNotFound   = "not-found"   // no such route
	CodeMethod     = "bad-method"  // route exists, with another method
	CodeBadRequest = "bad-request" // a parameter is out of range
	CodeBusy       = "busy"        // too many watchers
	CodeRefused    = "refused"     // the change would cost the quorum
	CodeUnkept     = "unkept"      // it is being done, but could not be written down: an etcdsup that comes after this one does not know of it
	CodeInternal   = "internal"    // anything that is no *Error
)

// The codes of a Daemon that concern the mode.
const (
	CodeTransition  = "transition"  // a change of mode is under way already
	CodeUnconfirmed = "unconfirmed" // the plan was confirmed by another word than it asks for, or became another one since
	CodeFinal       = "final"       // the change of mode cannot be cancelled any more
	CodeUnsupported = "unsupported" // this etcdsup cannot change modes
)

// What the client returns when no answer came. They are wrapped with the socket's path and the cause.
var (
	ErrNoDaemon = errors.New("nobody listens on the socket")
	ErrDenied   = errors.New("the socket does not accept this user")
	ErrSilent   = errors.New("etcdsup accepts connections but does not answer")
)
