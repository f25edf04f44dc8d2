package rebuild

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

const self = 0xabc

// smallSegments lets a WAL have several in a test.
func smallSegments(t testing.TB, size int64) {
	before := wal.SegmentSizeBytes
	wal.SegmentSizeBytes = size
	t.Cleanup(func() { wal.SegmentSizeBytes = before })
}

func hardState(term, commit uint64) *raftpb.HardState {
	return &raftpb.HardState{Term: new(term), Vote: new(uint64(self)), Commit: new(commit)}
}

func entry(term, index uint64) *raftpb.Entry {
	data := binary.LittleEndian.AppendUint64(bytes.Repeat([]byte{byte(index) | 1}, 1000), index)
	return &raftpb.Entry{Type: raftpb.EntryNormal.Enum(), Term: new(term), Index: new(index), Data: data}
}

func removal(t testing.TB, index, id uint64) *raftpb.Entry {
	t.Helper()
	b, err := proto.Marshal(&raftpb.ConfChange{Type: raftpb.ConfChangeRemoveNode.Enum(), NodeId: new(id)})
	if err != nil {
		t.Fatal(err)
	}
	return &raftpb.Entry{Type: raftpb.EntryConfChange.Enum(), Term: new(uint64(2)), Index: new(index), Data: b}
}

