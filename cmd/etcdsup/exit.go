package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNoDaemon    = 3
	exitTimeout     = 4
	exitHeldBy      = 5
	exitConfig      = 6
	exitDenied      = 7
	exitNotReady    = 8
	exitFindings    = 9
	exitRolledBack  = 10
	exitHook        = 11
	exitNoManager   = 12
	exitCameBack    = 13
	exitInterrupted = 130
)

// exitCodes is the one table: what a code means, and its name in JSON. Help and docs derive from it.
var exitCodes = []struct {
	code    int
	name    string
	meaning string
}{
	{exitOK, "ok", "done"},
	{exitFailure, "failure", "failed, for the reason that was printed"},
	{exitUsage, "usage", "unknown command or flag, or a wrong argument"},
	{exitNoDaemon, "no-daemon", "etcdsup is not running: nobody listens on the socket of the instance"},
	{exitTimeout, "timeout", "what was asked for was not done in time; what is under way goes on"},
	{exitHeldBy, "held-by", "another etcdsup or etcd holds the data directory"},
	{exitConfig, "config", "the configuration has faults; all of them were printed"},
	{exitDenied, "denied", "this user may not do that, or not use the socket of the instance"},
	{exitNotReady, "not-ready", "status: etcd is not ready"},
	{exitFindings, "findings", "inspect: what was found speaks against starting etcd on this data; history --audit: the chain is broken"},
	{exitRolledBack, "rolled-back", "mode: the change of mode was rolled back, and the mode is normal as before; init: the old way runs etcd as before"},
	{exitHook, "hook", "mode: the change of mode is done, but a hook after it failed"},
	{exitNoManager, "no-manager", "install: no service manager that etcdsup knows runs on this host"},
	{exitCameBack, "came-back", "upgrade: the new etcdsup refused, or did not supervise in time; the old one goes on"},
	{exitInterrupted, "interrupted", "interrupted while waiting; the daemon goes on"},
}

func exitName(code int) string {
	for _, e := range exitCodes {
		if e.code == code {
			return e.name
		}
	}
	return "failure"
}

func exitCodeHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes, the same for every command:\n\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, "  %3d  %-12s %s\n", e.code, e.name, e.meaning)
	}
	return b.String()
}

// failure is an error with its exit code and its remedy, which is shown apart from it.
type failure struct {
	code   int
	err    error
	remedy string
	faults []status.Fault // what it is made of; more than one are shown as a list
	pid    int            // the living process that it tells of; 0: none
	quiet  bool           // everything was said already; only the code is left to give
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failf(code int, remedy, format string, args ...any) *failure {
	return &failure{code: code, remedy: remedy, err: fmt.Errorf(format, args...)}
}

// exitCode prints what is to be said about err and returns the code for it.
func exitCode(g *globals, err error) int {
	if err == nil {
		return exitOK
	}
	f := asFailure(g, err)
	if f.quiet {
		return f.code
	}
	if g.output == outputJSON {
		printErrorJSON(g, f)
	} else {
		printErrorText(g, f)
	}
	return f.code
}

func asFailure(g *globals, err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if _, ok := errors.AsType[config.Problems](err); ok {
		return &failure{code: exitConfig, err: err}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &failure{code: exitInterrupted, err: errors.New("interrupted")}
	case !g.running: // cobra refused the command line
		return &failure{code: exitUsage, err: err, remedy: "see " + g.helpFor + " --help"}
	}
	return &failure{code: exitFailure, err: err}
}

func printErrorText(g *globals, f *failure) {
	if len(f.faults) > 1 {
		fmt.Fprint(g.err, faultsText(f.faults))
		return
	}
	fmt.Fprint(g.err, inWords(problemText(f.err), f.remedy))
}

// inWords is an error and its remedy for people. Either may hold a name that somebody else has chosen.
func inWords(what, remedy string) string {
	text := "etcdsup: " + printableLines(what) + "\n"
	if remedy != "" {
		text += "  → " + printableLines(remedy) + "\n"
	}
	return text
}

// faultsText is a list of faults, each with its remedy.
func faultsText(faults []status.Fault) string {
	var b strings.Builder
	fmt.Fprintf(&b, "etcdsup: %s stand against it\n", count(len(faults), "thing"))
	for i, f := range faults {
		fmt.Fprintf(&b, "  %*d. %s\n", digits(len(faults)), i+1, printable(f.What))
		if f.Remedy != "" {
			fmt.Fprintf(&b, "  %*s  → %s\n", digits(len(faults)), "", printable(f.Remedy))
		}
	}
	return b.String()
}

func problemText(err error) string {
	problems, ok := errors.AsType[config.Problems](err)
	if !ok {
		return err.Error()
	}
	before, _ := strings.CutSuffix(err.Error(), problems.Error())
	if before == err.Error() {
		before = ""
	}
	return fmt.Sprintf("%sthe configuration has %s\n\n%s", before, count(len(problems), "fault"), strings.TrimRight(problems.Pretty(), "\n"))
}

func printErrorJSON(g *globals, f *failure) {
	problems, _ := errors.AsType[config.Problems](f.err)
	b, err := json.Marshal(struct {
		Error    string          `json:"error"`
		Remedy   string          `json:"remedy,omitempty"`
		Code     string          `json:"code"`
		Exit     int             `json:"exit"`
		Problems config.Problems `json:"problems,omitempty"`
		Faults   []status.Fault  `json:"faults,omitempty"`
		PID      int             `json:"pid,omitempty"`
	}{f.Error(), f.remedy, exitName(f.code), f.code, problems, f.faults, f.pid})
	if err != nil {
		b = []byte(f.Error())
	}
	fmt.Fprintln(g.err, string(b))
}
