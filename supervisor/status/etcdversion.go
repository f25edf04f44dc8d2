package status

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// What is known of etcd's versions stands in this file and nowhere else: which may open whose data, which lose some, and
// from which an upgrade goes well.

// EtcdVersion is a version of etcd; the zero value is none.
type EtcdVersion struct {
	minor
	Patch int // -1: not said
}

// ParseEtcdVersion reads "3.7.3", "v3.6", "3.7.0-rc.1" or "3.4.23+dfsg".
func ParseEtcdVersion(text string) (EtcdVersion, bool) {
	m, ok := minorOf(text)
	if !ok {
		return EtcdVersion{}, false
	}
	v := EtcdVersion{minor: m, Patch: -1}
	if parts := strings.SplitN(text, ".", 3); len(parts) == 3 {
		digits := parts[2][:len(parts[2])-len(strings.TrimLeft(parts[2], "0123456789"))]
		if n, err := strconv.Atoi(digits); err == nil {
			v.Patch = n
		}
	}
	return v, true
}

// MinorOf shortens "3.6.1" to "3.6"; what is no version is empty.
func MinorOf(version string) string {
	m, ok := minorOf(version)
	if !ok {
		return ""
	}
	return m.String()
}

// minor is a version without its patch.
type minor struct{ major, minor int }

func minorOf(version string) (minor, bool) {
	parts := strings.SplitN(strings.TrimPrefix(strings.TrimSpace(version), "v"), ".", 3)
	if len(parts) < 2 {
		return minor{}, false
	}
	major, err := strconv.Atoi(parts[0])
	if err != nil {
		return minor{}, false
	}
	m, err := strconv.Atoi(parts[1])
	return minor{major, m}, err == nil
}

func (m minor) less(other minor) bool {
	return cmp.Or(cmp.Compare(m.major, other.major), cmp.Compare(m.minor, other.minor)) < 0
}

func (m minor) next() minor { return minor{m.major, m.minor + 1} }

func (m minor) String() string { return fmt.Sprintf("%d.%d", m.major, m.minor) }

// DataVersions is which etcd data is of, each as "major.minor"; empty: the data does not say.
type DataVersions struct {
	Cluster   string // that all members of its cluster had
	Storage   string // of the form of its db; written by 3.6 and later
	Downgrade string // target of a downgrade under way
}

// lowest is the oldest version that can have the data. What was restored may have lost either of the two.
func (d DataVersions) lowest() (minor, bool) {
	cluster, ok := minorOf(d.Cluster)
	storage, stored := minorOf(d.Storage)
	if stored && cluster.less(storage) {
		return storage, true
	}
	return cluster, ok
}

// MayOpen are the minors that may have the data: etcd refuses what is older only where the data tells it, which it does
// not do in all versions, and starts on anything older than itself, although only one step up is supported. Empty:
// nobody knows, as before a new cluster has agreed on a version.
func (d DataVersions) MayOpen() []string {
	lowest, ok := d.lowest()
	if !ok {
		return nil
	}
	var all []string
	if down, ok := minorOf(d.Downgrade); ok && down.less(lowest) {
		all = append(all, down.String())
	}
	return append(all, lowest.String(), lowest.next().String())
}

// VersionVerdict is what is to be said of an etcd for some data.
type VersionVerdict struct {
	Refuse   string // why it must not have it
	Remedy   string
	Warnings []string
}

