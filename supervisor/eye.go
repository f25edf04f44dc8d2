package supervisor

import (
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// eye looks at one file by a descriptor that is good for nothing else. A look never waits, neither for a disk nor for a
// file server, and so may be a raw call: an ordinary stat wakes the runtime's monitor thread when all else is idle, and
// a raw one by the file's name could hold up the whole process. While it is open the file's inode number is nobody
// else's. The zero eye is shut.
type eye struct {
	mu   sync.Mutex
	file *os.File
	id   FileID
}

// open has the eye on the file that has this name, if it is the one with this id.
func (e *eye) open(path string, id FileID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.file != nil && e.id == id {
		return
	}
	e.drop()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return // looks go by the name then
	}
	e.file = os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || (FileID{st.Dev, st.Ino}) != id {
		e.drop()
		return
	}
	e.id = id
}

// shut lets go of the file.
func (e *eye) shut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.drop()
}

func (e *eye) drop() {
	if e.file != nil {
		_ = e.file.Close()
	}
	e.file, e.id = nil, FileID{}
}

// sees tells that the file is there still, and as it was. False says nothing: it may be that no look is possible.
func (e *eye) sees(was dbStamp) bool {
	if !e.mu.TryLock() {
		return false // it is being opened, and that may wait
	}
	defer e.mu.Unlock()
	if e.file == nil || e.id != was.id {
		return false
	}
	var (
		now   unix.Statx_t
		empty byte
	)
	_, _, errno := unix.RawSyscall6(unix.SYS_STATX, e.file.Fd(), uintptr(unsafe.Pointer(&empty)), unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC,
		unix.STATX_NLINK|unix.STATX_MTIME|unix.STATX_SIZE, uintptr(unsafe.Pointer(&now)), 0)
	return errno == 0 && now.Nlink > 0 && now.Size == uint64(was.size) &&
		now.Mtime.Sec == was.mtime.Sec && int64(now.Mtime.Nsec) == was.mtime.Nsec
}
