package supervisor

import (
	"slices"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

const (
	ourURL   = "http://10.0.0.1:2380"
	theirURL = "http://10.0.0.2:2380"
)

// ours is a directory of member a in cluster c, as far as it is known.
func ours() *datadir.Report {
	return &datadir.Report{
		Path: "/data", Kind: datadir.KindDirectory, ClusterID: "c", MemberID: "a", Role: datadir.RoleVoter,
		Raft: &datadir.Raft{Term: 2, LastIndex: 15}, DB: &datadir.DB{Verdict: datadir.VerdictOK, ConsistentIndex: 15, Revision: 9},
	}
}

var known = Mark{ClusterID: "c", MemberID: "a", Term: 2, Index: 15, Revision: 9, Dir: someMark.Dir}

// The directories that a start may find.
var directories = map[string]func() *datadir.Report{
	"missing or empty": func() *datadir.Report { return &datadir.Report{Path: "/data", Kind: datadir.KindEmpty} },
	"begun and empty": func() *datadir.Report {
		return &datadir.Report{Path: "/data", Kind: datadir.KindDirectory, Findings: []datadir.Finding{{Code: datadir.CodeEmpty, Severity: datadir.SeverityNote}}}
	},
	"ours":        ours,
	"ours newer":  changed(func(r *datadir.Report) { r.Raft.Term, r.Raft.LastIndex, r.DB.Revision = 3, 99, 99 }),
	"ours behind": changed(func(r *datadir.Report) { r.DB.ConsistentIndex, r.DB.Revision = 5, 2 }), // after a crash
	"ours with warnings": changed(func(r *datadir.Report) {
		r.Findings = []datadir.Finding{{Code: datadir.CodeDBOneMeta, Severity: datadir.SeverityWarning}, {Code: datadir.CodeWALTorn, Severity: datadir.SeverityNote}}
	}),
	"other cluster":  changed(func(r *datadir.Report) { r.ClusterID = "x" }),
	"other member":   changed(func(r *datadir.Report) { r.MemberID = "x" }),
	"older term":     changed(func(r *datadir.Report) { r.Raft.Term = 1 }),
	"older index":    changed(func(r *datadir.Report) { r.Raft.LastIndex, r.DB.ConsistentIndex = 14, 14 }),
	"older revision": changed(func(r *datadir.Report) { r.DB.Revision = 8 }),
	"db without WAL": changed(func(r *datadir.Report) {
		r.Raft, r.ClusterID, r.MemberID = nil, "", ""
		r.Findings = []datadir.Finding{{Code: datadir.CodeWALMissing, Severity: datadir.SeverityHeld, Title: "no WAL", Remedy: "put it back"}}
	}),
	"removed":  finding(datadir.CodeRemoved),
	"damaged":  finding(datadir.CodeWALDamaged),
	"mixed up": finding(datadir.CodeForeignDB),
	"hot":      changed(func(r *datadir.Report) { r.Hot = true }),
}

func changed(f func(*datadir.Report)) func() *datadir.Report {
	return func() *datadir.Report { r := ours(); f(r); return r }
}

func finding(code datadir.Code) func() *datadir.Report {
	return changed(func(r *datadir.Report) {
		r.Findings = []datadir.Finding{
			{Code: datadir.CodeLeftovers, Severity: datadir.SeverityNote},
			{Code: code, Severity: datadir.SeverityHeld, Title: "what is wrong", Evidence: []string{"here", "there"}, Remedy: "mend it"},
		}
	})
}

// The marks that a start may go by.
var marks = map[string]Mark{"none": {}, "ours": known, "cluster only": {ClusterID: "c"}}

// list is what peers of cluster c say; the last member is ours by its URL, if id is not empty.
func list(cluster, id, name string, started bool) *status.Members {
	l := &status.Members{ClusterID: cluster, Members: []status.Peer{{ID: "b", Name: "n2", PeerURLs: []string{theirURL}, Started: true}}}
	if id != "" {
		l.Members = append(l.Members, status.Peer{ID: id, Name: name, PeerURLs: []string{ourURL}, Started: started})
	}
	return l
}

// What the peers may say.
var peersSay = map[string]*status.Members{
	"nothing":        nil,
	"not listed":     list("c", "", "", false),
	"started":        list("c", "a", "n1", true),
	"static":         list("c", "a", "n1", false),
	"added":          list("c", "z", "", false),
	"replaced":       list("c", "z", "n1", true),
	"other cluster":  list("y", "z", "n1", true),
	"other unlisted": list("y", "", "", false),
	"elsewhere":      {ClusterID: "C", Members: []status.Peer{{ID: "A", PeerURLs: []string{"http://10.0.0.9:2380"}, Started: true}}},
}

const (
	goOn      = CodeOwnData
	first     = CodeFirstStart
	empty     = string(datadir.CodeEmpty)
	other     = string(datadir.CodeOtherMember)
	older     = string(datadir.CodeOlder)
	everyMark = "none, ours, cluster only"
	everySay  = "nothing, not listed, started, static, added, replaced, other cluster, other unlisted, elsewhere"
)

// table of the start decision: which mark, what is in the directory, what the peers say, whether it joins → the code.
var starts = []struct{ mark, dir, peers, join, code string }{
	// Nobody writes there but us.
	{everyMark, "hot", everySay, "no, yes", CodeInUse},

	// A member was here, and is not any more.
	{"ours", "missing or empty, begun and empty", everySay, "no, yes", empty},
	// Nobody has been here: a new cluster, once, unless the peers know better.
	{"none", "missing or empty, begun and empty", "nothing", "no, yes", first},
	{"none", "missing or empty, begun and empty", "static", "no, yes", first},
	{"none", "missing or empty, begun and empty", "not listed, other unlisted, elsewhere", "no", CodeClusterRuns},
	{"none", "missing or empty, begun and empty", "not listed, other unlisted, elsewhere", "yes", CodeNotListed},
	{"none", "missing or empty, begun and empty", "started, replaced, other cluster", "no, yes", CodeDataLost},
	{"none", "missing or empty, begun and empty", "added", "no", CodeAdded},
	{"none", "missing or empty, begun and empty", "added", "yes", first},
	// It is to be a member of a cluster that is named: never of a new one.
	{"cluster only", "missing or empty, begun and empty", everySay, "no", CodeClusterRuns},
	{"cluster only", "missing or empty, begun and empty", "nothing, static, added", "yes", first},
	{"cluster only", "missing or empty, begun and empty", "not listed, other unlisted, elsewhere", "yes", CodeNotListed},
	{"cluster only", "missing or empty, begun and empty", "started, replaced, other cluster", "yes", CodeDataLost},

	// Not who was here, or not as far.
	{"ours", "other cluster, other member", everySay, "no, yes", other},
	{"cluster only", "other cluster", everySay, "no, yes", other},
	{"ours", "older term, older index, older revision", everySay, "no, yes", older},
	// Something is wrong with it, whoever it is.
	{everyMark, "db without WAL", everySay, "no, yes", string(datadir.CodeWALMissing)},
	{everyMark, "removed", everySay, "no, yes", string(datadir.CodeRemoved)},
	{everyMark, "damaged", everySay, "no, yes", string(datadir.CodeWALDamaged)},
	{everyMark, "mixed up", everySay, "no, yes", string(datadir.CodeForeignDB)},

	// Our own, or one that nobody knows anything against.
	{everyMark, "ours, ours newer, ours behind, ours with warnings", "nothing, started, static, elsewhere", "no, yes", goOn},
	{"none, cluster only", "older term, older index, older revision", "nothing, started, static, elsewhere", "no, yes", goOn},
	{everyMark, "ours, ours newer, ours behind, ours with warnings", "not listed", "no, yes", CodeNotListed},
	{"none, cluster only", "older term, older index, older revision", "not listed", "no, yes", CodeNotListed},
	{everyMark, "ours, ours newer, ours behind, ours with warnings", "added, replaced", "no, yes", CodePlaceTaken},
	{"none, cluster only", "older term, older index, older revision", "added, replaced", "no, yes", CodePlaceTaken},
	{everyMark, "ours, ours newer, ours behind, ours with warnings", "other cluster, other unlisted", "no, yes", CodeOtherCluster},
	{"none, cluster only", "older term, older index, older revision", "other cluster, other unlisted", "no, yes", CodeOtherCluster},
	// Another one's, of which nobody knows that it should not be here, until the peers are asked.
	{"none", "other cluster, other member", "nothing", "no, yes", goOn},
	{"none", "other cluster", "not listed, started, static, added, replaced, other cluster, other unlisted, elsewhere", "no, yes", CodeOtherCluster},
	{"none, cluster only", "other member", "other cluster, other unlisted", "no, yes", CodeOtherCluster},
	{"cluster only", "other member", "nothing", "no, yes", goOn},
	{"none, cluster only", "other member", "started, static, added, replaced", "no, yes", CodePlaceTaken},
	{"none, cluster only", "other member", "not listed, elsewhere", "no, yes", CodeNotListed},
}

// twins are whether the member of the data answers elsewhere. It matters only to a start that nothing else holds.
var twins = map[string]*Twin{"here": nil, "elsewhere": {URL: "http://10.0.0.9:2380", Of: list("c", "a", "n1", true)}}

// wantedStart is the one row of the table that covers a cell.
func wantedStart(t *testing.T, cell [4]string) string {
	t.Helper()
	code, rows := "", 0
	for _, row := range starts {
		if has(row.mark, cell[0]) && has(row.dir, cell[1]) && has(row.peers, cell[2]) && has(row.join, cell[3]) {
			code = row.code
			rows++
		}
	}
	if rows != 1 {
		t.Errorf("%q: %d rows of the table say something", cell, rows)
	}
	return code
}

func has(cell, word string) bool { return slices.Contains(strings.Split(cell, ", "), word) }

// TestEveryStart holds every cell of the table, and what is true of each decision.
func TestEveryStart(t *testing.T) {
	n := 0
	for mark, k := range marks {
		for dir, report := range directories {
			for say, peers := range peersSay {
				for _, join := range []string{"no", "yes"} {
					for where, twin := range twins {
						d := Decide(Circumstances{Known: k, Report: report(), Peers: peers, PeerURLs: []string{ourURL}, Twin: twin, Join: join == "yes", Recent: true, Dir: k.Dir})
						cell := [4]string{mark, dir, say, join}
						want := wantedStart(t, cell)
						if want == goOn && twin != nil {
							want = CodeTwin
						}
						if d.Code != want {
							t.Errorf("%q, alive %s: %s (%s), want %s", cell, where, d.Code, d.Held, want)
						}
						checkDecision(t, cell, d)
						n++
					}
				}
			}
		}
	}
	if want := len(marks) * len(directories) * len(peersSay) * len(twins) * 2; n != want {
		t.Errorf("%d cells, not %d", n, want)
	}
}

func checkDecision(t *testing.T, cell [4]string, d Decision) {
	t.Helper()
	isEmptyDir := strings.Contains(cell[1], "empty")
	switch {
	case d.Look:
		t.Errorf("%q: somebody has looked", cell)
	case d.Start && (d.Held != "" || d.Next != "" || d.Cause != ""):
		t.Errorf("%q: started and held: %+v", cell, d)
	case d.Start && d.First != isEmptyDir:
		t.Errorf("%q: first start is %v", cell, d.First)
	case !d.Start && (d.First || d.Cause == "" || !strings.Contains(d.Held, "/data") && !strings.Contains(d.Held, "this host") || !strings.Contains(d.Held, "looked at again every 5m")):
		t.Errorf("%q: %+v", cell, d)
	case !d.Start && !strings.Contains(d.Next, "etcdsup "):
		t.Errorf("%q: no next command: %+v", cell, d)
	case d.Start && isEmptyDir && cell[0] == "ours":
		t.Errorf("%q: begun anew where a member was", cell)
	}
}

// TestARestartIsDecidedByTheFingerprint: only that of our own etcd which has just ended spares the look.
func TestARestartIsDecidedByTheFingerprint(t *testing.T) {
	at := known.Dir
	with := func(f func(*Fingerprint)) Fingerprint { x := at; f(&x); return x }
	for name, c := range map[string]struct {
		recent bool
		dir    Fingerprint
		known  Mark
		look   bool
	}{
		"as it was":                    {true, at, known, false},
		"old segments removed by etcd": {true, with(func(f *Fingerprint) { f.First = "0000000000000003-0000000000000400.wal" }), known, false},
		"long ago":                     {false, at, known, true},
		"another directory":            {true, with(func(f *Fingerprint) { f.Dir.Ino++ }), known, true},
		"another device":               {true, with(func(f *Fingerprint) { f.Dir.Dev++ }), known, true},
		"another db":                   {true, with(func(f *Fingerprint) { f.DB.Ino++ }), known, true},
		"another WAL":                  {true, with(func(f *Fingerprint) { f.WAL.Ino++ }), known, true},
		"no db":                        {true, with(func(f *Fingerprint) { f.DB = FileID{} }), known, true},
		"no segment":                   {true, with(func(f *Fingerprint) { f.First = "" }), known, true},
		"missing":                      {true, Fingerprint{}, known, true},
		"nothing known":                {true, at, Mark{}, true},
		"nothing known, nothing there": {true, Fingerprint{}, Mark{}, true},
		"older segments than known": {true, at, func() Mark {
			m := known
			m.Dir.First = "0000000000000003-0000000000000400.wal"
			return m
		}(), true},
	} {
		d := Decide(Circumstances{Known: c.known, Recent: c.recent, Dir: c.dir})
		if d.Look != c.look || d.Start == c.look || d.First || d.Held != "" {
			t.Errorf("%s: %+v, want a look: %v", name, d, c.look)
		}
	}
}

// TestHeldSaysWhatIsWrong takes a few sentences as people read them.
func TestHeldSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		c          Circumstances
		cause      status.Cause
		held, next string
	}{
		{
			Circumstances{Known: known, Report: directories["missing or empty"]()}, status.CauseData,
			"/data is empty, but member a of cluster c was here, at revision 9; looked at again every 5m",
			"mount or put back the directory, then etcdsup start; if it is lost and others of the cluster live: etcdsup mode join; if this is what is meant: etcdsup start --accept-data",
		},
		{
			Circumstances{Report: ours(), PeerURLs: []string{ourURL}, Twin: &Twin{theirURL, among("a", "http://n2:2379")}}, status.CauseIdentity,
			"/data is of member a of cluster c, which is alive at http://10.0.0.2:2380, and this host is to be at http://10.0.0.1:2380: two etcds would be one member; looked at again every 5m",
			"etcdsup mode join --endpoint http://n2:2379, which sets this directory aside and has the host join anew; to move the member here: stop that etcd for good, then etcdsup start; if another member has that address by now: etcdsup member update-url --endpoint http://n2:2379 a http://10.0.0.1:2380",
		},
		{
			Circumstances{Known: known, Report: directories["older index"]()}, status.CauseData,
			"/data: older than what was here before: the member would forget what it has promised (index 14, recorded 15); looked at again every 5m",
			"put the newer directory back, then etcdsup start; a member of several joins anew: etcdsup mode join; if this is what is meant: etcdsup start --accept-data",
		},
		{
			Circumstances{Report: directories["damaged"]()}, status.CauseData,
			"/data: what is wrong (here; there); looked at again every 5m", "mend it; then etcdsup start; see etcdsup inspect",
		},
		{
			Circumstances{Report: ours(), Peers: peersSay["replaced"], PeerURLs: []string{ourURL}}, status.CauseIdentity,
			"/data is of member a, and cluster c has member z in its place; looked at again every 5m",
			"etcdsup mode join, which sets this directory aside and has the host join anew",
		},
		{
			Circumstances{Report: ours(), Peers: among("z", "http://n2:2379"), PeerURLs: []string{ourURL}}, status.CauseIdentity,
			"/data is of member a, which cluster c does not have any more; looked at again every 5m",
			"etcdsup mode join --endpoint http://n2:2379, which sets this directory aside and has the host join anew",
		},
	} {
		d := Decide(c.c)
		if d.Cause != c.cause || d.Held != c.held || d.Next != c.next {
			t.Errorf("got  %s: %s → %s\nwant %s: %s → %s", d.Cause, d.Held, d.Next, c.cause, c.held, c.next)
		}
	}
}

