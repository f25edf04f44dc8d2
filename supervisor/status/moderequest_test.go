package status

import (
	"strings"
	"testing"
)

func TestModeRequestsAreValidated(t *testing.T) {
	force, join := ModeForceNewCluster, ModeJoin
	for _, c := range []struct {
		request ModeRequest
		want    string // part of the error; empty: it is sound
	}{
		{ModeRequest{Mode: force}, ""},
		{ModeRequest{Mode: force, From: "/backup/etcd.db", NewIdentity: true, BumpRevision: 1e9, AllowContact: true}, ""},
		{ModeRequest{Mode: force, Fenced: []string{"a", "10.0.0.1", "fe80::1%eth0"}, Peers: []string{"https://a:2380", "http://[::1]:2380"}}, ""},
		{ModeRequest{Mode: join}, ""},
		{ModeRequest{Mode: join, Endpoints: []string{"http://10.0.0.1:2379"}, Replace: true}, ""},

		{ModeRequest{}, "none is named"},
		{ModeRequest{Mode: "existing"}, `"existing"`},
		{ModeRequest{Mode: ModeNormal}, "every transition ends in it"},
		{ModeRequest{Mode: force, From: "backup"}, "absolute"},
		{ModeRequest{Mode: force, From: "/n\xff"}, "UTF-8"},
		{ModeRequest{Mode: force, BumpRevision: 7}, "without a new identity"},
		{ModeRequest{Mode: force, NewIdentity: true, BumpRevision: -7}, "by -7"},
		{ModeRequest{Mode: force, Fenced: []string{"http://a"}}, `"http://a"`},
		{ModeRequest{Mode: force, Fenced: []string{""}}, `""`},
		{ModeRequest{Mode: force, Peers: []string{"a:2380"}}, `"a:2380" as a peer URL`},
		{ModeRequest{Mode: force, Replace: true}, "for a join"},
		{ModeRequest{Mode: force, Endpoints: []string{"http://a:1"}}, "for a join"},
		{ModeRequest{Mode: join, Endpoints: []string{"http://a"}}, `"http://a" as a client URL`},
		{ModeRequest{Mode: join, Endpoints: []string{"http://a:1/x"}}, "client URL"},
		{ModeRequest{Mode: join, Endpoints: []string{"http://u:p@a:1"}}, "client URL"},
		{ModeRequest{Mode: join, From: "/x"}, "for force-new-cluster"},
		{ModeRequest{Mode: join, NewIdentity: true}, "for force-new-cluster"},
		{ModeRequest{Mode: join, BumpRevision: 1}, "for force-new-cluster"},
		{ModeRequest{Mode: join, Fenced: []string{"a"}}, "for force-new-cluster"},
		{ModeRequest{Mode: join, Peers: []string{"http://a:1"}}, "for force-new-cluster"},
		{ModeRequest{Mode: join, AllowContact: true}, "for force-new-cluster"},
	} {
		err := c.request.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.request, err, c.want)
		}
	}
}

func TestPlansAreConfirmedByTheirOwnWord(t *testing.T) {
	for _, c := range []struct {
		confirm, text string
		want          bool
	}{
		{"", "yes", true}, {"", "", false}, {"", "no", false},
		{"1c45", "1c45", true}, {"1c45", "yes", false}, {"1c45", "", false}, {"1c45", "1C45 ", false},
	} {
		if got := (&Plan{Confirm: c.confirm}).Confirmed(c.text); got != c.want {
			t.Errorf("%q for %q: %v", c.text, c.confirm, got)
		}
	}
}

func TestActorsInWords(t *testing.T) {
	for want, a := range map[string]Actor{
		"root (uid 0, PID 4711)": {PID: 4711, User: "root"},
		"uid 1007, PID 4711":     {UID: 1007, PID: 4711},
		"etcdsup":                {Daemon: true, PID: 1, User: "root"},
	} {
		if got := a.String(); got != want {
			t.Errorf("%+v is %q, want %q", a, got, want)
		}
	}
}
