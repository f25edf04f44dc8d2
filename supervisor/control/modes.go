package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// planTimeout is for a plan: all of a data directory or snapshot may have to be read for it.
const planTimeout = 5 * time.Minute

func (s *server) modes(w http.ResponseWriter, req *http.Request) error {
	m, err := s.daemon.Modes(req.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, m)
}

func (s *server) planMode(w http.ResponseWriter, req *http.Request) error {
	r, _, err := modeRequest(req, "request")
	if err != nil {
		return err
	}
	ctx, cancel := slowly(req.Context(), w)
	defer cancel()
	p, err := s.daemon.PlanMode(ctx, r)
	if err != nil {
		return err
	}
	return writeJSON(w, p)
}

func (s *server) changeMode(w http.ResponseWriter, req *http.Request) error {
	r, confirm, err := modeRequest(req, "request", "confirm")
	if err != nil {
		return err
	}
	if confirm == "" {
		return &Error{Code: CodeBadRequest, Message: "cannot change the mode: it is not confirmed",
			Remedy: "ask for the plan first; confirm with its own word, or with yes where it has none"}
	}
	ctx, cancel := slowly(context.WithoutCancel(req.Context()), w)
	defer cancel()
	tr, err := s.daemon.ChangeMode(ctx, r, confirm, ActorOf(req.Context()))
	if err != nil {
		return err
	}
	return writeJSON(w, tr)
}

func (s *server) cancelMode(w http.ResponseWriter, req *http.Request) error {
	if err := onlyParameters(req); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), answerTimeout)
	defer cancel()
	tr, err := s.daemon.CancelMode(ctx, ActorOf(req.Context()))
	if err != nil {
		return err
	}
	return writeJSON(w, tr)
}

func (s *server) acceptData(w http.ResponseWriter, req *http.Request) error {
	if err := onlyParameters(req); err != nil {
		return err
	}
	return s.command(w, req, func(ctx context.Context) error { return s.daemon.AcceptData(ctx, ActorOf(req.Context())) })
}

func (s *server) audit(w http.ResponseWriter, req *http.Request) error {
	n, err := howMany(req)
	if err != nil {
		return err
	}
	r, err := s.daemon.Audit(req.Context(), n)
	if err != nil {
		return err
	}
	if r.Entries == nil {
		empty := *r
		empty.Entries = []status.AuditEntry{}
		r = &empty
	}
	return writeJSON(w, r)
}

// slowly gives an answer the time that reading all of the data takes.
func slowly(ctx context.Context, w http.ResponseWriter) (context.Context, context.CancelFunc) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(planTimeout + answerTimeout))
	return context.WithTimeout(ctx, planTimeout)
}

// modeRequest reads the parameters of a change of mode. It is strict: what a slip of the pen would leave out here might be
// the very thing that protects an old cluster.
func modeRequest(req *http.Request, known ...string) (r status.ModeRequest, confirm string, err error) {
	if err := onlyParameters(req, known...); err != nil {
		return r, "", err
	}
	q := req.URL.Query()
	if r, err = parseModeRequest(q.Get("request")); err != nil {
		return r, "", &Error{Code: CodeBadRequest, Message: err.Error()}
	}
	return r, q.Get("confirm"), nil
}

func parseModeRequest(text string) (r status.ModeRequest, err error) {
	if text == "" {
		return r, errors.New("cannot read the request: the parameter request is missing")
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return r, fmt.Errorf("cannot read the request: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("cannot read the request: something follows the object")
	}
	err = r.Validate()
	return r, err
}

// onlyParameters refuses a parameter that is not known, or given twice.
func onlyParameters(req *http.Request, known ...string) error {
	for name, values := range req.URL.Query() {
		switch {
		case !slices.Contains(known, name):
			return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("%s has no parameter %q", req.URL.Path, name)}
		case len(values) > 1:
			return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("the parameter %q is given %d times", name, len(values))}
		}
	}
	return nil
}