// JudgeVersion says whether an etcd of this version may have the data. One that does not tell its version is not refused.
func JudgeVersion(version string, d DataVersions) VersionVerdict {
	ours, ok := ParseEtcdVersion(version)
	if !ok {
		return VersionVerdict{}
	}
	verdict := VersionVerdict{Warnings: KnownFaults(version)}
	lowest, known := d.lowest()
	if !known {
		return verdict
	}
	down, goesDown := minorOf(d.Downgrade)
	switch {
	case ours.less(lowest) && (!goesDown || ours.minor != down):
		verdict.Refuse = fmt.Sprintf("the data is of etcd %s, and %s is older: it would not start, or not understand all of it", lowest, version)
		verdict.Remedy = fmt.Sprintf("set etcd.binary to an etcd %s or %s; a way back is a downgrade of the running cluster (etcdctl downgrade)", lowest, lowest.next())
	case lowest.next().less(ours.minor):
		verdict.Refuse = fmt.Sprintf("the data is of etcd %s, and %s skips a minor version, which nobody has tried", lowest, version)
		verdict.Remedy = fmt.Sprintf("set etcd.binary to an etcd %s, start it, and when etcdsup status says that it is ready go on to the next", lowest.next())
	case lowest.less(ours.minor):
		verdict.Warnings = append(verdict.Warnings, upgradeTraps(lowest)...)
	}
	return verdict
}

// faults are what patches before a version do to data. A patch that is not said is taken for a good one.
var faults = []struct {
	of    minor
	below int // the patch that mended it
	says  string
}{
	{minor{3, 4}, 21, "a member that is alone in its cluster may lose writes that it has confirmed, at a crash (etcd-io/etcd#14370)"},
	{minor{3, 4}, 32, "the revision may go back after a crash in a compaction (etcd-io/etcd#17780)"},
	{minor{3, 5}, 3, "members may come to differ after a crash (etcd-io/etcd#13766)"},
	{minor{3, 5}, 5, "a member that is alone in its cluster may lose writes that it has confirmed, at a crash (etcd-io/etcd#14370)"},
	{minor{3, 5}, 6, "members may come to differ after a crash in a defragmentation (etcd-io/etcd#14685)"},
	{minor{3, 5}, 14, "the revision may go back after a crash in a compaction (etcd-io/etcd#17780)"},
}

// unsupported is the newest minor for which no more patches come.
var unsupported = minor{3, 4}

// KnownFaults is what is known against a version, whatever its data; nil for one that is not understood.
func KnownFaults(version string) (says []string) {
	v, ok := ParseEtcdVersion(version)
	if !ok {
		return nil
	}
	for _, f := range faults {
		if f.of == v.minor && v.Patch >= 0 && v.Patch < f.below {
			says = append(says, fmt.Sprintf("etcd %s: %s; take %s.%d or later", version, f.says, f.of, f.below))
		}
	}
	if !unsupported.less(v.minor) {
		says = append(says, fmt.Sprintf("etcd %s is not maintained any more: plan the upgrade, one minor version at a time", version))
	}
	return says
}

// forceFaults are what patches do to data under --force-new-cluster.
var forceFaults = []struct {
	of    minor
	below int
}{{minor{3, 5}, 22}, {minor{3, 6}, 1}}

// ForceFaults is what is known against forcing a new cluster with a version.
func ForceFaults(version string) (says []string) {
	v, ok := ParseEtcdVersion(version)
	if !ok {
		return nil
	}
	for _, f := range forceFaults {
		if f.of == v.minor && v.Patch >= 0 && v.Patch < f.below {
			says = append(says, fmt.Sprintf("etcd %s may lose entries under --force-new-cluster that its db has applied (etcd-io/etcd#20071); take %s.%d or later", version, f.of, f.below))
		}
	}
	return says
}

// traps are what an upgrade from a minor to the next one is known for.
var traps = []struct {
	from minor
	says string
}{
	{minor{3, 5}, "an upgrade from etcd 3.5 goes well from 3.5.26 on: before it, members that were removed or promoted may come back as they were (etcd-io/etcd#19557, #20967)"},
	{minor{3, 6}, "an upgrade from etcd 3.6 goes well from 3.6.11 on"},
}

func upgradeTraps(from minor) (says []string) {
	for _, t := range traps {
		if t.from == from {
			says = append(says, t.says)
		}
	}
	return says
}
