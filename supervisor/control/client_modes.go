package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Modes asks for the present mode, the transition under way, and the last that ended.
func (c *Client) Modes(ctx context.Context) (*status.Modes, error) {
	return call[*status.Modes](ctx, c, http.MethodGet, "/v1/mode")
}

// PlanMode asks what a transition would do. It may take minutes, see Modes.PlanMode.
func (c *Client) PlanMode(ctx context.Context, r status.ModeRequest) (*status.Plan, error) {
	q, err := modeQuery(r)
	if err != nil {
		return nil, err
	}
	return callBy[*status.Plan](ctx, c, c.slow, http.MethodGet, "/v1/mode/plan?"+q.Encode())
}

// ChangeMode has a transition begun; confirm is the plan's own word, or yes where it has none. It returns once that is
// written down, and nil when there was nothing to do. A ctx that ends meanwhile does not take the order back.
func (c *Client) ChangeMode(ctx context.Context, r status.ModeRequest, confirm string) (*status.Transition, error) {
	q, err := modeQuery(r)
	if err != nil {
		return nil, err
	}
	q.Set("confirm", confirm)
	return callBy[*status.Transition](ctx, c, c.slow, http.MethodPost, "/v1/mode?"+q.Encode())
}

// CancelMode has the transition that is under way rolled back; it returns nil when none is.
func (c *Client) CancelMode(ctx context.Context) (*status.Transition, error) {
	return call[*status.Transition](ctx, c, http.MethodPost, "/v1/mode/cancel")
}

// AcceptData says that the data directory is the one that is meant.
func (c *Client) AcceptData(ctx context.Context) (*status.Status, error) {
	return callBy[*status.Status](ctx, c, c.slow, http.MethodPost, "/v1/accept-data")
}

// Audit returns the newest n entries of the audit log, oldest first, and whether its chain holds; n is at most MaxHistory.
func (c *Client) Audit(ctx context.Context, n int) (*status.AuditReport, error) {
	return call[*status.AuditReport](ctx, c, http.MethodGet, "/v1/audit?n="+strconv.Itoa(n))
}

func modeQuery(r status.ModeRequest) (url.Values, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the request: %w", err)
	}
	return url.Values{"request": {string(b)}}, nil
}
