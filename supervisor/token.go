package supervisor

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/process"
)

// TokenPath is the name of the token's file in an instance's state folder.
func TokenPath(stateDir string) string { return stateDir + "/token" }

// loadToken gives the token that marks this instance's processes: the recorded one, or the one of the token's own
// file, or a new one. It is on disk before anything is started with it, and outlives a record that is lost: an etcd
// that no record knows is told from a stranger's by it. The error only says that it could not be kept.
//
// Beside the token stands which folder it was made for. In a copy of that folder the token is another instance's,
// whose etcd must neither be taken over nor ended from here: copied is true then, and the token new. After a boot the
// number of the folder's device may be another one, as with btrfs and LVM, and nothing that was started before lives.
func loadToken(stateDir, recorded string) (token string, copied bool, err error) {
	path, home, boot := TokenPath(stateDir), identity(stateDir), process.BootID()
	content, _ := os.ReadFile(path) // what cannot be read is written anew
	kept := strings.Fields(string(content))
	switch len(kept) {
	case 2: // from before boots were told apart
		copied = kept[1] != home
	case 3:
		copied = kept[1] != home && (kept[2] == boot || inodeOf(kept[1]) != inodeOf(home))
	}
	switch {
	case copied:
	case recorded != "":
		token = recorded
	case len(kept) > 0 && len(kept) <= 3:
		token = kept[0]
	}
	if !plausible(token) {
		token = process.NewToken()
	}
	line := strings.Join([]string{token, home, boot}, " ") + "\n"
	if string(content) == line {
		return token, copied, nil
	}
	if err := replaceFile(path, []byte(line)); err != nil {
		return token, copied, fmt.Errorf("cannot save token %s: %w", path, err)
	}
	return token, copied, nil
}

// identity is a folder's own, which a copy does not have.
func identity(dir string) string {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

func inodeOf(identity string) string {
	_, inode, _ := strings.Cut(identity, ":")
	return inode
}

// plausible tells a token from what a damaged file may hold.
func plausible(token string) bool {
	strange := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }
	return len(token) >= 20 && len(token) <= 64 && !strings.ContainsFunc(token, strange)
}
