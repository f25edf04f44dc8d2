package supervisor

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Circumstances are all that a start is decided by.
type Circumstances struct {
	Known  Mark        // what is on record of the member here
	Recent bool        // our own etcd has just ended: what Known.Dir names, nobody else can have changed
	Dir    Fingerprint // of the data directory as it is now

	Report   *datadir.Report // what is in it; nil: nobody has looked
	Peers    *status.Members // what the peers say the cluster is; nil: they were not asked, or none answered
	PeerURLs []string        // this member's own, by which the peers may list it
	Twin     *Twin           // the member of the data, if it answers where this host is not
	Join     bool            // the first start is to be that of a member which a cluster has added
	Token    string          // that a new cluster's IDs are made with; empty: they are not made by a configured list of members

	NewBinary bool   // the etcd that is to be started is not known to fit the data: it is not the one that ran last
	Version   string // of it: "3.7.3"; empty: it was not asked, or does not say
}

// Decision is whether etcd may be started, and why not.
type Decision struct {
	Look  bool // nobody can say without a look at the directory: decide again, with the report
	Start bool
	First bool   // nobody has lived in the directory: etcd needs to be told of which cluster it becomes a member
	Code  string // names the decision: stable, for programs
	// For one that is held:
	Cause status.Cause
	Held  string // the reason, one sentence
	Next  string // the next safe command
}

// The codes of decisions that are not findings of package datadir, whose codes stand for the others.
const (
	CodeSameDirectory  = "same-directory"  // started: as our own etcd left it
	CodeOwnData        = "own-data"        // started
	CodeFirstStart     = "first-start"     // started: a new cluster, or a member that was added
	CodeInUse          = "in-use"          // somebody writes there
	CodeOtherCluster   = "other-cluster"   // the peers are of another one
	CodeNotListed      = "not-listed"      // the cluster does not have this member
	CodePlaceTaken     = "place-taken"     // the cluster has another member at our peer URL
	CodeTwin           = "twin"            // the member of the data is alive elsewhere
	CodeDataLost       = "data-lost"       // the cluster knows us, the directory does not
	CodeClusterRuns    = "cluster-runs"    // a new one would be a second one
	CodeAdded          = "added"           // a cluster expects us, and we were to begin a new one
	CodeOtherToken     = "other-token"     // the peers begin another cluster than we would
	CodeVersion        = "version"         // the etcd is too old for the data, or too new
	CodeUnfit          = "unfit"           // files that etcd is to read are not as it needs them
	codeEmptyDirectory = datadir.CodeEmpty // although a member was here
	codeLook           = "look"            // not decided
)

// heldRetry is how often a held start is tried again. For a start that was held for its data it means another look, which
// cannot harm: it is decided anew each time.
const heldRetry = 5 * time.Minute

// Decide says whether etcd may be started on its data directory. In doubt it may not: a start that is wrong can cost the
// data here, or the quorum elsewhere; one that is held costs a command. Nothing is ever emptied or moved to make a
// start possible.
func Decide(c Circumstances) Decision {
	switch {
	case c.Report == nil && c.Recent && !c.NewBinary && c.Dir.sameAs(c.Known.Dir):
		return Decision{Start: true, Code: CodeSameDirectory}
	case c.Report == nil:
		return Decision{Look: true, Code: codeLook}
	case c.Report.Hot:
		return refuse(status.CauseEnvironment, CodeInUse, c.Report.Path+" is being written to by somebody else", "find out who has it (another host, a container), then etcdsup start")
	case isEmpty(c.Report):
		return c.withEndpoint(decideEmpty(c))
	}
	return c.withEndpoint(decideData(c))
}

// Twin is the member whose data is here, alive at a peer URL that is not this host's.
type Twin struct {
	URL string
	Of  *status.Members // the cluster's list as it is known there
}

