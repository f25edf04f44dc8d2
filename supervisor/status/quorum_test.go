package status

import "testing"

func peers(marks string) *Members {
	l := &Members{}
	for _, m := range marks { // H healthy voter, d dead voter, L healthy learner, l dead learner, u learner never started
		p := Peer{Learner: m == 'L' || m == 'l' || m == 'u', Healthy: m == 'H' || m == 'L', Started: m != 'u'}
		l.Members = append(l.Members, p)
	}
	return l
}

func TestRemovalKeepsTheQuorum(t *testing.T) {
	for _, c := range []struct {
		members string
		remove  int
		allowed bool
	}{
		{"H", 0, false},     // the only voter
		{"HH", 0, true},     // one is left, which is its own quorum
		{"Hd", 0, false},    // no quorum to commit anything
		{"HHH", 0, true},    // two of two
		{"HHd", 2, true},    // the dead one
		{"HHd", 0, false},   // would leave one of two
		{"Hdd", 1, false},   // no quorum any more
		{"HHHd", 3, true},   //
		{"HHHd", 0, true},   // two of three
		{"HHHdd", 0, false}, // two of four
		{"HHHdd", 4, true},
		{"HHHHH", 0, true},
		{"HL", 1, true},   // a learner has no vote
		{"Hdl", 2, false}, // but its removal needs the quorum too
	} {
		l := peers(c.members)
		if ch := l.Removal(&l.Members[c.remove]); (ch.Refuse == "") != c.allowed {
			t.Errorf("%s without number %d: %+v", c.members, c.remove, ch)
		}
	}
}

func TestPromotionKeepsTheQuorum(t *testing.T) {
	for _, c := range []struct {
		members string
		promote int
		allowed bool
	}{
		{"HL", 1, true},
		{"Hl", 1, false}, // it would be a dead voter of two
		{"Hu", 1, false},
		{"HHl", 2, true}, // two of three still write: but see Spare
		{"HHdL", 3, true},
		{"HHdl", 3, false}, // two of four
		{"HH", 1, false},   // a voter already
		{"HdL", 2, false},  // no quorum
	} {
		l := peers(c.members)
		if ch := l.Promotion(&l.Members[c.promote]); (ch.Refuse == "") != c.allowed {
			t.Errorf("%s with number %d promoted: %+v", c.members, c.promote, ch)
		}
	}
}

func TestFindMember(t *testing.T) {
	l := &Members{Members: []Peer{{ID: "a1", Name: "x"}, {ID: "b2", Name: "y"}, {ID: "c3", Name: "y"}, {ID: "d4"}}}
	for who, want := range map[string]string{"x": "a1", "A1": "a1", "b2": "b2", "d4": "d4", "y": "", "z": "", "": ""} {
		got, err := l.Find(who)
		if (err == nil) != (want != "") || err == nil && got.ID != want {
			t.Errorf("%q is %v, %v; want %q", who, got, err, want)
		}
	}
}
