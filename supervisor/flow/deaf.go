package flow

import "time"

// stillDeaf is the age up to which an etcd that missed its introduction is worth a restart: at seven seconds it
// introduces itself again.
const stillDeaf = 5 * time.Second

// deafness finds a learner that has missed its own introduction. An etcd that starts has the leader append who it is,
// and serves clients once it has seen that entry. When the leader sends its whole database, and takes it after that
// entry, the entry comes as part of it and is never seen by itself: etcd waits for seven seconds before it tries again.
// Started again it has a database, and the next introduction comes as an entry.
type deafness struct {
	seen bool // with its introduction in its database, and silent
	told bool
}

// shown tells, once, that the learner is to be started again: when it is silent at two looks. One that has just seen the
// entry serves by the second, if the machine is not overloaded; a learner has no vote, and its restart harms nobody.
func (d *deafness) shown(c Catchup) bool {
	switch {
	case d.told || !c.Introduced || c.Age > stillDeaf:
		return false
	case !d.seen:
		d.seen = true
		return false
	}
	d.told = true
	return true
}
