package logsink

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Stats is what the sink has done. The figures marked L live in the ledger and
// so count from the child's start, whichever process did it.
type Stats struct {
	File         string
	Size         int64 // of the current file
	Archives     int
	ArchiveBytes int64
	Written      uint64 // L: bytes
	Buffered     int64  // bytes taken and not yet written
	DroppedBytes uint64 // L
	DroppedLines uint64 // L
	CutLines     uint64 // L: lines that a line's end was put into, as their neighbours were dropped
	LastDrop     time.Time
	Rotations    int64
	Trouble      string // why the file cannot be written or rotated; empty: it can
	TroubleSince time.Time
}

// Stats returns the present figures. It never waits for the disk.
func (s *Sink) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{
		File: s.opts.Load().File, Size: s.shown.size, Rotations: s.shown.rotations,
		Archives: int(s.keeper.count.Load()), ArchiveBytes: s.keeper.bytes.Load(),
		Trouble: s.shown.trouble, TroubleSince: s.shown.troubleSince,
	}
	if s.led.header == nil {
		return st // closed
	}
	v := s.led.view()
	st.Written, st.Buffered = s.led.written.Load(), s.led.buffered()
	st.DroppedBytes, st.DroppedLines, st.CutLines = v.droppedBytes, v.droppedLines, v.cutLines
	if v.lastDrop != 0 {
		st.LastDrop = time.UnixMicro(v.lastDrop)
	}
	return st
}

const tailLimit = 1 << 20 // bytes read back for Tail

// Position is how many bytes have been taken and not dropped since the ledger
// was made. What a child writes lies behind the position at its start.
func (s *Sink) Position() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position()
}

func (s *Sink) position() uint64 {
	if s.led.header == nil {
		return 0
	}
	return s.led.written.Load() + uint64(s.led.buffered())
}

// Tail returns the last n lines that were written or taken, without their
// line's ends: for a report of how a child ended. It reads at most 1 MiB back,
// from the current file and the newest archive.
func (s *Sink) Tail(n int) []string { return s.TailSince(n, 0) }

// TailSince is Tail without what lies before a Position.
func (s *Sink) TailSince(n int, since uint64) []string {
	if n <= 0 {
		return nil
	}
	s.mu.Lock()
	sh, pending, now := s.shown, s.pending(), s.position()
	s.mu.Unlock()
	if now <= since {
		return nil
	}
	text := pending
	if bytes.Count(text, []byte{'\n'}) <= n {
		text = append(readBack(sh.path, sh.dev, sh.ino, sh.size), text...)
	}
	if bytes.Count(text, []byte{'\n'}) <= n && sh.lastArchive != "" {
		text = append(readBack(sh.lastArchive, 0, 0, 1<<62), text...)
	}
	if own := now - since; uint64(len(text)) > own {
		text = text[uint64(len(text))-own:]
	}
	return lastLines(text, n)
}

// pending copies what is taken and not written. The caller holds mu.
func (s *Sink) pending() []byte {
	var b []byte
	if s.led.header == nil {
		return nil
	}
	v := s.led.view()
	for _, id := range v.queue[:v.n] {
		start, end := s.led.span(int(id))
		b = append(b, s.led.bytes(int(id))[start:end]...)
	}
	return b
}

// readBack reads the end of a file up to size. It reads nothing if the file is
// not dev:ino any more.
func readBack(path string, dev, ino uint64, size int64) []byte {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || ino != 0 && (st.Ino != ino || st.Dev != dev) {
		return nil
	}
	size = min(size, st.Size)
	b := make([]byte, min(size, tailLimit))
	n, err := f.ReadAt(b, size-int64(len(b)))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	return b[:n]
}

func lastLines(text []byte, n int) []string {
	text = bytes.TrimSuffix(text, []byte{'\n'})
	var lines []string
	for len(text) > 0 && len(lines) < n {
		i := bytes.LastIndexByte(text, '\n')
		lines = append(lines, string(text[i+1:]))
		text = text[:max(i, 0)]
	}
	slices.Reverse(lines)
	return lines
}
