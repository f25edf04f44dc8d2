package status

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// cluster reads members from words: name, then marks: H healthy, d dead, N knows no leader, u never started, l learner,
// C corrupt, S no space; then optionally a version. Their IDs are "id-" and the name, their URLs http://NAME:2380.
func cluster(words ...string) *Members {
	l := &Members{ClusterID: "c1"}
	for _, w := range words {
		name, rest, _ := strings.Cut(w, " ")
		marks, version, _ := strings.Cut(rest, " ")
		p := Peer{ID: "id-" + name, Name: name, PeerURLs: []string{"http://" + name + ":2380"}, Started: true, Version: "3.7.3"}
		if version != "" {
			p.Version = version
		}
		for _, m := range marks {
			switch m {
			case 'H':
				p.Healthy = true
			case 'd':
				p.Version, p.Trouble = "", "connection refused"
			case 'N':
				p.Trouble = TroubleNoLeader
			case 'u':
				p.Name, p.Started, p.Version, p.Trouble = "", false, "", "never started"
			case 'l':
				p.Learner = true
			case 'C':
				p.Trouble = "memberID:1 alarm:CORRUPT "
			case 'S':
				p.Trouble = "memberID:1 alarm:NOSPACE "
			}
		}
		l.Members = append(l.Members, p)
	}
	return l
}

func want(change ...func(*JoinWish)) JoinWish {
	w := JoinWish{Name: "new", PeerURLs: []string{"http://new:2380"}, Version: "3.7.3"}
	for _, c := range change {
		c(&w)
	}
	return w
}

func named(name string) func(*JoinWish)    { return func(w *JoinWish) { w.Name = name } }
func at(urls ...string) func(*JoinWish)    { return func(w *JoinWish) { w.PeerURLs = urls } }
func version(v string) func(*JoinWish)     { return func(w *JoinWish) { w.Version = v } }
func data(id string) func(*JoinWish)       { return func(w *JoinWish) { w.MemberID = id } }
func alive(id string) func(*JoinWish)      { return func(w *JoinWish) { w.Alive = append(w.Alive, id) } }
func learnersUpTo(n int) func(w *JoinWish) { return func(w *JoinWish) { w.MaxLearners = n } }
func replacing(w *JoinWish)                { w.Replace = true }
func stale(l *Members) *Members            { l.Stale = true; return l }
func id(p *Peer) string {
	if p == nil {
		return ""
	}
	return p.ID
}

