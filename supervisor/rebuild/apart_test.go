package rebuild

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testWorks are what a child can do besides, for these tests. What they tell is their process ID.
var testWorks = map[string]func(order, func(string)) (any, error){
	"hang": func(_ order, tell func(string)) (any, error) {
		tell(strconv.Itoa(os.Getpid()))
		select {}
	},
	"panic": func(order, func(string)) (any, error) {
		go func() { panic("page 7 is bad") }()
		select {}
	},
	"fail": func(o order, _ func(string)) (any, error) {
		return nil, fmt.Errorf("%w: %w: %s", ErrDamaged, &fs.PathError{Op: "read", Path: "x", Err: unix.EIO}, o.Source)
	},
	"exit":   func(order, func(string)) (any, error) { os.Exit(5); return nil, errors.ErrUnsupported },
	"silent": func(order, func(string)) (any, error) { os.Exit(0); return nil, errors.ErrUnsupported },
}

// apartOrder makes the test binary one that has a child at work and prints its process ID.
const apartOrder = "REBUILD_TEST_APART"

func apartForTest() int {
	a := &Apart{Tell: func(pid string) { fmt.Println(pid) }}
	fmt.Println(a.do(context.Background(), order{Work: "hang"}, nil))
	return 1
}

// awaitEnd waits until a process is gone, or only a zombie of it is left.
func awaitEnd(t *testing.T, pid string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %s lives: %s", pid, stat)
		}
	}
}

func TestApartFailures(t *testing.T) {
	a := &Apart{}
	for _, tt := range []struct {
		work  string
		is    error
		words string
	}{
		{"panic", ErrDamaged, "damaged: panic: page 7 is bad"},
		{"fail", ErrDamaged, "damaged: read x: input/output error: /s"},
		{"fail", unix.EIO, ""},
		{"exit", nil, "exit status 5"},
		{"silent", nil, "said nothing"},
		{"no such work", nil, "exit status 2: cannot rebuild"},
	} {
		err := a.do(t.Context(), order{Work: tt.work, Source: "/s"}, nil)
		if err == nil || tt.is != nil && !errors.Is(err, tt.is) || tt.is == nil && errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: %v", tt.work, err)
		}
	}
}

func TestApartIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("not wanted")
	var pid string
	a := &Apart{Tell: func(text string) { pid = text; cancel(why) }}
	if err := a.do(ctx, order{Work: "hang"}, nil); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	awaitEnd(t, pid)
}

// TestApartEndsWithUs kills who has a child at work.
func TestApartEndsWithUs(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), apartOrder+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid := strings.TrimSpace(line)
	if n, e := strconv.Atoi(pid); err != nil || e != nil || syscall.Kill(n, 0) != nil {
		t.Errorf("%q, %v", line, err)
	}
	_ = cmd.Process.Kill() // Wait tells
	_ = cmd.Wait()
	awaitEnd(t, pid)
}

// TestApartDoesTheSame: what is done apart, and what is refused, is what is done here.
func TestApartDoesTheSame(t *testing.T) {
	s := makeSources(t, "")
	o := options()
	o.Bump, o.MarkCompacted = 1000, true
	var told []string
	a := &Apart{Tell: func(text string) { told = append(told, text) }}
	dst := filepath.Join(t.TempDir(), "data")
	r, err := a.Restore(t.Context(), s.snapshot, dst, o)
	if err != nil || r.ClusterID == "" || r.RevisionAfter < r.RevisionBefore+1000 || r.Took <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if len(told) < 2 {
		t.Errorf("told %q", told)
	}
	_, err = a.Restore(t.Context(), s.snapshot, dst, o)
	_, here := Restore(t.Context(), s.snapshot, dst, o)
	if !errors.Is(err, fs.ErrExist) || err.Error() != here.Error() {
		t.Errorf("%v; here %v", err, here)
	}
	k, err := a.KeepEntries(t.Context(), dst, "")
	want, hereErr := KeepEntries(dst, "")
	if err != nil || hereErr != nil || !reflect.DeepEqual(k, want) {
		t.Errorf("%+v, %v; here %+v, %v", k, err, want, hereErr)
	}
	_, err = a.KeepEntries(t.Context(), t.TempDir(), "")
	if err == nil || !strings.HasPrefix(err.Error(), "cannot keep the last entries in ") {
		t.Errorf("%v", err)
	}
}
