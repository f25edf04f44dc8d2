// Package exetest writes executables for tests. It is imported by tests only.
package exetest

import (
	"os"
	"syscall"
	"testing"
)

// Write makes an executable of the content, for its owner and, as far as the umask lets them, for all.
//
// It can be executed at once: no child of this process that another test starts meanwhile inherits the file open for
// writing until it executes its own, for as long as which the kernel refuses to execute this one ("text file busy").
func Write(t testing.TB, path string, content []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
}