// TestJoinIsRefused has each rule's refusal with its remedy.
func TestJoinIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		l              *Members
		want           JoinWish
		refuse, remedy string
	}{
		"an empty list": {cluster(), want(), "member list is empty", "--endpoint"},
		"no name":       {cluster("a H"), want(named("")), "has no name", "set name"},
		"no peer URL":   {cluster("a H"), want(at()), "no peer URL", "initial-advertise-peer-urls"},

		"no quorum":              {cluster("a N", "b d"), want(), "no quorum", "bring back member b (id-b, http://b:2380); if too many are lost for good: etcdsup mode force-new-cluster"},
		"no leader for a moment": {stale(cluster("a N", "b N", "c N")), want(), "no quorum", "wait until a leader is elected"},
		"a list of one member":   {stale(cluster("a H", "b H", "c H")), want(), "no quorum", "wait"},

		"a live member's name":                     {cluster("a H", "b H", "c H"), want(named("b")), "member b (id-b, http://b:2380) is alive and has our name", "a name and a peer URL of its own"},
		"a live member's URL":                      {cluster("a H", "b H", "c H"), want(at("http://b:2380/")), "alive and has our peer URL", "of its own"},
		"one of a live member's URLs":              {cluster("a H"), want(at("http://new:2380", "HTTP://A:2380")), "alive and has our peer URL", "of its own"},
		"a live member's name and one of its URLs": {cluster("a H"), want(named("a"), at("http://new:2380", "http://a:2380")), "has our peer URL", "of its own"},
		"two members' places":                      {cluster("a H", "b H", "c d"), want(named("a"), at("http://c:2380"), replacing), "more than one member", "etcdsup member remove"},
		"a dead member's name":                     {cluster("a H", "b H", "c d"), want(named("c")), "has our name and does not answer", "mode join --replace"},
		"a dead member's URL":                      {cluster("a H", "b H", "c d"), want(at("http://c:2380")), "has our peer URL and does not answer", "--replace"},
		"name and URL of a dead member":            {cluster("a H", "b H", "c d"), want(named("c"), at("http://c:2380")), "does not answer", "--replace"},
		"half of an unstarted one's URLs":          {cluster("a H", "new ul"), want(at("http://new:2380", "http://new:2390")), "does not answer", "--replace"},
		"a member that only peers reach":           {cluster("a H", "b H", "c d"), want(named("c"), alive("ID-C"), replacing), "answers its peers", "stop that etcd first"},
		"a replacement without quorum":             {cluster("a N", "b d"), want(named("b"), replacing), "no quorum", "bring back"},

		"another never started":             {cluster("a H", "b u"), want(), "no quorum", ""},
		"a voter never started among three": {cluster("a H", "b H", "c H", "x u"), want(), "member id-x (http://x:2380) was added", "member remove id-x"},
		"another's join, and one down":      {cluster("a H", "b H", "c d", "x ul"), want(), "must not grow while a voter is down", "bring it back"},

		"one of three down":           {cluster("a H", "b H", "c d"), want(), "must not grow while a voter is down: member c", "etcdsup member remove id-c; a host that takes its place under its name or peer URL joins with --replace"},
		"one of five down":            {cluster("a H", "b H", "c H", "d H", "e d"), want(), "must not grow while a voter is down", "bring it back"},
		"two of five down, one is us": {cluster("a H", "b H", "c H", "d d", "e d"), want(named("e"), replacing), "voter is down: member d", "bring it back"},
		"one down and our leftover":   {cluster("a H", "b H", "c d", "new ul"), want(), "voter is down: member c", "bring it back"},

		"corrupt data": {cluster("a H", "b HC", "c H"), want(), "reports corrupt data", "replace it"},

		"no version of ours":    {cluster("a H"), want(version("")), "not known", "config check"},
		"no version of theirs":  {cluster("a H x"), want(), "no member says", "member list"},
		"3.7 in a 3.5 cluster":  {cluster("a H 3.5.35"), want(version("3.7.3")), "etcd 3.7 is above the cluster's 3.5", "set etcd.binary to an etcd 3.5"},
		"3.6 in a 3.5 cluster":  {cluster("a H 3.5.35"), want(version("3.6")), "above", "one minor version at a time"},
		"3.7 in an upgrade":     {cluster("a H 3.6.16", "b H 3.7.3", "c H 3.7.3"), want(), "above the cluster's 3.6", "an etcd 3.6"},
		"3.5 in a 3.6 cluster":  {cluster("a H 3.6.16"), want(version("v3.5.35")), "etcd 3.5 is below the cluster's 3.6 and would not start", "set etcd.binary to an etcd 3.6"},
		"3.9 in a 3.10 cluster": {cluster("a H 3.10.0"), want(version("3.9.9")), "below", ""},
	} {
		v := JudgeJoin(c.l, c.want)
		if v.Refuse == "" || v.Already != nil || !strings.Contains(v.Refuse, c.refuse) || !strings.Contains(v.Remedy, c.remedy) || v.Remedy == "" {
			t.Errorf("%s: refused %q, remedy %q, want %q and %q", name, v.Refuse, v.Remedy, c.refuse, c.remedy)
		}
	}
}

// TestJoinWaits for the joins of others, which end by themselves.
func TestJoinWaits(t *testing.T) {
	for name, c := range map[string]struct {
		l            *Members
		want         JoinWish
		wait, remedy string
	}{
		"another learner never started": {cluster("a H", "b ul"), want(), "member id-b (http://b:2380) was added and has never been started", "etcdsup member remove id-b"},
		"another beside our leftover":   {cluster("a H", "b ul", "new ul"), want(), "member id-b", "member remove id-b"},
		"another learner":               {cluster("a H", "b Hl"), want(), "1 learner, and takes no more than 1", "member remove id-b"},
		"two learners":                  {cluster("a H", "b Hl", "c Hl"), want(learnersUpTo(2)), "2 learners, and takes no more than 2", "wait"},
		"a learner, and nonsense":       {cluster("a H", "b Hl"), want(learnersUpTo(-1)), "no more than 1", "wait"},
	} {
		v := JudgeJoin(c.l, c.want)
		if v.Refuse != "" || v.Already != nil || !strings.Contains(v.Wait, c.wait) || !strings.Contains(v.Remedy, c.remedy) || v.After.Voters == 0 {
			t.Errorf("%s: %+v, want %q and %q", name, v, c.wait, c.remedy)
		}
	}
}

