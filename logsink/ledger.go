package logsink

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ledger is shared memory that the writing process keeps alive for us. It
// is read again by a later process, so its layout is an interface: a change of
// it needs a new LedgerVersion.
const (
	LedgerVersion = 1
	headerSize    = 64 << 10 // the header, padded
	markSize      = 4 << 10  // room for one marker line, right after the header
	dataStart     = headerSize + markSize
	defaultBlock  = 256 << 10
	minBlocks     = 4
	maxBlocks     = 1024
	pathSize      = 4096
	canarySize    = 16
)

var ledgerMagic = [8]byte{'e', 't', 'c', 'd', 's', 'u', 'p', 'L'}

// ErrNoLedger says that a descriptor is not a ledger this version can read:
// not shared memory of ours, another version, or contents that contradict
// themselves. The pipe can still be used, with a fresh ledger (RecoverFIFO).
var ErrNoLedger = errors.New("not a readable log ledger")

// Values of a record's phase.
const (
	phaseIdle uint32 = iota
	phaseBusy
)

// takeRecord states, while phase is busy, that n bytes were to be read from
// the pipe into block at off. mark is what the last min(n, 16) of those bytes
// of the block held before: if they still hold it, the read has not happened.
type takeRecord struct {
	phase atomic.Uint32
	block uint32
	off   uint32
	n     uint32
	mark  [canarySize]byte
}

// writeRecord states, while phase is busy, that n bytes of block from start on
// were to be appended to the file dev:ino, whose size was off.
type writeRecord struct {
	phase    atomic.Uint32
	block    uint32
	start    uint32
	n        uint32
	openLine atomic.Uint32 // whether the file ended within a line before this write
	_        uint32
	dev, ino uint64
	off      int64
	before   uint64 // written, before this write
}

// view is the structure of the queue: which blocks hold data, oldest first,
// and what was dropped. There are two; the header says which one counts, so a
// change is one atomic store. A view may carry one word to be stored with it.
type view struct {
	redo     atomic.Uint32 // 1: redoWord still has to go to block redoBlock
	redoAt   uint32
	redoWord uint64
	// The gap: dropped after queue[0] and not yet told by a marker line.
	gapBytes, gapLines uint64
	gapFrom, gapTo     int64 // Unix microseconds
	// Totals since the ledger was made.
	droppedBytes, droppedLines uint64
	lastDrop                   int64
	cutLines                   uint64
	n                          uint32
	rest                       [maxBlocks / 64]uint64 // blocks that go on with the line before
	queue                      [maxBlocks]uint16
}

type header struct {
	magic     [8]byte
	version   uint32
	blockSize uint32
	blocks    uint32
	_         uint32
	pipeIno   uint64
	canary    [canarySize]byte
	active    atomic.Uint32 // index of the view that counts
	openLine  atomic.Uint32 // 1: the last byte written to the file was not a line's end
	written   atomic.Uint64 // bytes given to files since the ledger was made
	take      takeRecord
	write     writeRecord
	path      [pathSize]byte // of the file that write speaks of, NUL-terminated
	// words holds for each block (and, last, for the marker) start<<32 | end:
	// what lies between is taken and not yet written.
	words [maxBlocks + 1]atomic.Uint64
	views [2]view
}

// ledger is a mapped ledger. All methods need the owner's lock, except where
// said; only the atomic fields of the header are read without it.
type ledger struct {
	*header
	mem     []byte
	fd      int // our own open file description; carries the exclusive lock
	touched []uint32
	// died is called by tests at the named instant; a panic there is their
	// SIGKILL.
	died func(instant string)
}

func (l *ledger) instant(name string) {
	if l.died != nil {
		l.died(name)
	}
}

func word(start, end int) uint64         { return uint64(start)<<32 | uint64(end) }
func splitWord(w uint64) (int, int)      { return int(w >> 32), int(uint32(w)) }
func (l *ledger) view() *view            { return &l.views[l.active.Load()&1] }
func (l *ledger) span(id int) (int, int) { return splitWord(l.words[id].Load()) }
func (l *ledger) markID() int            { return int(l.blocks) }

// bytes returns the memory of block id.
func (l *ledger) bytes(id int) []byte {
	if id == l.markID() {
		return l.mem[headerSize:dataStart:dataStart]
	}
	at := dataStart + id*int(l.blockSize)
	end := at + int(l.blockSize)
	return l.mem[at:end:end]
}

// room is how far a block may be filled; one byte is kept for a line's end.
func (l *ledger) room() int { return int(l.blockSize) - 1 }

