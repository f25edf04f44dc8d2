package main

import (
	"slices"
	"testing"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

func TestOtherPeers(t *testing.T) {
	c := &config.Config{Etcd: config.Etcd{Args: []config.Arg{
		{Name: "initial-cluster", Values: []string{"a=http://a:1", "b=http://b:1", "a=http://a:2", "c=http://c:1"}}, {Name: "name", Values: []string{"a"}},
	}}}
	known := &datadir.Report{MemberID: "1", Members: []datadir.Member{{ID: "1", PeerURLs: []string{"http://a:1"}}, {ID: "2", PeerURLs: []string{"http://x:1", "http://x:2"}}}}
	alone := &datadir.Report{MemberID: "1", Members: known.Members[:1]}
	for _, tt := range []struct {
		r    *datadir.Report
		want []string
	}{
		{&datadir.Report{Kind: datadir.KindEmpty}, []string{"http://b:1", "http://c:1"}},
		{known, []string{"http://x:1", "http://x:2"}},
		{alone, nil}, // whatever the configuration still says of the cluster that it was in
	} {
		if got := otherPeers(c, tt.r); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %q, want %q", tt.r, got, tt.want)
		}
	}
}

func TestPeersAreBelievedWhereTheyAgree(t *testing.T) {
	says := func(cluster string, started ...bool) status.PeerAnswer {
		a := status.PeerAnswer{Kind: status.PeerEtcd, ClusterID: cluster}
		for i, s := range started {
			a.Members = append(a.Members, status.Peer{ID: string(rune('1' + i)), Started: s})
		}
		return a
	}
	down := status.PeerAnswer{Kind: status.PeerNobody}
	for name, tt := range map[string]struct {
		answers []status.PeerAnswer
		want    int // members; -1: nobody is believed
	}{
		"nobody asked":        {nil, -1},
		"nobody answers":      {[]status.PeerAnswer{down, down}, -1},
		"one answers":         {[]status.PeerAnswer{down, says("c", true, true)}, 2},
		"all agree":           {[]status.PeerAnswer{says("c", true, false), says("C", true, false)}, 2},
		"one lags":            {[]status.PeerAnswer{says("c", true, true, false), says("c", true, true)}, -1},
		"one has seen it run": {[]status.PeerAnswer{says("c", true, true), says("c", true, false)}, -1},
		"two clusters":        {[]status.PeerAnswer{says("c", true), says("d", true)}, -1},
	} {
		got := agreed(tt.answers)
		if (got == nil) != (tt.want < 0) || got != nil && len(got.Members) != tt.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestTwin: the member of the data is looked for where the cluster says that it is, or else where the data does, and not at
// all where this host is there.
func TestTwin(t *testing.T) {
	data := &datadir.Report{ClusterID: "c", MemberID: "1", Members: []datadir.Member{{ID: "1", PeerURLs: []string{"http://a:1"}}, {ID: "2", PeerURLs: []string{"http://b:1"}}}}
	at := func(id string, urls ...string) *status.Members {
		return &status.Members{ClusterID: "c", Members: []status.Peer{{ID: id, PeerURLs: urls}, {ID: "2", PeerURLs: []string{"http://b:1"}}}}
	}
	for name, tt := range map[string]struct {
		own   string
		list  *status.Members
		alive map[string]string // URL: cluster that answers there
		want  string            // where the twin is; empty: there is none
		asks  int               // how many that were not asked before
	}{
		"rebooted":                          {"http://a:1", nil, map[string]string{"http://a:1": "c"}, "", 0},
		"rebooted, written otherwise":       {"HTTP://A:1/", nil, map[string]string{"http://a:1": "c"}, "", 0},
		"rebooted, listed":                  {"http://a:1", at("1", "http://a:1"), map[string]string{"http://a:1": "c"}, "", 0},
		"one address of two":                {"http://a:2", at("1", "http://a:1", "http://a:2"), map[string]string{"http://a:1": "c"}, "", 0},
		"moved and updated":                 {"http://a:2", at("1", "http://a:2"), map[string]string{"http://a:1": "c"}, "", 0},
		"moved, nobody left behind":         {"http://a:2", at("1", "http://a:1"), nil, "", 0},
		"moved, another cluster there":      {"http://a:2", nil, map[string]string{"http://a:1": "x"}, "", 0},
		"copy of a lone member":             {"http://d:1", nil, map[string]string{"http://a:1": "C"}, "http://a:1", 0},
		"copy of one of several":            {"http://d:1", at("1", "http://a:1"), map[string]string{"http://a:1": "c"}, "http://a:1", 0},
		"older copy, the member has moved":  {"http://d:1", at("1", "http://e:1"), map[string]string{"http://a:1": "c", "http://e:1": "c"}, "http://e:1", 1},
		"older copy, the member is removed": {"http://d:1", at("3", "http://e:1"), nil, "", 0},
		"no address of its own":             {"", nil, map[string]string{"http://a:1": "c"}, "", 0},
	} {
		own := &status.Peer{}
		if tt.own != "" {
			own.PeerURLs = []string{tt.own}
		}
		asked := 0
		ask := func(urls []string) (all []status.PeerAnswer) {
			asked += len(urls)
			for _, u := range urls {
				a := status.PeerAnswer{URL: u, Kind: status.PeerNobody}
				if c := tt.alive[u]; c != "" {
					a.Kind, a.ClusterID = status.PeerEtcd, c
				}
				all = append(all, a)
			}
			return all
		}
		answers := ask(elsewhere(data, nil, own))
		asked = 0
		got := twin(data, elsewhere(data, tt.list, own), answers, ask)
		if (got == nil) != (tt.want == "") || got != nil && got.URL != tt.want || asked != tt.asks {
			t.Errorf("%s: %+v, %d asked; want %q, %d", name, got, asked, tt.want, tt.asks)
		}
	}
}
