package datadir

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// walFacts is what all segments together tell.
type walFacts struct {
	WAL
	metadata  []byte // of the first record; nil when there is none
	conflict  bool   // two segments are of different members
	clusterID uint64
	memberID  uint64
	raft      Raft
	snapshots []*walpb.Snapshot
	changes   []memberChange
	watched   uint64 // an index, and the term that its entry has here
	termThere uint64
	gap       string // where segments are missing
	grew      bool   // was written to while it was read
	lost      lostRecords
}

// memberChange is one change of membership in the log.
type memberChange struct {
	index  uint64
	change *raftpb.ConfChange
}

// hardState is raft's own: what it must not forget.
type hardState struct{ term, vote, commit uint64 }

func parseState(b []byte) (hardState, error) {
	var s hardState
	err := eachField(b, func(num protowire.Number, v uint64, data []byte) {
		switch {
		case data != nil:
		case num == 1:
			s.term = v
		case num == 2:
			s.vote = v
		case num == 3:
			s.commit = v
		}
	})
	return s, err
}

// walTries is how often the listing is made anew because a segment in it has been purged meanwhile.
const walTries = 5

// readWAL reads all segments in dir. watched is an index whose term is wanted. Hot says that etcd runs on it: then
// the end of the last segment may be under way.
func readWAL(dir string, watched uint64, hot bool) (*walFacts, error) {
	for try := 1; ; try++ {
		w, err := readWALOnce(dir, watched, hot)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || try == walTries {
			return w, err
		}
	}
}

func readWALOnce(dir string, watched uint64, hot bool) (*walFacts, error) {
	names, err := segmentNames(dir)
	if err != nil {
		return nil, err
	}
	w := &walFacts{WAL: WAL{Dir: dir, Verdict: VerdictOK}, watched: watched}
	if len(names) == 0 {
		w.Verdict = VerdictMissing
		return w, nil
	}
	var crc uint32
	var chain bool
	var before uint64
	for i, name := range names {
		seq, _, _ := parseSegmentName(name)
		if i > 0 && seq != before+1 {
			w.gap = fmt.Sprintf("%s does not follow %s", name, names[i-1])
			chain = false
		}
		before = seq
		s := &segment{w: w, Segment: Segment{Name: name, Verdict: VerdictOK}, last: i == len(names)-1, hot: hot}
		if crc, chain, err = s.readFile(filepath.Join(dir, name), crc, chain); err != nil {
			return nil, err
		}
		w.Segments = append(w.Segments, s.Segment)
		w.Size += s.Size
		w.Verdict = worse(w.Verdict, s.Verdict)
	}
	return w, nil
}

