package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"reflect"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

func (f *fake) Modes(context.Context) (*status.Modes, error) {
	return &status.Modes{Mode: status.ModeNormal, Now: f.tr}, f.call("modes")
}

func (f *fake) PlanMode(_ context.Context, r status.ModeRequest) (*status.Plan, error) {
	return &status.Plan{Request: r, Confirm: "c1"}, f.call("plan " + string(r.Mode))
}

func (f *fake) ChangeMode(_ context.Context, r status.ModeRequest, confirm string, who status.Actor) (*status.Transition, error) {
	f.who = who
	if f.tr != nil {
		f.tr.Request = r
	}
	return f.tr, f.call("change " + string(r.Mode) + " " + confirm)
}

func (f *fake) CancelMode(_ context.Context, who status.Actor) (*status.Transition, error) {
	f.who = who
	return f.tr, f.call("cancel")
}

func (f *fake) AcceptData(_ context.Context, who status.Actor) error {
	f.who = who
	return f.call("accept")
}

func (f *fake) Audit(context.Context, int) (*status.AuditReport, error) {
	return &f.audit, f.call("audit")
}

func TestModesTravelWhole(t *testing.T) {
	f := newFake()
	c, ctx := NewClient(serve(t, f, self())), t.Context()
	force := status.ModeRequest{
		Mode: status.ModeForceNewCluster, From: "/backup/a b&c", NewIdentity: true, BumpRevision: 1e9,
		Fenced: []string{"a", "10.0.0.1"}, Peers: []string{"https://a:2380"}, AllowContact: true,
	}
	p, err := c.PlanMode(ctx, force)
	if err != nil || p.Confirm != "c1" || !reflect.DeepEqual(p.Request, force) {
		t.Errorf("plan: %+v, %v", p, err)
	}
	if tr, err := c.ChangeMode(ctx, force, "c1"); err != nil || tr != nil {
		t.Errorf("nothing to do: %+v, %v", tr, err)
	}
	f.tr = &status.Transition{ID: "t1", Outcome: status.OutcomeRunning}
	join := status.ModeRequest{Mode: status.ModeJoin, Endpoints: []string{"http://a:2379"}, Replace: true}
	tr, err := c.ChangeMode(ctx, join, "yes")
	if err != nil || tr.ID != "t1" || !reflect.DeepEqual(tr.Request, join) {
		t.Errorf("change: %+v, %v", tr, err)
	}
	if m, err := c.Modes(ctx); err != nil || m.Mode != status.ModeNormal || m.Now.ID != "t1" {
		t.Errorf("modes: %+v, %v", m, err)
	}
	if tr, err := c.CancelMode(ctx); err != nil || tr.ID != "t1" {
		t.Errorf("cancel: %+v, %v", tr, err)
	}
	if st, err := c.AcceptData(ctx); err != nil || st.Instance != "default" {
		t.Errorf("accept: %+v, %v", st, err)
	}
	want := "plan force-new-cluster,change force-new-cluster c1,change join yes,modes,cancel,accept"
	if got := strings.Join(f.calls, ","); got != want {
		t.Errorf("called %q, want %q", got, want)
	}
}

