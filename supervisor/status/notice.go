package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// PeerURLNotice says that the cluster lists a member with other peer URLs than are configured for it, and how to change
// that: etcd publishes its client URLs at each start, but never its peer URLs. It is nil where the two are the same, or
// one is not known.
func PeerURLNotice(configured []string, m *Member) *Fault {
	if m == nil || len(configured) == 0 || len(m.PeerURLs) == 0 || sameSet(configured, m.PeerURLs) {
		return nil
	}
	return &Fault{
		What:   fmt.Sprintf("the cluster lists this member at %s, and initial-advertise-peer-urls is %s: the other members do not know that address", strings.Join(m.PeerURLs, ","), strings.Join(configured, ",")),
		Remedy: "etcdsup member update-url " + cmp.Or(m.ID, m.Name) + " " + strings.Join(configured, " "),
	}
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Compact(slices.Sorted(slices.Values(a))), slices.Compact(slices.Sorted(slices.Values(b))))
}
