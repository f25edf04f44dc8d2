package status

import "fmt"

// Count is how many votes a cluster has and how many of them it can rely on now.
type Count struct {
	Voters  int `json:"voters"`
	Healthy int `json:"healthy"` // voters that answer
}

// Quorum is how many healthy voters every write needs.
func (c Count) Quorum() int { return c.Voters/2 + 1 }

// Spare is how many more voters may fail before writes stop; negative: they have stopped.
func (c Count) Spare() int { return c.Healthy - c.Quorum() }

// String is the arithmetic in words.
func (c Count) String() string {
	switch spare := c.Spare(); {
	case spare < 0:
		return fmt.Sprintf("%d of %d voters healthy, quorum %d: no writes", c.Healthy, c.Voters, c.Quorum())
	case spare == 0:
		return fmt.Sprintf("%d of %d voters healthy, quorum %d: none may fail", c.Healthy, c.Voters, c.Quorum())
	default:
		return fmt.Sprintf("%d of %d voters healthy, quorum %d: %d more may fail", c.Healthy, c.Voters, c.Quorum(), spare)
	}
}

// Count is the arithmetic of a member list.
func (l *Members) Count() Count {
	var c Count
	for _, m := range l.Members {
		if m.Learner {
			continue
		}
		c.Voters++
		if m.Healthy {
			c.Healthy++
		}
	}
	return c
}

// Change is what a reconfiguration does to the arithmetic.
type Change struct {
	Before Count  `json:"before"`
	After  Count  `json:"after"`
	Refuse string `json:"refuse,omitempty"` // why it must not be done; empty: it may
	Remedy string `json:"remedy,omitempty"` // what to do about that; empty: nothing
	Counts bool   `json:"-"`                // it is refused for what it does to the arithmetic, which tells more then
}

// tooFew refuses a change for want of votes.
func (c *Change) tooFew(why string) {
	c.Refuse, c.Remedy, c.Counts = why, "bring the other members back first; see etcdsup member list", true
}

const (
	noQuorum   = "the cluster has no quorum, and without one no change can be committed"
	costQuorum = "the cluster would lose its quorum"
)

// Removal judges the removal of a member. etcd itself commits a removal with the quorum of before; what it leaves
// behind must be able to write again.
func (l *Members) Removal(m *Peer) Change {
	ch := Change{Before: l.Count(), After: l.Count()}
	if !m.Learner {
		ch.After.Voters--
		if m.Healthy {
			ch.After.Healthy--
		}
	}
	switch {
	case ch.Before.Spare() < 0:
		ch.tooFew(noQuorum)
	case !m.Learner && ch.After.Voters == 0:
		ch.Refuse, ch.Remedy = "it is the only voter, without which there is no cluster", "to end the cluster, stop its etcd: etcdsup stop; to keep it, let another member become a voter first: etcdsup mode join there"
	case ch.After.Spare() < 0:
		ch.tooFew(costQuorum)
	}
	return ch
}

// Promotion judges a learner's promotion.
func (l *Members) Promotion(m *Peer) Change {
	ch := Change{Before: l.Count(), After: l.Count()}
	if !m.Learner {
		ch.Refuse = "it is a voter already"
		return ch
	}
	ch.After.Voters++
	if m.Healthy {
		ch.After.Healthy++
	}
	switch {
	case ch.Before.Spare() < 0:
		ch.tooFew(noQuorum)
	case !m.Started:
		ch.Refuse, ch.Remedy = "it has never been started", "start it and let it catch up first; see etcdsup member list"
	case ch.After.Spare() < 0:
		ch.Refuse, ch.Remedy, ch.Counts = costQuorum, "start the learner and let it catch up, or bring the other members back; see etcdsup member list", true
	}
	return ch
}

// Update judges a change of peer URLs: it needs a quorum, and changes no vote.
func (l *Members) Update(*Peer) Change {
	ch := Change{Before: l.Count(), After: l.Count()}
	if ch.Before.Spare() < 0 {
		ch.tooFew(noQuorum)
	}
	return ch
}
