package main

import (
	"os"
	"strings"
	"testing"
)

// TestTelling takes the ends of real etcds' outputs.
func TestTelling(t *testing.T) {
	for name, want := range map[string]string{
		"peer-port-in-use-3.4.23":      ":2380: bind: address already in use",
		"peer-port-in-use-3.7.3":       ":2380: bind: address already in use",
		"bad-flag-value-3.7.3":         "invalid value",
		"raft-log-rolled-back-3.7.3":   "tocommit(",
		"wal-corrupt-middle-3.6.16":    "crc mismatch",
		"healthy-restart-single-3.7.3": "",
	} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile("testdata/ends/" + name + ".log")
			if err != nil {
				t.Fatal(err)
			}
			got, _ := telling(strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"))
			if !strings.Contains(got, want) || (want == "") != (got == "") {
				t.Errorf("said %q, want %q", got, want)
			}
		})
	}
}

// TestTellingOfAPanic: the cause is in the line before the runtime's.
func TestTellingOfAPanic(t *testing.T) {
	said, at := telling([]string{
		`{"level":"info","ts":"2026-11-23T04:05:29.1Z","caller":"embed/etcd.go:1","msg":"starting"}`,
		`{"level":"panic","ts":"2026-11-23T04:05:29.2Z","caller":"etcdserver/bootstrap.go:1","msg":"failed to create WAL","error":"no space left on device","stacktrace":"main.main"}`,
		"panic: failed to create WAL", "", "goroutine 1 [running]:",
	})
	if said != "no space left on device" || at != 1 {
		t.Errorf("said %q, line %d", said, at)
	}
}
