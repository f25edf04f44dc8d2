package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/etcdsup/etcdsup/supervisor/datadir"
)

// inspectRows are the lines of the screen under the headline; one that comes out empty is not shown.
var inspectRows = []struct {
	name string
	text func(v inspectView) string
}{
	{"held by", holdersRow},
	{"member", dataMemberRow},
	{"cluster", func(v inspectView) string { return v.ClusterID }},
	{"members", dataMembersRow},
	{"removed", func(v inspectView) string { return printable(strings.Join(v.Removed, ", ")) }},
	{"last stop", lastStopRow},
	{"version", dataVersionRow},
	{"raft", dataRaftRow},
	{"revision", dataRevisionRow},
	{"database", dataDBRow},
	{"WAL", dataWALRow},
	{"segments", segmentsRow},
	{"snapshots", snapshotsRow},
	{"hash", dataHashRow},
}

type inspectView struct {
	*datadir.Report
	palette
}

// inspectText is the screen of etcdsup inspect.
func inspectText(r *datadir.Report, p palette) string {
	v := inspectView{r, p}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n", printable(r.Path), v.headline())
	for _, row := range inspectRows {
		if text := row.text(v); text != "" {
			fmt.Fprintf(&b, "  %s %s\n", p.faint(fmt.Sprintf("%-10s", row.name)), text)
		}
	}
	for _, f := range r.Findings {
		b.WriteString(v.finding(f))
	}
	return b.String()
}

func (v inspectView) headline() string {
	words := map[datadir.Kind]string{
		datadir.KindDirectory: "data directory", datadir.KindEmpty: "empty directory",
		datadir.KindSnapshot: "snapshot", datadir.KindDatabase: "database without a hash",
	}
	text := cmp.Or(words[v.Kind], string(v.Kind))
	switch {
	case v.Held():
		text += ", " + v.bad("not to be started")
	case v.Kind == datadir.KindDirectory:
		text += ", " + v.good("nothing speaks against a start")
	}
	if v.Hot {
		text += ", " + v.warn("taken while etcd runs")
	}
	return text
}

func holdersRow(v inspectView) string {
	var all []string
	for _, h := range v.Holders {
		all = append(all, strings.TrimSpace(fmt.Sprintf("PID %d %s", h.PID, clip(printable(h.Command), 80))))
	}
	return strings.Join(all, "; ")
}

func dataMemberRow(v inspectView) string {
	if v.MemberID == "" {
		return ""
	}
	role := string(v.Role)
	switch v.Role {
	case datadir.RoleRemoved:
		role = v.bad("removed from its cluster")
	case datadir.RoleLearner:
		role = v.warn("learner")
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s, %s", printable(v.Name), v.MemberID, role))
}

// dataMembersRow has a line for each member.
func dataMembersRow(v inspectView) string {
	var rows [][]string
	for _, m := range v.Members {
		rows = append(rows, []string{m.ID, cmp.Or(printable(m.Name), "never started"), printable(strings.Join(m.PeerURLs, ",")), memberMarks(m)})
	}
	if len(rows) == 0 {
		return ""
	}
	text := indentRest(table(rows))
	if v.MembersFrom == "wal" {
		text += v.faint(" (by the WAL)")
	}
	return text
}

func memberMarks(m datadir.Member) string {
	var marks []string
	if m.Self {
		marks = append(marks, "this one")
	}
	if m.Learner {
		marks = append(marks, "learner")
	}
	if m.Pending != "" {
		marks = append(marks, m.Pending+" in the WAL, not in the db yet")
	}
	return strings.Join(marks, ", ")
}

// indentRest puts the further lines of a row under its first.
func indentRest(text string) string {
	return strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+strings.Repeat(" ", 13))
}

func lastStopRow(v inspectView) string {
	switch v.LastStop {
	case datadir.StopClean:
		return "clean"
	case datadir.StopUnclean:
		return v.warn("unclean") + ": killed, crashed, or a copy of a running one"
	}
	return ""
}

func dataVersionRow(v inspectView) string {
	var parts []string
	for _, p := range []struct{ name, version string }{
		{"cluster", v.Versions.Cluster}, {"storage", v.Versions.Storage}, {"downgrade to", v.Versions.Downgrade},
	} {
		if p.version != "" {
			parts = append(parts, p.name+" "+p.version)
		}
	}
	if len(v.Versions.MayOpen) > 0 {
		parts = append(parts, "for etcd "+strings.Join(v.Versions.MayOpen, " or "))
	}
	return strings.Join(parts, ", ")
}

func dataRaftRow(v inspectView) string {
	r := v.Raft
	if r == nil {
		return ""
	}
	text := fmt.Sprintf("term %d, index %d, commit %d", r.Term, r.LastIndex, r.Commit)
	if v.DB != nil && v.DB.Verdict == datadir.VerdictOK {
		text += fmt.Sprintf(", applied %d", v.DB.ConsistentIndex)
	}
	if r.SnapshotIndex > 0 {
		text += fmt.Sprintf(", snapshot at %d", r.SnapshotIndex)
	}
	if r.Vote != "" {
		text += ", voted for " + r.Vote
	}
	return text
}