// TestCopyOfALivingMember: who has the data of a member that answers elsewhere is not that member.
func TestCopyOfALivingMember(t *testing.T) {
	l := cluster("a H")
	v := JudgeJoin(l, want(data("id-a"), alive("id-a")))
	if v.Refuse != "" || v.Already != nil || v.After != (Count{2, 2}) || !strings.Contains(strings.Join(v.Warnings, "\n"), "a copy of that of member a") {
		t.Errorf("%+v", v)
	}
	if v := JudgeJoin(l, want(named("a"), at("http://a:2380"), data("id-a"), alive("id-a"))); v.Already == nil {
		t.Errorf("at its own URL: %+v", v)
	}
}

// TestJoinIsAllowed has each rule's other side.
func TestJoinIsAllowed(t *testing.T) {
	for name, c := range map[string]struct {
		l                         *Members
		want                      JoinWish
		already, leftover, remove string
		after                     Count
		warn                      string
	}{
		"a second":              {l: cluster("a H"), want: want(), after: Count{2, 2}, warn: "neither may fail"},
		"a third":               {l: cluster("a H", "b H"), want: want(), after: Count{3, 3}},
		"a fourth":              {l: cluster("a H", "b H", "c H"), want: want(), after: Count{4, 4}, warn: "4 voters survive no more failures than 3"},
		"minor only":            {l: cluster("a H 3.5.35", "b H 3.5.9"), want: want(version("3.5")), after: Count{3, 3}},
		"during an upgrade":     {l: cluster("a H 3.6.16", "b H 3.7.3"), want: want(version("3.6.1")), after: Count{3, 3}, warn: "3.6 and 3.7: an upgrade"},
		"out of space":          {l: cluster("a H", "b HS"), want: want(), after: Count{3, 3}, warn: "out of space"},
		"another in TLS":        {l: cluster("a H", "b H"), want: want(at("https://new:2380")), after: Count{3, 3}, warn: "differs in TLS, unlike a: http://a:2380"},
		"on loopback":           {l: cluster("a H", "b H"), want: want(at("http://127.0.0.1:2380")), after: Count{3, 3}, warn: "of this host alone"},
		"a second learner":      {l: cluster("a H", "b H", "c Hl"), want: want(learnersUpTo(2)), after: Count{3, 3}},
		"beside a dead learner": {l: cluster("a H", "b H", "c dl"), want: want(learnersUpTo(2)), after: Count{3, 3}},

		"us, up":                   {l: cluster("a H", "b H", "new H"), want: want(), already: "id-new", after: Count{3, 3}},
		"us, down, with our data":  {l: cluster("a H", "b H", "new d"), want: want(data("ID-new")), already: "id-new", after: Count{3, 2}},
		"us, renamed":              {l: cluster("a H", "b H", "old H"), want: want(at("http://old:2380"), data("id-old")), already: "id-old", after: Count{3, 3}},
		"us, at another URL":       {l: cluster("a H", "b H", "new H"), want: want(at("http://new:9"), data("id-new")), already: "id-new", after: Count{3, 3}, warn: "update-url id-new http://new:9"},
		"us, a learner":            {l: cluster("a H", "b H", "new Hl"), want: want(), already: "id-new", after: Count{2, 2}},
		"us, without a quorum":     {l: stale(cluster("a d", "b d", "new N")), want: want(data("id-new")), already: "id-new", after: Count{3, 0}},
		"data of a removed member": {l: cluster("a H", "b H"), want: want(data("id-gone")), after: Count{3, 3}},

		"a learner that never started":      {l: cluster("a H", "b H", "new ul"), want: want(), leftover: "id-new", after: Count{3, 3}},
		"a voter that never started":        {l: cluster("a H", "b H", "new u"), want: want(), leftover: "id-new", after: Count{3, 3}},
		"a voter that the quorum waits for": {l: stale(cluster("a N", "new u")), want: want(), leftover: "id-new", after: Count{2, 2}, warn: "neither may fail"},
		"the same, and another is down":     {l: cluster("a H", "b H", "c d", "new u"), want: want(), leftover: "id-new", after: Count{4, 3}, warn: "4 voters"},
		"a start that was cut short":        {l: cluster("a H", "b H", "new ul"), want: want(data("id-new")), leftover: "id-new", after: Count{3, 3}},

		"one of three, replaced by name": {l: cluster("a H", "b H", "c d"), want: want(named("c"), replacing), leftover: "id-c", remove: "id-c", after: Count{3, 3}},
		"one of three, replaced by URL":  {l: cluster("a H", "b H", "c d"), want: want(at("http://c:2380"), replacing), leftover: "id-c", remove: "id-c", after: Count{3, 3}},
		"a dead learner, replaced":       {l: cluster("a H", "b H", "new dl"), want: want(replacing), leftover: "id-new", remove: "id-new", after: Count{3, 3}},
		"other URLs than were added":     {l: cluster("a H", "b H", "new ul"), want: want(at("http://new:2380", "http://new:9"), replacing), leftover: "id-new", remove: "id-new", after: Count{3, 3}},
		"nothing to replace":             {l: cluster("a H", "b H"), want: want(replacing), after: Count{3, 3}},
	} {
		v := JudgeJoin(c.l, c.want)
		if v.Refuse != "" || id(v.Already) != c.already || id(v.Leftover) != c.leftover || id(v.Remove) != c.remove || v.After != c.after {
			t.Errorf("%s: %+v; already %q, leftover %q, remove %q", name, v, id(v.Already), id(v.Leftover), id(v.Remove))
		}
		if warnings := strings.Join(v.Warnings, "\n"); !strings.Contains(warnings, c.warn) || c.warn == "" && warnings != "" {
			t.Errorf("%s: warns %q, want %q", name, warnings, c.warn)
		}
		if c.already == "" && (v.Version == "" || !strings.HasPrefix(c.want.Version, v.Version)) {
			t.Errorf("%s: the cluster's version is %q", name, v.Version)
		}
	}
}

