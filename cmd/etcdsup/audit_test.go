package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/journal"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

func auditReport() status.AuditReport {
	return status.AuditReport{
		From: 1, To: 42, Head: strings.Repeat("0f", 32),
		Entries: []status.AuditEntry{
			{Seq: 41, At: at(0), Actor: status.Actor{User: "root", PID: 4711}, Kind: "command", Text: "mode join was asked for", Data: map[string]string{"replace": "true", "endpoints": "http://a:2379"}},
			{Seq: 42, At: at(60 * 24), Actor: status.Actor{Daemon: true}, Kind: "outcome", Text: "join is\ndone \x1b[2J"},
		},
	}
}

func TestAuditLog(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	in(t, f.dir, "history", "--audit").want(t, exitOK, "nothing has been asked for yet", "")
	f.audit = auditReport()
	in(t, f.dir, "history", "--audit").want(t, exitOK, "the chain of entries 1 to 42 holds; its head is 0f0f", "")
	in(t, f.dir, "history", "--audit", "-o", "json").want(t, exitOK, `"user": "root"`, "")
	golden(t, "audit.txt", auditText(&f.audit, at(60*24+5)))
	in(t, f.dir, "history", "--audit", "--lines").want(t, exitUsage, "", "cannot show etcd's lines with --audit")

	f.audit.Broken = "line 7: changed: it is not what was written there"
	in(t, f.dir, "history", "--audit").want(t, exitFindings, "mode join was asked for", "etcdsup: cannot trust the audit log: line 7: changed: it is not what was written there\n  → ")
	in(t, f.dir, "history", "--audit", "-o", "json").want(t, exitFindings, `"broken": "line 7`, `"code":"findings"`)
}

func TestAuditLogWithoutDaemon(t *testing.T) {
	dir := t.TempDir()
	path := auditPath(filepath.Join(dir, "state"))
	log, err := journal.OpenAudit(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for _, text := range []string{"one", "two", "three"} {
		if _, err := log.Append(journal.Entry{Actor: journal.Self(), Kind: journal.KindCommand, Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	r := in(t, dir, "history", "--audit", "-n", "2")
	_, head := log.Head()
	r.want(t, exitOK, "the chain of entries 1 to 3 holds; its head is "+head, "etcdsup is not running; this is what it wrote down")
	if strings.Contains(r.out, "one") || !strings.Contains(r.out, "three") {
		t.Error(r.out)
	}

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), `"two"`, `"2wo"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	in(t, dir, "history", "--audit").want(t, exitFindings, "three", "cannot trust the audit log: line 2: changed")
}
