package status

import (
	"fmt"
	"time"
)

// Actor is who did or asked for something: a process at the other end of the control socket, or etcdsup of itself.
type Actor struct {
	Daemon bool   `json:"daemon,omitempty"` // etcdsup of itself; UID and PID are its own
	User   string `json:"user,omitempty"`   // name of the UID; empty where it has none
	UID    int    `json:"uid"`
	PID    int    `json:"pid"` // 0: not known, as of a process in another PID namespace
}

// String is "etcdsup", or "root (uid 0, PID 4711)".
func (a Actor) String() string {
	if a.Daemon {
		return "etcdsup"
	}
	text := fmt.Sprintf("uid %d, PID %d", a.UID, a.PID)
	if a.User == "" {
		return text
	}
	return fmt.Sprintf("%s (%s)", a.User, text)
}

// AuditEntry is one line of the audit log, which is only ever added to.
type AuditEntry struct {
	Seq   uint64            `json:"seq"` // counts from 1 over the life of the instance
	At    time.Time         `json:"at"`
	Actor Actor             `json:"actor"`
	Kind  string            `json:"kind"`
	Text  string            `json:"text"`           // one sentence
	Data  map[string]string `json:"data,omitempty"` // what the sentence is about
	Prev  string            `json:"prev"`           // hash of the entry before
	Hash  string            `json:"hash"`           // of this entry and Prev
}

// AuditReport is the end of the audit log, and whether all of it still is as it was written.
type AuditReport struct {
	Entries []AuditEntry `json:"entries"`          // the newest ones, oldest first
	From    uint64       `json:"from"`             // sequence number of the first entry whose hash was checked
	To      uint64       `json:"to"`               // of the last
	Head    string       `json:"head"`             // hash of the newest entry; kept elsewhere, it proves the log later
	Broken  string       `json:"broken,omitempty"` // where and how the chain is broken; empty: it holds
}
