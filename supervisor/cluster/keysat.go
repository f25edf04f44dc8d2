package cluster

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// KeysAt is the number of keys that lived at a revision, which must not be compacted yet.
func (c *Client) KeysAt(ctx context.Context, revision int64) (n int64, err error) {
	err = c.with(ctx, func(cl *clientv3.Client) error {
		r, err := cl.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly(), clientv3.WithRev(revision))
		if err == nil {
			n = r.Count
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot count the keys at revision %d: %w", revision, plain(ctx, err))
	}
	return n, nil
}