// withEndpoint names the cluster that is to be joined, where the peers have told how clients reach it.
func (c Circumstances) withEndpoint(d Decision) Decision {
	list := c.Peers
	if list == nil && c.Twin != nil {
		list = c.Twin.Of
	}
	if list == nil {
		return d
	}
	for _, p := range list.Members {
		if len(p.ClientURLs) > 0 && !slices.ContainsFunc(p.PeerURLs, func(u string) bool { return slices.Contains(c.PeerURLs, u) }) {
			for _, command := range []string{"etcdsup mode join", "etcdsup member update-url"} {
				d.Next = strings.Replace(d.Next, command, command+" --endpoint "+p.ClientURLs[0], 1)
			}
			break
		}
	}
	return d
}

func refuse(cause status.Cause, code, why, next string) Decision {
	return Decision{Code: code, Cause: cause, Held: fmt.Sprintf("%s; looked at again every %v", why, shortDuration(heldRetry)), Next: next}
}

// shortDuration leaves out the zeros of 5m0s.
func shortDuration(d time.Duration) string {
	return strings.TrimSuffix(d.String(), "0s")
}

// isEmpty tells that no etcd has ever got so far as to write there.
func isEmpty(r *datadir.Report) bool {
	return r.Kind == datadir.KindEmpty || slices.ContainsFunc(r.Findings, func(f datadir.Finding) bool { return f.Code == datadir.CodeEmpty })
}

const (
	nextAccept   = "; if this is what is meant: etcdsup start --accept-data"
	nextPutBack  = "put the right directory back, then etcdsup start"
	nextRejoin   = "etcdsup mode join, which sets this directory aside and has the host join anew"
	nextReplace  = "put the data back, then etcdsup start; if it is lost: etcdsup mode join --replace"
	nextJoinThem = "etcdsup mode join, to become a member of that cluster"
	nextToken    = "set the same etcd.args.initial-cluster-token on all hosts, then etcdsup start; one that has begun with another token is set aside by etcdsup mode join"
)

// decideEmpty is for a directory in which nobody has lived, as far as it knows.
func decideEmpty(c Circumstances) Decision {
	dir := c.Report.Path
	if c.Known.MemberID != "" {
		return refuse(status.CauseData, string(codeEmptyDirectory),
			fmt.Sprintf("%s is empty, but %s was here, at revision %d", dir, c.Known.who(), c.Known.Revision),
			"mount or put back the directory, then etcdsup start; if it is lost and others of the cluster live: etcdsup mode join"+nextAccept)
	}
	if c.Known.ClusterID != "" && !c.Join {
		return refuse(status.CauseIdentity, CodeClusterRuns,
			fmt.Sprintf("%s is empty, and this host is to be a member of cluster %s, not of a new one", dir, c.Known.ClusterID), nextJoinThem)
	}
	if c.Peers == nil {
		return Decision{Start: true, First: true, Code: CodeFirstStart}
	}
	return decideEmptyAmong(c, c.Peers.At(c.PeerURLs))
}

// decideEmptyAmong knows the cluster and which of its members, if any, is to live here.
func decideEmptyAmong(c Circumstances, we *status.Peer) Decision {
	dir, cluster := c.Report.Path, c.Peers.ClusterID
	switch {
	case we == nil && c.Join:
		return refuse(status.CauseIdentity, CodeNotListed, fmt.Sprintf("cluster %s does not list this host at %s", cluster, strings.Join(c.PeerURLs, ",")), nextJoinThem)
	case we == nil:
		return refuse(status.CauseIdentity, CodeClusterRuns, fmt.Sprintf("%s is empty, and the peers run cluster %s already, without this host", dir, cluster), nextJoinThem)
	case we.Started:
		return refuse(status.CauseData, CodeDataLost, fmt.Sprintf("%s is empty, but cluster %s lists this host as member %s, which has run before", dir, cluster, we.ID), nextReplace)
	case !c.Join && we.Name == "": // one that member add made: a static cluster has names from the beginning
		return refuse(status.CauseIdentity, CodeAdded, fmt.Sprintf("cluster %s has added this host as member %s; a start would begin another cluster", cluster, we.ID), nextJoinThem)
	case !c.Join && c.Token != "" && !strings.EqualFold(we.ID, memberID(we.PeerURLs, c.Token)):
		return refuse(status.CauseIdentity, CodeOtherToken, fmt.Sprintf("with initial-cluster-token %q this host would begin another cluster than the peers, who run cluster %s and expect it as member %s", c.Token, cluster, we.ID), nextToken)
	}
	return Decision{Start: true, First: true, Code: CodeFirstStart}
}

