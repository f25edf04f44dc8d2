package rebuild

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// etcd takes the first bad record in the last segment for the end of the log, cuts off what is behind it, and says
// nothing. Mostly that is right: a power cut leaves the last write half done, in any order of its sectors, and nobody
// was told of it. But when a state stands behind the bad record that calls entries committed which can no longer be
// read, then they had been there, and a disk has lost them since.

// checkBehind finds such a state behind the end of the good records.
func (l *walLog) checkBehind() error {
	f, err := os.Open(l.lastSegment())
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= l.end {
		return err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return &os.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	commit := commitBehind(b, l.end)
	if err := unix.Munmap(b); err != nil {
		return err
	}
	if commit > l.last {
		return fmt.Errorf("%s: %w at byte %d: entries up to %d had been committed, and can be read only up to %d", f.Name(), ErrDamaged, l.end, commit, l.last)
	}
	return nil
}

// commitBehind is the highest index that records behind an offset call committed.
func commitBehind(b []byte, from int64) uint64 {
	var commit uint64
	for at := (from + 7) &^ 7; at+8 <= int64(len(b)); at += 8 { // where records begin
		if binary.LittleEndian.Uint64(b[at:]) == 0 {
			continue
		}
		// One record alone may be chance: its checksum goes over all before it, so it takes two to tell.
		r, next := frame(b, at)
		if r == nil {
			continue
		}
		for {
			after, end := frame(b, next)
			if after == nil || !follows(after, r) {
				break
			}
			commit = max(commit, commitOf(r), commitOf(after))
			r, at, next = after, next, end
		}
	}
	return commit
}

// frame is the record at an offset, with the offset behind it, or nil when there is none.
func frame(b []byte, at int64) (*walpb.Record, int64) {
	if at+10 > int64(len(b)) {
		return nil, 0
	}
	head := binary.LittleEndian.Uint64(b[at:])
	size, pad := int64(head&^(0xff<<56)), int64(0)
	if head>>63 != 0 {
		pad = int64(head>>56) & 7
	}
	// Each begins with its type.
	if size < 2 || size+pad > int64(len(b))-at-8 || (size+pad)%8 != 0 || b[at+8] != 1<<3 || b[at+9] < byte(wal.MetadataType) || b[at+9] > byte(wal.SnapshotType) {
		return nil, 0
	}
	var r walpb.Record
	if proto.Unmarshal(b[at+8:at+8+size], &r) != nil {
		return nil, 0
	}
	return &r, at + 8 + size + pad
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func follows(r, before *walpb.Record) bool {
	if r.GetType() == wal.CrcType {
		return r.GetCrc() == before.GetCrc()
	}
	return crc32.Update(before.GetCrc(), castagnoli, r.Data) == r.GetCrc()
}

func commitOf(r *walpb.Record) uint64 {
	var s raftpb.HardState
	if r.GetType() != wal.StateType || proto.Unmarshal(r.Data, &s) != nil {
		return 0
	}
	return s.GetCommit()
}
