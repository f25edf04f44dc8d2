package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
	"golang.org/x/sys/unix"
)

// Client talks to the daemon behind one socket. It keeps no connection between calls and is safe for several goroutines.
//
// Errors are ErrNoDaemon, ErrDenied or ErrSilent, wrapped, where there was no answer; an *Error where there was one.
type Client struct {
	socket string
	quick  waiter
	slow   waiter // for answers that take as long as reading all of the data does
}

// waiter asks, and waits for an answer to begin.
type waiter struct {
	http *http.Client
	wait time.Duration
}

// silence is how long the daemon may take to begin an answer. The slowest one waits refreshTimeout for etcd.
const silence = 20 * time.Second

// NewClient returns a client of the daemon that listens on socket. Nothing is connected yet.
func NewClient(socket string) *Client {
	return &Client{socket: socket, quick: newWaiter(socket, silence), slow: newWaiter(socket, planTimeout+silence)}
}

func newWaiter(socket string, wait time.Duration) waiter {
	return waiter{wait: wait, http: &http.Client{Transport: &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, socket) },
		DisableKeepAlives:     true,
		ResponseHeaderTimeout: wait,
	}}}
}

// Socket is the path that the client connects to.
func (c *Client) Socket() string { return c.socket }

// Status returns the newest status. With refresh etcd is asked first, which takes as long as etcd takes, a few seconds at most.
func (c *Client) Status(ctx context.Context, refresh bool) (*status.Status, error) {
	path := "/v1/status"
	if refresh {
		path += "?refresh=1"
	}
	return call[*status.Status](ctx, c, http.MethodGet, path)
}

// Start wants etcd up. The status is the one that shows the accepted command, or a newer one.
func (c *Client) Start(ctx context.Context) (*status.Status, error) {
	return call[*status.Status](ctx, c, http.MethodPost, "/v1/start")
}

// Stop wants etcd down, see Start.
func (c *Client) Stop(ctx context.Context) (*status.Status, error) {
	return call[*status.Status](ctx, c, http.MethodPost, "/v1/stop")
}

// Restart wants etcd stopped and started, see Start.
func (c *Client) Restart(ctx context.Context) (*status.Status, error) {
	return call[*status.Status](ctx, c, http.MethodPost, "/v1/restart")
}

// Reload has the configuration read again.
func (c *Client) Reload(ctx context.Context) (*status.Reload, error) {
	return callBy[*status.Reload](ctx, c, c.slow, http.MethodPost, "/v1/reload")
}

// Upgrade has etcdsup replaced by another executable. What that comes to is seen in the statuses, of a socket on which
// nobody may answer for a moment.
func (c *Client) Upgrade(ctx context.Context, o UpgradeOrder) (*status.Upgrade, error) {
	q := url.Values{"binary": {o.Binary}, "within": {o.Within.String()}}
	return callBy[*status.Upgrade](ctx, c, newWaiter(c.socket, o.Within+answerTimeout), http.MethodPost, "/v1/upgrade?"+q.Encode())
}

// RotateLog returns when etcd's log goes to a new file.
func (c *Client) RotateLog(ctx context.Context) (*status.Status, error) {
	return call[*status.Status](ctx, c, http.MethodPost, "/v1/logs/rotate")
}

// Members asks for the cluster's members.
func (c *Client) Members(ctx context.Context) (*status.Members, error) {
	return call[*status.Members](ctx, c, http.MethodGet, "/v1/members")
}

// ChangeMember has one change made and returns the members after it.
func (c *Client) ChangeMember(ctx context.Context, o status.MemberOrder) (*status.Members, error) {
	q := url.Values{"member": {o.Member}}
	if len(o.URLs) > 0 {
		q.Set("urls", strings.Join(o.URLs, ","))
	}
	return call[*status.Members](ctx, c, http.MethodPost, "/v1/members/"+url.PathEscape(string(o.Op))+"?"+q.Encode())
}

// History returns the newest n events, oldest first; n is at most MaxHistory.
func (c *Client) History(ctx context.Context, n int) ([]status.Event, error) {
	return call[[]status.Event](ctx, c, http.MethodGet, "/v1/history?n="+strconv.Itoa(n))
}

// Version asks the daemon for its version.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return call[Version](ctx, c, http.MethodGet, "/v1/version")
}

// Stream is a watch of the daemon's statuses.
type Stream struct {
	// C has the newest status first and then one after each change. It is closed when the watch ended.
	C   <-chan *status.Status
	err error
}

// Err says, once C is closed, why: ctx's error, or ErrNoDaemon when the daemon ended.
func (s *Stream) Err() error { return s.err }

// Watch follows the daemon's statuses until ctx is done or the daemon ends.
func (c *Client) Watch(ctx context.Context) (*Stream, error) {
	resp, err := c.do(ctx, c.quick, http.MethodGet, "/v1/status/watch") //nolint:bodyclose // Stream.read closes it
	if err != nil {
		return nil, err
	}
	ch := make(chan *status.Status)
	s := &Stream{C: ch}
	go s.read(ctx, resp.Body, ch) // ends when ctx is done, which also breaks the read, or at the end of the body
	return s, nil
}

func (s *Stream) read(ctx context.Context, body io.ReadCloser, ch chan<- *status.Status) {
	defer close(ch)
	defer body.Close()
	dec := json.NewDecoder(bufio.NewReader(body))
	for {
		st := new(status.Status)
		if err := dec.Decode(st); err != nil {
			s.err = streamEnd(ctx, err)
			return
		}
		select {
		case ch <- st:
		case <-ctx.Done():
			s.err = ctx.Err()
			return
		}
	}
}

func streamEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w any more: %w", ErrNoDaemon, err)
}

func call[T any](ctx context.Context, c *Client, method, path string) (T, error) {
	return callBy[T](ctx, c, c.quick, method, path)
}

func callBy[T any](ctx context.Context, c *Client, by waiter, method, path string) (answer T, err error) {
	resp, err := c.do(ctx, by, method, path)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return answer, fmt.Errorf("cannot read the answer of etcdsup: %w", err)
	}
	return answer, nil
}

// do returns an answer of status 200, whose body the caller closes.
func (c *Client) do(ctx context.Context, by waiter, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://etcdsup"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := by.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, by, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, readError(resp)
}

func (c *Client) explain(ctx context.Context, by waiter, err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%w %s", ErrNoDaemon, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w (%s)", ErrDenied, c.socket)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w within %v: %s", ErrSilent, by.wait, c.socket)
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return fmt.Errorf("%w %s any more", ErrNoDaemon, c.socket)
	}
	return fmt.Errorf("cannot ask etcdsup over %s: %w", c.socket, err)
}

func readError(resp *http.Response) error {
	e := new(Error)
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if json.Unmarshal(body, e) != nil || e.Message == "" {
		return &Error{Message: fmt.Sprintf("etcdsup answered %s", resp.Status), Code: CodeInternal}
	}
	return e
}
