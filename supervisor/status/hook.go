package status

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Hook is a command of the user's own that a transition runs.
type Hook struct {
	Argv    []string      `json:"argv"` // a line for the shell is its path, -c and the line
	Timeout time.Duration `json:"timeout_ns"`
}

// HookOutcome is how a hook ended.
type HookOutcome string

// The outcomes of hooks.
const (
	HookDone        HookOutcome = "done"        // exit code 0
	HookFailed      HookOutcome = "failed"      // another exit code, a signal, or it could not be started
	HookTimedOut    HookOutcome = "timed-out"   // it took too long and was ended
	HookInterrupted HookOutcome = "interrupted" // etcdsup ended while it ran: what became of it is not known
)

// HookRun is what became of a hook.
type HookRun struct {
	Argv    []string      `json:"argv"`
	Outcome HookOutcome   `json:"outcome"`
	Detail  string        `json:"detail,omitempty"` // "exit code 3"; why it could not be started
	Began   time.Time     `json:"began,omitzero"`
	Took    time.Duration `json:"took_ns,omitempty"`
	Stdout  string        `json:"stdout,omitempty"` // its end
	Stderr  string        `json:"stderr,omitempty"`
	Dropped int64         `json:"dropped_bytes,omitempty"` // of both, before what is here
}

// CommandText is a command line in one line of text, for people. A line for the shell is shown as it is.
func CommandText(argv []string) string {
	if len(argv) == 3 && argv[0] == "/bin/sh" && argv[1] == "-c" {
		return strings.Join(strings.Fields(argv[2]), " ")
	}
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$`*?[]{}()<>|&;#~") {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// Failed tells that a hook has not done what it is for, as far as is known.
func (h *HookRun) Failed() bool { return h.Outcome != HookDone }

// HookStep is the name of the step that runs the nth hook of a plan, from 1, and of what it leaves in the journal.
func HookStep(n int) string { return fmt.Sprintf("hook-%d", n) }

// Text is the run as the journal keeps it.
func (h *HookRun) Text() string {
	b, err := json.Marshal(h)
	if err != nil { // never: of plain fields
		return ""
	}
	return string(b)
}

// HooksRan are the runs that a journal's data has, in the order of the plan.
func HooksRan(data map[string]string) []HookRun {
	var all []HookRun
	for n := 1; ; n++ {
		var h HookRun
		text, ok := data[HookStep(n)]
		if !ok || json.Unmarshal([]byte(text), &h) != nil {
			return all
		}
		all = append(all, h)
	}
}
