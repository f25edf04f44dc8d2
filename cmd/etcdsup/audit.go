package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/journal"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// auditPath is the audit log of the instance whose state is in that folder.
func auditPath(stateDir string) string { return filepath.Join(stateDir, "audit.log") }

// readAudit reads the newest n entries of an audit log and checks all of it. A missing one has no entries.
func readAudit(path string, n int) (*status.AuditReport, error) {
	entries, _, err := journal.ReadAudit(path, n)
	if err != nil {
		return nil, err
	}
	r := &status.AuditReport{Entries: append([]status.AuditEntry{}, entries...)} // a list in JSON, even when there are none
	checked, err := journal.Verify(path)
	broken, isBroken := errors.AsType[*journal.ChainError](err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, nil
	case isBroken:
		r.Broken = fmt.Sprintf("line %d: %s: %s", broken.Line, broken.Break, broken.Detail)
	case err != nil:
		return nil, err
	}
	r.From, r.To, r.Head = uint64(min(1, checked.Entries)), uint64(checked.Entries), checked.Head
	return r, nil
}

func (g *globals) showAudit(ctx context.Context, n int) error {
	t, err := g.target()
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	r, err := t.audit(ctx, n)
	if err != nil {
		return err
	}
	if g.json() {
		err = g.printJSON(r)
	} else {
		err = g.print(auditText(r, time.Now()))
	}
	if err != nil || r.Broken == "" {
		return err
	}
	return failf(exitFindings, "what stands before that is as it was written; compare the rest with a copy, or with a head that was noted elsewhere",
		"cannot trust the audit log: %s", printable(r.Broken))
}

// audit asks the daemon, or reads its file when it is not running.
func (t *target) audit(ctx context.Context, n int) (*status.AuditReport, error) {
	r, err := t.client.Audit(ctx, n)
	if !errors.Is(err, control.ErrNoDaemon) {
		return r, t.explain(err)
	}
	r, fileErr := readAudit(auditPath(t.cfg.StateDir()), n)
	switch {
	case errors.Is(fileErr, fs.ErrPermission):
		return nil, failf(exitDenied, "run it as root or as the user that etcdsup runs as", "%w", fileErr)
	case fileErr != nil:
		return nil, fileErr
	case r.To == 0 && r.Broken == "":
		return nil, t.explain(err) // never ran here
	}
	fmt.Fprintln(t.g.err, "etcdsup is not running; this is what it wrote down")
	return r, nil
}

func auditText(r *status.AuditReport, now time.Time) string {
	if r.To == 0 && r.Broken == "" {
		return "nothing has been asked for yet\n"
	}
	rows := [][]string{{"SEQ", "WHEN", "WHO", "KIND", "WHAT"}}
	for i := range r.Entries {
		e := &r.Entries[i]
		rows = append(rows, []string{fmt.Sprint(e.Seq), humanTime(e.At, now), oneLine(e.Actor.String()), oneLine(e.Kind), auditWhat(e)})
	}
	text := table(rows)
	if r.Broken == "" {
		text += fmt.Sprintf("\nthe chain of entries %d to %d holds; its head is %s\n", r.From, r.To, r.Head)
	}
	return text
}

// auditWhat is the sentence of an entry, and what it is about.
func auditWhat(e *status.AuditEntry) string {
	text := oneLine(e.Text)
	var data []string
	for _, key := range slices.Sorted(maps.Keys(e.Data)) {
		data = append(data, oneLine(key+"="+e.Data[key]))
	}
	if len(data) > 0 {
		text += " (" + strings.Join(data, ", ") + ")"
	}
	return text
}
