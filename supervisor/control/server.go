package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Limits of one connection. They only ever run while a client is connected.
const (
	headerTimeout   = 5 * time.Second
	answerTimeout   = 60 * time.Second // of the commands, which return when the loop accepts them
	refreshTimeout  = 5 * time.Second  // for etcd to answer a status
	lineTimeout     = 5 * time.Second  // for a watcher to take one line
	shutdownTimeout = time.Second
	maxHeader       = 16 << 10
	maxWatchers     = 64
)

// Serve answers on ln until ctx is done, then ends the connections and closes ln. It returns an error only when
// ln fails. Every goroutine it started has ended when it returns, but for handlers inside a Daemon method.
func Serve(ctx context.Context, ln net.Listener, d Daemon, a Access) error {
	gid, err := LookupGroup(a.Group)
	if err != nil {
		ln.Close()
		return err
	}
	s := &server{daemon: d, uid: a.UID, gid: gid}
	hs := &http.Server{
		Handler:           s.handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withPeer,
		ReadHeaderTimeout: headerTimeout, // no ReadTimeout: it would end a watch, whose connection is read for the hang-up
		IdleTimeout:       headerTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(io.Discard, "", 0), // broken clients are no news
	}
	hs.SetKeepAlivesEnabled(false) // one request a connection: nothing idles
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		shutdown(hs)
	})
	err = hs.Serve(ln)
	if stop() { // ctx is not done: the listener failed
		shutdown(hs)
		return fmt.Errorf("cannot accept on the control socket: %w", err)
	}
	<-ended
	return nil
}

func shutdown(hs *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if hs.Shutdown(ctx) != nil {
		hs.Close()
	}
}

type server struct {
	daemon   Daemon
	uid, gid int
	watchers atomic.Int32
}

// handler is the route table as an http.Handler, behind the check of who connects.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range Routes {
		serve := r.serve
		mux.HandleFunc(r.Method+" "+r.Path, func(w http.ResponseWriter, req *http.Request) {
			if err := serve(s, w, req); err != nil {
				writeError(w, err)
			}
		})
	}
	for path, allowed := range methods() {
		mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Allow", allowed)
			writeError(w, &Error{Code: CodeMethod, Message: fmt.Sprintf("%s takes %s, not %s", path, allowed, req.Method)})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		writeError(w, &Error{Code: CodeNotFound, Message: fmt.Sprintf("no such path: %s", req.URL.Path),
			Remedy: "the client may be newer than the running etcdsup; compare with etcdsup version"})
	})
	return s.guard(mux)
}

// methods are those that each path takes, separated by commas.
func methods() map[string]string {
	all := map[string]string{}
	for _, r := range Routes {
		if all[r.Path] != "" {
			all[r.Path] += ", "
		}
		all[r.Path] += r.Method
	}
	return all
}

func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		p, ok := req.Context().Value(peerKey{}).(peer)
		if !ok || !p.allowed(s.uid, s.gid) {
			writeError(w, s.denial(p, ok))
			return
		}
		rc := http.NewResponseController(w)
		_ = rc.SetWriteDeadline(time.Now().Add(answerTimeout)) // a connection that is gone fails at the write
		if req.ContentLength != 0 {
			_ = rc.SetReadDeadline(time.Now().Add(time.Second)) // the rest of the body is not waited for
			writeError(w, &Error{Code: CodeBadRequest, Message: "no route takes a body"})
			return
		}
		next.ServeHTTP(w, req)
	})
}

func (s *server) denial(p peer, known bool) *Error {
	if !known {
		return &Error{Code: CodeDenied, Message: "cannot tell who connects", Remedy: "connect over the Unix socket, as root"}
	}
	remedy := fmt.Sprintf("run it as root or as uid %d", s.uid)
	if s.gid == noGroup {
		remedy += ", or set control.group"
	} else {
		remedy += fmt.Sprintf(", or join the group with gid %d and log in again", s.gid)
	}
	return &Error{Code: CodeDenied, Message: fmt.Sprintf("uid %d may not control this etcd", p.uid), Remedy: remedy}
}

type peerKey struct{}

func withPeer(ctx context.Context, conn net.Conn) context.Context {
	p, err := peerOf(conn)
	if err != nil {
		return ctx // no credentials, no access: the guard refuses it
	}
	return context.WithValue(ctx, peerKey{}, p)
}

func (s *server) status(w http.ResponseWriter, req *http.Request) error {
	if req.URL.Query().Get("refresh") == "" {
		return writeJSON(w, s.daemon.Status())
	}
	ctx, cancel := context.WithTimeout(req.Context(), refreshTimeout)
	defer cancel()
	st, err := s.daemon.Refresh(ctx)
	if err != nil {
		return err
	}
	return writeJSON(w, st)
}

