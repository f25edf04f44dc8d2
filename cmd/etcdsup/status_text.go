package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// stateWords are the states in the words of people; the one list, by which colours go too.
var stateWords = map[status.State]struct {
	words string
	paint func(palette, string) string
}{
	status.StateDown:     {"down", palette.faint},
	status.StateStarting: {"starting", palette.warn},
	status.StateWaiting:  {"waiting for quorum", palette.warn},
	status.StateReady:    {"ready", palette.good},
	status.StateSilent:   {"silent: does not answer", palette.warn},
	status.StateStopping: {"stopping", palette.warn},
	status.StateBackoff:  {"waiting before the next start", palette.warn},
	status.StateHeld:     {"held: not started again by itself", palette.bad},
}

func stateText(s status.State) string {
	if w, ok := stateWords[s]; ok {
		return w.words
	}
	return string(s)
}

func (p palette) state(s status.State) string {
	if w, ok := stateWords[s]; ok {
		return w.paint(p, w.words)
	}
	return string(s)
}

// statusRows are the lines of the screen under the headline; one that comes out empty is not shown.
var statusRows = []struct {
	name string
	text func(v statusView) string
}{
	{"goal", func(v statusView) string { return string(v.Goal) }},
	{"mode", modeRow},
	{"why", func(v statusView) string { return printable(v.Reason) }},
	{"next", func(v statusView) string { return v.Next }},
	{"job", jobRow},
	{"stop", stopRow},
	{"cause", diagnosisRow},
	{"etcd", processRow},
	{"health", healthRow},
	{"member", memberRow},
	{"raft", raftRow},
	{"database", databaseRow},
	{"errors", errorsRow},
	{"restarts", restartsRow},
	{"last exit", lastExitRow},
	{"it said", saidRow},
	{"log", logRow},
	{"dropped", droppedRow},
	{"log disk", troubleRow},
	{"config", configRow},
	{"notice", noticeRow},
	{"pending", func(v statusView) string { return v.warn(strings.Join(v.Config.Pending, ", ")) }},
	{"etcdsup", supervisorRow},
	{"upgrade", upgradeRow},
}

// statusView is a status with what its text depends on besides.
type statusView struct {
	*status.Status
	palette
	now time.Time
}

// statusText is the screen of etcdsup status.
func statusText(st *status.Status, now time.Time, p palette) string {
	v := statusView{st, p, now}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s for %s, since %s\n", st.Instance, p.state(st.State), v.ago(st.Since), humanTime(st.Since, now))
	for _, row := range statusRows {
		if text := row.text(v); text != "" {
			fmt.Fprintf(&b, "  %s %s\n", p.faint(fmt.Sprintf("%-10s", row.name)), text)
		}
	}
	return b.String()
}

// statusLine is one change in one line.
func statusLine(st *status.Status, now time.Time) string {
	parts := []string{humanTime(st.Since, now), stateText(st.State)}
	if st.Process != nil {
		parts = append(parts, fmt.Sprintf("PID %d", st.Process.PID))
	}
	if st.Stop != nil {
		parts = append(parts, string(st.Stop.Phase))
	}
	if st.Job != nil {
		parts = append(parts, jobText(st.Job))
	}
	if st.Reason != "" {
		parts = append(parts, printable(st.Reason))
	}
	return strings.Join(parts, "  ")
}

func (v statusView) ago(t time.Time) string { return humanDuration(max(0, v.now.Sub(t))) }

func noticeRow(v statusView) string {
	var all []string
	for _, n := range v.Notices {
		all = append(all, v.warn(printable(n.What))+" → "+printable(n.Remedy))
	}
	return strings.Join(all, "; ")
}

// upgradeRow is shown while etcdsup is being replaced, and after that has failed.
func upgradeRow(v statusView) string {
	switch u := v.Upgrade; {
	case u == nil || u.Outcome == status.UpgradeDone:
		return ""
	case u.Outcome == status.UpgradeCameBack:
		return v.bad("failed "+humanTime(u.Began, v.now)) + ": " + printable(u.String())
	default:
		return v.warn(printable(u.String()))
	}
}

