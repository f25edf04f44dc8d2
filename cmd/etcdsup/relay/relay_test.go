package relay

import (
	"errors"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// handOver leaves a text as an etcdsup before us would.
func handOver(t *testing.T, text string) {
	t.Helper()
	fd, err := unix.MemfdCreate("handover", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "handover")
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	t.Setenv(Env, strconv.Itoa(fd))
}

func TestWhatWasHandedOverIsReadTwice(t *testing.T) {
	handOver(t, `{"version":1,"pid":`+strconv.Itoa(os.Getpid())+`,"at_ns":5,"sink":{"File":"/a"},"fds":{"output":7},"path":"/b"}`)
	for range 2 { // by the log, then by all the rest
		var l Log
		if err := Read(&l); err != nil || l.Check() != nil {
			t.Fatal(err, l.Check())
		}
		if l.At != 5 || l.Sink.File != "/a" || l.FDs[Output] != 7 {
			t.Fatalf("%+v", l)
		}
	}
}

func TestWhatWasNotHandedOverIsRefused(t *testing.T) {
	t.Setenv(Env, "")
	if err := Read(new(Log)); !errors.Is(err, ErrNothing) {
		t.Errorf("no handover: %v", err)
	}
	refused := func(want string) {
		t.Helper()
		var l Log
		err := Read(&l)
		if err == nil {
			err = l.Check()
		}
		if err == nil || errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, not %q", os.Getenv(Env), err, want)
		}
		if r := begin(); r != nil {
			t.Errorf("%q: begun with %+v", os.Getenv(Env), r)
		}
	}
	for _, fd := range []string{"x", "-1", "0", "2"} {
		t.Setenv(Env, fd)
		refused("no descriptor")
	}
	t.Setenv(Env, "987654")
	refused("descriptor 987654: bad file descriptor")
	for text, want := range map[string]string{
		"":                              "JSON",
		"{":                             "JSON",
		`{"version":2}`:                 "its version is 2, and this etcdsup reads 1",
		`{"version":1,"pid":999999999}`: "another process",
	} {
		handOver(t, text)
		refused(want)
	}
}

// TestWithoutPipe: a handover whose descriptors are no pipe is told, not gone on with.
func TestWithoutPipe(t *testing.T) {
	self := `{"version":1,"pid":` + strconv.Itoa(os.Getpid()) + `,"fds":`
	for fds, want := range map[string]string{
		`{}`:                      "no output was handed over",
		`{"output":0}`:            "no ledger was handed over",
		`{"output":987654}`:       "cannot use the output",
		`{"output":1,"ledger":1}`: "pipe",
	} {
		handOver(t, self+fds+"}")
		if r := begin(); r == nil || r.Sink != nil || r.Err == nil || !strings.Contains(r.Err.Error(), want) {
			t.Errorf("%s: %+v, not %q", fds, r, want)
		}
	}
}

// TestSignalsAreCaught: from the start of an executable that takes a handover nothing that is asked for by a signal ends it.
func TestSignalsAreCaught(t *testing.T) {
	if catch() != nil {
		t.Fatal("signals are caught although nothing was handed over")
	}
	t.Setenv(Env, "3")
	c := catch()
	defer signal.Stop(c)
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGHUP} {
		if err := unix.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		if got := <-c; got != s {
			t.Errorf("%v came as %v", s, got)
		}
	}
}
