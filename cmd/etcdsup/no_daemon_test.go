package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// TestAnEtcdThatLivesAloneIsNamed though no record has its identity: it holds the start lock, and has the instance's token.
func TestAnEtcdThatLivesAloneIsNamed(t *testing.T) {
	dir := t.TempDir()
	state, token := filepath.Join(dir, "state"), process.NewToken()
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	record := fmt.Sprintf(`{"version": 1, "token": %q, "goal": "up"}`, token)
	if err := os.WriteFile(supervisor.RecordPath(state), []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := process.LockDir(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	etcd := exec.CommandContext(t.Context(), "sleep", "1h")
	etcd.Env = []string{process.TokenEnv + "=" + token}
	etcd.ExtraFiles = []*os.File{lock}
	if err := etcd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = etcd.Process.Kill()
		_ = etcd.Wait()
	}()
	_ = lock.Close()
	in(t, dir, "status").want(t, exitNoDaemon, "", fmt.Sprintf("but its etcd lives, PID %d: ", etcd.Process.Pid))
	in(t, dir, "stop").want(t, exitNoDaemon, "", "→ take it over: ")
	var told struct{ PID int }
	r := in(t, dir, "status", "-o", "json")
	if err := json.Unmarshal([]byte(r.err), &told); err != nil || told.PID != etcd.Process.Pid {
		t.Errorf("%v: %s", err, r.err)
	}
}

// TestServicesThatSystemdStartsAgain need no systemctl start: they are read off what systemctl show prints.
func TestServicesThatSystemdStartsAgain(t *testing.T) {
	for properties, want := range map[string]bool{
		"Result=exit-code ActiveState=activating SubState=auto-restart": true,
		"Result=exit-code ActiveState=deactivating SubState=stop-post":  true, // where the wait before the next start is
		"Result=success ActiveState=deactivating SubState=stop-post":    false,
		"Result=signal ActiveState=failed SubState=failed":              false,
		"Result=success ActiveState=inactive SubState=dead":             false,
		"": false,
	} {
		if got := isToStart(strings.Fields(properties)); got != want {
			t.Errorf("%s: %v", properties, got)
		}
	}
}
