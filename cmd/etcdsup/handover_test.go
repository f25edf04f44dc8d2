package main

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestRelayIsBeforeWhatTakesLong: nobody reads etcd's output while the new executable initialises what is linked in with
// the built-in etcd, unless the linker puts package relay before it. It does as long as relay depends on little.
func TestRelayIsBeforeWhatTakesLong(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	seen := false
	var before []string
	for line := range strings.Lines(trace.String()) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "init" {
			continue
		}
		if seen = seen || words[1] == module+"/cmd/etcdsup/relay"; seen {
			break
		}
		before = append(before, words[1])
	}
	if !seen {
		t.Fatalf("relay is not initialised at all:\n%s", trace.Bytes())
	}
	for _, long := range []string{
		"go.etcd.io/etcd/server/v3/etcdserver", "go.etcd.io/etcd/server/v3/embed", "go.etcd.io/etcd/client/v3", "google.golang.org/grpc",
		"github.com/prometheus/client_golang/prometheus", "github.com/spf13/cobra", module + "/config",
	} {
		if slices.Contains(before, long) {
			t.Errorf("%s is initialised before relay", long)
		}
	}
}
