package install

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// as runs f with the rights to files that the account has as a service, without capabilities. The thread is f's alone and
// ends with it: nothing else in this process ever has these rights.
func (a account) as(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked, which is what ends the thread
		err := a.become()
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// become changes this thread only, other than the functions of package syscall.
func (a account) become() error {
	groups := make([]uint32, len(a.groups)+1)
	for i, g := range a.groups {
		groups[i] = uint32(g)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(a.groups)), uintptr(unsafe.Pointer(&groups[0])), 0); errno != 0 {
		return fmt.Errorf("cannot see the host as user %s: %w", a.name, errno)
	}
	if _, err := unix.SetfsgidRetGid(a.gid); err != nil {
		return fmt.Errorf("cannot see the host as user %s: %w", a.name, err)
	}
	if _, err := unix.SetfsuidRetUid(a.uid); err != nil {
		return fmt.Errorf("cannot see the host as user %s: %w", a.name, err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("cannot see the host as user %s: %w", a.name, err)
	}
	return nil
}

// may tells whether the account may use path so: unix.R_OK, W_OK, X_OK.
func (a account) may(path string, mode uint32) error {
	return a.as(func() error { return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS) })
}

// blocker is the first folder on the way to path that the account may not pass; path itself when there is none.
func (a account) blocker(path string) string {
	for _, dir := range ancestors(path) {
		if a.may(dir, unix.X_OK) != nil {
			return dir
		}
	}
	return path
}

// ancestors are the folders above path, from the root on.
func ancestors(path string) []string {
	var up []string
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		up = append([]string{dir}, up...)
		if dir == filepath.Dir(dir) {
			return up
		}
	}
}

// standing is the path itself or the nearest one above it that exists.
func standing(path string) string {
	for {
		if _, err := os.Lstat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}
