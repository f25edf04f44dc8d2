package datadir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// The WAL is read by code of our own: etcd's decoder neither says what it found behind a bad record nor where it is,
// gives up at the first, and allocates for each record. The format is the same since etcd 3.0: frames of a length, a
// protobuf record and padding to 8 bytes; the CRC of a record goes over the data of all records before it as well.

// Types of records.
const (
	recordMetadata = iota + 1
	recordEntry
	recordState
	recordCRC
	recordSnapshot
)

const (
	frameHead  = 8
	sectorSize = 512 // what a disk writes whole
	readAhead  = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// walRecord is one record. Its data is good until the next one is read.
type walRecord struct {
	kind int64
	crc  uint32
	data []byte
}

var errMalformed = errors.New("is no record")

// parseRecord takes what protobuf takes: later fields replace earlier ones, unknown ones are passed over.
func parseRecord(b []byte) (walRecord, error) {
	var r walRecord
	err := eachField(b, func(num protowire.Number, varint uint64, data []byte) {
		switch {
		case num == 1 && data == nil:
			r.kind = int64(varint)
		case num == 2 && data == nil:
			r.crc = uint32(varint)
		case num == 3 && data != nil:
			r.data = data
		}
	})
	return r, err
}

// eachField visits the fields that are numbers (data is nil) or bytes (data is not nil).
func eachField(b []byte, visit func(num protowire.Number, varint uint64, data []byte)) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(b); n >= 0 {
				visit(num, v, nil)
			}
		case protowire.BytesType:
			var v []byte
			if v, n = protowire.ConsumeBytes(b); n >= 0 {
				visit(num, 0, v[:len(v):len(v)])
			}
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
	}
	return nil
}

// walEntry is what matters of an entry of raft's log.
type walEntry struct {
	kind, term, index uint64
	data              []byte
}

func parseEntry(b []byte) (walEntry, error) {
	var e walEntry
	err := eachField(b, func(num protowire.Number, varint uint64, data []byte) {
		switch {
		case num == 4 && data != nil:
			e.data = data
		case data != nil:
		case num == 1:
			e.kind = varint
		case num == 2:
			e.term = varint
		case num == 3:
			e.index = varint
		}
	})
	return e, err
}

// frameSize takes a frame's head apart: the record's bytes and those of the padding.
func frameSize(head uint64) (record, pad int64) {
	record = int64(head &^ (0xff << 56))
	if head>>63 != 0 {
		pad = int64(head>>56) & 7
	}
	return record, pad
}

// frames reads the frames of one segment, in a buffer that only grows for a record that needs it.
type frames struct {
	r    io.ReaderAt
	size int64
	off  int64 // of the next frame
	buf  []byte
	at   int64 // where buf stands in the file
}

func newFrames(r io.ReaderAt, size int64) *frames { return &frames{r: r, size: size} }

// peek gives n bytes from offset off, or as many as there are.
func (f *frames) peek(off, n int64) ([]byte, error) {
	n = min(n, f.size-off)
	if n <= 0 {
		return nil, nil
	}
	if off >= f.at && off+n <= f.at+int64(len(f.buf)) {
		return f.buf[off-f.at : off-f.at+n : off-f.at+n], nil
	}
	want := min(max(n, readAhead), f.size-off)
	if int64(cap(f.buf)) < want || cap(f.buf) > 4*readAhead && want == readAhead {
		f.buf = make([]byte, max(want, min(readAhead, f.size)))
	}
	f.buf, f.at = f.buf[:want], off
	got, err := f.r.ReadAt(f.buf, off)
	f.buf = f.buf[:got]
	if errors.Is(err, io.EOF) { // became shorter while it was read
		err = nil
	}
	return f.buf[:min(n, int64(got)):min(n, int64(got))], err
}

// frameError says why there is no good frame at an offset.
type frameError struct {
	text string
	// torn: etcd takes it for a record that was not written out, if it stands in the last segment, and cuts it off.
	torn bool
}

func (e *frameError) Error() string { return e.text }

// next gives the record at the present offset and the offset behind it, without a look at its CRC. At the end, which
// is that of the file or a length of 0 where space is allocated in advance, the error is io.EOF.
func (f *frames) next() (walRecord, int64, error) {
	head, err := f.peek(f.off, frameHead)
	switch {
	case err != nil:
		return walRecord{}, 0, err
	case len(head) == 0:
		return walRecord{}, 0, io.EOF
	case len(head) < frameHead:
		return walRecord{}, 0, &frameError{"the file ends within a record's length", true}
	}
	length := binary.LittleEndian.Uint64(head)
	if length == 0 {
		return walRecord{}, 0, io.EOF
	}
	size, pad := frameSize(length)
	if size > f.size-f.off-pad {
		return walRecord{}, 0, &frameError{fmt.Sprintf("a record of %d bytes, and only %d left in the file", size, f.size-f.off-pad), true}
	}
	b, err := f.peek(f.off+frameHead, size+pad)
	if err != nil {
		return walRecord{}, 0, err
	}
	if int64(len(b)) < size+pad {
		return walRecord{}, 0, &frameError{"the file ends within a record", true}
	}
	r, err := parseRecord(b[:size])
	if err != nil {
		return walRecord{}, 0, &frameError{"what stands there is no record", isTorn(b, f.off+frameHead)}
	}
	return r, f.off + frameHead + size + pad, nil
}

// frameData gives the bytes of the frame at the present offset, which next has accepted.
func (f *frames) frameData(end int64) []byte {
	b, err := f.peek(f.off+frameHead, end-f.off-frameHead)
	if err != nil {
		return nil
	}
	return b
}

// isTorn is etcd's own rule: a sector of the record is all zeros. b stands at offset off of the file.
func isTorn(b []byte, off int64) bool {
	for len(b) > 0 {
		n := min(sectorSize-off%sectorSize, int64(len(b)))
		if allZero(b[:n]) {
			return true
		}
		b, off = b[n:], off+n
	}
	return false
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
