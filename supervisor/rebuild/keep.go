package rebuild

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Kept is what KeepEntries found and did.
type Kept struct {
	From uint64 `json:"from"` // the index up to which the log called its entries committed
	To   uint64 `json:"to"`   // and up to which it does now; the same when nothing was to be done
	Term uint64 `json:"term"` // of the log's state, which stays
	// Changes is how many of the kept entries change the membership.
	Changes int `json:"changes,omitempty"`
	// Broken is where the last segment stands as it was, when a record that had not been written out was cut off.
	Broken string `json:"broken,omitempty"`
}

// KeepEntries makes all entries of a WAL count as committed, by one more state at its end. After an unclean stop the
// last writes that etcd had confirmed may stand behind the last commit index that it had written down; under
// --force-new-cluster etcd 3.6 and 3.7 discard them.
//
// Entries that nobody was told of take effect as well, as they do for anybody whose answer was lost. On a member of
// several, it may be entries of a leader that had been deposed: so this is for data that is forced because there is
// nothing better.
//
// The data must be stopped, and should be a working copy. walDir is where the WAL is; empty: member/wal in dataDir.
// Nothing is written when there is nothing to keep. The error wraps [ErrInUse] when a process has the data open,
// [ErrDamaged] when records are bad that etcd would not pass over, or when it would and committed entries were lost
// with them, and [ErrRemoved] when one of the entries removes this member. A last record that was not written out is
// cut off as etcd itself does it, with a copy of the segment beside it.
func KeepEntries(dataDir, walDir string) (Kept, error) {
	if walDir == "" {
		walDir = filepath.Join(dataDir, "member", "wal")
	}
	var k Kept
	err := guarded(func() error { return k.keep(dataDir, walDir) })
	if err != nil {
		return k, fmt.Errorf("cannot keep the last entries in %s: %w", walDir, err)
	}
	return k, nil
}

func (k *Kept) keep(dataDir, walDir string) error {
	release, err := holdDB(dataDir)
	if err != nil {
		return err
	}
	defer release()
	l, err := readLog(walDir)
	if err != nil {
		return err
	}
	if locked, err := isLocked(l.lastSegment()); err != nil || locked {
		return errors.Join(err, isInUse(locked, l.lastSegment()))
	}
	if err := l.checkBehind(); err != nil {
		return err
	}
	k.From, k.To, k.Term = l.state.GetCommit(), l.state.GetCommit(), l.state.GetTerm()
	if l.last <= k.From {
		return nil
	}
	if err := k.checkChanges(l); err != nil {
		return err
	}
	return k.commit(l)
}

func isInUse(is bool, path string) error {
	if is {
		return fmt.Errorf("%s: %w", path, ErrInUse)
	}
	return nil
}

// checkChanges looks at the changes of membership that would take effect.
func (k *Kept) checkChanges(l *walLog) error {
	if l.state.GetTerm() < l.lastTerm {
		return fmt.Errorf("%w: the log's term is %d, and that of its last entry %d", ErrDamaged, l.state.GetTerm(), l.lastTerm)
	}
	for _, c := range l.changes {
		if c.index <= k.From {
			continue
		}
		k.Changes++
		if c.change.GetType() == raftpb.ConfChangeRemoveNode && c.change.GetNodeId() == l.member.GetNodeID() {
			return fmt.Errorf("entry %d: %w", c.index, ErrRemoved)
		}
	}
	return nil
}

// commit writes the state, and reads the log again to see that it is there.
func (k *Kept) commit(l *walLog) error {
	w, err := k.open(l)
	if err != nil {
		return err
	}
	state := proto.CloneOf(&l.state)
	state.Commit = new(l.last)
	if err := errors.Join(w.Save(state, nil), w.Sync(), w.Close()); err != nil {
		return err
	}
	after, err := readLog(l.dir)
	if err != nil {
		return err
	}
	if after.torn || after.last != l.last || !proto.Equal(&after.state, state) {
		return fmt.Errorf("wrote a state with commit index %d, and read one with %d", l.last, after.state.GetCommit())
	}
	k.To = l.last
	return nil
}

// open opens the WAL for writing as etcd does when it starts: what is torn at the end is repaired, once.
func (k *Kept) open(l *walLog) (*wal.WAL, error) {
	w, err := l.open()
	if errors.Is(err, io.ErrUnexpectedEOF) && l.torn {
		if !wal.Repair(quiet, l.dir) {
			return nil, fmt.Errorf("cannot cut off the torn record at the end: %w", err)
		}
		k.Broken = l.lastSegment() + ".broken"
		w, err = l.open()
	}
	return w, err
}

// open gives the WAL ready to be written to, if it is as it was when it was read.
func (l *walLog) open() (*wal.WAL, error) {
	w, err := wal.Open(quiet, l.dir, l.snapshot())
	if err != nil {
		return nil, err
	}
	_, state, entries, err := w.ReadAll()
	if err == nil && (len(entries) == 0 || entries[len(entries)-1].GetIndex() != l.last || !proto.Equal(state, &l.state)) {
		err = fmt.Errorf("%s changed while it was read", l.dir)
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}
