package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/etcdsup/etcdsup/supervisor/status"
	"github.com/etcdsup/etcdsup/supervisor/status/statustest"
)

func TestMain(m *testing.M) {
	if socket := os.Getenv("ETCDSUP_TEST_ASK"); socket != "" {
		askAndExit(socket)
	}
	goleak.VerifyTestMain(m)
}

// fake is a daemon whose statuses the test publishes.
type fake struct {
	*statustest.Board
	mu     sync.Mutex
	calls  []string
	err    error // of the next commands
	events []status.Event
	who    status.Actor // of the last command that is told
	tr     *status.Transition
	audit  status.AuditReport
}

func newFake() *fake {
	return &fake{Board: statustest.New(status.Status{Instance: "default", Supervisor: status.Supervisor{PID: 7, Version: "v1.2.3"}})}
}

func (f *fake) call(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, name)
	return f.err
}

func (f *fake) Refresh(context.Context) (*status.Status, error) {
	err := f.call("refresh")
	return f.Status(), err
}
func (f *fake) Start(context.Context) error   { return f.call("start") }
func (f *fake) Stop(context.Context) error    { return f.call("stop") }
func (f *fake) Restart(context.Context) error { return f.call("restart") }
func (f *fake) Members(context.Context) (*status.Members, error) {
	return &status.Members{ClusterID: "c1"}, f.call("members")
}

func (f *fake) ChangeMember(_ context.Context, o status.MemberOrder) (*status.Members, error) {
	return &status.Members{ClusterID: "c1"}, f.call(string(o.Op) + " " + o.Member + " " + strings.Join(o.URLs, " "))
}

func (f *fake) RotateLog(context.Context) error { return f.call("rotate") }
func (f *fake) Upgrade(_ context.Context, o UpgradeOrder) (*status.Upgrade, error) {
	return &status.Upgrade{ID: "u1", Binary: o.Binary, Outcome: status.UpgradeRunning}, f.call("upgrade " + o.Within.String())
}

func (f *fake) Reload(context.Context) (*status.Reload, error) {
	return &status.Reload{Applied: []string{"log.max_size"}}, f.call("reload")
}
func (f *fake) History(_ context.Context, n int) ([]status.Event, error) {
	return f.events[max(0, len(f.events)-n):], f.call(fmt.Sprintf("history %d", n))
}

// serve runs a server until the test ends and returns its socket.
func serve(t *testing.T, d Daemon, a Access) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "run", "control.sock")
	ln, err := Listen(socket, a.Group)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, d, a) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
	return socket
}

func self() Access { return Access{UID: os.Getuid()} }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, every := time.NewTimer(time.Minute), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer every.Stop()
	for !ok() {
		select {
		case <-every.C:
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		}
	}
}

func TestClientMirrorsTheDaemon(t *testing.T) {
	f := newFake()
	for i := range 30 {
		f.events = append(f.events, status.Event{Seq: uint64(i + 1), Kind: status.EventStart})
	}
	c, ctx := NewClient(serve(t, f, self())), t.Context()
	for _, call := range []struct {
		want string
		do   func() (*status.Status, error)
	}{
		{"", func() (*status.Status, error) { return c.Status(ctx, false) }},
		{"refresh", func() (*status.Status, error) { return c.Status(ctx, true) }},
		{"start", func() (*status.Status, error) { return c.Start(ctx) }},
		{"stop", func() (*status.Status, error) { return c.Stop(ctx) }},
		{"restart", func() (*status.Status, error) { return c.Restart(ctx) }},
		{"rotate", func() (*status.Status, error) { return c.RotateLog(ctx) }},
	} {
		f.calls = nil
		st, err := call.do()
		if err != nil || st.Instance != "default" {
			t.Errorf("%s: %+v, %v", call.want, st, err)
		}
		if got := strings.Join(f.calls, ","); got != call.want {
			t.Errorf("called %q, want %q", got, call.want)
		}
	}
	events, err := c.History(ctx, 3)
	if err != nil || len(events) != 3 || events[2].Seq != 30 {
		t.Errorf("history: %+v, %v", events, err)
	}
	v, err := c.Version(ctx)
	if err != nil || v != (Version{API: "v1", Version: "v1.2.3", PID: 7}) {
		t.Errorf("version: %+v, %v", v, err)
	}
}

func TestErrorsTravelWithCodeAndRemedy(t *testing.T) {
	f := newFake()
	c := NewClient(serve(t, f, self()))
	want := Error{Message: "a transition is under way", Remedy: "wait for it", Code: "job", Faults: []status.Fault{{What: "a", Remedy: "b"}, {What: "c"}}}
	f.err = fmt.Errorf("refused: %w", &want)
	_, err := c.Start(t.Context())
	if e, ok := errors.AsType[*Error](err); !ok || !reflect.DeepEqual(*e, want) {
		t.Errorf("got %+v", err)
	}
	f.err = errors.New("disk on fire")
	_, err = c.Start(t.Context())
	if e, ok := errors.AsType[*Error](err); !ok || !reflect.DeepEqual(*e, (Error{Message: "disk on fire", Code: CodeInternal})) {
		t.Errorf("got %+v", err)
	}
}

// ask speaks HTTP by hand, as a curl would.
func ask(t *testing.T, socket, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, request)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

