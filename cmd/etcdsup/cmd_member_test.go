package main

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// threeMembers are a leader, a follower and a dead one.
func threeMembers() *status.Members {
	peer := func(name, id string) status.Peer {
		return status.Peer{Name: name, ID: id, PeerURLs: []string{"http://10.0.0." + id + ":2380"}, ClientURLs: []string{"http://10.0.0." + id + ":2379"},
			Started: true, Healthy: true, Version: "3.7.3", Revision: 42, DBSize: 20 << 10}
	}
	l := &status.Members{ClusterID: "c1", Members: []status.Peer{peer("n1", "1"), peer("n2", "2"), peer("n3", "3")}}
	l.Members[0].Leader, l.Members[0].Self = true, true
	l.Members[2].Healthy, l.Members[2].Trouble = false, "context deadline exceeded"
	return l
}

func TestMemberList(t *testing.T) {
	dir := t.TempDir()
	newFakeDaemon(t, dir, status.Status{})
	r := in(t, dir, "member", "list")
	for _, want := range []string{"n1", "leader", "context deadline exceeded", "2 of 3 voters healthy, quorum 2: none may fail"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is missing in\n%s", want, r.out)
		}
	}
	if r = in(t, dir, "member", "list", "-o", "json"); !strings.Contains(r.out, `"cluster_id": "c1"`) {
		t.Errorf("JSON: %s", r.out)
	}
}

func TestMemberChanges(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		sent string // what reached the daemon besides the list
		err  string
	}{
		{"remove n3 --yes", exitOK, "member remove n3", ""},
		{"remove n2 --yes", exitFailure, "", "would lose its quorum"},
		{"remove n3", exitUsage, "", "--yes"}, // nobody can be asked
		{"remove n9 --yes", exitFailure, "", `cannot find member "n9"`},
		{"remove n2 --yes", exitFailure, "", "(now 2 of 3 voters healthy, quorum 2: none may fail; then 1 of 2 voters healthy, quorum 2: no writes)\n  → bring the other members back"},
		{"promote n1 --yes", exitFailure, "", "cannot promote member n1: it is a voter already\n"},
		{"update-url n1 http://10.0.0.9:2380 --yes", exitOK, "member update-url n1", ""},
		{"update-url n1 10.0.0.9:2380 --yes", exitUsage, "", "cannot use"},
		{"update-url n1 --yes", exitUsage, "", "typed as etcdsup member update-url MEMBER URL..."},
	} {
		t.Run(c.args, func(t *testing.T) {
			dir := t.TempDir()
			f := newFakeDaemon(t, dir, status.Status{})
			var sent string
			f.script = func(command string) error {
				if command != "members" {
					sent = command
				}
				return nil
			}
			r := in(t, dir, append([]string{"member"}, strings.Fields(c.args)...)...)
			if r.code != c.code || sent != c.sent || !strings.Contains(r.err, c.err) {
				t.Errorf("exit code %d, sent %q, error %q", r.code, sent, r.err)
			}
		})
	}
}

// TestMembersAreWaitedForInTime: nobody, and a daemon that says nothing, end the wait with exit code 4.
func TestMembersAreWaitedForInTime(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and answers nothing
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	url := "http://" + deaf.Addr().String()
	dir := t.TempDir()
	in(t, dir, "member", "list", "--endpoint", url, "-t", "50ms").want(t, exitTimeout, "", "cannot list the members: no answer from "+url+" within 50ms\n  → ")
	in(t, dir, "member", "remove", "n1", "--yes", "--endpoint", url, "-t", "50ms").want(t, exitTimeout, "", url)

	f := newFakeDaemon(t, dir, status.Status{})
	held := make(chan struct{})
	f.script = func(string) error { <-held; return nil }
	in(t, dir, "member", "list", "-t", "50ms").want(t, exitTimeout, "", "no answer from the daemon within 50ms")
	close(held)
	in(t, dir, "member", "list", "-t", "0s").want(t, exitUsage, "", "--timeout must be above 0")
	in(t, dir, "member", "list", "--endpoint", "foo").want(t, exitUsage, "", `cannot use "foo" as a client URL`)
}

// TestTheOnlyVoterStays: no figures say more, and there are no other members to bring back.
func TestTheOnlyVoterStays(t *testing.T) {
	l := &status.Members{Members: threeMembers().Members[:1]}
	order := status.MemberOrder{Op: status.MemberRemove, Member: "n1"}
	p, change, err := l.Judge(order)
	if err != nil {
		t.Fatal(err)
	}
	e, ok := errors.AsType[*control.Error](refusal(order, p, change))
	if !ok || strings.Contains(e.Message, "now 1") || !strings.Contains(e.Remedy, "etcdsup stop") {
		t.Errorf("%+v", e)
	}
}
