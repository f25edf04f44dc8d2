package logread

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"syscall"
)

// sameAs says whether an archive is this very file, renamed or compressed since.
func (s *source) sameAs(a *source) bool {
	mine, err := s.f.Stat()
	if err != nil {
		return false
	}
	if !a.gz {
		other, err := a.f.Stat()
		return err == nil && os.SameFile(mine, other)
	}
	return gzLength(a.f) == uint32(mine.Size()) && sameStart(s.f, a.f)
}

// gzLength is the length of what was compressed, modulo 2³², from the last bytes of the file.
func gzLength(f *os.File) uint32 {
	fi, err := f.Stat()
	if err != nil || fi.Size() < 4 {
		return 0
	}
	var b [4]byte
	if _, err := f.ReadAt(b[:], fi.Size()-4); err != nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b[:])
}

// sameStart compares the first bytes: with a time in every line, no two log files share them.
func sameStart(plain, gz *os.File) bool {
	z, err := gzip.NewReader(&cursor{f: gz, end: noEnd})
	if err != nil {
		return false
	}
	var a, b [4096]byte
	n, _ := io.ReadFull(&cursor{f: plain, end: noEnd}, a[:])
	m, _ := io.ReadFull(z, b[:])
	return bytes.Equal(a[:n], b[:m])
}

// maxEcho is more than a log's writer writes at once.
const maxEcho = 4 << 20

// lastWrite is the end of a file that was removed, nil for one that still has a name. Its writer finds out only
// after a write, and writes the same once more into the new file: we have read it here already.
func (s *source) lastWrite() []byte {
	fi, err := s.f.Stat()
	if err != nil {
		return nil
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); !ok || st.Nlink > 0 {
		return nil
	}
	from := max(0, fi.Size()-maxEcho)
	b := make([]byte, fi.Size()-from)
	n, _ := s.f.ReadAt(b, from)
	return b[:n]
}

// echoLooks is how often we wait for a file to show whether it begins with an echo. Then it does not.
const echoLooks = 10

// afterEcho is the place in the file behind what the removed file before it held as well. It is not settled while
// all that is there yet is an echo that is not complete.
func (s *source) afterEcho() (off int64, settled bool) {
	if s.echo == nil {
		return 0, true
	}
	b := make([]byte, len(s.echo))
	r, _ := s.part(0, noEnd) // what can't be read is no echo
	n, _ := io.ReadFull(r, b)
	off, settled = overlap(s.echo, b[:n])
	if s.looks++; !settled && s.looks <= echoLooks && s.archive.name == "" {
		return 0, false
	}
	s.echo = nil
	if !settled {
		off = 0
	}
	return off, true
}

// overlap is how many bytes the end of old and the beginning of now share. It is not known while now is shorter
// than what may be shared.
func overlap(old, now []byte) (n int64, known bool) {
	line, _, _ := bytes.Cut(now, []byte{'\n'})
	for p := 0; p < len(old); p++ {
		i := bytes.Index(old[p:], line)
		if i < 0 || len(now) == 0 {
			break
		}
		p += i
		rest := old[p:]
		if p > 0 && old[p-1] != '\n' && len(rest) < minEcho {
			continue
		}
		if shared := min(len(rest), len(now)); bytes.Equal(rest[:shared], now[:shared]) {
			return int64(len(rest)), len(now) >= len(rest)
		}
	}
	return 0, len(now) > 0 || len(old) == 0
}

// minEcho is how much must be the same if it begins within a line: less may be chance.
const minEcho = 64