// watch sends the newest status after each change. A watcher that reads slowly misses statuses in between, never the
// newest one; one that does not read at all is dropped when a line finds no room for lineTimeout.
func (s *server) watch(w http.ResponseWriter, req *http.Request) error {
	if s.watchers.Add(1) > maxWatchers {
		s.watchers.Add(-1)
		return &Error{Code: CodeBusy, Message: fmt.Sprintf("%d watchers are connected already", maxWatchers), Remedy: "end some of them"}
	}
	defer s.watchers.Add(-1)
	news, end := s.daemon.Watch()
	defer end()
	w.Header().Set("Content-Type", "application/x-ndjson")
	rc := http.NewResponseController(w)
	for {
		line, err := json.Marshal(s.daemon.Status())
		if err != nil {
			return fmt.Errorf("cannot encode the status: %w", err)
		}
		_ = rc.SetWriteDeadline(time.Now().Add(lineTimeout))
		if _, err := w.Write(append(line, '\n')); err != nil || rc.Flush() != nil {
			return nil // gone; there is nobody to tell
		}
		select {
		case <-news:
		case <-req.Context().Done():
			return nil
		}
	}
}

func (s *server) start(w http.ResponseWriter, req *http.Request) error {
	return s.command(w, req, s.daemon.Start)
}

func (s *server) stop(w http.ResponseWriter, req *http.Request) error {
	return s.command(w, req, s.daemon.Stop)
}

func (s *server) restart(w http.ResponseWriter, req *http.Request) error {
	return s.command(w, req, s.daemon.Restart)
}

func (s *server) rotate(w http.ResponseWriter, req *http.Request) error {
	return s.command(w, req, s.daemon.RotateLog)
}

func (s *server) reload(w http.ResponseWriter, req *http.Request) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), answerTimeout)
	defer cancel()
	r, err := s.daemon.Reload(ctx)
	if err != nil {
		return err
	}
	return writeJSON(w, r)
}

// upgrade answers once the new executable has said that it can take over, which may take it as long as it is given.
func (s *server) upgrade(w http.ResponseWriter, req *http.Request) error {
	o := UpgradeOrder{Binary: req.URL.Query().Get("binary"), Within: UpgradeWithin}
	if text := req.URL.Query().Get("within"); text != "" {
		var err error
		if o.Within, err = time.ParseDuration(text); err != nil || o.Within <= 0 || o.Within > MaxUpgradeWithin {
			return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("within is %q, not a time of at most %v such as 10s", text, MaxUpgradeWithin)}
		}
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(o.Within + answerTimeout))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), o.Within+answerTimeout)
	defer cancel()
	u, err := s.daemon.Upgrade(ctx, o)
	if err != nil {
		return err
	}
	return writeJSON(w, u)
}

// command runs what outlives its caller: a client that hangs up after its request was read has still given the order.
func (s *server) command(w http.ResponseWriter, req *http.Request, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), answerTimeout)
	defer cancel()
	if err := do(ctx); err != nil {
		return err
	}
	return writeJSON(w, s.daemon.Status())
}

// memberTimeout is for etcd to make a change; it refuses changes for five seconds after the one before.
const memberTimeout = 15 * time.Second

func (s *server) members(w http.ResponseWriter, req *http.Request) error {
	ctx, cancel := context.WithTimeout(req.Context(), refreshTimeout)
	defer cancel()
	l, err := s.daemon.Members(ctx)
	if err != nil {
		return err
	}
	return writeJSON(w, l)
}

func (s *server) changeMember(w http.ResponseWriter, req *http.Request) error {
	q := req.URL.Query()
	o := status.MemberOrder{Op: status.MemberOp(req.PathValue("op")), Member: q.Get("member")}
	if urls := q.Get("urls"); urls != "" {
		o.URLs = strings.Split(urls, ",")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), memberTimeout)
	defer cancel()
	l, err := s.daemon.ChangeMember(ctx, o)
	if err != nil {
		return err
	}
	return writeJSON(w, l)
}

// howMany is the parameter n.
func howMany(req *http.Request) (int, error) {
	text := req.URL.Query().Get("n")
	if text == "" {
		return 20, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > MaxHistory {
		return 0, &Error{Code: CodeBadRequest, Message: fmt.Sprintf("n is %q, not a number from 1 to %d", text, MaxHistory)}
	}
	return n, nil
}

func (s *server) history(w http.ResponseWriter, req *http.Request) error {
	n, err := howMany(req)
	if err != nil {
		return err
	}
	events, err := s.daemon.History(req.Context(), n)
	if err != nil {
		return err
	}
	if events == nil {
		events = []status.Event{}
	}
	return writeJSON(w, events)
}

func (s *server) version(w http.ResponseWriter, _ *http.Request) error {
	sup := s.daemon.Status().Supervisor
	return writeJSON(w, Version{API: "v1", Version: sup.Version, PID: sup.PID})
}

func writeJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n')) // a client that is gone needs no answer
	return nil
}

func writeError(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Message: err.Error(), Code: CodeInternal}
	}
	b, err := json.Marshal(e)
	if err != nil {
		b = []byte(`{"error":"cannot encode the error","code":"internal"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(httpStatus(e.Code))
	_, _ = w.Write(append(b, '\n'))
}

// httpStatus maps our codes; a code of the daemon's own is a refusal in its present state.
func httpStatus(code string) int {
	switch code {
	case CodeDenied:
		return http.StatusForbidden
	case CodeNotFound:
		return http.StatusNotFound
	case CodeMethod:
		return http.StatusMethodNotAllowed
	case CodeBadRequest:
		return http.StatusBadRequest
	case CodeBusy:
		return http.StatusServiceUnavailable
	case CodeUnkept:
		return http.StatusInsufficientStorage
	case CodeInternal:
		return http.StatusInternalServerError
	}
	return http.StatusConflict
}
