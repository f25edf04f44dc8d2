package journal

import (
	"path/filepath"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// BenchmarkEntry is one synced entry, on the disk of the temporary folder.
func BenchmarkEntry(b *testing.B) {
	s := opened(b, b.TempDir())
	j := begun(b, s)
	for b.Loop() {
		must(b, j.Begin("add"))
	}
}

// BenchmarkOpen is a start of the daemon with as many journals as are kept.
func BenchmarkOpen(b *testing.B) {
	s := opened(b, b.TempDir())
	for range kept {
		j := begun(b, s)
		must(b, j.End(status.OutcomeDone, "", "", nil))
	}
	must(b, s.Close())
	for b.Loop() {
		must(b, opened(b, s.dir).Close())
	}
}

func BenchmarkAuditAppend(b *testing.B) {
	a := auditOpened(b, filepath.Join(b.TempDir(), "audit.jsonl"))
	for b.Loop() {
		_, err := a.Append(sampleEntry(1))
		must(b, err)
	}
}

// BenchmarkVerify is by the bytes of the log.
func BenchmarkVerify(b *testing.B) {
	data := contents(b, auditOf(b, 100))
	path := filepath.Join(b.TempDir(), "audit.jsonl")
	put(b, path, data)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Verify(path); err != nil {
			b.Fatal(err)
		}
	}
}