// modeRow is shown where the mode is not the resting one, with the command that tells more.
func modeRow(v statusView) string {
	if v.Mode == status.ModeNormal || v.Mode == "" {
		return ""
	}
	return v.warn(string(v.Mode)) + ", see etcdsup mode"
}

func jobRow(v statusView) string {
	if v.Job == nil {
		return ""
	}
	if v.Job.Error != "" {
		return v.bad(jobText(v.Job)) + ": " + printable(v.Job.Error)
	}
	text := fmt.Sprintf("%s, for %s", jobText(v.Job), v.ago(v.Job.Began))
	if v.Job.Progress != "" {
		text += ", " + printable(v.Job.Progress)
	}
	return text
}

func jobText(j *status.Job) string {
	form := "%s, step %d of %d: %s"
	if j.Error != "" {
		form = "%s, stuck at step %d of %d: %s"
	}
	return fmt.Sprintf(form, j.Mode, j.Step, j.Of, printable(j.Title))
}

func stopRow(v statusView) string {
	s := v.Stop
	if s == nil {
		return ""
	}
	text := fmt.Sprintf("%s, for %s", s.Phase, v.ago(s.Began))
	if left := s.Deadline.Sub(v.now); left > 0 {
		text += fmt.Sprintf(", next step in %s", humanDuration(left))
	}
	if len(s.Left) > 0 {
		text += fmt.Sprintf(", still there: PID %s", join(s.Left))
	}
	return text
}

func join(pids []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(pids), " ", ", "), "[]")
}

func diagnosisRow(v statusView) string {
	if v.Diagnosis == nil {
		return ""
	}
	text := v.bad(v.Diagnosis.Title)
	if v.Diagnosis.Remedy != "" {
		text += "; " + v.Diagnosis.Remedy
	}
	return text
}

func processRow(v statusView) string {
	if v.Process == nil {
		return "not running"
	}
	p := v.Process
	text := fmt.Sprintf("PID %d", p.PID)
	if p.Version != "" {
		text += ", version " + p.Version
	}
	text += fmt.Sprintf(", runs for %s, %s", v.ago(p.Started), p.Binary)
	if p.Memory > 0 {
		text += fmt.Sprintf(", memory %s, CPU %s", humanSize(p.Memory), humanDuration(p.CPU))
	}
	if p.Adopted {
		text += ", taken over from an etcdsup before"
	}
	return text
}

func healthRow(v statusView) string {
	h := v.Health
	if v.Process == nil || h.Asked.IsZero() {
		return ""
	}
	var text string
	switch {
	case h.Misses > 0 && h.Answered.IsZero():
		text = v.bad("never answered") + fmt.Sprintf(", %s", count(h.Misses, "probe"))
	case h.Misses > 0:
		text = v.bad(fmt.Sprintf("no answer for %s", v.ago(h.Answered))) + fmt.Sprintf(", %s", count(h.Misses, "probe"))
	case h.Serving && h.Quorum:
		text = "serves"
	case h.Serving:
		text = v.warn("serves local reads only: no leader")
	default:
		text = v.bad("answers, but does not serve")
	}
	if h.Detail != "" {
		text += ": " + printable(h.Detail)
	}
	return text
}

func memberRow(v statusView) string {
	if v.Member == nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s of cluster %s", v.Member.Name, v.Member.ID, v.Member.ClusterID))
}

func raftRow(v statusView) string {
	m := v.Member
	if m == nil {
		return ""
	}
	text := string(m.Role)
	if m.Role != status.RoleLeader && m.LeaderID != "" {
		text += " of " + m.LeaderID
	}
	text += fmt.Sprintf(", term %d, index %d, revision %d", m.Term, m.Index, m.Revision)
	if behind := m.Index - m.Applied; m.Applied < m.Index && behind > 0 {
		text += fmt.Sprintf(", %d not applied yet", behind)
	}
	return text + v.old(m.Asked)
}

// old says so when member details are not of now: etcd did not answer when it was asked.
func (v statusView) old(asked time.Time) string {
	if age := v.now.Sub(asked); age > time.Minute {
		return v.faint(fmt.Sprintf(" (%s ago)", humanDuration(age)))
	}
	return ""
}

