package datadir

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// damaged looks at copies of a directory in which something is wrong.
func damaged(t *testing.T, whole string) {
	db := func(dir string) string { return filepath.Join(dir, "member", "snap", "db") }
	used := func(b []byte) int { return len(bytes.TrimRight(b, "\x00")) }
	remove := func(path func(string) string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.RemoveAll(path(dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	inWAL := func(f func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) { change(t, lastSegment(t, dir), f) }
	}
	inDB := func(f func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) { change(t, db(dir), f) }
	}
	for _, tt := range []struct {
		name string
		do   func(*testing.T, string)
		want []Code
	}{
		{"bit in the middle of the WAL", inWAL(func(b []byte) []byte { b[used(b)/2] ^= 0x10; return b }), []Code{CodeWALDamaged}},
		{"sector of zeros in the middle of the WAL", inWAL(func(b []byte) []byte {
			clear(b[used(b)/2/512*512:][:512])
			return b
		}), []Code{CodeWALDamaged}},
		{"WAL cut in the middle", inWAL(func(b []byte) []byte { return b[:used(b)/2] }), []Code{CodeWALBehindDB, CodeWALTorn}},
		{"a record half written at the end", inWAL(func(b []byte) []byte {
			n := (used(b) + 7) / 8 * 8
			copy(b[n:], []byte{0x30, 0x08, 0, 0, 0, 0, 0, 0x84, 8, 2, 16, 1})
			return b
		}), []Code{CodeWALTorn}},
		{"empty file at the end of the WAL", func(t *testing.T, dir string) {
			name := filepath.Join(dir, "member", "wal", "0000000000000001-0000000000000fff.wal")
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []Code{CodeWALEmptyFile}},
		{"WAL emptied", inWAL(func([]byte) []byte { return nil }), []Code{CodeWALEmptyFile}},
		{"no WAL", remove(func(dir string) string { return filepath.Join(dir, "member", "wal") }), []Code{CodeWALMissing}},
		{"no segment", remove(func(dir string) string { return lastSegment(t, dir) }), []Code{CodeWALMissing}},
		{"no db", remove(db), []Code{CodeDBMissing}},
		{"neither", remove(func(dir string) string { return filepath.Join(dir, "member") }), []Code{CodeEmpty}},
		{"empty db", inDB(func([]byte) []byte { return nil }), []Code{CodeDBDamaged, CodeDBBehindSnapshot}},
		{"db cut", inDB(func(b []byte) []byte { return b[:len(b)/2] }), []Code{CodeDBDamaged}},
		{"one meta page", inDB(func(b []byte) []byte { b[40] ^= 1; return b }), []Code{CodeDBOneMeta}},
		{"both meta pages", inDB(func(b []byte) []byte { b[40] ^= 1; b[4096+40] ^= 1; return b }), []Code{CodeDBDamaged}},
		{"pages of garbage", inDB(func(b []byte) []byte {
			copy(b[2*4096:], bytes.Repeat([]byte{0xa5}, len(b)-2*4096))
			return b
		}), []Code{CodeDBDamaged}},
		{"leftovers", func(t *testing.T, dir string) {
			for _, name := range []string{"note", "member/wal/x.wal.broken", "member/snap/tmp123"} {
				os.WriteFile(filepath.Join(dir, name), nil, 0o600)
			}
		}, []Code{CodeRepaired, CodeLeftovers}},
		{"permissions", func(t *testing.T, dir string) { os.Chmod(filepath.Join(dir, "member"), 0o755) }, []Code{CodePermissions}},
		{"proxy", func(t *testing.T, dir string) { os.Mkdir(filepath.Join(dir, "proxy"), 0o700) }, []Code{CodeProxy}},
		{"damaged .snap", func(t *testing.T, dir string) {
			os.WriteFile(filepath.Join(dir, "member", "snap", "0000000000000002-00000000000000aa.snap"), []byte("xxxxxxxx"), 0o600)
		}, []Code{CodeSnapDamaged}},
		{"unfinished .snap", func(t *testing.T, dir string) {
			os.WriteFile(filepath.Join(dir, "member", "snap", "0000000000000002-00000000ffffffff.snap"), []byte("xxxxxxxx"), 0o600)
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyOf(t, whole)
			tt.do(t, dir)
			r := cold(t, dir, Options{})
			wants(t, r, tt.want...)
			for _, f := range r.Findings {
				if f.Severity == SeverityHeld && f.Remedy == "" || f.Title == "" {
					t.Errorf("without a remedy: %+v", f)
				}
			}
		})
	}
}
