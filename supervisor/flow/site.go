package flow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// A configuration that was edited while a transition was under way names another member than the one that the plan was
// made for: the directories of which the journal tells would be looked for beside another one. Nothing goes forward
// then. The way back needs no more than the plan knows.

// siteFacts are the facts of a plan that say for whom it was made, by the flag of etcd's that says the same.
var siteFacts = []struct {
	name, flag string
	of         func(Site) string
}{
	{"name", "name", func(s Site) string { return s.Name }},
	{status.FactDataDir, "data-dir", func(s Site) string { return s.DataDir }},
	{"peer-urls", "initial-advertise-peer-urls", func(s Site) string { return strings.Join(s.PeerURLs, ",") }},
}

func (s Site) facts() (out []status.Fact) {
	for _, f := range siteFacts {
		out = append(out, status.Fact{Name: f.name, Value: f.of(s)})
	}
	return out
}

// Edited are the keys of the configuration that had other values when the plan was made, in words: what they are and
// were, and how they are put back. Both are empty where there are none.
func (s Site) Edited(p *status.Plan) (differ, back []string) {
	for _, f := range siteFacts {
		if was, is := p.Fact(f.name), f.of(s); was != "" && was != is {
			differ = append(differ, fmt.Sprintf("etcd.args.%s is %s now, and was %s when it began", f.flag, is, was))
			back = append(back, fmt.Sprintf("etcd.args.%s back to %s", f.flag, was))
		}
	}
	return differ, back
}

// settle refuses to go on where this host is not as it has to be for that.
func (r *run) settle(p Past) error {
	if p.Undoing {
		r.asPlanned()
		return r.fitToGoBack()
	}
	if err := r.sameSite(p); err != nil {
		return err
	}
	return r.fit()
}

// sameSite refuses to go on with a configuration that names another member than the plan.
func (r *run) sameSite(p Past) error {
	differ, back := r.Edited(&r.plan)
	if len(differ) == 0 {
		return nil
	}
	normal := "which rolls it back"
	if slices.ContainsFunc(p.Plan.Steps, func(s status.Step) bool { return s.Final && slices.Contains(p.Begun, s.Name) }) {
		normal = "which ends it as it is"
	}
	return troublef(fmt.Sprintf("set %s, and start etcdsup anew: it goes on then; or give it up: %s mode normal, %s", strings.Join(back, ", and "), r.Command, normal),
		"cannot go on with the %s: %s", r.ask.Mode, strings.Join(differ, "; "))
}

// asPlanned makes the site that of the plan, for the way back.
func (r *run) asPlanned() {
	now := r.DataDir
	if was := r.fact("name"); was != "" {
		r.Name = was
	}
	if was := r.fact("peer-urls"); was != "" {
		r.PeerURLs = strings.Split(was, ",")
	}
	if was := r.fact(status.FactDataDir); was != "" && was != now {
		r.DataDir, r.moved = was, now
		r.Link, r.Mounted = "", false // these were found of the other one; what cannot be renamed will say so
	}
}

// fitToGoBack refuses a host whose data cannot give way by a rename. Where the WAL of the next start lies is of no matter
// to it.
func (r *run) fitToGoBack() error {
	s := r.Site
	s.WALDir = ""
	return s.fit()
}