func dataRevisionRow(v inspectView) string {
	d := v.DB
	if d == nil || d.Verdict != datadir.VerdictOK {
		return ""
	}
	text := fmt.Sprint(d.Revision)
	if d.CompactRevision > 0 {
		text += fmt.Sprintf(", compacted up to %d", d.CompactRevision)
	}
	if d.CompactScheduled > d.CompactRevision {
		text += fmt.Sprintf(", compaction up to %d under way", d.CompactScheduled)
	}
	if d.AuthEnabled {
		text += ", auth enabled"
	}
	if d.Kubernetes {
		text += ", of Kubernetes"
	}
	return text
}

func dataDBRow(v inspectView) string {
	d := v.DB
	switch {
	case d == nil:
		return ""
	case d.Verdict == datadir.VerdictMissing:
		return v.bad("missing")
	case d.Verdict != datadir.VerdictOK:
		return fmt.Sprintf("%s, %s", humanSize(d.FileSize), v.bad(string(d.Verdict)))
	case d.InUse == 0:
		return humanSize(d.Size)
	}
	text := fmt.Sprintf("%s, %s in use, %s of keys", humanSize(d.Size), percent(d.InUse, d.Size), count(d.Records, "version"))
	if d.Approximate {
		text += v.faint(" (about: etcd was writing)")
	}
	return text
}

func dataWALRow(v inspectView) string {
	w := v.WAL
	if w == nil {
		return ""
	}
	if w.Verdict == datadir.VerdictMissing {
		return v.bad("missing")
	}
	text := fmt.Sprintf("%s of %s, every CRC right", count(len(w.Segments), "segment"), humanSize(w.Size))
	if w.Verdict != datadir.VerdictOK {
		text = fmt.Sprintf("%s of %s, %s", count(len(w.Segments), "segment"), humanSize(w.Size), v.verdict(w.Verdict))
	}
	return text
}

func (v inspectView) verdict(of datadir.Verdict) string {
	switch of {
	case datadir.VerdictOK:
		return "ok"
	case datadir.VerdictTorn:
		return v.warn("its last record torn")
	case datadir.VerdictUnfinished:
		return v.warn(string(of))
	}
	return v.bad(string(of))
}

// segmentsShown keeps the report on one screen; the others are in the JSON, and those that are bad always here.
const segmentsShown = 5

func segmentsRow(v inspectView) string {
	if v.WAL == nil {
		return ""
	}
	var rows [][]string
	hidden := len(v.WAL.Segments) - segmentsShown
	for i, s := range v.WAL.Segments {
		if i < hidden && s.Verdict == datadir.VerdictOK {
			continue
		}
		rows = append(rows, []string{s.Name, humanSize(s.Size), entriesText(s), v.verdict(s.Verdict)})
	}
	if len(rows) == 0 {
		return ""
	}
	if left := len(v.WAL.Segments) - len(rows); left > 0 {
		rows = append([][]string{{fmt.Sprintf("%d older, all ok", left)}}, rows...)
	}
	return indentRest(table(rows))
}

func entriesText(s datadir.Segment) string {
	if s.FirstIndex == 0 {
		return "no entry"
	}
	return fmt.Sprintf("index %d to %d", s.FirstIndex, s.LastIndex)
}

func snapshotsRow(v inspectView) string {
	var rows [][]string
	for _, s := range v.Snapshots {
		rows = append(rows, []string{printable(s.Name), humanSize(s.Size), fmt.Sprintf("index %d", s.Index), v.verdict(s.Verdict)})
	}
	if len(rows) == 0 {
		return ""
	}
	return indentRest(table(rows))
}

func dataHashRow(v inspectView) string {
	switch v.Hash {
	case "ok":
		return "right: the file is what was saved"
	case "mismatch":
		return v.bad("wrong: the file is not what was saved")
	}
	return ""
}

func (v inspectView) finding(f datadir.Finding) string {
	paint := map[datadir.Severity]func(string) string{datadir.SeverityHeld: v.bad, datadir.SeverityWarning: v.warn, datadir.SeverityNote: v.faint}[f.Severity]
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s %s %s\n", paint(string(f.Severity)+":"), f.Title, v.faint("("+string(f.Code)+")"))
	for i, e := range f.Evidence {
		if i == segmentsShown {
			fmt.Fprintf(&b, "  %d more\n", len(f.Evidence)-i)
			break
		}
		fmt.Fprintf(&b, "  %s\n", printable(e))
	}
	if f.Remedy != "" {
		fmt.Fprintf(&b, "  → %s\n", printable(f.Remedy))
	}
	return b.String()
}
