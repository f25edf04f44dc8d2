package datadir

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// maxSnapFile is read of a .snap file at most. It holds the members and what is left of the v2 store.
const maxSnapFile = 64 << 20

// readSnap reads a .snap file, if it is there. etcd's own reader is the same in result, but its loader renames what it
// cannot read.
func readSnap(dir, name string) (s SnapFile, there bool) {
	s = SnapFile{Name: name, Verdict: VerdictOK}
	err := s.read(filepath.Join(dir, name))
	if err != nil {
		s.Verdict, s.Problem = VerdictDamaged, err.Error()
	}
	return s, !errors.Is(err, fs.ErrNotExist)
}

func (s *SnapFile) read(path string) error {
	f, size, err := openFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	s.Size = size
	b, err := io.ReadAll(io.LimitReader(f, maxSnapFile))
	if err != nil {
		return err
	}
	var crc uint64
	var data []byte
	err = eachField(b, func(num protowire.Number, v uint64, field []byte) {
		if num == 1 && field == nil {
			crc = v
		} else if num == 2 {
			data = field
		}
	})
	switch {
	case err != nil || len(data) == 0 || crc == 0:
		return fmt.Errorf("is no snapshot")
	case uint64(crc32.Checksum(data, castagnoli)) != crc:
		return fmt.Errorf("wrong CRC: %08x, the data has %08x", uint32(crc), crc32.Checksum(data, castagnoli))
	}
	var snap raftpb.Snapshot
	if err := proto.Unmarshal(data, &snap); err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	s.Index, s.Term = snap.GetMetadata().GetIndex(), snap.GetMetadata().GetTerm()
	return nil
}

// readSnapDB is a database that came from the leader and was not put in place yet; only its name is looked at.
func readSnapDB(dir, name string) SnapFile {
	s := SnapFile{Name: name, Verdict: VerdictOK}
	if _, err := fmt.Sscanf(name, "%016x.snap.db", &s.Index); err != nil {
		s.Verdict, s.Problem = VerdictDamaged, "the name says no index"
	}
	if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
		s.Size = info.Size()
	}
	return s
}

func isSnap(name string) bool   { return strings.HasSuffix(name, ".snap") }
func isSnapDB(name string) bool { return strings.HasSuffix(name, ".snap.db") }

// hasHash says whether a file has the size of pages with a SHA-256 behind them; so etcdutl tells too.
func hasHash(size int64) bool { return size%512 == sha256.Size }

// checkHash compares the last 32 bytes of a snapshot file with the hash of what is before them.
func checkHash(f io.ReaderAt, size int64) (bool, error) {
	body := size - sha256.Size
	sum := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, io.NewSectionReader(f, 0, body), make([]byte, readAhead)); err != nil {
		return false, err
	}
	var want [sha256.Size]byte
	if _, err := f.ReadAt(want[:], body); err != nil {
		return false, err
	}
	return bytes.Equal(sum.Sum(nil), want[:]), nil
}
