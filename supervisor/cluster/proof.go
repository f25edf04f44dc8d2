package cluster

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Proof is what a member has shown of itself and its cluster.
type Proof struct {
	ClusterID string
	MemberID  string
	Learner   bool
	Term      uint64
	Version   string
	Revision  int64 // of the linearizable read
	Keys      int64 // that live at Revision
	Alarms    []string
}

// Proof makes one member show that it reads and writes: a linearizable read, which counts the keys, and a write through
// raft that changes no key and no revision. With one endpoint it is that member, with several the best. A full database
// stands against neither: that is in Alarms.
func (c *Client) Proof(ctx context.Context) (*Proof, error) {
	best, err := c.choose(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot ask etcd at %s who it is: %w", c.where(), plain(ctx, err))
	}
	r := best.answer
	p := &Proof{
		ClusterID: hex(r.Header.ClusterId), MemberID: hex(r.Header.MemberId), Learner: r.IsLearner,
		Term: r.RaftTerm, Version: r.Version, Alarms: r.Errors,
	}
	err = c.at(ctx, []string{best.url}, func(cl *clientv3.Client) error { return p.readAndWrite(ctx, cl) })
	if err != nil {
		return nil, fmt.Errorf("cannot prove that etcd at %s reads and writes: %w", best.url, plain(ctx, err))
	}
	return p, nil
}

// proofKey is named by the write and never written.
const proofKey = "etcdsup/proof"

// readAndWrite writes by a transaction that deletes a key if it was created before revision 0: it is agreed on by all
// members, since it might write, and it never does.
func (p *Proof) readAndWrite(ctx context.Context, cl *clientv3.Client) error {
	count, err := cl.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("linearizable read: %w", err)
	}
	p.Revision, p.Keys = count.Header.Revision, count.Count
	never := clientv3.Compare(clientv3.CreateRevision(proofKey), "<", 0)
	txn, err := cl.Txn(ctx).If(never).Then(clientv3.OpDelete(proofKey)).Commit()
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if txn.Succeeded {
		return errors.New("write: a key was created before revision 0")
	}
	return nil
}