// flip changes the queue's structure: edit gets a copy of the current view,
// which counts from one atomic store on. If edit sets redo, that word is
// stored too; a process that ends in between is made good by settleRedo.
func (l *ledger) flip(edit func(*view)) {
	cur := l.active.Load() & 1
	next := &l.views[1-cur]
	copyView(next, &l.views[cur])
	edit(next)
	l.instant("view edited")
	l.active.Store(1 - cur)
	l.instant("view flipped")
	l.settleRedo()
}

func copyView(dst, src *view) {
	dst.redo.Store(0)
	dst.gapBytes, dst.gapLines, dst.gapFrom, dst.gapTo = src.gapBytes, src.gapLines, src.gapFrom, src.gapTo
	dst.droppedBytes, dst.droppedLines, dst.lastDrop = src.droppedBytes, src.droppedLines, src.lastDrop
	dst.cutLines = src.cutLines
	dst.n, dst.rest = src.n, src.rest
	copy(dst.queue[:src.n], src.queue[:src.n])
}

// withWord makes the flip store w as block id's word.
func (v *view) withWord(id int, w uint64) {
	v.redoAt, v.redoWord = uint32(id), w
	v.redo.Store(1)
}

func (l *ledger) settleRedo() {
	v := l.view()
	if v.redo.Load() == 0 {
		return
	}
	l.words[v.redoAt].Store(v.redoWord)
	l.instant("word stored")
	v.redo.Store(0)
}

func (l *ledger) head() int { return int(l.view().queue[0]) }

func (l *ledger) tail() int {
	v := l.view()
	return int(v.queue[v.n-1])
}

// free returns a block that is not in the queue, the lowest one so that the
// same memory is used again, or -1.
func (l *ledger) free() int {
	v := l.view()
	if v.n == l.blocks {
		return -1
	}
	var used [maxBlocks]bool
	for _, id := range v.queue[:v.n] {
		used[id] = true
	}
	for id := range int(l.blocks) {
		if !used[id] {
			return id
		}
	}
	return -1
}

// buffered counts the bytes taken and not written.
func (l *ledger) buffered() int64 {
	v := l.view()
	var sum int64
	for _, id := range v.queue[:v.n] {
		s, e := l.span(int(id))
		sum += int64(e - s)
	}
	s, e := l.span(l.markID())
	return sum + int64(e-s)
}

// touch makes sure that the pages of block id up to end are there, so that
// the kernel's copy into them cannot be cut short by a fault that meets a
// fatal signal: the take protocol rests on "all n bytes or none".
func (l *ledger) touch(id, from, end int) {
	if int(l.touched[id]) >= end {
		return
	}
	mem := l.bytes(id)
	page := os.Getpagesize()
	for at := max(from, int(l.touched[id])); at < end; at += page {
		mem[at] = 0
	}
	mem[end-1] = 0
	l.touched[id] = uint32(end)
}

// trim gives memory back that holds nothing, except the first keep bytes of
// the block in use.
func (l *ledger) trim(keep int) {
	v := l.view()
	page := os.Getpagesize()
	for id := range int(l.blocks) {
		from := 0
		for _, q := range v.queue[:v.n] {
			if int(q) == id {
				_, end := l.span(id)
				from = max(end+1, keep)
			}
		}
		from = (from + page - 1) / page * page
		if int(l.touched[id]) <= from {
			continue
		}
		l.touched[id] = uint32(from)
		at := int64(dataStart + id*int(l.blockSize) + from)
		// A failure costs memory, nothing else.
		_ = unix.Fallocate(l.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, int64(int(l.blockSize)-from))
	}
}

// setPath notes which file the write record speaks of.
func (l *ledger) setPath(path string) {
	n := copy(l.path[:pathSize-1], path)
	clear(l.path[n:])
}

func (l *ledger) getPath() string {
	n := bytes.IndexByte(l.path[:], 0)
	if n < 0 {
		return ""
	}
	return string(l.path[:n])
}

// newLedger makes the shared memory for blocks of blockSize bytes.
func newLedger(blockSize, blocks int, pipeIno uint64) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("etcdsup-log", flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // Linux < 6.3
		fd, err = unix.MemfdCreate("etcdsup-log", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot create the log ledger: %w", err)
	}
	f := os.NewFile(uintptr(fd), "etcdsup-log")
	if err := formatLedger(fd, blockSize, blocks, pipeIno); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot set up the log ledger: %w", err)
	}
	return f, nil
}

