package status

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// PeerKind is who was found at a peer URL.
type PeerKind string

// Who may be found. Only PeerNobody says that no etcd is there; PeerUnreachable leaves it open.
const (
	PeerEtcd        PeerKind = "etcd"
	PeerNobody      PeerKind = "nobody"      // the host refuses connections: nobody listens there
	PeerUnreachable PeerKind = "unreachable" // no route, no such host, or no reply to the attempt to connect: off, or cut off
	PeerSilent      PeerKind = "silent"      // takes connections and says nothing in time: an etcd that hangs, perhaps
	PeerBarred      PeerKind = "barred"      // somebody, who hangs up or whom TLS keeps apart: an etcd with other certificates, perhaps
	PeerStranger    PeerKind = "stranger"    // answers, but not as etcd's peer port does
	PeerUnasked     PeerKind = "unasked"     // could not be asked for a reason of our own, such as an unreadable file
)

// PeerAnswer is what was learnt at one peer URL. It needs no quorum, so Members is that member's own view.
type PeerAnswer struct {
	URL    string   `json:"url"`
	Kind   PeerKind `json:"kind"`
	Detail string   `json:"detail,omitempty"` // why Kind is not PeerEtcd

	ClusterID      string `json:"cluster_id,omitempty"` // hexadecimal
	Members        []Peer `json:"members,omitempty"`    // without health: nobody else was asked
	Version        string `json:"version,omitempty"`    // of the etcd that answers: "3.7.3"
	ClusterVersion string `json:"cluster_version,omitempty"`
	// ClockAhead is how far that host's clock is ahead of ours, to a second or so; negative: behind.
	ClockAhead time.Duration `json:"clock_ahead,omitempty"`
}

// Of says that a member of that cluster answered.
func (a *PeerAnswer) Of(clusterID string) bool {
	return a.Kind == PeerEtcd && strings.EqualFold(a.ClusterID, clusterID)
}

// Err is why no etcd answered; nil: one did.
func (a *PeerAnswer) Err() error {
	if a.Kind == PeerEtcd {
		return nil
	}
	return fmt.Errorf("cannot ask the peer at %s: %s", a.URL, a.Detail)
}

// List is the answer as a member list, which is stale by its nature; nil when no etcd answered.
func (a *PeerAnswer) List() *Members {
	if a.Kind != PeerEtcd {
		return nil
	}
	return &Members{ClusterID: a.ClusterID, Members: slices.Clone(a.Members), Stale: true}
}

// At is the member that has exactly these peer URLs; nil: none.
func (l *Members) At(urls []string) *Peer {
	for i := range l.Members {
		if m := &l.Members[i]; m.hasExactly(urls) {
			return m
		}
	}
	return nil
}

func (p *Peer) hasExactly(urls []string) bool {
	have, want := tidyURLs(p.PeerURLs), tidyURLs(urls)
	return len(want) > 0 && slices.Equal(have, want)
}

// HasAny tells whether one of its peer URLs is among these.
func (p *Peer) HasAny(urls []string) bool {
	have := tidyURLs(p.PeerURLs)
	return slices.ContainsFunc(tidyURLs(urls), func(u string) bool { return slices.Contains(have, u) })
}

// tidyURLs makes URLs comparable: in order, each once, without what means nothing. Names are not looked up.
func tidyURLs(urls []string) []string {
	tidy := make([]string, len(urls))
	for i, text := range urls {
		tidy[i] = strings.TrimSuffix(strings.TrimSpace(text), "/")
		if u, err := url.Parse(tidy[i]); err == nil {
			u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
			tidy[i] = u.String()
		}
	}
	slices.Sort(tidy)
	return slices.Compact(tidy)
}

// InitialCluster is the value of --initial-cluster for the member of that ID under its name: all members, with those
// that were never started. etcd compares peer URLs only, but takes members of one name for one; so a member without a
// name, or with one that stands there already, is called by its ID.
func (l *Members) InitialCluster(id, name string) string {
	taken := map[string]bool{name: true}
	var parts []string
	for _, m := range l.Members {
		called := m.Called()
		switch {
		case m.ID == id:
			called = name
		case taken[called]:
			called = m.ID
		}
		taken[called] = true
		for _, u := range m.PeerURLs {
			parts = append(parts, called+"="+u)
		}
	}
	return strings.Join(parts, ",")
}
