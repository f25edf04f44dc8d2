package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Client asks etcd as a client does. Each call connects, asks and closes. It is safe for several goroutines.
type Client struct {
	o   Options
	tls *tls.Config // instead of the files; nil: the files
}

// NewClient returns a client of o.Endpoints. Nothing is connected yet.
func NewClient(o Options) (*Client, error) {
	if len(o.Endpoints) == 0 {
		return nil, errors.New("cannot ask etcd: no client URL is known")
	}
	return &Client{o: o}, nil
}

// open connects to the endpoints; the credentials are sent only when asked for, because a log-in needs a quorum.
func (c *Client) open(ctx context.Context, endpoints []string, secure, login bool) (*clientv3.Client, error) {
	cfg := clientv3.Config{Endpoints: endpoints, Context: ctx, Logger: zap.NewNop()}
	var err error
	if secure {
		if cfg.TLS, err = c.secure(); err != nil {
			return nil, err
		}
	}
	if login {
		cfg.Username = c.o.User
		if cfg.Password, err = c.o.password(); err != nil {
			return nil, err
		}
	}
	return clientv3.New(cfg)
}

func (c *Client) secure() (*tls.Config, error) {
	if c.tls != nil {
		return c.tls, nil
	}
	cfg, err := c.o.files().config()
	if err == nil {
		cfg.ServerName = c.o.ServerName
	}
	return cfg, err
}

// at runs ask against whoever is behind the URLs. It goes without credentials first and logs in only when etcd wants it:
// a log-in needs a quorum, which status otherwise does not. (With authentication on, versions differ in whether status is open.)
func (c *Client) at(ctx context.Context, urls []string, ask func(*clientv3.Client) error) error {
	secure := anySecure(urls)
	err := c.once(ctx, urls, secure, false, ask)
	if c.o.User == "" || !wantsLogin(err) {
		return err
	}
	err = c.once(ctx, urls, secure, true, ask)
	if errors.Is(err, errOnLearner) {
		err = c.asLearner(ctx, urls, ask)
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("cannot log in as %s, for which there must be a quorum: %w", c.o.User, ctx.Err())
	}
	return err
}

// errOnLearner is a learner's answer to a log-in, and to most else.
var errOnLearner = rpctypes.Error(rpctypes.ErrGRPCNotSupportedForLearner)

// asLearner runs ask against a learner. Nobody can log in there, but it knows the tokens that voters give.
func (c *Client) asLearner(ctx context.Context, urls []string, ask func(*clientv3.Client) error) error {
	token, err := c.token(ctx, urls)
	if err != nil {
		return err
	}
	cfg := clientv3.Config{Endpoints: urls, Context: ctx, Logger: zap.NewNop(), Token: token}
	if anySecure(urls) {
		if cfg.TLS, err = c.secure(); err != nil {
			return err
		}
	}
	cl, err := clientv3.New(cfg)
	if err != nil {
		return err
	}
	defer cl.Close()
	return ask(cl)
}

// token logs in at the first endpoint that allows it.
func (c *Client) token(ctx context.Context, except []string) (token string, err error) {
	password, err := c.o.password()
	if err != nil {
		return "", err
	}
	err = errOnLearner
	all := c.o.urls()
	for _, u := range all {
		if slices.Contains(except, u) {
			continue
		}
		quick, cancel := context.WithTimeout(ctx, askTimeout)
		err = c.once(quick, []string{u}, anySecure([]string{u}), false, func(cl *clientv3.Client) error {
			r, err := cl.Authenticate(quick, c.o.User, password)
			if err == nil {
				token = r.Token
			}
			return err
		})
		cancel()
		if err == nil {
			return token, nil
		}
	}
	return "", err
}

func anySecure(urls []string) bool {
	return slices.ContainsFunc(urls, func(u string) bool { return strings.HasPrefix(u, "https:") || strings.HasPrefix(u, "unixs:") })
}

func (c *Client) once(ctx context.Context, endpoints []string, secure, login bool, ask func(*clientv3.Client) error) error {
	cl, err := c.open(ctx, endpoints, secure, login)
	if err != nil {
		return err
	}
	defer cl.Close()
	return ask(cl)
}

func wantsLogin(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, rpctypes.ErrUserEmpty) || errors.Is(err, rpctypes.ErrPermissionDenied) {
		return true
	}
	if errors.Is(err, rpctypes.ErrUserNotFound) { // a client certificate's common name was taken for one
		return true
	}
	switch grpcstatus.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied:
		return true
	}
	return false
}

// Status asks this member for itself and gives its version besides. It works without a quorum, but not before etcd
// serves clients.
func (c *Client) Status(ctx context.Context) (*status.Member, string, error) {
	urls := c.o.urls()
	var resp *clientv3.StatusResponse
	var list *clientv3.MemberListResponse
	err := c.at(ctx, urls, func(cl *clientv3.Client) (err error) {
		if resp, err = cl.Status(ctx, urls[0]); err == nil {
			list, _ = cl.MemberList(ctx, clientv3.WithSerializable()) // one that may not be asked says nothing of its peer URLs
		}
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("cannot ask etcd at %s for its status: %w", urls[0], plain(ctx, err))
	}
	m := c.member(resp)
	m.PeerURLs = listedURLs(list, resp.Header.MemberId)
	return m, resp.Version, nil
}

// listedURLs are the peer URLs under which a list has a member.
func listedURLs(list *clientv3.MemberListResponse, id uint64) []string {
	if list == nil {
		return nil
	}
	for _, m := range list.Members {
		if m.ID == id {
			return m.PeerURLs
		}
	}
	return nil
}

// plain replaces gRPC's and Go's wording of a deadline, which hides that nobody answered.
func plain(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return noAnswer{err}
	}
	return err
}

// noAnswer is a deadline in words.
type noAnswer struct{ error }

func (noAnswer) Error() string   { return "no answer in time" }
func (e noAnswer) Unwrap() error { return e.error }
