package datadir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"google.golang.org/protobuf/proto"
)

// etcdFile is a segment in memory as etcd's own decoder wants it.
type etcdFile struct {
	io.Reader
	info fs.FileInfo
}

func (f etcdFile) FileInfo() (fs.FileInfo, error) { return f.info, nil }

func inMemory(t testing.TB, b []byte) etcdFile {
	files := fstest.MapFS{"x.wal": {Data: b}}
	info, err := files.Stat("x.wal")
	if err != nil {
		t.Fatal(err)
	}
	return etcdFile{bytes.NewReader(b), info}
}

// frameOf is a record as etcd writes it.
func frameOf(t testing.TB, crc *uint32, kind int64, data []byte) []byte {
	*crc = crc32.Update(*crc, castagnoli, data)
	b, err := proto.Marshal(&walpb.Record{Type: &kind, Crc: crc, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	length := uint64(len(b))
	if pad := (8 - len(b)%8) % 8; pad > 0 {
		length |= uint64(0x80|pad) << 56
		b = append(b, make([]byte, pad)...)
	}
	return append(binary.LittleEndian.AppendUint64(nil, length), b...)
}

func segmentOf(t testing.TB, records int) []byte {
	var crc uint32
	all := frameOf(t, &crc, recordCRC, nil)
	all = append(all, frameOf(t, &crc, recordMetadata, []byte{8, 5, 16, 7})...)
	for i := range records {
		e := append([]byte{16, 2, 24, byte(i + 1), 34, 100}, bytes.Repeat([]byte{byte(i)}, 100)...)
		all = append(all, frameOf(t, &crc, recordEntry, e)...)
		all = append(all, frameOf(t, &crc, recordState, []byte{8, 2, 16, 5, 24, byte(i)})...)
	}
	return append(all, make([]byte, 4096)...)
}

// asEtcd reads a segment with etcd's decoder and with ours, and wants the same records and the same end.
func asEtcd(t testing.TB, b []byte) {
	theirs := wal.NewDecoder(inMemory(t, b))
	ours := newSegmentReader(bytes.NewReader(b), int64(len(b)), 0, false)
	for n := 0; ; n++ {
		var want walpb.Record
		err := theirs.Decode(&want)
		if err == nil && want.GetType() == recordCRC {
			if crc := theirs.LastCRC(); crc != 0 && want.Validate(crc) != nil {
				err = walpb.ErrCRCMismatch
			}
			theirs.UpdateCRC(want.GetCrc())
		}
		got, ourErr := ours.read()
		bad, isBad := errors.AsType[*frameError](ourErr)
		switch {
		case err == nil && ourErr == nil && got.kind == want.GetType() && got.crc == want.GetCrc() && bytes.Equal(got.data, want.Data) && ours.off == theirs.LastOffset():
			continue
		case errors.Is(err, io.EOF) && errors.Is(ourErr, io.EOF):
		case errors.Is(err, io.ErrUnexpectedEOF) && isBad && bad.torn:
		case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && isBad && !bad.torn:
		default:
			t.Fatalf("record %d: etcd has %v, %v at %d; we have %+v, %v at %d", n, &want, err, theirs.LastOffset(), got, ourErr, ours.off)
		}
		break
	}
	if _, err := ours.lost(); err != nil { // must end, and stay within the file
		t.Fatal(err)
	}
}

func FuzzSegment(f *testing.F) {
	f.Add(segmentOf(f, 10))
	f.Add(segmentOf(f, 10)[:700])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) { asEtcd(t, b) })
}

// TestEveryBit flips each bit of a segment, and cuts it at each byte.
func TestEveryBit(t *testing.T) {
	whole := segmentOf(t, 6)
	for i := range len(whole) - 3500 {
		for bit := range 8 {
			whole[i] ^= 1 << bit
			asEtcd(t, whole)
			whole[i] ^= 1 << bit
		}
		asEtcd(t, whole[:i])
	}
}

// TestLostRecords: whatever is wiped out, the records behind it are found.
func TestLostRecords(t *testing.T) {
	whole := segmentOf(t, 20)
	r := newSegmentReader(bytes.NewReader(whole), int64(len(whole)), 0, false)
	var starts []int64
	for {
		at := r.off
		if _, err := r.read(); err != nil {
			break
		}
		starts = append(starts, at)
	}
	for i, at := range starts[2 : len(starts)-2] {
		b := bytes.Clone(whole)
		clear(b[at : at+16])
		r := newSegmentReader(bytes.NewReader(b), int64(len(b)), 0, false)
		var err error
		for err == nil {
			_, err = r.read()
		}
		l, _ := r.lost()
		if want := int64(len(starts) - i - 3); r.off != at || l.count != want || l.last+l.commit == 0 {
			t.Errorf("record at %d of %d: stopped at %d, found %+v behind it, want %d", at, len(whole), r.off, l, want)
		}
	}
}
