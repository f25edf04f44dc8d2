package status

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

func (j *joinCase) warnf(format string, args ...any) {
	j.verdict.Warnings = append(j.verdict.Warnings, fmt.Sprintf(format, args...))
}

// warn says what is allowed and seldom meant.
func (j *joinCase) warn() {
	switch n := j.verdict.After.Voters; {
	case n == 2:
		j.warnf("with 2 voters neither may fail: let a third join soon")
	case n%2 == 0:
		j.warnf("%d voters survive no more failures than %d", n, n-1)
	}
	for _, m := range j.others() {
		if strings.Contains(m.Trouble, "NOSPACE") {
			j.warnf("%s is out of space, so the cluster takes no writes: %s", describePeer(m), m.Trouble)
		}
		for _, what := range oddities(j.want.PeerURLs, m.PeerURLs) {
			j.warnf("%s, unlike %s: %s", what, m.Called(), strings.Join(m.PeerURLs, ", "))
		}
	}
}

// oddities are how our peer URLs differ in kind from those of a member.
func oddities(ours, theirs []string) []string {
	var odd []string
	if secure(ours) != secure(theirs) {
		odd = append(odd, "our peer URL "+strings.Join(ours, ", ")+" differs in TLS")
	}
	if loopback(ours) && !loopback(theirs) {
		odd = append(odd, "our peer URL "+strings.Join(ours, ", ")+" is of this host alone")
	}
	return odd
}

func secure(urls []string) bool {
	return slices.ContainsFunc(urls, func(u string) bool { return strings.HasPrefix(strings.ToLower(u), "https:") })
}

// loopback says that no other host can reach any of the URLs.
func loopback(urls []string) bool {
	return !slices.ContainsFunc(urls, func(text string) bool {
		u, err := url.Parse(text)
		if err != nil {
			return true
		}
		ip := net.ParseIP(u.Hostname())
		return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
	})
}

func describePeer(m *Peer) string {
	if m.Name == "" {
		return fmt.Sprintf("member %s (%s)", m.ID, strings.Join(m.PeerURLs, ", "))
	}
	return fmt.Sprintf("member %s (%s, %s)", m.Name, m.ID, strings.Join(m.PeerURLs, ", "))
}

func describePeers(members []*Peer) string {
	var all []string
	for _, m := range members {
		all = append(all, describePeer(m))
	}
	return strings.Join(all, ", ")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
