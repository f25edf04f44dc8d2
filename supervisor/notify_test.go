package supervisor

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestNotifyTellsTheSender(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	n, err := ListenNotify(path)
	if err != nil {
		t.Fatal(err)
	}
	heard, ended := make(chan int, 4), make(chan struct{})
	go func() { n.Read(func(pid int) { heard <- pid }); close(ended) }()
	say(t, path, "STATUS=warming up\n")
	say(t, path, "STATUS=up\nREADY=1\n")
	select {
	case pid := <-heard:
		if pid != os.Getpid() {
			t.Errorf("sender %d, want %d", pid, os.Getpid())
		}
	case <-time.After(time.Minute):
		t.Fatal("READY=1 was not heard")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if len(heard) != 0 {
		t.Error("a message without READY=1 counted")
	}
}

// TestNotifyComesBackUnderItsPath is the take-over: an etcd knows only the path.
func TestNotifyComesBackUnderItsPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	for range 2 { // the first one is never closed, as after a SIGKILL
		n, err := ListenNotify(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		heard := make(chan int, 1)
		go n.Read(func(pid int) { heard <- pid })
		say(t, path, "READY=1")
		select {
		case <-heard:
		case <-time.After(time.Minute):
			t.Fatal("not heard")
		}
	}
}

func say(t *testing.T, path, message string) {
	t.Helper()
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(message)); err != nil {
		t.Fatal(err)
	}
}

// TestNotifyIsHeardAgain takes the socket's file, and then its folder, away.
func TestNotifyIsHeardAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, "n")
	n, err := ListenNotify(path)
	if err != nil {
		t.Fatal(err)
	}
	heard, ended := make(chan int, 1), make(chan struct{})
	go func() { n.Read(func(pid int) { heard <- pid }); close(ended) }() // ends with Close
	for _, remove := range []string{"", path, dir} {
		if err := os.RemoveAll(remove); err != nil {
			t.Fatal(err)
		}
		if anew, err := n.Remake(); anew != (remove != "") || err != nil {
			t.Fatalf("without %q: made anew %v, %v", remove, anew, err)
		}
		say(t, path, "READY=1")
		select {
		case <-heard:
		case <-time.After(time.Minute):
			t.Fatalf("without %q: not heard", remove)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if anew, err := n.Remake(); anew || err != nil {
		t.Errorf("made anew after the end: %v, %v", anew, err)
	}
}
