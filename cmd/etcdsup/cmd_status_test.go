package main

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

func TestStatusText(t *testing.T) {
	ready, troubled := readyStatus(), troubledStatus()
	down := status.Status{
		Instance: "default", Goal: status.GoalDown, State: status.StateDown, Since: at(0), Reason: "asked to stop", Next: "etcdsup start",
		Supervisor: status.Supervisor{PID: 100, Version: "devel", Started: at(0)},
	}
	golden(t, "status_ready.txt", statusText(&ready, at(12), palette{}))
	golden(t, "status_troubled.txt", statusText(&troubled, at(12), palette{on: true}))
	golden(t, "status_down.txt", statusText(&down, at(60*24*30), palette{}))
}

func TestStatusTextNeedsNoField(t *testing.T) {
	for state := range stateWords {
		if text := statusText(&status.Status{State: state}, at(0), palette{}); !strings.Contains(text, stateText(state)) {
			t.Errorf("%s: %s", state, text)
		}
	}
}

// The JSON is a promise: a key that is renamed or changes its type breaks scripts.
func TestStatusSchema(t *testing.T) {
	var lines []string
	schema(reflect.TypeFor[status.Status](), "", &lines)
	golden(t, "status_schema.txt", strings.Join(lines, "\n")+"\n")
	for name, noun := range map[string]reflect.Type{
		"history_schema.txt": reflect.TypeFor[status.Event](), "mode_schema.txt": reflect.TypeFor[status.Modes](),
		"mode_plan_schema.txt": reflect.TypeFor[status.Plan](), "mode_outcome_schema.txt": reflect.TypeFor[modeOutcome](),
		"audit_schema.txt": reflect.TypeFor[status.AuditReport](),
	} {
		lines = nil
		schema(noun, "", &lines)
		golden(t, name, strings.Join(lines, "\n")+"\n")
	}
}

func schema(typ reflect.Type, path string, lines *[]string) {
	switch {
	case typ.Kind() == reflect.Pointer:
		schema(typ.Elem(), path, lines)
	case typ.Kind() == reflect.Slice:
		schema(typ.Elem(), path+"[]", lines)
	case typ.Kind() == reflect.Map:
		schema(typ.Elem(), path+"{}", lines)
	case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[time.Time]():
		for _, f := range reflect.VisibleFields(typ) {
			name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			if option != "" {
				name += "?"
			}
			schema(f.Type, path+"."+name, lines)
		}
	default:
		*lines = append(*lines, fmt.Sprintf("%s %s", path, jsonType(typ)))
	}
}

func jsonType(typ reflect.Type) string {
	switch {
	case typ == reflect.TypeFor[time.Time]():
		return "time"
	case typ.Kind() == reflect.Bool:
		return "boolean"
	case typ.Kind() == reflect.String:
		return "string"
	}
	return "number"
}

func TestStatusCommand(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	in(t, f.dir, "status").want(t, exitOK, "default  ready for ", "")

	r := in(t, f.dir, "status", "-o", "json")
	golden(t, "status.json", r.out)
	r.want(t, exitOK, `"state": "ready"`, "")

	f.Publish(func(st *status.Status) { *st = troubledStatus() })
	in(t, f.dir, "status").want(t, exitNotReady, "asked to stop", "")
	r = in(t, f.dir, "status", "-o", "json")
	r.want(t, exitNotReady, `"state": "stopping"`, "")
	golden(t, "status_troubled.json", r.out)
}

func TestStatusWatchOnAPipe(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs buffer
	ended := make(chan int)
	go func() { // ends with ctx
		ended <- execute(ctx, []string{"--dir", f.dir, "status", "--watch"}, streams{out: &out, err: &errs, env: testEnv(t)})
	}()
	lines := func() []string { return strings.Split(strings.TrimSpace(out.String()), "\n") }
	eventually(t, "the first line", func() bool { return strings.Contains(out.String(), "ready  PID 4711\n") })
	f.Publish(func(st *status.Status) { st.Log.Size++ }) // no news for people
	f.Publish(func(st *status.Status) { *st = troubledStatus() })
	eventually(t, "the second line", func() bool { return len(lines()) == 2 })
	if !strings.Contains(lines()[1], "stopping  PID 4711  sweep  join, step 2 of 5: wait until caught up  asked to stop") {
		t.Errorf("%q", lines())
	}
	cancel()
	if code := <-ended; code != exitOK || errs.String() != "" {
		t.Errorf("exit code %d, %q", code, errs.String())
	}
}

func TestStatusWatchAsJSON(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs buffer
	ended := make(chan int)
	go func() { // ends with ctx
		ended <- execute(ctx, []string{"--dir", f.dir, "status", "-w", "-o", "json"}, streams{out: &out, err: &errs, env: testEnv(t)})
	}()
	eventually(t, "the first line", func() bool { return strings.Count(out.String(), "\n") == 1 })
	f.Publish(func(st *status.Status) { st.Log.Size = 5 })
	eventually(t, "the second line", func() bool { return strings.Count(out.String(), "\n") == 2 })
	var st status.Status
	if err := json.Unmarshal([]byte(strings.Split(out.String(), "\n")[1]), &st); err != nil || st.Log.Size != 5 {
		t.Errorf("%+v, %v", st, err)
	}
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d, %q", code, errs.String())
	}
}