func formatLedger(fd, blockSize, blocks int, pipeIno uint64) error {
	size := int64(dataStart + blocks*blockSize)
	if err := unix.Ftruncate(fd, size); err != nil {
		return err
	}
	// Nobody may shrink what others have mapped: they would die of SIGBUS.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW); err != nil {
		return err
	}
	mem, err := unix.Mmap(fd, 0, headerSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	h := (*header)(unsafe.Pointer(&mem[0]))
	h.version, h.blockSize, h.blocks, h.pipeIno = LedgerVersion, uint32(blockSize), uint32(blocks), pipeIno
	h.views[0].n = 1
	_, _ = rand.Read(h.canary[:]) // never fails
	h.magic = ledgerMagic
	return unix.Munmap(mem)
}

// checkLedger tells whether fd is a ledger of this version for the pipe with
// inode pipeIno.
func checkLedger(fd int, pipeIno uint64) error {
	l, err := mapLedger(fd)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(l.mem) }()
	if l.pipeIno != pipeIno {
		return fmt.Errorf("%w: it belongs to another pipe", ErrNoLedger)
	}
	return nil
}

// mapLedger maps fd's memory after having checked that it is a ledger. The
// ledger does not own fd.
func mapLedger(fd int) (*ledger, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("cannot examine the log ledger: %w", err)
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 || st.Size < dataStart {
		return nil, fmt.Errorf("%w: not sealed shared memory of the right size", ErrNoLedger)
	}
	mem, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("cannot map the log ledger: %w", err)
	}
	l := &ledger{header: (*header)(unsafe.Pointer(&mem[0])), mem: mem, fd: fd}
	if err := l.validate(st.Size); err != nil {
		_ = unix.Munmap(mem)
		return nil, err
	}
	l.touched = make([]uint32, l.blocks)
	return l, nil
}

// validate refuses a ledger whose contents could lead outside its memory.
func (l *ledger) validate(size int64) error {
	switch {
	case l.magic != ledgerMagic:
		return fmt.Errorf("%w: no magic number", ErrNoLedger)
	case l.version != LedgerVersion:
		return fmt.Errorf("%w: version %d, this program reads %d", ErrNoLedger, l.version, LedgerVersion)
	case l.blocks < minBlocks || l.blocks > maxBlocks || l.blockSize < 4096 ||
		int64(dataStart)+int64(l.blocks)*int64(l.blockSize) != size:
		return fmt.Errorf("%w: %d blocks of %d bytes in %d bytes", ErrNoLedger, l.blocks, l.blockSize, size)
	}
	return l.validateQueue()
}

func (l *ledger) validateQueue() error {
	v := l.view()
	if v.n < 1 || v.n > l.blocks || v.redoAt > l.blocks {
		return fmt.Errorf("%w: a queue of %d blocks", ErrNoLedger, v.n)
	}
	seen := make(map[uint16]bool)
	for _, id := range v.queue[:v.n] {
		s, e := l.span(int(id % uint16(maxBlocks)))
		if uint32(id) >= l.blocks || seen[id] || s > e || e > int(l.blockSize) {
			return fmt.Errorf("%w: block %d from %d to %d", ErrNoLedger, id, s, e)
		}
		seen[id] = true
	}
	if s, e := l.span(l.markID()); s > e || e > markSize {
		return fmt.Errorf("%w: marker from %d to %d", ErrNoLedger, s, e)
	}
	return l.validateRecords()
}

func (l *ledger) validateRecords() error {
	inside := func(phase, block, off, n uint32) bool {
		return phase == phaseIdle || block <= l.blocks && uint64(off)+uint64(n) <= uint64(l.blockSize)
	}
	t, w := &l.take, &l.write
	if !inside(t.phase.Load(), t.block, t.off, t.n) || !inside(w.phase.Load(), w.block, w.start, w.n) {
		return fmt.Errorf("%w: a record leads outside its block", ErrNoLedger)
	}
	if w.phase.Load() == phaseBusy && w.block == l.blocks && w.start+w.n > markSize {
		return fmt.Errorf("%w: a record leads outside the marker", ErrNoLedger)
	}
	return nil
}

// lockLedger opens a description of its own and locks it. The lock goes away
// when the last thread of the locking process has ended, even one that SIGKILL
// found in an uninterruptible write: until then that write may still reach the
// file. The child's copy is another description and holds nothing.
func lockLedger(f *os.File) (*ledger, error) {
	fd, err := reopen(f.Fd(), unix.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("cannot reopen the log ledger: %w", err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	l, err := mapLedger(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return l, nil
}

func (l *ledger) unmap() {
	_ = unix.Munmap(l.mem)
	_ = unix.Close(l.fd)
	l.header, l.mem, l.fd = nil, nil, -1
}

// reopen gives a new open file description of fd's file.
func reopen(fd uintptr, flags int) (int, error) {
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), flags|unix.O_CLOEXEC, 0)
}