// memberID is the ID that etcd gives to a member of a new cluster; members that are added get others.
func memberID(peerURLs []string, token string) string {
	sum := sha1.Sum([]byte(strings.Join(slices.Sorted(slices.Values(peerURLs)), "") + token))
	return fmt.Sprintf("%x", binary.BigEndian.Uint64(sum[:8]))
}

// decideData is for a directory in which a member lives.
func decideData(c Circumstances) Decision {
	r := c.Report
	findings := slices.Concat(r.Findings, r.Against(c.Known.Known()))
	for _, f := range findings {
		if f.Severity == datadir.SeverityHeld {
			return decideFinding(r, f)
		}
	}
	if v := status.JudgeVersion(c.Version, r.Versions.Data()); v.Refuse != "" {
		return refuse(status.CauseVersion, CodeVersion, r.Path+": "+v.Refuse, v.Remedy+"; then etcdsup start")
	}
	d := Decision{Start: true, Code: CodeOwnData}
	if c.Peers != nil {
		d = decideAmong(c)
	}
	if d.Start && c.Twin != nil {
		return decideTwin(c)
	}
	return d
}

// decideTwin is for a copy of the data of a member that lives: a second etcd on it would vote and lead under the name of
// the first. It is no matter whether that member is on record here: a copied host has a copied record.
func decideTwin(c Circumstances) Decision {
	r := c.Report
	return refuse(status.CauseIdentity, CodeTwin,
		fmt.Sprintf("%s is of member %s of cluster %s, which is alive at %s, and this host is to be at %s: two etcds would be one member", r.Path, r.MemberID, r.ClusterID, c.Twin.URL, strings.Join(c.PeerURLs, ",")),
		fmt.Sprintf("%s; to move the member here: stop that etcd for good, then etcdsup start; if another member has that address by now: etcdsup member update-url %s %s", nextRejoin, r.MemberID, strings.Join(c.PeerURLs, " ")))
}

// decideFinding is for something in the directory that speaks against a start.
func decideFinding(r *datadir.Report, f datadir.Finding) Decision {
	cause, why := status.CauseData, r.Path+": "+f.Title
	if len(f.Evidence) > 0 {
		why += " (" + strings.Join(f.Evidence, "; ") + ")"
	}
	next := f.Remedy + "; then etcdsup start; see etcdsup inspect"
	switch f.Code {
	case datadir.CodeOtherMember:
		cause, next = status.CauseIdentity, nextPutBack+nextAccept
	case datadir.CodeOlder:
		next = "put the newer directory back, then etcdsup start; a member of several joins anew: etcdsup mode join" + nextAccept
	case datadir.CodeRemoved:
		cause, next = status.CauseIdentity, nextRejoin
	case datadir.CodeForeignDB, datadir.CodeWALConflict:
		cause = status.CauseIdentity
	}
	return refuse(cause, string(f.Code), why, next)
}

// decideAmong compares the member of the data with what the peers say.
func decideAmong(c Circumstances) Decision {
	r, cluster := c.Report, c.Peers.ClusterID
	if !strings.EqualFold(cluster, r.ClusterID) {
		return refuse(status.CauseIdentity, CodeOtherCluster, fmt.Sprintf("%s is of cluster %s, and the peers are of cluster %s", r.Path, r.ClusterID, cluster),
			"mend the peers in the configuration, or "+nextRejoin)
	}
	if slices.ContainsFunc(c.Peers.Members, func(p status.Peer) bool { return strings.EqualFold(p.ID, r.MemberID) }) {
		return Decision{Start: true, Code: CodeOwnData}
	}
	if we := c.Peers.At(c.PeerURLs); we != nil {
		return refuse(status.CauseIdentity, CodePlaceTaken, fmt.Sprintf("%s is of member %s, and cluster %s has member %s in its place", r.Path, r.MemberID, cluster, we.ID), nextRejoin)
	}
	return refuse(status.CauseIdentity, CodeNotListed, fmt.Sprintf("%s is of member %s, which cluster %s does not have any more", r.Path, r.MemberID, cluster), nextRejoin)
}
