package logsink

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// numbered writes numbered lines until enough says so, and returns how many,
// and the longest that one write took.
func numbered(t testing.TB, p *Pipe, enough func(n int) bool) (n int, longest time.Duration) {
	t.Helper()
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	pad := strings.Repeat("x", 480)
	for end := time.Now().Add(patience); !enough(n); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%d lines, and it is not enough", n)
		}
		for range 10 {
			start := time.Now()
			say(t, p, fmt.Sprintf("%09d %s\n", n, pad))
			longest = max(longest, time.Since(start))
			n++
		}
	}
	return n, longest
}

// dropped is enough when many lines were dropped.
func dropped(s *Sink) func(int) bool {
	return func(int) bool { return s.Stats().DroppedLines > 5000 }
}

// stuck is how long a write may take before it counts as held up by the disk,
// on a machine on which each may have to wait for its turn.
const stuck = 30 * time.Second

type marker struct {
	Level string `json:"level"`
	Msg   string `json:"msg"`
	Bytes int    `json:"dropped-bytes"`
	Lines int    `json:"dropped-lines"`
	TS    string `json:"ts"`
	From  string `json:"from"`
	To    string `json:"to"`
}

// audit checks a log of numbered lines: the missing ones are exactly those
// that marker lines tell of, at their place.
func audit(t testing.TB, log []byte, sent int) (missing int) {
	t.Helper()
	next, pending := 0, 0
	for line := range bytes.Lines(log) {
		if line[0] == '{' {
			var m marker
			if err := json.Unmarshal(line, &m); err != nil || m.Msg != "log output dropped" || m.Level != "warn" {
				t.Fatalf("marker %q: %v", line, err)
			}
			if m.Bytes != m.Lines*491 {
				t.Fatalf("%d lines of %d bytes", m.Lines, m.Bytes)
			}
			for _, at := range []string{m.TS, m.From, m.To} {
				if _, err := time.Parse(etcdTime, at); err != nil {
					t.Fatal(err)
				}
			}
			pending += m.Lines
			continue
		}
		if len(line) != 491 {
			t.Fatalf("torn line %q", clip(line))
		}
		i, err := strconv.Atoi(string(line[:9]))
		if err != nil || i != next+pending {
			t.Fatalf("line %q after %d, with %d told to be missing", line[:9], next-1, pending)
		}
		next, missing, pending = i+1, missing+pending, 0
	}
	if next+pending != sent {
		t.Fatalf("the log ends with line %d and %d missing of %d", next, pending, sent)
	}
	return missing + pending
}

func needRoot(t testing.TB) {
	if os.Getuid() != 0 {
		t.Skip("not root")
	}
}

