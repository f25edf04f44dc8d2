package rebuild

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// walLog is what the segments of a WAL tell when they are read once, without changing or keeping anything.
type walLog struct {
	dir      string
	segments []string // names, in order
	member   etcdserverpb.Metadata
	state    raftpb.HardState
	last     uint64 // index of the last entry, or of a snapshot behind it
	lastTerm uint64
	changes  []change
	snaps    []*walpb.Snapshot
	known    bool   // metadata was read
	crc      uint32 // of everything so far
	torn     bool   // the last record was not written out
	end      int64  // of the good records in the last segment
}

// change is an entry that changes the membership.
type change struct {
	index  uint64
	change *raftpb.ConfChange
}

// readLog reads all segments. The error wraps ErrDamaged where etcd would not go on; a torn end is none.
func readLog(dir string) (*walLog, error) {
	l := &walLog{dir: dir}
	if err := l.list(); err != nil {
		return nil, err
	}
	for i, name := range l.segments {
		if err := l.read(name, i == len(l.segments)-1); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
	}
	return l, nil
}

func (l *walLog) list() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	before := uint64(0)
	for _, e := range entries { // in the order of their names
		var seq, index uint64
		if n, err := fmt.Sscanf(e.Name(), "%016x-%016x.wal", &seq, &index); err != nil || n != 2 || !strings.HasSuffix(e.Name(), ".wal") {
			continue
		}
		if len(l.segments) > 0 && seq != before+1 {
			return fmt.Errorf("%w: %s does not follow %s", ErrDamaged, e.Name(), l.segments[len(l.segments)-1])
		}
		before = seq
		l.segments = append(l.segments, e.Name())
	}
	if len(l.segments) == 0 {
		return fmt.Errorf("%s has no segments of a WAL: %w", l.dir, fs.ErrNotExist)
	}
	return nil
}

func (l *walLog) lastSegment() string { return filepath.Join(l.dir, l.segments[len(l.segments)-1]) }

// segmentFile is a segment as etcd's decoder wants it.
type segmentFile struct {
	io.Reader
	f *os.File
}

func (s segmentFile) FileInfo() (fs.FileInfo, error) { return s.f.Stat() }

func (l *walLog) read(name string, last bool) error {
	f, err := os.Open(filepath.Join(l.dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	d := wal.NewDecoder(segmentFile{bufio.NewReaderSize(f, 1<<20), f})
	d.UpdateCRC(l.crc)
	var rec walpb.Record
	for err = d.Decode(&rec); err == nil; err = d.Decode(&rec) {
		if err := l.take(d, &rec); err != nil {
			return err
		}
	}
	l.crc, l.end = d.LastCRC(), d.LastOffset()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF) && last:
		l.torn = true
		return nil
	}
	return fmt.Errorf("%w at byte %d: %w", ErrDamaged, l.end, err)
}

// take notes what a record tells, and checks what etcd checks.
func (l *walLog) take(d wal.Decoder, rec *walpb.Record) error {
	switch rec.GetType() {
	case wal.MetadataType:
		return l.takeMetadata(rec.Data)
	case wal.EntryType:
		return l.takeEntry(rec.Data)
	case wal.StateType:
		return decode(rec.Data, &l.state)
	case wal.SnapshotType:
		var s walpb.Snapshot
		if err := decode(rec.Data, &s); err != nil {
			return err
		}
		l.snaps = append(l.snaps, &s)
		l.last = max(l.last, s.GetIndex())
		return nil
	case wal.CrcType:
		if crc := d.LastCRC(); crc != 0 && rec.Validate(crc) != nil {
			return fmt.Errorf("%w: it does not follow the segment before", ErrDamaged)
		}
		d.UpdateCRC(rec.GetCrc())
		return nil
	}
	return fmt.Errorf("%w: a record of unknown type %d", ErrDamaged, rec.GetType())
}

func (l *walLog) takeMetadata(b []byte) error {
	var m etcdserverpb.Metadata
	if err := decode(b, &m); err != nil {
		return err
	}
	if l.known && !proto.Equal(&l.member, &m) {
		return fmt.Errorf("%w: it is of another member than the segment before", ErrDamaged)
	}
	l.known = true
	proto.Merge(&l.member, &m)
	return nil
}

func (l *walLog) takeEntry(b []byte) error {
	var e raftpb.Entry
	if err := decode(b, &e); err != nil {
		return err
	}
	index := e.GetIndex()
	if l.last > 0 && index > l.last+1 {
		return fmt.Errorf("%w: entry %d does not follow entry %d", ErrDamaged, index, l.last)
	}
	// An entry with an index that was there already replaces it and all that came behind it.
	l.changes = slices.DeleteFunc(l.changes, func(c change) bool { return c.index >= index })
	l.last, l.lastTerm = index, e.GetTerm()
	if e.GetType() != raftpb.EntryConfChange {
		return nil
	}
	c := change{index, &raftpb.ConfChange{}}
	if err := decode(e.Data, c.change); err != nil {
		return err
	}
	l.changes = append(l.changes, c)
	return nil
}

func decode(b []byte, m proto.Message) error {
	proto.Reset(m)
	if err := proto.Unmarshal(b, m); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// snapshot is that from which etcd replays the log: the newest that is committed.
func (l *walLog) snapshot() *walpb.Snapshot {
	for _, s := range slices.Backward(l.snaps) {
		if s.GetIndex() <= l.state.GetCommit() {
			return s
		}
	}
	return &walpb.Snapshot{}
}