// TestAnotherToken: the ID under which the peers list this host tells whether it would begin the same cluster. The figures
// are of an etcd with one member at that URL.
func TestAnotherToken(t *testing.T) {
	const id = "8e9e05c52164694d"
	for _, tt := range []struct{ token, want string }{{"etcd-cluster", CodeFirstStart}, {"another", CodeOtherToken}, {"", CodeFirstStart}} {
		peers := &status.Members{ClusterID: "c", Members: []status.Peer{{ID: id, Name: "default", PeerURLs: []string{"http://localhost:2380"}}}}
		c := Circumstances{Report: directories["missing or empty"](), Peers: peers, PeerURLs: []string{"http://localhost:2380"}, Token: tt.token}
		if d := Decide(c); d.Code != tt.want || d.Code == CodeOtherToken && (d.Start || d.Next == "") {
			t.Errorf("%q: %+v", tt.token, d)
		}
		c.Join = true
		if d := Decide(c); d.Code != CodeFirstStart {
			t.Errorf("%q, in a join: %+v", tt.token, d)
		}
	}
}

// among is cluster c with one member elsewhere, which clients reach at that URL.
func among(id, clientURL string) *status.Members {
	return &status.Members{ClusterID: "c", Members: []status.Peer{{ID: id, PeerURLs: []string{"http://n2:2380"}, ClientURLs: []string{clientURL}, Started: true}}}
}
