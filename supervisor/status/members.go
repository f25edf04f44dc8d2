package status

import (
	"errors"
	"fmt"
	"strings"
)

// Peer is one member as the cluster's list has it, and how it is right now. IDs are hexadecimal.
type Peer struct {
	ID         string   `json:"id"`
	Name       string   `json:"name,omitempty"` // empty until it was started once
	PeerURLs   []string `json:"peer_urls"`
	ClientURLs []string `json:"client_urls,omitempty"`
	Learner    bool     `json:"learner"`
	Started    bool     `json:"started"`
	Healthy    bool     `json:"healthy"` // it answers, and knows a leader
	Leader     bool     `json:"leader"`
	Self       bool     `json:"self"` // the member that was asked
	Version    string   `json:"version,omitempty"`
	Applied    uint64   `json:"applied,omitempty"` // raft index
	Revision   int64    `json:"revision,omitempty"`
	DBSize     int64    `json:"db_size,omitempty"`
	Trouble    string   `json:"trouble,omitempty"` // why it is not healthy, or its alarms
}

// TroubleNoLeader is the Trouble of a member that answers and is as well as it can be without a quorum.
const TroubleNoLeader = "knows no leader"

// Called is how messages name a member: by its name, or by its ID where it has none.
func (p *Peer) Called() string {
	if p.Name == "" {
		return p.ID
	}
	return p.Name
}

// Members is a cluster's list, in the order of the names.
type Members struct {
	ClusterID string `json:"cluster_id"`
	Members   []Peer `json:"members"`
	// Stale says that the list is one member's own and may be old: there is no quorum to confirm it.
	Stale bool `json:"stale,omitempty"`
}

// ErrNoMember says that no member, or more than one, is meant by a name.
var ErrNoMember = errors.New("no such member")

// Find is the member of that ID or name.
func (l *Members) Find(who string) (*Peer, error) {
	var found []*Peer
	for i := range l.Members {
		if m := &l.Members[i]; strings.EqualFold(m.ID, who) || m.Name == who && who != "" {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("cannot find member %q in cluster %s: %w", who, l.ClusterID, ErrNoMember)
	}
	return nil, fmt.Errorf("cannot tell which member %q is: %d have that name: %w", who, len(found), ErrNoMember)
}

// MemberOp is a change of the member list.
type MemberOp string

// The changes.
const (
	MemberRemove    MemberOp = "remove"
	MemberPromote   MemberOp = "promote"
	MemberUpdateURL MemberOp = "update-url"
)

// MemberOrder asks for one change.
type MemberOrder struct {
	Op     MemberOp `json:"op"`
	Member string   `json:"member"`         // ID or name
	URLs   []string `json:"urls,omitempty"` // peer URLs, for update-url
}

// Judge says what an order does to the quorum, and whether it must be refused.
func (l *Members) Judge(o MemberOrder) (*Peer, Change, error) {
	p, err := l.Find(o.Member)
	if err != nil {
		return nil, Change{}, err
	}
	switch o.Op {
	case MemberRemove:
		return p, l.Removal(p), nil
	case MemberPromote:
		return p, l.Promotion(p), nil
	case MemberUpdateURL:
		return p, l.Update(p), nil
	}
	return nil, Change{}, fmt.Errorf("cannot %s a member: unknown change", o.Op)
}
