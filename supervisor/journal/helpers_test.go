package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

func samplePlan() status.Plan {
	return status.Plan{
		Request: status.ModeRequest{Mode: status.ModeJoin, Endpoints: []string{"http://127.0.0.1:2379"}},
		Steps: []status.Step{
			{Name: "set-aside", Does: "Renames <data>.", Undo: "Renames it back."},
			{Name: "add", Does: "Adds a learner.", Undo: "Removes it."},
			{Name: "start", Does: "Starts etcd.", Final: true},
		},
		Facts: []status.Fact{{Name: "cluster", Value: "1c45a069f3a1d796"}},
	}
}

// opened is a store that the test closes.
func opened(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func begun(t testing.TB, s *Store) *Journal {
	t.Helper()
	j, err := s.Begin(samplePlan())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// must fails the test at the first error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
	}
}

// story goes through every kind of entry but the end.
func story(t testing.TB, j *Journal) {
	t.Helper()
	must(t,
		j.Begin("set-aside"),
		j.Note("set-aside", map[string]string{"aside": "/var/lib/etcd.1"}),
		j.Done("set-aside", nil),
		j.Begin("add"),
		j.Done("add", map[string]string{"member": "8e9e05c52164694d"}),
		j.Begin("start"),
		j.End(status.OutcomeStuck, "no quorum", "Wait.", nil),
		j.Undoing("start", "no leader"),
		j.Undone("start"),
		j.Undoing("add", "no leader"),
		j.Undone("add"),
		j.Undoing("set-aside", "no leader"),
	)
}

// wholeJournal is the bytes of a journal that has gone through everything, and its name.
func wholeJournal(t testing.TB) (name string, data []byte) {
	t.Helper()
	s := opened(t, t.TempDir())
	j := begun(t, s)
	file := s.path(j.State().ID)
	story(t, j)
	must(t, j.Undone("set-aside"), j.End(status.OutcomeRolledBack, "no leader", "Try again.", []string{"All is as before."}))
	return filepath.Base(file), contents(t, file)
}

func contents(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	return data
}

func put(t testing.TB, file string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(file, data, 0o600))
}

// names of what a folder holds.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// folds are the states after each number of whole lines; the first has none.
func folds(t testing.TB, name string, data []byte) []State {
	t.Helper()
	id := strings.TrimSuffix(name, suffix)
	all := []State{{ID: id}}
	for end := range data {
		if data[end] != '\n' {
			continue
		}
		r, err := read(id, name, data[:end+1])
		if err != nil || len(r.torn) > 0 {
			t.Fatalf("%d bytes: %q, %v", end+1, r.torn, err)
		}
		all = append(all, r.state)
	}
	return all
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// smallDisk is a folder on a file system of its own, in memory.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// quickDir is a folder for thousands of synced files: where we may mount, in memory.
func quickDir(t *testing.T) string {
	t.Helper()
	if os.Geteuid() == 0 {
		return smallDisk(t, "64m")
	}
	return t.TempDir()
}

// fill takes all the room that is left, and gives it back by its answer.
func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	must(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	return func() { must(t, os.Remove(ballast)) }
}

func longText() string { return strings.Repeat("much ", 4096) }

func nth(n int) string { return fmt.Sprintf("entry %d", n) }
