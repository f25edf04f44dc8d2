package status

import "fmt"

// version wants the cluster's own minor, which is that of its oldest member. A newer etcd is let in by etcd and may then
// panic for ever (3.7 in a cluster of 3.5); an older one refuses to start.
func (j *joinCase) version() (string, string) {
	ours, ok := minorOf(j.want.Version)
	if !ok {
		return fmt.Sprintf("the version of this host's etcd is not known (%q)", j.want.Version), "see etcdsup config check"
	}
	lowest, highest := j.minors()
	if lowest != (minor{}) {
		j.verdict.Version = lowest.String()
	}
	switch {
	case lowest == minor{}:
		return "no member says which version it is", "see etcdsup member list"
	case lowest.less(ours):
		return fmt.Sprintf("etcd %s is above the cluster's %s: its new member may crash for ever and take the quorum along", ours, lowest),
			fmt.Sprintf("set etcd.binary to an etcd %s, join, and then upgrade all members by one minor version at a time", lowest)
	case ours.less(lowest):
		return fmt.Sprintf("etcd %s is below the cluster's %s and would not start", ours, lowest),
			fmt.Sprintf("set etcd.binary to an etcd %s", lowest)
	}
	j.verdict.Warnings = append(j.verdict.Warnings, KnownFaults(j.want.Version)...)
	if highest != lowest {
		j.warnf("members run etcd %s and %s: an upgrade is under way", lowest, highest)
	}
	return "", ""
}

// minors are the lowest and the highest among the members that say.
func (j *joinCase) minors() (lowest, highest minor) {
	for _, m := range j.l.Members {
		v, ok := minorOf(m.Version)
		if !ok {
			continue
		}
		if lowest == (minor{}) || v.less(lowest) {
			lowest = v
		}
		if highest.less(v) {
			highest = v
		}
	}
	return lowest, highest
}
