package exetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// TestWrite executes what was just written while others fork without end. Without the lock some one in a hundred fails.
func TestWrite(t *testing.T) {
	var others sync.WaitGroup
	defer others.Wait()
	done := make(chan struct{})
	defer close(done)
	for range 4 {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					_ = exec.Command("/bin/true").Run()
				}
			}
		})
	}
	text, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for n := range 300 {
		path := filepath.Join(dir, strconv.Itoa(n))
		Write(t, path, text)
		if err := exec.Command(path).Run(); err != nil {
			t.Fatal(err)
		}
	}
}
