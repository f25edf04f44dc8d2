package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/porttest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestChangedPeerURLIsOffered: a peer URL that is configured and that the cluster does not list is told by status, by
// config check, with and without a daemon, and once in the log, each with the command that mends it.
func TestChangedPeerURLIsOffered(t *testing.T) {
	t.Parallel()
	in := newHost(t, "n1", "127.0.0.1")
	d := in.run()
	in.awaitReady()
	before, err := os.ReadFile(in.file)
	if err != nil {
		t.Fatal(err)
	}
	peer := "http://" + porttest.Addr(t, "127.0.0.1")
	in.configure(string(before) + fmt.Sprintf("    initial-advertise-peer-urls: %s\n    listen-peer-urls: %[1]s\n", peer))
	file, err := os.ReadFile(in.file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(file), "    listen-peer-urls:")
	_, tail, _ := strings.Cut(rest, "\n")
	in.configure(head + tail) // the one URL in place of the other
	if r := in.expect(0, "config", "check"); !strings.Contains(r.err, "member update-url") || !strings.Contains(r.err, peer) {
		t.Errorf("config check: %s%s", r.out, r.err)
	}
	d.signal(syscall.SIGHUP)
	var command []string
	await(t, "the notice", patience, func() bool {
		st, err := in.control().Status(t.Context(), true)
		if err != nil || len(st.Notices) == 0 {
			return false
		}
		_, after, _ := strings.Cut(st.Notices[0].Remedy, " member ")
		command = append([]string{"member"}, strings.Fields(after)...)
		return true
	})
	if r := in.expect(0, "status"); !strings.Contains(r.out, "member update-url") {
		t.Errorf("status:\n%s", r.out)
	}
	if n := strings.Count(d.stderr(), "not as configured"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	in.leave(d)
	if r := in.expect(0, "config", "check"); !strings.Contains(r.err, "member update-url") {
		t.Errorf("config check without a daemon: %s%s", r.out, r.err)
	}
	d = in.run()
	in.awaitReady()
	in.expect(0, append(command, "--yes")...)
	await(t, "the end of the notice", patience, func() bool {
		st, err := in.control().Status(t.Context(), true)
		return err == nil && st.Member != nil && len(st.Notices) == 0 && len(st.Member.PeerURLs) == 1 && st.Member.PeerURLs[0] == peer
	})
	if r := in.expect(0, "config", "check"); strings.Contains(r.err, "update-url") {
		t.Errorf("config check: %s", r.err)
	}
	in.awaitStatus("ready", patience, func(st *status.Status) bool { return st.Ready })
	in.leave(d)
}