func TestAuditIsAListEvenWhenEmpty(t *testing.T) {
	f := newFake()
	socket := serve(t, f, self())
	_, body := ask(t, socket, "GET /v1/audit HTTP/1.1\r\nHost: x\r\n\r\n")
	if !strings.HasPrefix(body, `{"entries":[],`) {
		t.Error(body)
	}
	f.audit = status.AuditReport{Entries: []status.AuditEntry{{Seq: 9, Kind: "command"}}, From: 1, To: 9, Head: "ff", Broken: "entry 3"}
	r, err := NewClient(socket).Audit(t.Context(), 1)
	if err != nil || !reflect.DeepEqual(*r, f.audit) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWhoAskedIsToldByTheKernel(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	want := status.Actor{UID: os.Getuid(), PID: os.Getpid(), User: me.Username}
	f := newFake()
	c, ctx := NewClient(serve(t, f, self())), t.Context()
	for name, send := range map[string]func() error{
		"change": func() error {
			_, err := c.ChangeMode(ctx, status.ModeRequest{Mode: status.ModeJoin}, "yes")
			return err
		},
		"cancel": func() error { _, err := c.CancelMode(ctx); return err },
		"accept": func() error { _, err := c.AcceptData(ctx); return err },
	} {
		f.who = status.Actor{UID: -1}
		if err := send(); err != nil || f.who != want {
			t.Errorf("%s: %+v, want %+v, %v", name, f.who, want, err)
		}
	}
	if got := ActorOf(ctx); !got.Daemon || got.PID != os.Getpid() {
		t.Errorf("nobody: %+v", got)
	}
}

func TestModeErrorsKeepTheirCode(t *testing.T) {
	f := newFake()
	c, ctx := NewClient(serve(t, f, self())), t.Context()
	want := Error{Message: "a change of mode is under way", Remedy: "etcdsup mode", Code: CodeTransition}
	f.err = &want
	join := status.ModeRequest{Mode: status.ModeJoin}
	for name, send := range map[string]func() error{
		"modes":  func() error { _, err := c.Modes(ctx); return err },
		"plan":   func() error { _, err := c.PlanMode(ctx, join); return err },
		"change": func() error { _, err := c.ChangeMode(ctx, join, "yes"); return err },
		"cancel": func() error { _, err := c.CancelMode(ctx); return err },
		"accept": func() error { _, err := c.AcceptData(ctx); return err },
		"audit":  func() error { _, err := c.Audit(ctx, 5); return err },
	} {
		if e, ok := errors.AsType[*Error](send()); !ok || !reflect.DeepEqual(*e, want) {
			t.Errorf("%s: %v", name, e)
		}
	}
}

func TestModeRequestsAreStrict(t *testing.T) {
	f := newFake()
	socket := serve(t, f, self())
	join := url.QueryEscape(`{"mode":"join"}`)
	for line, want := range map[string]string{
		"GET /v1/mode/plan":                                                                      "request is missing",
		"GET /v1/mode/plan?request=x":                                                            "cannot read the request",
		"GET /v1/mode/plan?request=null":                                                         "none is named",
		"GET /v1/mode/plan?request=" + join + "x":                                                "something follows",
		"GET /v1/mode/plan?request=" + join + "&x=1":                                             `no parameter "x"`,
		"GET /v1/mode/plan?confirm=yes&request=" + join:                                          `no parameter "confirm"`,
		"POST /v1/mode?confirm=yes&request=" + join + "&request=" + join:                         "2 times",
		"POST /v1/mode?request=" + join:                                                          "not confirmed",
		"POST /v1/mode?confirm=yes&request=" + url.QueryEscape(`{"mode":"join","fenced":["a"]}`): "for force-new-cluster",
		"POST /v1/mode?confirm=yes&request=" + url.QueryEscape(`{"mode":"force-new-cluster","replace":true}`):      "for a join",
		"POST /v1/mode?confirm=yes&request=" + url.QueryEscape(`{"mode":"force-new-cluster","alow_contact":true}`): `unknown field "alow_contact"`,
		"POST /v1/mode?confirm=yes&request=" + url.QueryEscape(`{"mode":"force-new-cluster","from":"a"}`):          "absolute",
		"POST /v1/mode?confirm=yes&request=" + url.QueryEscape(`{"mode":"normal"}`):                                "cancelled",
		"POST /v1/mode/cancel?id=1":  `no parameter "id"`,
		"POST /v1/accept-data?dir=x": `no parameter "dir"`,
		"GET /v1/audit?n=0":          "from 1 to 1000",
	} {
		resp, body := ask(t, socket, line+" HTTP/1.1\r\nHost: x\r\n\r\n")
		var e Error
		if err := json.Unmarshal([]byte(body), &e); err != nil || e.Code != CodeBadRequest || resp.StatusCode != http.StatusBadRequest || !strings.Contains(e.Message, want) {
			t.Errorf("%s: %d %s, want %q", line, resp.StatusCode, body, want)
		}
	}
	if len(f.calls) > 0 {
		t.Errorf("called %v", f.calls)
	}
}
