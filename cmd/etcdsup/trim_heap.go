package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// stillLimit is what the memory of a heap that is still may grow to before it is collected all the same: twice of what
// the daemon has in use when it is busy.
const stillLimit = 64 << 20

// ownHeap is the memory of this process. Its code stands beside the trimmer's in the executable, in the order of the
// files' names: both together are what is left in memory of the daemon's own when it rests.
type ownHeap struct {
	percent int   // as it was before it was still
	limit   int64 // likewise
	clean   atomic.Pointer[[]mapping]
	stats   runtime.MemStats
}

func (h *ownHeap) still() {
	h.limit = debug.SetMemoryLimit(-1)
	debug.SetMemoryLimit(min(h.limit, stillLimit))
	h.percent = debug.SetGCPercent(-1)
}

func (h *ownHeap) lively() {
	debug.SetGCPercent(h.percent)
	debug.SetMemoryLimit(h.limit)
}

// collect returns free memory to the kernel. What it makes itself, it makes before.
func (h *ownHeap) collect() {
	clean := ownMappings()
	h.clean.Store(&clean)
	runtime.GC()         // what lies in a sync.Pool outlives one collection
	debug.FreeOSMemory() // which is another one
}

func (h *ownHeap) allocated() uint64 {
	runtime.ReadMemStats(&h.stats)
	return h.stats.TotalAlloc
}

// drop lets go of the executable's own pages: they are clean copies of the file, and come back from the page cache,
// one fault for each 64 KiB, where they are needed again. A breakpoint that was set since the last collection goes too.
func (h *ownHeap) drop() {
	clean := h.clean.Load()
	if clean == nil {
		return
	}
	for _, m := range *clean {
		// A raw call: an ordinary one wakes the runtime's monitor thread when all else is idle.
		_, _, _ = syscall.RawSyscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED)
	}
}

func ownMappings() []mapping {
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return nil
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	return cleanMappings(string(maps), exe)
}

type mapping struct{ from, to uintptr }

// cleanMappings are those of the executable that are, by an smaps, the file and nothing else. One that cannot be
// written any more need not be that: in a position-independent executable the loader has relocated the pointers in
// it before, and the file's own bytes would be none.
func cleanMappings(smaps, exe string) (clean []mapping) {
	var m mapping
	var candidate bool
	for line := range strings.Lines(smaps) {
		if head, ok := mappingOf(line); ok {
			m, candidate = head, readOnly(line) && strings.HasSuffix(line, " "+exe+"\n")
		} else if anonymous, ok := strings.CutPrefix(line, "Anonymous:"); ok && candidate && strings.TrimSpace(anonymous) == "0 kB" {
			clean = append(clean, m)
		}
	}
	return clean
}

// mappingOf reads the head of a mapping: "from-to rights offset device inode path".
func mappingOf(line string) (mapping, bool) {
	addresses, _, _ := strings.Cut(line, " ")
	first, last, ok := strings.Cut(addresses, "-")
	from, errFrom := strconv.ParseUint(first, 16, 64)
	to, errTo := strconv.ParseUint(last, 16, 64)
	return mapping{uintptr(from), uintptr(to)}, ok && errFrom == nil && errTo == nil && from < to
}

func readOnly(line string) bool {
	f := strings.Fields(line)
	return len(f) > 1 && len(f[1]) == 4 && f[1][1] == '-'
}
