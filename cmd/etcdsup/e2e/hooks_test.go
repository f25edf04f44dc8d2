package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestHooks: after a rebuild the hooks are run and told what has happened; one that fails is said and undoes nothing. One
// that a killed etcdsup had begun is not run again, and that is said too.
func TestHooks(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	told, began, goOn := filepath.Join(in.root, "told"), filepath.Join(in.root, "began"), filepath.Join(in.root, "go")
	in.configureEtcd(fmt.Sprintf(`hooks:
  after_rebuild:
    - env | grep ^ETCDSUP_ | sort > %s; echo said
    - [%s, mode]
    - "echo no >&2; exit 3"
    - echo >> %s; while [ ! -e %s ]; do sleep 0.1; done
    - [echo, last]
`, told, program, began, goOn))
	d := in.run()
	in.awaitReady()
	client := dial(t, in.client)
	revision := fillKeys(t, client, 10)
	before, err := client.MemberList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in.expect(0, "mode", "force-new-cluster", "--yes", "--detach")
	await(t, "the hook that waits", 2*patience, func() bool { _, err := os.Stat(began); return err == nil })
	d.kill()
	d = in.run()
	last := in.awaitMode()
	expectHooks(t, last)
	if times, err := os.ReadFile(began); err != nil || string(times) != "\n" {
		t.Errorf("the hook ran more than once: %q, %v", times, err)
	}
	if err := os.WriteFile(goOn, nil, 0o600); err != nil { // it is left to itself by a kill
		t.Fatal(err)
	}
	in.awaitReady()
	expectKeys(t, client, 10, revision)
	expectTold(t, told, map[string]string{
		"INSTANCE": "default", "DATA_DIR": in.data, "CLUSTER_ID_BEFORE": fmt.Sprintf("%x", before.Header.ClusterId), "CLUSTER_ID_AFTER": fmt.Sprintf("%x", before.Header.ClusterId),
		"REVISION_BEFORE": fmt.Sprint(revision), "CLIENT_URLS": in.client, "TRANSITION": last.ID,
	})
	if r := in.expect(0, "history", "--audit", "-n", "100"); !strings.Contains(r.out, "exit code 3") {
		t.Errorf("audit:\n%s", r.out)
	}
	in.leave(d)
}

func expectHooks(t *testing.T, last *status.Transition) {
	t.Helper()
	var outcomes []string
	for _, h := range last.Hooks {
		outcomes = append(outcomes, string(h.Outcome))
	}
	if got := strings.Join(outcomes, " "); last.Outcome != status.OutcomeDone || got != "done done failed interrupted done" {
		t.Fatalf("%s: %+v", got, last)
	}
	h := last.Hooks
	if h[0].Stdout != "said\n" || !strings.Contains(h[1].Stdout, "hook-2") || h[2].Stderr != "no\n" || h[2].Detail != "exit code 3" || h[4].Stdout != "last\n" {
		t.Errorf("%+v", h)
	}
	if said := strings.Join(last.Result, "\n"); !strings.Contains(said, "has one voter") || strings.Count(said, "run it by hand") != 2 {
		t.Errorf("said: %s", said) // what the etcdsup had proven that was killed, and what came of the hooks
	}
}

func expectTold(t *testing.T, file string, want map[string]string) {
	t.Helper()
	env, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range want {
		if !strings.Contains(string(env), "ETCDSUP_"+name+"="+value+"\n") {
			t.Errorf("without %s=%s:\n%s", name, value, env)
		}
	}
	if strings.Contains(string(env), "ETCDSUP_TOKEN") {
		t.Error("a hook has the token of etcd's own processes")
	}
}
