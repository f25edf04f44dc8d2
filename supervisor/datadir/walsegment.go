package datadir

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// segmentReader reads the records of one segment in order and checks their CRCs.
type segmentReader struct {
	frames
	crc   uint32 // of everything so far
	chain bool   // crc is known: from the segment before, or from this one's first record
	count int64
}

func newSegmentReader(r io.ReaderAt, size int64, crc uint32, chain bool) *segmentReader {
	return &segmentReader{frames: *newFrames(r, size), crc: crc, chain: chain}
}

// read gives the next good record. The errors are io.EOF at the end, a *frameError for a bad record, which is then
// not passed over, and those of reading.
func (s *segmentReader) read() (walRecord, error) {
	r, end, err := s.next()
	if err != nil {
		return r, err
	}
	if r.kind == recordCRC {
		// etcd lets a sum of 0 pass: it has read nothing yet.
		if s.chain && s.crc != 0 && r.crc != s.crc {
			return r, &frameError{fmt.Sprintf("the segment does not follow the one before: its CRC is %08x, it should be %08x", r.crc, s.crc), false}
		}
		s.crc, s.chain = r.crc, true
	} else {
		sum := crc32.Update(s.crc, castagnoli, r.data)
		if sum != r.crc {
			return r, &frameError{fmt.Sprintf("wrong CRC: %08x, the data has %08x", r.crc, sum), isTorn(s.frameData(end), s.off+frameHead)}
		}
		s.crc = sum
	}
	s.off = end
	s.count++
	return r, nil
}

// lostRecords is what stands behind the point where reading ended.
type lostRecords struct {
	count  int64
	commit uint64 // the highest index that they know to be committed
	last   uint64 // the highest index of their entries
}

// lost looks for records behind the present offset. One alone may be chance, so it has to fit the CRC of the next,
// or follow upon one that did.
func (s *segmentReader) lost() (lostRecords, error) {
	var l lostRecords
	f := newFrames(s.r, s.size)
	first := s.off + frameHead
	if first%frameHead != 0 { // a length that was cut short
		first += frameHead - first%frameHead
	}
	for f.off = first; f.off+frameHead <= f.size; {
		n, err := f.chained(&l)
		if err != nil {
			return l, err
		}
		f.off += max(n, frameHead)
		if n == 0 {
			if err := f.skipZeros(); err != nil {
				return l, err
			}
		}
	}
	return l, nil
}

// skipZeros goes on to the next word that is not 0.
func (f *frames) skipZeros() error {
	for f.off < f.size {
		b, err := f.peek(f.off, 4096)
		if err != nil || len(b) == 0 {
			return err
		}
		if i := firstNonZero(b); i < len(b) {
			f.off += int64(i) &^ (frameHead - 1)
			return nil
		}
		f.off += int64(len(b))
	}
	return nil
}

var zeros [4096]byte

func firstNonZero(b []byte) int {
	if len(b) <= len(zeros) && bytes.Equal(b, zeros[:len(b)]) {
		return len(b)
	}
	for i, c := range b {
		if c != 0 {
			return i
		}
	}
	return len(b)
}

// chained takes the run of records that begins at the present offset into l and gives its length in bytes.
func (f *frames) chained(l *lostRecords) (int64, error) {
	start := f.off
	defer func() { f.off = start }()
	first, end, err := f.plausible()
	if err != nil || first == nil {
		return 0, err
	}
	sum, kept := first.crc, first.summary()
	run := int64(0)
	for {
		f.off = end
		r, next, err := f.plausible()
		if err != nil {
			return 0, err
		}
		if r == nil || r.kind != recordCRC && crc32.Update(sum, castagnoli, r.data) != r.crc || r.kind == recordCRC && r.crc != sum {
			break
		}
		if run == 0 {
			l.add(kept)
		}
		l.add(r.summary())
		sum, end, run = r.crc, next, next-start
	}
	return run, nil
}

// plausible is the record at the present offset, or nil when what stands there can be none.
func (f *frames) plausible() (*walRecord, int64, error) {
	// Each record begins with its type. Without a look at that, any word would be taken for a length and read.
	b, err := f.peek(f.off+frameHead, 2)
	if err != nil || len(b) < 2 || b[0] != 1<<3 || b[1] < recordMetadata || b[1] > recordSnapshot {
		return nil, 0, err
	}
	r, end, err := f.next()
	if _, bad := errors.AsType[*frameError](err); bad || errors.Is(err, io.EOF) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if r.kind < recordMetadata || r.kind > recordSnapshot || end%frameHead != 0 {
		return nil, 0, nil
	}
	return &r, end, nil
}

// summary is what a record behind a bad one tells: the index of an entry, the commit of a state.
func (r *walRecord) summary() lostRecords {
	switch r.kind {
	case recordEntry:
		if e, err := parseEntry(r.data); err == nil {
			return lostRecords{count: 1, last: e.index}
		}
	case recordState:
		if e, err := parseState(r.data); err == nil {
			return lostRecords{count: 1, commit: e.commit}
		}
	}
	return lostRecords{count: 1}
}

func (l *lostRecords) add(o lostRecords) {
	l.count += o.count
	l.commit, l.last = max(l.commit, o.commit), max(l.last, o.last)
}