func databaseRow(v statusView) string {
	m := v.Member
	if m == nil {
		return ""
	}
	text := humanSize(m.DBSize)
	if m.Quota > 0 {
		part := fmt.Sprintf("%s of %s", percent(m.DBSize, m.Quota), humanSize(m.Quota))
		if m.DBSize >= m.Quota/10*8 {
			part = v.bad(part)
		}
		text += ", " + part
	}
	return text + fmt.Sprintf(", %s in use", percent(m.DBInUse, m.DBSize))
}

func errorsRow(v statusView) string {
	if v.Member == nil {
		return ""
	}
	return v.bad(strings.Join(v.Member.Errors, "; "))
}

func restartsRow(v statusView) string {
	r := v.Restart
	text := fmt.Sprintf("%d in all; starts in the last hour: %d", r.Count, r.LastHour)
	if r.PerHour > 0 {
		text += fmt.Sprintf(" (limit %d)", r.PerHour)
	}
	if r.Streak > 1 {
		text += v.warn(fmt.Sprintf(", %d deaths in a row", r.Streak))
	}
	if left := r.NextAt.Sub(v.now); !r.NextAt.IsZero() && left > 0 {
		text += v.warn(fmt.Sprintf(", next in %s", humanDuration(left)))
	}
	return text
}

func lastExitRow(v statusView) string {
	e := v.LastExit
	if e == nil {
		return ""
	}
	text := fmt.Sprintf("%s, %s after %s, cause: %s", humanTime(e.Ended, v.now), exitText(e), humanDuration(e.Ran), e.Cause)
	if e.Detail != "" {
		text += ", " + printable(e.Detail)
	}
	return text
}

// saidRow is etcd's own word on why it ended, while that still matters.
func saidRow(v statusView) string {
	if v.LastExit == nil || v.LastExit.Said == "" || v.Ready {
		return ""
	}
	return v.bad(printable(v.LastExit.Said))
}

// exitText is how a process ended: "exit code 1", "SIGSEGV (core dumped)".
func exitText(e *status.Exit) string {
	switch {
	case e.Signal != "" && e.Core:
		return e.Signal + " (core dumped)"
	case e.Signal != "":
		return e.Signal
	case e.Code != nil:
		return fmt.Sprintf("exit code %d", *e.Code)
	case e.PID == 0:
		return "not started"
	}
	return "exit status unknown"
}

func logRow(v statusView) string {
	l := v.Log
	if l.File == "" {
		return ""
	}
	text := fmt.Sprintf("%s, %s", l.File, humanSize(l.Size))
	if l.Archives > 0 {
		text += fmt.Sprintf(", and %s of %s", count(l.Archives, "archive"), humanSize(l.ArchiveBytes))
	}
	return text
}

func droppedRow(v statusView) string {
	l := v.Log
	if l.DroppedBytes == 0 {
		return ""
	}
	return v.bad(fmt.Sprintf("%s (%s) of the log, last %s", count(l.DroppedLines, "line"), humanSize(int64(l.DroppedBytes)), humanTime(l.LastDropped, v.now)))
}

func troubleRow(v statusView) string {
	l := v.Log
	if l.Trouble == "" {
		return ""
	}
	return v.bad(fmt.Sprintf("%s for %s", l.Trouble, v.ago(l.TroubleSince))) + fmt.Sprintf(", %s wait in memory", humanSize(l.Buffered))
}

func configRow(v statusView) string {
	file := v.Config.File
	if file == "" {
		file = "defaults"
	}
	text := file
	if v.Config.DataDir != "" {
		text += ", data in " + v.Config.DataDir
	}
	if len(v.Config.Client) > 0 {
		text += ", clients at " + strings.Join(v.Config.Client, ",")
	}
	return text
}

func supervisorRow(v statusView) string {
	s := v.Supervisor
	return fmt.Sprintf("PID %d, version %s, runs for %s", s.PID, s.Version, v.ago(s.Started))
}
