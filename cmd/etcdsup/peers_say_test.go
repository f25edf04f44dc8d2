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
