package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdsup/etcdsup/supervisor/cluster"
)

// memberTime is how long a member may take to answer: it may just have been started, and look for its leader.
const memberTime = time.Minute

// proof has the member show who it is, that it reads and writes, and what it has.
func (t *takeOver) proof(ctx context.Context) (*cluster.Proof, error) {
	ctx, cancel := context.WithTimeout(ctx, memberTime)
	defer cancel()
	c, err := t.asker.client(ctx, nil)
	if err != nil {
		return nil, err
	}
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	var said error // by etcd, the last time that it said anything
	for {
		attempt, done := context.WithTimeout(ctx, 10*time.Second)
		p, err := c.Proof(attempt)
		done()
		switch {
		case err == nil:
			return p, nil
		case wantsUser(err):
			return nil, err // it says the same the next time
		case said == nil || !errors.Is(err, context.DeadlineExceeded):
			said = err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, said
		}
	}
}

// wantsUser: etcd answers, and not to somebody without a user, or to this one. It goes by etcd's words, as some of those
// errors come as the reasons of several endpoints, in one text.
func wantsUser(err error) bool {
	return slices.ContainsFunc([]error{rpctypes.ErrUserEmpty, rpctypes.ErrUserNotFound, rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed},
		func(no error) bool { return strings.Contains(err.Error(), rpctypes.ErrorDesc(no)) })
}

// proofRemedy is what to do about a member that does not prove itself.
func proofRemedy(err error) string {
	if !wantsUser(err) {
		return "mend the member first: etcdctl endpoint status"
	}
	return "name a user of etcd that may read and write all keys: ETCDSUP_CLUSTER_USER=NAME ETCDSUP_CLUSTER_PASSWORD_FILE=FILE etcdsup init --take-over …; " +
		"that is for the proof alone, and for the service cluster.user and cluster.password_file go into its configuration afterwards"
}

// same says why the member is not the one from before; nil: it is.
func (t *takeOver) same(ctx context.Context, now *cluster.Proof) error {
	was := t.Before
	switch {
	case now.ClusterID != was.ClusterID:
		return fmt.Errorf("it is of cluster %s, and was of %s", now.ClusterID, was.ClusterID)
	case now.MemberID != was.MemberID:
		return fmt.Errorf("it is member %s, and was %s", now.MemberID, was.MemberID)
	case now.Revision < was.Revision:
		return fmt.Errorf("it is at revision %d, and was at %d", now.Revision, was.Revision)
	}
	c, err := t.asker.client(ctx, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, memberTime)
	defer cancel()
	keys, err := c.KeysAt(ctx, was.Revision)
	switch {
	case err != nil && strings.Contains(err.Error(), "compacted"): // meanwhile; the revision itself has been proven
		return nil
	case err != nil:
		return err
	case keys != was.Keys:
		return fmt.Errorf("it has %d keys at revision %d, and had %d", keys, was.Revision, was.Keys)
	}
	return nil
}
