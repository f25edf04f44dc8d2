package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// logFiles are all files of etcd's log in the order in which they were written.
func logFiles(t *testing.T, dir string) []string {
	t.Helper()
	archives, err := filepath.Glob(filepath.Join(dir, "etcd-*"))
	if err != nil {
		t.Fatal(err)
	}
	archives = slices.DeleteFunc(archives, func(a string) bool { // one that is being compressed lies beside its original
		return strings.HasSuffix(a, ".tmp") || strings.HasSuffix(a, ".gz") && slices.Contains(archives, strings.TrimSuffix(a, ".gz"))
	})
	slices.Sort(archives)
	return append(archives, filepath.Join(dir, "etcd.log"))
}

// eachLogLine gives all lines of all files, without their ends; whole is false for a last one without end.
func eachLogLine(t *testing.T, dir string, f func(line []byte, whole bool)) {
	t.Helper()
	for _, path := range logFiles(t, dir) {
		eachFileLine(t, path, f)
	}
}

func eachFileLine(t *testing.T, path string, f func(line []byte, whole bool)) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var r io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	lines := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			f(bytes.TrimSuffix(line, []byte{'\n'}), err == nil)
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
}

// tally is what became of numbered lines.
type tally struct {
	good, lost, doubled, torn int
	marked                    int // lines that the markers say were dropped
	markers                   int
	sample                    []string
}

// count compares the log with the lines 0 to n-1.
func count(t *testing.T, dir string, n int) (c tally) {
	t.Helper()
	next := 0
	var want []byte
	eachLogLine(t, dir, func(line []byte, whole bool) {
		if k, ok := droppedLines(line); ok {
			c.markers, c.marked = c.markers+1, c.marked+k
			return
		}
		number, ok := numberOf(line, whole, &want)
		switch {
		case !ok:
			c.torn++
			c.note(line)
		case number < next:
			c.doubled++
			c.note(line)
		default:
			c.lost += number - next
			c.good, next = c.good+1, number+1
		}
	})
	c.lost += n - next
	return c
}

func (c *tally) note(line []byte) {
	if len(c.sample) < 5 {
		c.sample = append(c.sample, string(line))
	}
}

// numberOf gives the number of a line that is as it was written.
func numberOf(line []byte, whole bool, want *[]byte) (int, bool) {
	n := 0
	for _, c := range line[:min(12, len(line))] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	*want = appendLine((*want)[:0], n)
	return n, whole && bytes.Equal(line, (*want)[:len(*want)-1])
}

// droppedLines reads a marker line.
func droppedLines(line []byte) (int, bool) {
	if !bytes.HasPrefix(line, []byte("{")) {
		return 0, false
	}
	var m struct {
		Logger  string `json:"logger"`
		Msg     string `json:"msg"`
		Dropped int    `json:"dropped-lines"`
	}
	if json.Unmarshal(line, &m) != nil || m.Logger != "etcdsup" {
		return 0, false
	}
	return m.Dropped, true
}