// TestDiskFull: nobody waits, what is dropped is counted, and the log goes on
// when there is space again.
func TestDiskFull(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "etcd.log")
	old := archiveName(file, time.Now().Add(-time.Hour))
	if err := os.WriteFile(old, make([]byte, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	s, p := newSink(t, Options{File: file}, 1<<20)
	n, longest := numbered(t, p, dropped(s))
	st := s.Stats()
	if !strings.Contains(st.Trouble, "no space") || st.DroppedLines == 0 || st.TroubleSince.IsZero() {
		t.Errorf("statistics while full: %+v", st)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("the old archive was kept")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	drain(t, s)
	missing := audit(t, readLog(t, file), n)
	t.Logf("%d lines, %d of them dropped, longest write %v", n, missing, longest)
	if st = s.Stats(); missing == 0 || st.DroppedLines != uint64(missing) || st.Trouble != "" {
		t.Errorf("%d lines are missing, statistics: %+v", missing, st)
	}
	if longest > stuck {
		t.Errorf("a write took %v", longest)
	}
	for _, kind := range []Kind{Trouble, DropStarted, DropEnded} {
		awaitEvent(t, s, kind)
	}
}

// frozen is a file whose writes stand still while a lock is held.
type frozen struct {
	appender
	ice *sync.RWMutex
}

func (f frozen) Write(b []byte) (int, error) {
	f.ice.RLock()
	defer f.ice.RUnlock()
	return f.appender.Write(b)
}

func TestFrozenWrite(t *testing.T) {
	var ice sync.RWMutex
	p := must[*Pipe](t)(NewPipe(2 << 20))
	defer shut(p)
	file := filepath.Join(t.TempDir(), "etcd.log")
	s := must[*Sink](t)(start(p, Options{File: file}, func(path string) appender {
		return frozen{newLumberjack(path), &ice}
	}))
	defer shut(s)
	drain(t, s)
	ice.Lock()
	n, longest := numbered(t, p, dropped(s))
	if err := s.Boundary(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.DroppedLines == 0 {
		t.Errorf("nothing was dropped: %+v", st)
	}
	ice.Unlock()
	drain(t, s)
	missing := audit(t, readLog(t, file), n)
	t.Logf("%d lines, %d of them dropped, longest write %v", n, missing, longest)
	if got := s.Stats().DroppedLines; got != uint64(missing) || missing == 0 {
		t.Errorf("%d lines are missing, counted are %d", missing, got)
	}
	if longest > stuck {
		t.Errorf("a write took %v", longest)
	}
}

// A frozen write that ends in time costs nothing.
func TestShortFreeze(t *testing.T) {
	var ice sync.RWMutex
	p := must[*Pipe](t)(NewPipe(0))
	defer shut(p)
	file := filepath.Join(t.TempDir(), "etcd.log")
	s := must[*Sink](t)(start(p, Options{File: file}, func(path string) appender {
		return frozen{newLumberjack(path), &ice}
	}))
	defer shut(s)
	drain(t, s)
	ice.Lock()
	n, _ := numbered(t, p, func(n int) bool { return n >= 20_000 })
	ice.Unlock()
	drain(t, s)
	if missing := audit(t, readLog(t, file), n); missing != 0 {
		t.Errorf("%d lines are missing", missing)
	}
	eventually(t, "memory is given back", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		var st unix.Stat_t
		return unix.Fstat(s.led.fd, &st) == nil && st.Blocks*512 < 200<<10
	})
}

// TestFrozenFileSystem is the real thing, on ext4 in a loop device.
func TestFrozenFileSystem(t *testing.T) {
	needRoot(t)
	image := filepath.Join(t.TempDir(), "image")
	dir := t.TempDir()
	for _, args := range [][]string{{"truncate", "-s", "64M", image}, {"mkfs.ext4", "-q", "-F", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			if args[0] == "mount" {
				t.Logf("no loop device here: %s", out)
				return
			}
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	file := filepath.Join(dir, "etcd.log")
	s, p := newSink(t, Options{File: file}, 1<<20)
	drain(t, s)
	freeze(t, "-f", dir)
	thawed := false
	defer func() {
		if !thawed {
			freeze(t, "-u", dir)
		}
	}()
	n, longest := numbered(t, p, dropped(s))
	freeze(t, "-u", dir)
	thawed = true
	drain(t, s)
	missing := audit(t, readLog(t, file), n)
	t.Logf("%d lines, %d of them dropped, longest write %v", n, missing, longest)
	if longest > stuck || missing == 0 {
		t.Errorf("%d lines missing, longest write %v", missing, longest)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func freeze(t testing.TB, how, dir string) {
	t.Helper()
	if out, err := exec.Command("fsfreeze", how, dir).CombinedOutput(); err != nil {
		t.Fatalf("fsfreeze %s: %v: %s", how, err, out)
	}
}

// A folder that cannot be written is trouble, not the end.
func TestFolderInTheWay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "logs", "etcd.log")
	if err := os.WriteFile(filepath.Dir(file), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, p := newSink(t, Options{File: file}, 0)
	say(t, p, "kept\n")
	awaitEvent(t, s, Trouble)
	if err := os.Remove(filepath.Dir(file)); err != nil {
		t.Fatal(err)
	}
	drain(t, s)
	if got := content(t, file); got != "kept\n" {
		t.Errorf("%q", got)
	}
	awaitEvent(t, s, TroubleOver)
}
