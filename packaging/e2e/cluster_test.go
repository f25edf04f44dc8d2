package e2e

import (
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/packaging/lab"
	"github.com/etcdsup/etcdsup/supervisor/loadtest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestThreeHosts: one etcd becomes three while it is written to, loses two of them for good, and goes on as one. What
// that needs, such as a network of its own for a forced start, has to work in the unit's sandbox.
func TestThreeHosts(t *testing.T) {
	t.Parallel()
	var all []*service
	for _, h := range lab.BootAll(t, 3) {
		s := newService(t, h)
		s.configure("")
		s.install()
		all = append(all, s)
	}
	first, others := all[0], all[1:]
	first.put("a", "1")
	first.part(t, "join", func(t *testing.T, first *service) {
		puts := loadtest.Start(t, first.dial())
		for _, s := range others {
			t.Log(s.in(t).cli(0, "mode", "join", "--endpoint", first.client, "--yes"))
		}
		puts.Stop()
		t.Log(puts)
		puts.ExpectNoFailure(t)
		first.awaitMembers("3 of 3 voters healthy")
		for _, s := range all {
			s.in(t).expectKey("a", "1")
		}
	})
	first.part(t, "the others are lost", func(t *testing.T, first *service) {
		fenced := []string{"mode", "force-new-cluster", "--yes"}
		for _, s := range others {
			s.For(t).PowerCut()
			fenced = append(fenced, "--fenced", s.Addr())
		}
		first.awaitStatus("the loss of quorum", func(st *status.Status) bool { return !st.Ready && !st.Health.Quorum })
		t.Log(first.cli(0, fenced...))
		first.awaitMembers("1 of 1 voters healthy")
		first.expectKey("a", "1")
		first.put("b", "2")
	})
	first.part(t, "one comes back", func(t *testing.T, first *service) {
		s := others[0].in(t)
		s.Up()
		s.awaitStatus("an answer", func(*status.Status) bool { return true })
		t.Log(s.cli(0, "mode", "join", "--endpoint", first.client, "--yes"))
		first.awaitMembers("2 of 2 voters healthy")
		s.expectKey("b", "2")
	})
}

// awaitMembers waits until the host's own etcd tells so of its cluster: whoever is slow to answer is not healthy.
func (s *service) awaitMembers(count string) {
	s.t.Helper()
	s.await(count, func() bool {
		list, _, _ := s.Exec(binary, "member", "list")
		return strings.Contains(list, count)
	})
}
