package logread

import (
	"bufio"
	"compress/gzip"
	"io"
	"os"
	"time"
)

// source is one file of the stream. It keeps its file open from when it was first needed, so that neither
// compression nor retention can take it away in the middle.
type source struct {
	folder  folder
	archive archive // name empty: the current file
	f       *os.File
	gz      bool
	lines   *lineReader
	at      *cursor // where lines reads, in a plain file
	echo    []byte  // the end of a removed file, with which this one may begin, see lastWrite
	looks   int     // how often it was looked for
}

// cursor reads a file from a place of its own on. It can be told that nothing will come beyond an end.
type cursor struct {
	f   io.ReaderAt
	off int64
	end int64 // noEnd: wherever the file ends at that moment
}

const noEnd = -1

func (c *cursor) Read(p []byte) (int, error) {
	if c.end != noEnd {
		if c.off >= c.end {
			return 0, io.EOF
		}
		p = p[:min(int64(len(p)), c.end-c.off)]
	}
	n, err := c.f.ReadAt(p, c.off)
	c.off += int64(n)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

func (s *source) name() string {
	switch {
	case s.archive.name == "":
		return s.folder.base
	case s.gz:
		return s.archive.name + gzSuffix
	}
	return s.archive.name
}

// open opens the file unless that was done before.
func (s *source) open() (err error) {
	if s.f == nil {
		s.f, s.gz, err = s.folder.open(s.archive)
	}
	return err
}

// size is that of the file as it lies on disk; 0 if it can't be told.
func (s *source) size() int64 {
	fi, err := s.f.Stat()
	if err != nil {
		return 0
	}
	return fi.Size()
}

// modified is when the file was last written to.
func (s *source) modified() time.Time {
	fi, err := s.f.Stat()
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}

// readFrom prepares reading lines from a place on (in a compressed file: of what comes out of it) to an end.
func (s *source) readFrom(off, end int64) error {
	s.at = &cursor{f: s.f, off: off, end: end}
	r, err := io.Reader(s.at), error(nil)
	if s.gz {
		r, err = s.part(off, end)
	}
	s.lines = &lineReader{r: r}
	return err
}

// part is a reader of a part of the file, independent of all others. In a compressed file all that stands
// before the part has to be decompressed.
func (s *source) part(off, end int64) (io.Reader, error) {
	if !s.gz {
		return &cursor{f: s.f, off: off, end: end}, nil
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(&cursor{f: s.f, end: noEnd}, 64<<10))
	if err != nil {
		return failing{err}, err
	}
	if _, err := io.CopyN(io.Discard, z, off); err != nil {
		return failing{err}, err
	}
	if end == noEnd {
		return z, nil
	}
	return io.LimitReader(z, end-off), nil
}

// failing is what is left to read of a file that can't be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// finish says that nothing will come beyond what was read.
func (s *source) finish() { s.at.end = s.at.off }

func (s *source) close() {
	if s.f != nil {
		_ = s.f.Close() // only read from
	}
	s.f, s.lines = nil, nil
}
