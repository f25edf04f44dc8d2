package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/control"
)

// TestReloadOfAFaultyFile is told as every fault of a configuration: with its code, its place, and one remedy each.
func TestReloadOfAFaultyFile(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	fault := config.Problem{File: "c.yaml", Line: 3, Column: 3, Key: "log.max_siez", What: "cannot use log.max_siez", Remedy: "write log.max_size"}
	f.script = func(string) error { return (&daemon{g: &globals{}}).refusedReload(config.Problems{fault}) }
	r := in(t, f.dir, "reload")
	r.want(t, exitConfig, "", "etcdsup: cannot reload, the old configuration stays in force: the configuration has 1 fault\n\nc.yaml:3:3: cannot use log.max_siez\n")
	if strings.Count(r.err, "→") != 1 || !strings.HasSuffix(r.err, "  → write log.max_size\n") {
		t.Errorf("not one remedy: %s", r.err)
	}
	r = in(t, f.dir, "reload", "-o", "json")
	var told struct {
		Code     string
		Problems config.Problems
	}
	if err := json.Unmarshal([]byte(r.err), &told); err != nil || r.code != exitConfig || told.Code != "config" || len(told.Problems) != 1 || told.Problems[0] != fault {
		t.Errorf("%v: %s", err, r.err)
	}

	f.script = func(string) error {
		return &control.Error{Code: codeConfig, Message: "it has 1 fault", Remedy: "mend it"}
	}
	in(t, f.dir, "reload").want(t, exitConfig, "", "etcdsup: it has 1 fault\n  → mend it\n") // of a daemon that says no more
}
