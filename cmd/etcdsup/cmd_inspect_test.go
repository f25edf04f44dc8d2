package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"golang.org/x/sys/unix"
)

func TestInspectExitCodes(t *testing.T) {
	dir := t.TempDir()
	snap := filepath.Join(dir, "d", "member", "snap")
	if err := os.MkdirAll(snap, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(snap, "db"), []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	in(t, dir, "inspect", filepath.Join(dir, "d")).want(t, exitFindings, "data directory, not to be started\n", "")
	in(t, dir, "inspect", filepath.Join(snap, "db")).want(t, exitFindings, "db-damaged", "")
	r := in(t, dir, "inspect", filepath.Join(dir, "d"), "-o", "json")
	var report datadir.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || r.code != exitFindings || !report.Held() || r.err != "" {
		t.Errorf("%v: %+v", err, r)
	}
	in(t, dir, "inspect", filepath.Join(dir, "nothing")).want(t, exitFailure, "", "no such file or directory")
	in(t, dir, "inspect", "a", "b").want(t, exitUsage, "", "typed as etcdsup inspect [DIR|SNAPSHOT]")
}

func TestInspectText(t *testing.T) {
	golden(t, "inspect.txt", inspectText(&datadir.Report{
		Path: "/var/lib/etcd", Kind: datadir.KindDirectory, Hot: true, Holders: []datadir.Holder{{PID: 42, Command: "etcd --name n1"}},
		ClusterID: "2cdc0b86a4abc8fd", MemberID: "d76279a94f4dd814", Name: "n1", Role: datadir.RoleVoter, LastStop: datadir.StopUnclean,
		Members: []datadir.Member{
			{ID: "d76279a94f4dd814", Name: "n1", PeerURLs: []string{"http://10.0.0.1:2380"}, Self: true},
			{ID: "e3", PeerURLs: []string{"http://10.0.0.2:2380"}, Learner: true, Pending: "add"},
		},
		Removed: []string{"abc"}, Versions: datadir.Versions{Cluster: "3.6", Storage: "3.6", MayOpen: []string{"3.6", "3.7"}},
		Raft: &datadir.Raft{Term: 7, Vote: "d76279a94f4dd814", Commit: 900, FirstIndex: 1, LastIndex: 901, LastTerm: 7, SnapshotIndex: 800, SnapshotTerm: 6},
		DB: &datadir.DB{Verdict: datadir.VerdictOK, FileSize: 64 << 20, Size: 50 << 20, InUse: 20 << 20, Approximate: true, Records: 7000,
			ConsistentIndex: 899, Revision: 5000, CompactRevision: 4000, CompactScheduled: 4500, AuthEnabled: true, Kubernetes: true},
		WAL: &datadir.WAL{Verdict: datadir.VerdictTorn, Size: 128e6, Segments: []datadir.Segment{
			{Name: "0000000000000000-0000000000000000.wal", Size: 64e6, FirstIndex: 1, LastIndex: 500, Verdict: datadir.VerdictOK},
			{Name: "0000000000000001-00000000000001f5.wal", Size: 64e6, FirstIndex: 501, LastIndex: 901, Verdict: datadir.VerdictTorn},
		}},
		Snapshots: []datadir.SnapFile{{Name: "0000000000000006-0000000000000320.snap", Size: 9000, Index: 800, Verdict: datadir.VerdictOK}},
		Findings: []datadir.Finding{{Code: datadir.CodeOlder, Severity: datadir.SeverityHeld, Title: "older than what was here before",
			Evidence: []string{"term 7, recorded \x1b8"}, Remedy: "put the newer directory back"}},
	}, palette{}))
}

// TestInspectOfTheInstance takes the data directory from the configuration.
func TestInspectOfTheInstance(t *testing.T) {
	dir := t.TempDir()
	in(t, dir, "inspect").want(t, exitFailure, "", filepath.Join(dir, "data"))
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	in(t, dir, "inspect").want(t, exitOK, "empty directory", "")
}

func TestLockHolders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := lockHolders([]string{path}); len(got) != 0 {
		t.Errorf("an unlocked file is held by %+v", got)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if got := lockHolders([]string{path, "/nothing"}); !slices.ContainsFunc(got, func(h datadir.Holder) bool { return h.PID == os.Getpid() && h.Command != "" }) || len(got) != 1 {
		t.Errorf("got %+v", got)
	}
}
