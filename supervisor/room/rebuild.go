package room

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// RebuildSpec is a member's data and what is to become of it: the lone voter of its cluster.
type RebuildSpec struct {
	// Spec is how etcd runs. Args are flags that the data needs beside those that are set here; a configuration file
	// cannot be among them, because etcd then ignores all flags. Dir is not used: paths, also that of the binary, are
	// absolute.
	Spec
	RunDir string // absolute; a folder "room" is made in it while etcd runs, for the sockets

	DataDir    string   // absolute
	WALDir     string   // absolute; empty: below DataDir
	Name       string   // of the member
	PeerURLs   []string // what the member list is to have in the end
	ClientURLs []string // the same; empty: a placeholder, which the next start replaces

	// Force passes --force-new-cluster. Without it the data must know one voter only, or etcd waits for the others
	// until ctx ends.
	Force bool

	// Dial makes the client of the endpoint, a Unix socket in the file system on which TLS is spoken in this way: whoever
	// comes so is root to etcd. Nothing need be closed.
	Dial func(endpoint *url.URL, secure *tls.Config) (Etcd, error)
	// SnapshotIndex reads from the stopped data up to where a start replays nothing: the index of the newest valid
	// raft snapshot. nil: only the files' names are looked at.
	SnapshotIndex func() (uint64, error)
	// Tell is told what is done now, in few words; may be nil.
	Tell func(doing string)
	// Grace is for etcd to end after SIGTERM; 0: DefaultGrace.
	Grace time.Duration
}

// DefaultGrace is longer than etcd needs to write out a large database.
const DefaultGrace = time.Minute

// Result is the cluster as it was left.
type Result struct {
	ClusterID string // hexadecimal, as etcdctl prints it
	MemberID  string // the same
	Version   string // of etcd
	Revision  int64
	Keys      int64
	Members   []status.Peer // one voter
	Changed   uint64        // raft index by which all changes of the member list were applied
	Snapshot  uint64        // raft index of the newest snapshot, not below Changed
}

// ErrNotRebuilt is found in the errors of data that is not as promised although etcd went along with everything.
var ErrNotRebuilt = errors.New("the data is not that of a lone voter")

// Rebuild makes a member's data that of a one-member cluster, by running etcd on it in a room: the other members are
// struck off, the peer URLs are those of spec, and a raft snapshot lies past both, so that a normal start replays
// nothing of them and contacts nobody. etcd is dead when Rebuild returns.
//
// An error leaves the data in between: whoever calls keeps a copy. It can be called again with the same spec.
func Rebuild(ctx context.Context, spec RebuildSpec) (*Result, error) {
	if err := spec.check(); err != nil {
		return nil, fmt.Errorf("cannot rebuild %s: %w", spec.DataDir, err)
	}
	res, err := spec.rebuild(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot rebuild %s: %w", spec.DataDir, err)
	}
	return res, nil
}

func (s *RebuildSpec) rebuild(ctx context.Context) (*Result, error) {
	h, err := openHall(filepath.Join(s.RunDir, "room"))
	if err != nil {
		return nil, err
	}
	defer h.close()
	etcd, err := s.Dial(h.endpoint(), h.pass.client())
	if err != nil {
		return nil, err
	}
	s.tell("starting etcd")
	run, err := s.launch(h)
	if err != nil {
		return nil, err
	}
	res, err := s.attended(ctx, run, etcd)
	s.tell("stopping etcd")
	stopped := s.stop(run)
	if err != nil {
		return nil, err
	}
	if stopped != nil {
		return nil, stopped
	}
	return res, s.confirm(res)
}

func (s *RebuildSpec) launch(h *hall) (*Run, error) {
	run := s.Spec
	run.Args, run.Env, run.Dir = s.flags(), cleanEnv(s.Env), h.path
	return Start(run)
}