// TestJoinKeepsTheQuorum holds for every list: what is let through leaves a cluster that writes, step by step.
func TestJoinKeepsTheQuorum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var words []string
		for _, name := range []string{"a", "b", "c", "d", "e", "new"}[rapid.IntRange(0, 5).Draw(t, "first"):] {
			words = append(words, name+" "+rapid.SampledFrom([]string{"H", "H", "H", "d", "N", "u", "Hl", "dl", "ul"}).Draw(t, name))
		}
		l := cluster(words...)
		l.Stale = rapid.Bool().Draw(t, "stale")
		w := want(named(rapid.SampledFrom([]string{"new", "e", "other"}).Draw(t, "name")), learnersUpTo(rapid.IntRange(0, 3).Draw(t, "learners")))
		w.Replace = rapid.Bool().Draw(t, "replace")
		v := JudgeJoin(l, w)
		if (v.Refuse != "" || v.Wait != "") && v.Remedy == "" {
			t.Fatalf("%q: no remedy: %+v", words, v)
		}
		if v.Refuse != "" || v.Already != nil {
			return
		}
		if v.After.Spare() < 0 || v.Leftover == nil && v.Before.Spare() < 0 {
			t.Fatalf("%q: %+v", words, v)
		}
		if v.Remove != nil && (v.Remove.Healthy || l.Removal(v.Remove).Refuse != "") {
			t.Fatalf("%q: removes %+v: %+v", words, v.Remove, l.Removal(v.Remove))
		}
		if grows := v.Leftover == nil || v.Leftover.Learner; grows && v.After.Healthy < v.After.Voters {
			t.Fatalf("%q: grows while a voter is down: %+v", words, v)
		}
	})
}

func TestInitialCluster(t *testing.T) {
	l := cluster("a H", "x u", "y u", "z ul")
	l.Members[0].PeerURLs = append(l.Members[0].PeerURLs, "http://a2:2380")
	if got, want := l.InitialCluster("id-z", "new"), "a=http://a:2380,a=http://a2:2380,id-x=http://x:2380,id-y=http://y:2380,new=http://z:2380"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for i := range l.Members {
		l.Members[i].Name = "default"
	}
	if got, want := l.InitialCluster("id-z", "default"), "id-a=http://a:2380,id-a=http://a2:2380,id-x=http://x:2380,id-y=http://y:2380,default=http://z:2380"; got != want {
		t.Errorf("all of one name: %s\nwant %s", got, want)
	}
}

func TestPeerAnswers(t *testing.T) {
	a := PeerAnswer{URL: "http://a:2380", Kind: PeerEtcd, ClusterID: "c1", Members: cluster("a H", "b H").Members}
	if !a.Of("C1") || a.Of("c2") || a.Err() != nil || a.List() == nil || !a.List().Stale {
		t.Errorf("%+v", a)
	}
	for urls, want := range map[string]string{
		"http://b:2380": "id-b", "HTTP://B:2380/": "id-b", "http://b:2381": "", "https://b:2380": "", "": "", "http://a:2380 http://b:2380": "",
	} {
		if got := id(a.List().At(strings.Fields(urls))); got != want {
			t.Errorf("at %q is %q, not %q", urls, got, want)
		}
	}
	a = PeerAnswer{URL: "http://a:2380", Kind: PeerNobody, Detail: "connection refused", ClusterID: ""}
	if a.Of("") || a.List() != nil || a.Err() == nil || !strings.Contains(a.Err().Error(), "connection refused") {
		t.Errorf("%+v: %v", a, a.Err())
	}
}
