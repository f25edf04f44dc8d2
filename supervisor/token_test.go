package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/process"
)

func TestTokenOutlivesTheRecord(t *testing.T) {
	dir := t.TempDir()
	token, copied, err := loadToken(dir, "")
	if err != nil || copied || !plausible(token) {
		t.Fatalf("%q, %v", token, err)
	}
	if again, _, err := loadToken(dir, ""); err != nil || again != token {
		t.Errorf("without a record: %q, %v, not %q", again, err, token)
	}
	recorded := strings.Repeat("a", 26)
	for range 2 { // the record's is the one that running processes carry
		if got, _, err := loadToken(dir, recorded); err != nil || got != recorded {
			t.Errorf("with a record: %q, %v", got, err)
		}
		recorded, _, _ = loadToken(dir, "")
	}
}

func TestTokenGarbage(t *testing.T) {
	for _, text := range []string{"", "\n", "short", strings.Repeat("a", 65), strings.Repeat("A", 26), "aaaaaaaaaaaaa\naaaaaaaaaaaaa"} {
		dir := t.TempDir()
		if err := os.WriteFile(TokenPath(dir), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if token, _, err := loadToken(dir, ""); err != nil || token == text || !plausible(token) {
			t.Errorf("%q was taken for %q, %v", text, token, err)
		}
	}
	if token, _, err := loadToken(filepath.Join(t.TempDir(), "none"), ""); err == nil || !plausible(token) {
		t.Errorf("not kept: %q, %v", token, err)
	}
}

// TestACopiedFolderHasATokenOfItsOwn: by the original's token, the copy would end the original's etcd.
func TestACopiedFolderHasATokenOfItsOwn(t *testing.T) {
	original, copied := t.TempDir(), t.TempDir()
	token, _, err := loadToken(original, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(copied, os.DirFS(original)); err != nil {
		t.Fatal(err)
	}
	r := sampleRecord()
	r.Token = token
	if err := saveRecord(RecordPath(copied), r); err != nil {
		t.Fatal(err)
	}
	_, l, err := OpenFiles(copied)
	if err != nil || !l.Copied || l.Record.Token == token || l.Record.Run != nil {
		t.Errorf("the copy goes by %+v, copied %v, %v", l.Record, l.Copied, err)
	}
	if _, l, err = OpenFiles(copied); err != nil || l.Copied {
		t.Errorf("the copy is a copy still: %v, %v", l.Copied, err)
	}
}

// TestTokenOverABoot: the folder's device may have another number then; another inode is another folder still.
func TestTokenOverABoot(t *testing.T) {
	dir := t.TempDir()
	token, _, err := loadToken(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	home := identity(dir)
	for _, tt := range []struct {
		home, boot string
		copied     bool
	}{
		{"7:" + inodeOf(home), "of-before", false},
		{"7:" + inodeOf(home), process.BootID(), true},
		{home + "1", "of-before", true},
		{home, process.BootID(), false},
	} {
		if err := os.WriteFile(TokenPath(dir), []byte(token+" "+tt.home+" "+tt.boot+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got, copied, err := loadToken(dir, "")
		if err != nil || copied != tt.copied || (got == token) == tt.copied {
			t.Errorf("%+v: copied %v, %q, %v", tt, copied, got, err)
		}
	}
}