// stop gives etcd its grace whatever became of the caller's context: killed, it would leave its data unclean.
func (s *RebuildSpec) stop(run *Run) error {
	grace := s.Grace
	if grace == 0 {
		grace = DefaultGrace
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	return run.Stop(ctx)
}

// attended does the work, for as long as etcd lives.
func (s *RebuildSpec) attended(ctx context.Context, run *Run, etcd Etcd) (*Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() { // waits for etcd's death, or for the end of the work
		defer close(watched)
		select {
		case <-run.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	res, err := s.work(ctx, etcd)
	cancel()
	<-watched
	if err == nil {
		return res, nil
	}
	select {
	case <-run.Done():
		return nil, fmt.Errorf("etcd ended while it was needed: %w", errors.Join(run.Wait(), err))
	default:
		return nil, err
	}
}

// work is everything that is done while etcd runs.
func (s *RebuildSpec) work(ctx context.Context, etcd Etcd) (*Result, error) {
	s.tell("waiting until etcd serves")
	if err := etcd.WaitServing(ctx); err != nil {
		return nil, err
	}
	if err := s.mendMembers(ctx, etcd); err != nil {
		return nil, err
	}
	me, _, err := etcd.Status(ctx)
	if err != nil {
		return nil, err
	}
	res := &Result{Changed: max(me.Index, me.Applied)}
	s.tell("waiting for a raft snapshot")
	if err := s.passSnapshot(ctx, etcd, res.Changed); err != nil {
		return nil, err
	}
	return res, s.describe(ctx, etcd, res)
}

// mendMembers makes the list what it should be. Before 3.5.25 and 3.6.6 --force-new-cluster leaves learners in it.
func (s *RebuildSpec) mendMembers(ctx context.Context, etcd Etcd) error {
	s.tell("correcting the member list")
	l, err := etcd.Members(ctx)
	if err != nil {
		return err
	}
	for i := range l.Members {
		switch p := &l.Members[i]; {
		case p.Self && !sameURLs(p.PeerURLs, s.PeerURLs):
			err = etcd.UpdatePeerURLs(ctx, p, s.PeerURLs)
		case !p.Self && p.Learner && s.Force:
			err = etcd.Remove(ctx, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func sameURLs(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// nudgeEvery is the pause between two entries; in 3.4 and 3.5 a snapshot is written beside the work on entries.
const nudgeEvery = 10 * time.Millisecond

// passSnapshot adds entries until a snapshot lies at or past index.
func (s *RebuildSpec) passSnapshot(ctx context.Context, etcd Etcd, index uint64) error {
	pause := time.NewTicker(nudgeEvery)
	defer pause.Stop()
	for newestSnapshot(s.DataDir) < index {
		if err := etcd.Nudge(ctx); err != nil {
			return err
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for a raft snapshot at %d, the newest is at %d: %w", index, newestSnapshot(s.DataDir), ctx.Err())
		}
	}
	return nil
}

// describe fills in what etcd says in the end, and refuses what is not as it should be.
func (s *RebuildSpec) describe(ctx context.Context, etcd Etcd, res *Result) error {
	s.tell("checking the member list")
	l, err := etcd.Members(ctx)
	if err != nil {
		return err
	}
	if err := s.lone(l); err != nil {
		return err
	}
	me, version, err := etcd.Status(ctx)
	if err != nil {
		return err
	}
	if res.Keys, err = etcd.CountKeys(ctx); err != nil {
		return err
	}
	res.ClusterID, res.MemberID, res.Version, res.Revision, res.Members = me.ClusterID, me.ID, version, me.Revision, l.Members
	return nil
}

func (s *RebuildSpec) lone(l *status.Members) error {
	if len(l.Members) != 1 {
		return fmt.Errorf("%w: %d members are left", ErrNotRebuilt, len(l.Members))
	}
	switch p := &l.Members[0]; {
	case !p.Self:
		return fmt.Errorf("%w: the one member that is left, %s, is another", ErrNotRebuilt, p.Called())
	case p.Learner:
		return fmt.Errorf("%w: member %s is a learner", ErrNotRebuilt, p.Called())
	case !sameURLs(p.PeerURLs, s.PeerURLs):
		return fmt.Errorf("%w: member %s has peer URLs %q", ErrNotRebuilt, p.Called(), p.PeerURLs)
	}
	return nil
}

// confirm looks at the data of the dead etcd.
func (s *RebuildSpec) confirm(res *Result) error {
	res.Snapshot = newestSnapshot(s.DataDir)
	if s.SnapshotIndex != nil {
		var err error
		if res.Snapshot, err = s.SnapshotIndex(); err != nil {
			return err
		}
	}
	if res.Snapshot < res.Changed {
		return fmt.Errorf("%w: a start would replay changes of the member list: the newest raft snapshot is at %d, they reach up to %d",
			ErrNotRebuilt, res.Snapshot, res.Changed)
	}
	return nil
}

func (s *RebuildSpec) tell(doing string) {
	if s.Tell != nil {
		s.Tell(doing)
	}
}
