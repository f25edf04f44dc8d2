package control

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestRemake takes the socket's file away in all ways while a watch is connected.
func TestRemake(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "run", "s")
	ln, err := Listen(socket, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f, ended := newFake(), make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, f, self()) }() // ends with ctx
	s, err := NewClient(socket).Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-s.C
	remakes := func(want bool) {
		t.Helper()
		if did, err := ln.Remake(); did != want || err != nil {
			t.Fatalf("made anew: %v, %v", did, err)
		}
		if _, err := NewClient(socket).Version(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	remakes(false)
	for _, remove := range []func() error{
		func() error { return os.Remove(socket) },
		func() error { return os.RemoveAll(filepath.Dir(socket)) },
		func() error { return os.Rename(socket, socket+".old") },
	} {
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		remakes(true)
		remakes(false)
		if mode(t, socket) != 0o600 || mode(t, filepath.Dir(socket)) != 0o700 {
			t.Errorf("socket %v, folder %v", mode(t, socket), mode(t, filepath.Dir(socket)))
		}
	}
	f.Publish(func(st *status.Status) { st.Reason = "later" })
	if st, ok := <-s.C; !ok || st.Reason != "later" {
		t.Errorf("the watch of before: %+v, %v", st, ok)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	if did, err := ln.Remake(); did || err != nil {
		t.Errorf("made anew after the end: %v, %v", did, err)
	}
}

// TestRemakeLeavesWhatIsInTheWay: neither a file nor the socket of another one is taken away, and once they are gone all
// is well.
func TestRemakeLeavesWhatIsInTheWay(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := Listen(socket, "")
	if err != nil {
		t.Fatal(err)
	}
	ways := map[string]func() error{
		"file": func() error { return os.WriteFile(socket, []byte("precious"), 0o600) },
		"another": func() error {
			other, err := Listen(socket, "")
			if err == nil {
				t.Cleanup(func() { other.Close() })
			}
			return err
		},
	}
	for name, block := range ways {
		if err := os.Remove(socket); err != nil {
			t.Fatal(err)
		}
		if err := block(); err != nil {
			t.Fatal(err)
		}
		there, err := os.Lstat(socket)
		if err != nil {
			t.Fatal(err)
		}
		did, err := ln.Remake()
		if did || err == nil {
			t.Errorf("%s: %v, %v", name, did, err)
		}
		if now, err := os.Lstat(socket); err != nil || !os.SameFile(now, there) {
			t.Errorf("%s: it is not there any more: %v", name, err)
		}
	}
	ln.Close()
	if _, err := os.Lstat(socket); err != nil {
		t.Errorf("what another one put there was removed: %v", err)
	}
}
