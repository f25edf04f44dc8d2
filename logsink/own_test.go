package logsink

import (
	"os"
	"path/filepath"
	"testing"
)

// TestOwnLogTakenAway: with its folder or without, what is written next is there.
func TestOwnLogTakenAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log", "own.log")
	l := OwnLog(path, 1, 1)
	defer l.Close()
	for _, take := range []string{filepath.Dir(path), path, filepath.Dir(path)} {
		for _, line := range []string{"one\n", "two\n"} {
			if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "one\ntwo\n" {
			t.Errorf("%q, %v", b, err)
		}
		if err := os.RemoveAll(take); err != nil {
			t.Fatal(err)
		}
	}
}
