package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// JoinWish is who wants to become a member.
type JoinWish struct {
	Name     string
	PeerURLs []string
	Version  string // of the etcd that will run: "3.7" or "3.7.3"
	// MemberID is what the data directory that is here says, if it is of this cluster; empty: there is none.
	MemberID string
	// Alive are the IDs of members that answer at a peer URL. It saves one that clients cannot reach from being replaced.
	Alive       []string
	Replace     bool // remove the dead member that has our name or peer URL
	MaxLearners int  // as the cluster's --max-learners; 0: etcd's default, 1
}

// JoinVerdict is what is to be done about a wish. Without Refuse and Already it is: wait while there is a Wait, remove
// Remove if there is one, then add a learner unless Leftover stays, start, and promote.
type JoinVerdict struct {
	Refuse   string   `json:"refuse,omitempty"` // why nothing must be done
	Wait     string   `json:"wait,omitempty"`   // why not yet: the join of another host is under way. Judge again when it has ended
	Remedy   string   `json:"remedy,omitempty"` // what the operator can do about Refuse, or about a Wait that takes too long
	Warnings []string `json:"warnings,omitempty"`
	// Already is us: a started member. A learner among them has still to be promoted.
	Already *Peer `json:"already,omitempty"`
	// Leftover is a dead or never started entry with our name or peer URL. Unless it is Remove too, it is ours to start as
	// it is: nothing needs to be added, and it may be a voter.
	Leftover *Peer  `json:"leftover,omitempty"`
	Remove   *Peer  `json:"remove,omitempty"`  // to be removed before the add
	Version  string `json:"version,omitempty"` // of the cluster's oldest member: "3.7"
	Before   Count  `json:"before"`
	After    Count  `json:"after"` // once we are a voter
}

// OursToStart tells that the leftover's data is here: it is to be started as it is, and nobody else can be it.
func (v *JoinVerdict) OursToStart(wish *JoinWish) bool {
	return v.Leftover != nil && v.Remove == nil && strings.EqualFold(v.Leftover.ID, wish.MemberID)
}

// JudgeJoin judges a wish by the cluster's list, the members' health included. It refuses what etcd would refuse, and
// also what etcd would let through to the cluster's harm.
func JudgeJoin(l *Members, want JoinWish) JoinVerdict {
	j := &joinCase{l: l, want: want}
	j.verdict.Before = l.Count()
	j.verdict.After = j.verdict.Before
	for _, rule := range joinRules {
		refuse, remedy := rule(j)
		if refuse != "" {
			j.verdict.Refuse, j.verdict.Remedy, j.verdict.Wait = refuse, remedy, ""
			return j.verdict
		}
		if j.verdict.Already != nil {
			return j.verdict
		}
	}
	j.arithmetic()
	j.warn()
	return j.verdict
}

// joinRules are asked in this order, so that what is said first is what has to be dealt with first. Each may add to the
// verdict for those after it.
var joinRules = []func(*joinCase) (refuse, remedy string){
	(*joinCase).wish, (*joinCase).self, (*joinCase).namesake, (*joinCase).quorum, (*joinCase).unstarted,
	(*joinCase).learners, (*joinCase).down, (*joinCase).corrupt, (*joinCase).version,
}

// wait is for what goes by itself: the rules after it are asked all the same, and a refusal of theirs counts more.
func (j *joinCase) wait(why, remedy string) {
	if j.verdict.Wait == "" {
		j.verdict.Wait, j.verdict.Remedy = why, remedy
	}
}

type joinCase struct {
	l       *Members
	want    JoinWish
	verdict JoinVerdict
}

// others are the members beside us and whom we replace.
func (j *joinCase) others() []*Peer {
	var others []*Peer
	for i := range j.l.Members {
		if m := &j.l.Members[i]; m != j.verdict.Leftover {
			others = append(others, m)
		}
	}
	return others
}

// kept is a leftover that can be started as it is; nil: one has to be added.
func (j *joinCase) kept() *Peer {
	if j.verdict.Remove != nil {
		return nil
	}
	return j.verdict.Leftover
}