func TestEveryRouteAnswersItsMethodOnly(t *testing.T) {
	f := newFake()
	socket := serve(t, f, self())
	for _, r := range Routes {
		if r.Doc == "" || (r.Mode == Write) != (r.Method == http.MethodPost) {
			t.Errorf("%+v", r)
		}
		allowed := methods()[r.Path]
		wrong := "PUT"
		if allowed == r.Method {
			wrong = map[string]string{"GET": "POST", "POST": "GET"}[r.Method]
		}
		resp, body := ask(t, socket, wrong+" "+r.Path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		var e Error
		if err := json.Unmarshal([]byte(body), &e); err != nil || resp.StatusCode != http.StatusMethodNotAllowed || e.Code != CodeMethod || resp.Header.Get("Allow") != allowed || !strings.Contains(allowed, r.Method) {
			t.Errorf("%s %s: %d %s", wrong, r.Path, resp.StatusCode, body)
		}
	}
	if len(f.calls) > 0 {
		t.Errorf("called %v", f.calls)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	f := newFake()
	socket := serve(t, f, self())
	for request, code := range map[string]string{
		"GET /v2/status HTTP/1.1\r\nHost: x\r\n\r\n":                         CodeNotFound,
		"GET /v1/history?n=0 HTTP/1.1\r\nHost: x\r\n\r\n":                    CodeBadRequest,
		"GET /v1/history?n=1001 HTTP/1.1\r\nHost: x\r\n\r\n":                 CodeBadRequest,
		"GET /v1/history?n=x HTTP/1.1\r\nHost: x\r\n\r\n":                    CodeBadRequest,
		"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n": CodeBadRequest,
	} {
		_, body := ask(t, socket, request)
		var e Error
		if err := json.Unmarshal([]byte(body), &e); err != nil || e.Code != code || e.Message == "" {
			t.Errorf("%q: %s, want %s", request, body, code)
		}
	}
	if len(f.calls) > 0 {
		t.Errorf("called %v", f.calls)
	}
	if resp, _ := ask(t, socket, "GET /v1/status HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 2*maxHeader)+"\r\n\r\n"); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a huge header: %d", resp.StatusCode)
	}
}

func TestWatchSeesTheNewestAfterEachChange(t *testing.T) {
	f := newFake()
	c := NewClient(serve(t, f, self()))
	ctx, cancel := context.WithCancel(t.Context())
	s, err := c.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if st := <-s.C; st.State != "" {
		t.Errorf("first: %+v", st)
	}
	for _, state := range []status.State{status.StateStarting, status.StateReady} {
		f.Publish(func(st *status.Status) { st.State = state })
		if st := <-s.C; st.State != state {
			t.Errorf("got %q, want %q", st.State, state)
		}
	}
	cancel()
	for range s.C {
	}
	if !errors.Is(s.Err(), context.Canceled) {
		t.Errorf("ended with %v", s.Err())
	}
	eventually(t, "the server forgets the watcher", func() bool { return f.Watchers() == 0 })
}

func TestWatcherThatDoesNotReadIsDroppedAndHoldsNobodyUp(t *testing.T) {
	f := newFake()
	socket := serve(t, f, self())
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /v1/status/watch HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, "it watches", func() bool { return f.Watchers() == 1 })
	reason := strings.Repeat("x", 1<<20)
	f.Publish(func(st *status.Status) { st.Reason = reason }) // more than the socket's buffer takes
	if _, err := NewClient(socket).Version(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "it is dropped", func() bool { return f.Watchers() == 0 })
}

func TestWatchersAreCounted(t *testing.T) {
	f := newFake()
	c := NewClient(serve(t, f, self()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var streams []*Stream
	for range maxWatchers {
		s, err := c.Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, s)
	}
	_, err := c.Watch(ctx)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeBusy {
		t.Errorf("one too many: %v", err)
	}
	if _, err := c.Status(ctx, false); err != nil {
		t.Errorf("no status beside the watchers: %v", err)
	}
	cancel()
	for _, s := range streams {
		for range s.C {
		}
	}
}

func TestWatchEndsWithTheDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := Listen(socket, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, newFake(), self()) }() // ends with ctx
	s, err := NewClient(socket).Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-s.C
	cancel()
	for range s.C {
	}
	if err := <-ended; err != nil || !errors.Is(s.Err(), ErrNoDaemon) {
		t.Errorf("server %v, watch %v", err, s.Err())
	}
}

func TestServeSaysWhenTheListenerFails(t *testing.T) {
	ln, err := Listen(filepath.Join(t.TempDir(), "s"), "")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := Serve(t.Context(), ln, newFake(), self()); err == nil {
		t.Error("no error from a closed listener")
	}
}

func TestClientWithoutDaemon(t *testing.T) {
	dir := t.TempDir()
	ln, err := Listen(filepath.Join(dir, "left"), "")
	if err != nil {
		t.Fatal(err)
	}
	ln.ln.Close() // as after SIGKILL: the socket stays
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, socket := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "left"), filepath.Join(file, "below")} {
		if _, err := NewClient(socket).Status(t.Context(), false); !errors.Is(err, ErrNoDaemon) {
			t.Errorf("%s: %v", socket, err)
		}
	}
}
