package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Forced asks an etcd that runs apart from its cluster, over a Unix socket. Unlike a Client it never follows a member
// list: whoever is named there must not be contacted.
type Forced struct{ *Client }

// NewForced returns a client of the endpoint, which has the scheme unixs; secure is how TLS is spoken there. Nothing is
// connected yet, and the socket need not be there.
func NewForced(endpoint *url.URL, secure *tls.Config) (*Forced, error) {
	if endpoint.Scheme != "unixs" {
		return nil, errors.New("cannot ask etcd apart from its cluster: not at a Unix socket with TLS")
	}
	return &Forced{&Client{o: Options{Endpoints: []*url.URL{endpoint}}, tls: secure}}, nil
}

// serveEvery is the pause between two looks at an etcd that does not serve yet.
const serveEvery = 20 * time.Millisecond

// WaitServing returns when etcd has answered a linearizable read.
func (f *Forced) WaitServing(ctx context.Context) error {
	pause := time.NewTicker(serveEvery)
	defer pause.Stop()
	for {
		err := f.serves(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot wait until etcd serves: %w: %w", ctx.Err(), err)
		}
	}
}

// serves connects by itself first: gRPC takes a second before it tries a socket again that was not there.
func (f *Forced) serves(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", f.o.Endpoints[0].Path)
	if err != nil {
		return err
	}
	_ = conn.Close()
	return f.with(ctx, func(cl *clientv3.Client) error {
		_, err := cl.Get(ctx, "etcdsup", clientv3.WithCountOnly())
		return err
	})
}

// Members is the list as the cluster has it. Only what the list itself says is filled in.
func (f *Forced) Members(ctx context.Context) (*status.Members, error) {
	var resp *clientv3.MemberListResponse
	err := f.with(ctx, func(cl *clientv3.Client) (err error) {
		resp, err = cl.MemberList(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the members: %w", plain(ctx, err))
	}
	l := &status.Members{ClusterID: hex(resp.Header.ClusterId)}
	for _, m := range resp.Members {
		l.Members = append(l.Members, status.Peer{
			ID: hex(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs,
			Learner: m.IsLearner, Started: len(m.ClientURLs) > 0, Self: m.ID == resp.Header.MemberId,
		})
	}
	return l, nil
}

// Nudge puts an entry into raft's log that changes nothing: it revokes lease 0, which etcd never grants. The entry is
// there all the same, and neither a full quota nor an alarm nor a missing permission on a key stands against it.
func (f *Forced) Nudge(ctx context.Context) error {
	err := f.with(ctx, func(cl *clientv3.Client) error {
		_, err := cl.Revoke(ctx, clientv3.NoLease)
		return err
	})
	if err == nil || errors.Is(err, rpctypes.ErrLeaseNotFound) || errors.Is(err, rpctypes.ErrCorrupt) {
		return nil
	}
	return fmt.Errorf("cannot add an entry to raft's log: %w", plain(ctx, err))
}

// CountKeys is the number of keys that live, by a linearizable read.
func (f *Forced) CountKeys(ctx context.Context) (int64, error) {
	var resp *clientv3.GetResponse
	err := f.with(ctx, func(cl *clientv3.Client) (err error) {
		resp, err = cl.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot count the keys: %w", plain(ctx, err))
	}
	return resp.Count, nil
}