func (j *joinCase) wish() (string, string) {
	switch {
	case len(j.l.Members) == 0:
		return "the cluster's member list is empty", "give the client URLs of the cluster with --endpoint"
	case j.want.Name == "":
		return "this host's etcd has no name", "set name under etcd: in the configuration"
	case len(j.want.PeerURLs) == 0:
		return "this host's etcd has no peer URL for the others", "set initial-advertise-peer-urls under etcd: in the configuration"
	}
	return "", ""
}

// self finds the member whose data directory is here, by whatever name and URL the cluster knows it. One that answers
// elsewhere is not us: two hosts have the data of one, and only one of them may be that member.
func (j *joinCase) self() (string, string) {
	i := slices.IndexFunc(j.l.Members, func(m Peer) bool { return j.want.MemberID != "" && strings.EqualFold(m.ID, j.want.MemberID) })
	if i < 0 {
		return "", ""
	}
	m := &j.l.Members[i]
	switch {
	case j.alive(m) && !m.HasAny(j.want.PeerURLs):
		j.warnf("the data here is a copy of that of %s, which is alive: what was written to this copy only is not in the cluster, and stays in the directory that is set aside", describePeer(m))
		return "", ""
	case m.Started:
		j.verdict.Already = m
	default:
		j.verdict.Leftover = m
	}
	if !m.hasExactly(j.want.PeerURLs) {
		j.warnf("the cluster knows this member at %s: etcdsup member update-url %s %s",
			strings.Join(m.PeerURLs, ", "), m.ID, strings.Join(j.want.PeerURLs, " "))
	}
	return "", ""
}

// namesake deals with the member that has our name or peer URL.
func (j *joinCase) namesake() (string, string) {
	if j.verdict.Leftover != nil {
		return "", ""
	}
	var same []*Peer
	for i := range j.l.Members {
		if m := &j.l.Members[i]; m.Name == j.want.Name || m.HasAny(j.want.PeerURLs) {
			same = append(same, m)
		}
	}
	if len(same) > 1 {
		return fmt.Sprintf("more than one member has our name or peer URL: %s", describePeers(same)),
			"remove those that are gone for good: etcdsup member remove ID"
	}
	if len(same) == 0 {
		return "", ""
	}
	m := same[0]
	exact := m.hasExactly(j.want.PeerURLs)
	switch {
	case exact && !m.Started:
		j.verdict.Leftover = m
		return "", ""
	case exact && m.Healthy && m.Name == j.want.Name:
		j.verdict.Already = m
		return "", ""
	case m.Healthy:
		return fmt.Sprintf("%s is alive and has %s", describePeer(m), j.shared(m)),
			"give this host a name and a peer URL of its own, in the configuration"
	}
	return j.replace(m)
}

// alive says that a member answers at a peer URL.
func (j *joinCase) alive(m *Peer) bool {
	return slices.ContainsFunc(j.want.Alive, func(id string) bool { return strings.EqualFold(id, m.ID) })
}

// shared is what a member and we have in common.
func (j *joinCase) shared(m *Peer) string {
	if m.HasAny(j.want.PeerURLs) {
		return "our peer URL"
	}
	return "our name"
}

func (j *joinCase) replace(m *Peer) (string, string) {
	switch {
	case j.alive(m):
		return fmt.Sprintf("%s has %s, and it answers its peers, though no client from here", describePeer(m), j.shared(m)),
			"stop that etcd first, or give this host a name and a peer URL of its own"
	case !j.want.Replace:
		return fmt.Sprintf("%s has %s and does not answer", describePeer(m), j.shared(m)),
			"if its data is gone for good: etcdsup mode join --replace; otherwise start it with the data that it has"
	}
	j.verdict.Leftover, j.verdict.Remove = m, m
	return "", ""
}