// makeWAL gives a data directory with what write puts into its WAL.
func makeWAL(t testing.TB, write func(save func(*raftpb.HardState, ...*raftpb.Entry), w *wal.WAL)) (dataDir, walDir string) {
	t.Helper()
	dataDir = filepath.Join(t.TempDir(), "data")
	walDir = filepath.Join(dataDir, "member", "wal")
	metadata, err := proto.Marshal(&etcdserverpb.Metadata{NodeID: new(uint64(self)), ClusterID: new(uint64(1))})
	if err == nil {
		err = os.MkdirAll(filepath.Join(dataDir, "member", "snap"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dataDir, "member", "snap", "db"), nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	w, err := wal.Create(quiet, walDir, metadata)
	if err != nil {
		t.Fatal(err)
	}
	write(func(s *raftpb.HardState, e ...*raftpb.Entry) {
		if err := w.Save(s, e); err != nil {
			t.Fatal(err)
		}
	}, w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dataDir, walDir
}

// tenEntries has ten, of which etcd had written down that six are committed.
func tenEntries(t testing.TB) (dataDir, walDir string) {
	return makeWAL(t, func(save func(*raftpb.HardState, ...*raftpb.Entry), w *wal.WAL) {
		for i := range uint64(10) {
			save(hardState(2, min(i, 6)), entry(2, i+1))
		}
	})
}

// readAll is what etcd reads when it starts.
func readAll(t testing.TB, walDir string) (*raftpb.HardState, []*raftpb.Entry) {
	t.Helper()
	snaps, err := wal.ValidSnapshotEntries(quiet, walDir)
	if err != nil {
		t.Fatal(err)
	}
	var snap *walpb.Snapshot
	if len(snaps) > 0 {
		snap = snaps[len(snaps)-1]
	}
	w, err := wal.Open(quiet, walDir, snap)
	if err != nil {
		t.Fatal(err)
	}
	_, state, entries, err := w.ReadAll()
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return state, entries
}

func TestKeepEntries(t *testing.T) {
	dataDir, walDir := tenEntries(t)
	k, err := KeepEntries(dataDir, "")
	if err != nil || k != (Kept{From: 6, To: 10, Term: 2}) {
		t.Fatalf("%+v, %v", k, err)
	}
	s, entries := readAll(t, walDir)
	if s.GetCommit() != 10 || s.GetTerm() != 2 || s.GetVote() != self || len(entries) != 10 {
		t.Error(s, len(entries))
	}
	before := state(t, dataDir)
	if k, err := KeepEntries(dataDir, walDir); err != nil || k != (Kept{From: 10, To: 10, Term: 2}) || !maps.Equal(before, state(t, dataDir)) {
		t.Errorf("when there is nothing to keep: %+v, %v", k, err)
	}
}

// The WAL is long, has a snapshot, several segments, and entries that were replaced by those of another leader.
func TestKeepEntriesOfALongLog(t *testing.T) {
	smallSegments(t, 16<<10)
	dataDir, walDir := makeWAL(t, func(save func(*raftpb.HardState, ...*raftpb.Entry), w *wal.WAL) {
		for i := uint64(1); i <= 60; i++ {
			save(hardState(2, i-1), entry(2, i))
			if i%20 == 0 {
				if err := w.SaveSnapshot(&walpb.Snapshot{Index: new(i - 5), Term: new(uint64(2)), ConfState: &raftpb.ConfState{Voters: []uint64{self}}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		save(nil, entry(2, 61), entry(2, 62), removal(t, 63, self), entry(2, 64))
		save(hardState(3, 60), entry(3, 62))
		save(nil, entry(3, 63), removal(t, 64, 7))
	})
	first, err := os.ReadDir(walDir)
	if err != nil || len(first) < 4 {
		t.Fatal(len(first), err)
	}
	if err := os.Remove(filepath.Join(walDir, first[0].Name())); err != nil { // as etcd purges it
		t.Fatal(err)
	}
	k, err := KeepEntries(dataDir, walDir)
	if err != nil || k != (Kept{From: 60, To: 64, Term: 3, Changes: 1}) {
		t.Fatalf("%+v, %v", k, err)
	}
	s, entries := readAll(t, walDir)
	if s.GetCommit() != 64 || s.GetTerm() != 3 || len(entries) != 9 || entries[7].GetTerm() != 3 {
		t.Error(s, len(entries))
	}
}

// A segment that is full is continued in the next.
func TestKeepEntriesAtTheEndOfASegment(t *testing.T) {
	for size := int64(10 << 10); size < 12<<10; size += 100 {
		smallSegments(t, size)
		dataDir, walDir := tenEntries(t)
		if k, err := KeepEntries(dataDir, walDir); err != nil || k.To != 10 {
			t.Errorf("segments of %d: %+v, %v", size, k, err)
		}
		if s, _ := readAll(t, walDir); s.GetCommit() != 10 {
			t.Errorf("segments of %d: %v", size, s)
		}
	}
}

func TestKeepEntriesOfARemovedMember(t *testing.T) {
	dataDir, _ := makeWAL(t, func(save func(*raftpb.HardState, ...*raftpb.Entry), w *wal.WAL) {
		save(hardState(2, 1), entry(2, 1), entry(2, 2), removal(t, 3, self))
	})
	before := state(t, dataDir)
	if _, err := KeepEntries(dataDir, ""); !errors.Is(err, ErrRemoved) || !maps.Equal(before, state(t, dataDir)) {
		t.Error(err)
	}
}

func TestKeepEntriesOfWhatIsInUse(t *testing.T) {
	dataDir, walDir := tenEntries(t)
	before := state(t, dataDir)
	refused := func(what string) {
		t.Helper()
		if _, err := KeepEntries(dataDir, walDir); !errors.Is(err, ErrInUse) || !maps.Equal(before, state(t, dataDir)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	db, err := os.Open(filepath.Join(dataDir, "member/snap/db"))
	if err != nil {
		t.Fatal(err)
	}
	unix.Flock(int(db.Fd()), unix.LOCK_SH)
	refused("db")
	db.Close()

	w, err := os.OpenFile(filepath.Join(walDir, "0000000000000000-0000000000000000.wal"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(w.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		t.Fatal(err)
	}
	refused("WAL")
	w.Close()
	if k, err := KeepEntries(dataDir, walDir); err != nil || k.To != 10 {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestKeepEntriesWithoutALog(t *testing.T) {
	dir := t.TempDir()
	if _, err := KeepEntries(dir, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := KeepEntries(dir, dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// offsets are where the records of a segment begin, and where the last ends.
func offsets(t testing.TB, path string) ([]byte, []int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := []int64{0}
	for r, next := frame(b, 0); r != nil; r, next = frame(b, next) {
		all = append(all, next)
	}
	return b, all
}

func TestKeepEntriesOfATornEnd(t *testing.T) {
	dataDir, walDir := tenEntries(t)
	path := filepath.Join(walDir, "0000000000000000-0000000000000000.wal")
	b, at := offsets(t, path)
	b = b[:at[len(at)-3]+500] // in the middle of entry 10, behind which a state stands
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := KeepEntries(dataDir, walDir)
	if err != nil || k != (Kept{From: 6, To: 9, Term: 2, Broken: path + ".broken"}) {
		t.Fatalf("%+v, %v", k, err)
	}
	if kept, err := os.ReadFile(k.Broken); err != nil || !bytes.Equal(kept, b) {
		t.Error("the segment was not copied as it was: ", err)
	}
	if s, entries := readAll(t, walDir); s.GetCommit() != 9 || len(entries) != 9 {
		t.Error(s, len(entries))
	}
}

// Whatever is lost in the middle, also where etcd would take it for the end, nothing is done.
func TestKeepEntriesOfADamagedMiddle(t *testing.T) {
	smallSegments(t, 16<<10)
	dataDir, walDir := makeWAL(t, func(save func(*raftpb.HardState, ...*raftpb.Entry), w *wal.WAL) {
		for i := range uint64(28) {
			save(hardState(2, i), entry(2, i+1))
		}
		save(nil, entry(2, 29), entry(2, 30))
	})
	files, err := filepath.Glob(filepath.Join(walDir, "*.wal"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		whole, at := offsets(t, path)
		last := path == files[1]
		for i := 3; i+8 < len(at); i++ {
			for name, damage := range map[string]func(b []byte){
				"a bit":      func(b []byte) { b[at[i]+20] ^= 4 },
				"zeros":      func(b []byte) { clear(b[at[i]:at[i+1]]) },
				"a length":   func(b []byte) { b[at[i]+2] ^= 0x7f },
				"two writes": func(b []byte) { clear(b[at[i] : at[i+4]+512]) },
			} {
				b := bytes.Clone(whole)
				damage(b)
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				before := state(t, dataDir)
				k, err := KeepEntries(dataDir, walDir)
				if !errors.Is(err, ErrDamaged) || !maps.Equal(before, state(t, dataDir)) {
					t.Errorf("%s in record %d of %d, last segment: %v: %+v, %v", name, i, len(at), last, k, err)
				}
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(files[0], 9000); err != nil {
		t.Fatal(err)
	}
	if _, err := KeepEntries(dataDir, walDir); !errors.Is(err, ErrDamaged) {
		t.Error("a first segment that is too short: ", err)
	}
	os.Rename(files[0], filepath.Join(walDir, "0000000000000005-0000000000000000.wal"))
	if _, err := KeepEntries(dataDir, walDir); !errors.Is(err, ErrDamaged) {
		t.Error("a missing segment: ", err)
	}
}

// However a log was damaged, what KeepEntries agrees to is then read by etcd, committed to its end, and not shorter
// than what was known to be committed; what it refuses it has not touched.
func TestKeepEntriesOfAnything(t *testing.T) {
	smallSegments(t, 16<<10)
	dataDir, walDir := tenEntries(t)
	path := filepath.Join(walDir, "0000000000000000-0000000000000000.wal")
	whole, at := offsets(t, path)
	end := int(at[len(at)-1])
	r := rand.New(rand.NewPCG(1, 2))
	agreed, rounds := 0, 300
	if os.Getenv("ETCDSUP_LONG") == "1" {
		rounds = 5000
	}
	for range rounds {
		b := bytes.Clone(whole)
		from := r.IntN(end)
		switch r.IntN(3) {
		case 0:
			b = b[:from]
		case 1:
			clear(b[from&^511 : min(from+r.IntN(3000), len(b))])
		case 2:
			b[from] ^= 1 << r.IntN(8)
		}
		os.Remove(path + ".broken")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := KeepEntries(dataDir, walDir)
		if err != nil {
			if now, _ := os.ReadFile(path); !bytes.Equal(now, b) {
				t.Fatalf("refused with %v, and changed", err)
			}
			continue
		}
		agreed++
		if k.From == k.To { // and left alone
			continue
		}
		s, entries := readAll(t, walDir)
		if s.GetCommit() != k.To || uint64(len(entries)) != k.To || k.To < k.From {
			t.Fatalf("%+v, but etcd reads %v and %d entries", k, s, len(entries))
		}
	}
	if agreed < rounds/10 || agreed > rounds*9/10 {
		t.Errorf("agreed to %d of %d", agreed, rounds)
	}
}

func FuzzBehind(f *testing.F) {
	smallSegments(f, 16<<10)
	_, walDir := tenEntries(f)
	b, _ := offsets(f, filepath.Join(walDir, "0000000000000000-0000000000000000.wal"))
	f.Add(b, int64(0))
	f.Add(b[:777], int64(100))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0x80, 8, 1, 0}, int64(0))
	f.Fuzz(func(t *testing.T, b []byte, from int64) {
		if from < 0 || from > int64(len(b)) {
			return
		}
		commitBehind(b, from) // must end, and stay within
	})
}