func worse(a, b Verdict) Verdict {
	order := []Verdict{VerdictOK, VerdictTorn, VerdictEmpty, VerdictDamaged}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// segmentNames are the names of segments in order: as etcd does, by the form of the name.
func segmentNames(dir string) ([]string, error) {
	entries, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, _, ok := parseSegmentName(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// parseSegmentName takes a name like 0000000000000001-00000000000014e8.wal apart.
func parseSegmentName(name string) (seq, index uint64, ok bool) {
	if !strings.HasSuffix(name, ".wal") {
		return 0, 0, false
	}
	n, err := fmt.Sscanf(name, "%016x-%016x.wal", &seq, &index)
	return seq, index, err == nil && n == 2
}

// segment is one segment while it is read.
type segment struct {
	Segment
	w    *walFacts
	last bool
	hot  bool
}

// readFile gives the CRC with which the next segment has to begin, and whether it is known.
func (s *segment) readFile(path string, crc uint32, chain bool) (uint32, bool, error) {
	f, size, err := openFile(path)
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	s.Size = size
	r := newSegmentReader(f, size, crc, chain)
	err = s.readAll(r)
	for try := 1; s.last && s.underWay(err, try); try++ {
		if info, statErr := f.Stat(); statErr == nil {
			r.size = info.Size()
		}
		r.buf = r.buf[:0]
		err = s.readAll(r)
	}
	if err := s.judge(r, err); err != nil {
		return 0, false, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return r.crc, s.Verdict == VerdictOK || s.Verdict == VerdictTorn, nil
}

// underWay says whether a bad end is to be looked at again: while etcd runs, a record may be half written.
func (s *segment) underWay(err error, try int) bool {
	if bad, ok := errors.AsType[*frameError](err); !ok || !bad.torn && !s.hot || try > 20 || !s.hot && try > 2 {
		return false
	}
	time.Sleep(time.Duration(try) * time.Millisecond)
	return true
}

func (s *segment) readAll(r *segmentReader) error {
	for {
		rec, err := r.read()
		if err != nil {
			return err
		}
		if err := s.take(rec); err != nil {
			return &frameError{err.Error(), false}
		}
	}
}

// judge turns the way in which reading ended into a verdict. Its error is one of reading the file at all.
func (s *segment) judge(r *segmentReader, err error) error {
	bad, isBad := errors.AsType[*frameError](err)
	if !isBad && !errors.Is(err, io.EOF) {
		return err
	}
	s.Used, s.Records = r.off, r.count
	if s.Records == 0 && !isBad {
		s.Verdict, s.Problem = VerdictEmpty, "nothing has been written into it"
		return nil
	}
	if s.last && s.hot && (!isBad || bad.torn) {
		s.w.grew = true
		return nil
	}
	lost, err := r.lost()
	if err != nil {
		return err
	}
	if !isBad && lost.count == 0 {
		return nil
	}
	if s.last && lost.count > 0 && (!isBad || bad.torn) {
		// An etcd whose lock cannot be seen may have written on meanwhile.
		r.buf = r.buf[:0]
		if err := s.readAll(r); r.off > s.Used {
			s.hot = true
			return s.judge(r, err)
		}
	}
	if !isBad {
		bad = &frameError{"zeros where a record should be", true}
	}
	s.Offset, s.Problem, s.Lost = s.Used, bad.text, lost.count
	s.w.lost.add(lost)
	s.Verdict = VerdictDamaged
	// What follows a record in the same write may be on disk without it after a power loss; nobody was told that it
	// was. A state written later that calls the record committed proves that it had been there.
	if s.last && bad.torn && lost.commit <= s.w.raft.LastIndex {
		s.Verdict = VerdictTorn
	}
	return nil
}

// take notes what a record tells.
func (s *segment) take(r walRecord) error {
	w := s.w
	switch r.kind {
	case recordMetadata:
		return w.takeMetadata(r.data)
	case recordEntry:
		return s.takeEntry(r.data)
	case recordState:
		state, err := parseState(r.data)
		if err != nil {
			return fmt.Errorf("a state that %w", err)
		}
		w.raft.Term, w.raft.Commit, w.raft.Vote = state.term, state.commit, hexID(state.vote)
	case recordSnapshot:
		var snap walpb.Snapshot
		if err := proto.Unmarshal(r.data, &snap); err != nil {
			return fmt.Errorf("a snapshot that cannot be read: %w", err)
		}
		w.snapshots = append(w.snapshots, &snap)
	case recordCRC:
	default:
		return fmt.Errorf("a record of unknown type %d", r.kind)
	}
	return nil
}

// takeMetadata is etcd's pb.Metadata: 1 is the member's ID, 2 the cluster's.
func (w *walFacts) takeMetadata(b []byte) error {
	if w.metadata != nil {
		w.conflict = w.conflict || !bytes.Equal(w.metadata, b)
		return nil
	}
	w.metadata = append([]byte{}, b...)
	return eachField(b, func(num protowire.Number, v uint64, data []byte) {
		switch {
		case data != nil:
		case num == 1:
			w.memberID = v
		case num == 2:
			w.clusterID = v
		}
	})
}

func (s *segment) takeEntry(b []byte) error {
	e, err := parseEntry(b)
	if err != nil {
		return fmt.Errorf("an entry that %w", err)
	}
	if s.FirstIndex == 0 {
		s.FirstIndex = e.index
	}
	s.LastIndex = e.index
	w := s.w
	if w.raft.FirstIndex == 0 {
		w.raft.FirstIndex = e.index
	}
	// An entry with an index that was there already replaces it and all that came behind it.
	w.raft.LastIndex, w.raft.LastTerm = e.index, e.term
	if e.index == w.watched {
		w.termThere = e.term
	}
	if raftpb.EntryType(e.kind) == raftpb.EntryConfChange {
		var c raftpb.ConfChange
		if err := proto.Unmarshal(e.data, &c); err != nil {
			return fmt.Errorf("a change of membership that cannot be read: %w", err)
		}
		w.changes = append(slices.DeleteFunc(w.changes, func(m memberChange) bool { return m.index >= e.index }), memberChange{e.index, &c})
	}
	return nil
}

// newestSnapshot is the newest of which the WAL says that it was written, and that is committed.
func (w *walFacts) newestSnapshot() *walpb.Snapshot {
	var newest *walpb.Snapshot
	for _, s := range w.snapshots {
		if s.GetIndex() <= w.raft.Commit && (newest == nil || s.GetIndex() >= newest.GetIndex()) {
			newest = s
		}
	}
	return newest
}

// unfinished tells a .snap file that is still being written, or whose writer died, from a damaged one: etcd writes the
// file first and the WAL's word about it second, and never opens what the WAL has no word about. The WAL was read before
// the file, so a file that was whole when the WAL named it is whole.
func (w *walFacts) unfinished(s SnapFile) SnapFile {
	var term, index uint64
	if _, err := fmt.Sscanf(s.Name, "%016x-%016x.snap", &term, &index); err != nil || s.Verdict != VerdictDamaged || len(w.snapshots) == 0 {
		return s
	}
	if slices.ContainsFunc(w.snapshots, func(of *walpb.Snapshot) bool { return of.GetIndex() >= index }) {
		return s
	}
	s.Verdict, s.Problem = VerdictUnfinished, "not written to its end; the WAL does not know it"
	return s
}

// members applies the changes after an index to what was known then.
func (w *walFacts) members(known []Member, removed []string, after uint64, pending bool) ([]Member, []string) {
	for _, m := range w.changes {
		if m.index <= after {
			continue
		}
		known, removed = applyChange(known, removed, m.change, pending)
	}
	slices.SortFunc(known, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return known, removed
}

// changeContext is what etcd puts into a change: the member, and whether it is a promotion.
type changeContext struct {
	memberJSON
	IsPromote bool `json:"isPromote"`
}

func applyChange(known []Member, removed []string, c *raftpb.ConfChange, pending bool) ([]Member, []string) {
	id := hexID(c.GetNodeId())
	i := slices.IndexFunc(known, func(m Member) bool { return m.ID == id })
	note := func(text string) string {
		if pending {
			return text
		}
		return ""
	}
	if c.GetType() == raftpb.ConfChangeRemoveNode {
		if i >= 0 && pending {
			known[i].Pending = "remove"
		} else if i >= 0 {
			known = slices.Delete(known, i, i+1)
		}
		if !pending && !slices.Contains(removed, id) {
			removed = append(removed, id)
		}
		return known, removed
	}
	var ctx changeContext
	if json.Unmarshal(c.GetContext(), &ctx) != nil || slices.Contains(removed, id) {
		return known, removed
	}
	ctx.ID = c.GetNodeId()
	switch {
	case i >= 0 && ctx.IsPromote:
		known[i].Learner, known[i].Pending = false, note("promote")
	case i >= 0 && c.GetType() == raftpb.ConfChangeUpdateNode:
		known[i].PeerURLs, known[i].Pending = ctx.PeerURLs, note("update")
	case i < 0 && !ctx.IsPromote && c.GetType() != raftpb.ConfChangeUpdateNode:
		m := ctx.member()
		m.Learner, m.Pending = c.GetType() == raftpb.ConfChangeAddLearnerNode, note("add")
		known = append(known, m)
	}
	return known, removed
}

// memberJSON is a member as etcd writes it into the db and into the log.
type memberJSON struct {
	ID         uint64   `json:"id"`
	PeerURLs   []string `json:"peerURLs"`
	IsLearner  bool     `json:"isLearner"`
	Name       string   `json:"name"`
	ClientURLs []string `json:"clientURLs"`
}

func (m memberJSON) member() Member {
	return Member{ID: hexID(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Learner: m.IsLearner}
}

// hexID is an ID as etcdctl prints it; empty for none.
func hexID(id uint64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("%x", id)
}

func bigEndian(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