// quorum also lets through what gives the cluster its quorum back: a voter that was added for us and never started.
func (j *joinCase) quorum() (string, string) {
	c := j.verdict.Before
	if c.Spare() >= 0 && !j.l.Stale || j.rescues() {
		return "", ""
	}
	remedy := "wait until a leader is elected, and try again"
	if lost := dead(j.l); len(lost) > 0 {
		remedy = "bring back " + describePeers(lost) + "; if too many are lost for good: etcdsup mode force-new-cluster on a survivor"
	}
	return "the cluster has no quorum, and without one no change can be committed: " + j.verdict.Before.String(), remedy
}

// rescues says that our start makes up the quorum: nobody is healthy without one, but enough voters answer.
func (j *joinCase) rescues() bool {
	m := j.kept()
	if m == nil || m.Learner {
		return false
	}
	return Count{Voters: j.verdict.Before.Voters, Healthy: j.answering() + 1}.Spare() >= 0
}

func (j *joinCase) answering() (n int) {
	for _, m := range j.others() {
		if !m.Learner && (m.Healthy || m.Trouble == TroubleNoLeader) {
			n++
		}
	}
	return n
}

func dead(l *Members) []*Peer {
	var dead []*Peer
	for i := range l.Members {
		if m := &l.Members[i]; !m.Learner && !m.Healthy && m.Trouble != TroubleNoLeader {
			dead = append(dead, m)
		}
	}
	return dead
}

// unstarted waits for a learner, whose start is about to come; a voter that does not come costs the cluster a vote.
func (j *joinCase) unstarted() (string, string) {
	for _, m := range j.others() {
		if m.Started {
			continue
		}
		why, remedy := describePeer(m)+" was added and has never been started",
			"let its join come to an end; if it has been given up: etcdsup member remove "+m.ID
		if !m.Learner {
			return why, remedy
		}
		j.wait(why, remedy)
	}
	return "", ""
}

func (j *joinCase) learners() (string, string) {
	if m := j.kept(); m != nil && !m.Learner {
		return "", ""
	}
	var learners []*Peer
	for _, m := range j.others() {
		if m.Learner {
			learners = append(learners, m)
		}
	}
	most := cmp.Or(max(0, j.want.MaxLearners), 1)
	if len(learners) < most {
		return "", ""
	}
	j.wait(fmt.Sprintf("the cluster has %s, and takes no more than %d at a time", counted(len(learners), "learner"), most),
		fmt.Sprintf("wait until it is promoted, or remove it if it is dead: etcdsup member remove %s, which is %s", learners[0].ID, describePeers(learners)))
	return "", ""
}

// down does not let a cluster grow while a voter is missing: with one of three down etcd refuses every add, and a fourth
// voter would raise the quorum to all that are left.
func (j *joinCase) down() (string, string) {
	if m := j.kept(); m != nil && !m.Learner {
		return "", ""
	}
	var down []*Peer
	for _, m := range j.others() {
		if !m.Learner && !m.Healthy {
			down = append(down, m)
		}
	}
	if len(down) == 0 {
		return "", ""
	}
	return fmt.Sprintf("a cluster must not grow while a voter is down: %s (%s)", describePeers(down), j.verdict.Before),
		fmt.Sprintf("bring it back; if it is gone for good: etcdsup member remove %s; "+
			"a host that takes its place under its name or peer URL joins with --replace", down[0].ID)
}

func (j *joinCase) corrupt() (string, string) {
	for i := range j.l.Members {
		if m := &j.l.Members[i]; strings.Contains(m.Trouble, "CORRUPT") {
			return fmt.Sprintf("%s reports corrupt data: %s", describePeer(m), m.Trouble),
				"find the member whose data differs and replace it before another copy is made"
		}
	}
	return "", ""
}

// arithmetic counts the votes for when we have ours; as a learner we change nothing. Nobody is missing then whom the
// rules did not let pass, so the quorum is kept; and that of a dead member's removal too.
func (j *joinCase) arithmetic() {
	after := Count{Voters: j.verdict.Before.Voters, Healthy: j.answering() + 1}
	if m := j.verdict.Remove; m != nil {
		after.Voters = j.l.Removal(m).After.Voters
	}
	if m := j.kept(); m == nil || m.Learner {
		after.Voters++
	}
	j.verdict.After = after
}
