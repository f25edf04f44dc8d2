package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/porttest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestRunFromNothing is a user's first minute. The ports come from the environment only since the usual ones may be
// taken on the host that tests.
func TestRunFromNothing(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	client := "http://" + porttest.Addr(t, "127.0.0.1")
	in.extra = []string{"ETCDSUP_ETCD_ARGS_LISTEN_CLIENT_URLS=" + client,
		"ETCDSUP_ETCD_ARGS_LISTEN_PEER_URLS=http://" + porttest.Addr(t, "127.0.0.1")}
	d := in.run()
	first := in.awaitMember()
	expectGreeting(t, d.stdout(), in, client)
	c := dial(t, client)
	put(t, c, "a", "1")
	if got := get(t, c, "a"); got != "1" {
		t.Errorf("got %q, not what was put", got)
	}
	expectScreen(t, in.expect(0, "status").out, first)
	in.leave(d)

	d = in.run()
	second := in.awaitMember()
	if first.Member.ID != second.Member.ID || first.Member.ClusterID != second.Member.ClusterID {
		t.Errorf("member %s of %s became %s of %s", first.Member.ID, first.Member.ClusterID, second.Member.ID, second.Member.ClusterID)
	}
	if got := get(t, c, "a"); got != "1" {
		t.Errorf("got %q after the second run, not what was put before", got)
	}
	in.leave(d)
}

func (in *instance) awaitMember() *status.Status {
	in.t.Helper()
	return in.awaitStatus("ready, and known", patience, func(st *status.Status) bool { return st.Ready && st.Member != nil })
}

// expectGreeting wants every place, and commands that work as they are printed.
func expectGreeting(t *testing.T, text string, in *instance, client string) {
	t.Helper()
	for _, part := range []string{in.data, in.dir + "/log/etcd.log", client, "logs -f", "Ctrl-C"} {
		if !strings.Contains(text, part) {
			t.Errorf("the greeting lacks %q:\n%s", part, text)
		}
	}
	if n := strings.Count(text, "\n"); n > 12 {
		t.Errorf("the greeting has %d lines", n)
	}
	if _, err := os.Stat(in.dir + "/log/etcd.log"); err != nil {
		t.Error(err)
	}
	_, rest, _ := strings.Cut(text, "try next")
	line, _, _ := strings.Cut(rest, "\n")
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = append([]string{"PATH=" + filepath.Dir(program) + ":" + os.Getenv("PATH"), "HOME=" + in.root}, in.extra...)
	if r := finish(t, cmd); r.code != 0 || !strings.Contains(r.out, "ready") {
		t.Errorf("%q, as the greeting says: exit code %d\n%s%s", line, r.code, r.out, r.err)
	}
}

func expectScreen(t *testing.T, text string, st *status.Status) {
	t.Helper()
	for _, part := range []string{"ready", st.Member.ID, st.Member.ClusterID, "leader"} {
		if !strings.Contains(text, part) {
			t.Errorf("status lacks %q:\n%s", part, text)
		}
	}
}
