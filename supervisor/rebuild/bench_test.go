package rebuild

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/raft/v3/raftpb"
)

// BenchmarkKeepEntries keeps the last of 10,000 entries with 200 MB, which is what etcd has behind its last snapshot.
func BenchmarkKeepEntries(b *testing.B) {
	dataDir, walDir := makeWAL(b, func(save func(*raftpb.HardState, ...*raftpb.Entry), w *wal.WAL) {
		w.SetUnsafeNoFsync()
		for i := uint64(1); i <= 10_000; i++ {
			e := entry(2, i)
			e.Data = append(e.Data, make([]byte, 20_000)...)
			save(hardState(2, i-1), e)
		}
	})
	fresh := walDir + "-fresh"
	if err := os.Rename(walDir, fresh); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		if out, err := exec.Command("cp", "-a", fresh, filepath.Join(dataDir, "member", "wal")).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		b.StartTimer()
		if k, err := KeepEntries(dataDir, ""); err != nil || k.To != 10_000 {
			b.Fatal(k, err)
		}
		b.StopTimer()
		if err := os.RemoveAll(walDir); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
