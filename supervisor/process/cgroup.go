package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroup is a leaf of the version-2 hierarchy that holds etcd and nothing else.
type cgroup struct {
	path  string   // of its directory in the file system
	dir   *os.File // to be born in
	spent bool     // cgroup.kill was used on it, see renew
}

// openCgroup makes or opens the leaf. The directory descriptor is all that clone3 needs.
func openCgroup(path string) (*cgroup, error) {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("cannot make cgroup %s: %w", path, err)
	}
	fd, err := openFD(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("cannot open cgroup %s: %w", path, err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot use %s: it is not a cgroup of version 2", path)
	}
	return &cgroup{path: path, dir: os.NewFile(uintptr(fd), path)}, nil
}

// killAll ends every process in the cgroup and below at one stroke, so that not even a storm of forks gets away.
// It does nothing on kernels before 5.14.
func (g *cgroup) killAll() {
	if len(g.pids()) > 0 && os.WriteFile(filepath.Join(g.path, "cgroup.kill"), []byte("1"), 0) == nil {
		g.spent = true
	}
}

// renew replaces a leaf on which cgroup.kill was used. The kernel (seen on 6.18) goes on killing whatever clone3
// lets be born into such a cgroup: it compares the number of kills of the cgroup with that of the parent's.
func (g *cgroup) renew() (*cgroup, error) {
	if !g.spent {
		return g, nil
	}
	if err := g.remove(); err != nil {
		return nil, err
	}
	return openCgroup(g.path)
}

// add moves a process in. There is a moment in which its children stay outside.
func (g *cgroup) add(pid int) error {
	err := os.WriteFile(filepath.Join(g.path, "cgroup.procs"), fmt.Append(nil, pid), 0)
	if err != nil {
		return fmt.Errorf("cannot move process %d into cgroup %s: %w", pid, g.path, err)
	}
	return nil
}

// remove takes the leaf away; it fails while a process is in it.
func (g *cgroup) remove() error {
	g.dir.Close()
	if err := unix.Rmdir(g.path); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("cannot remove cgroup %s: %w", g.path, err)
	}
	return nil
}

// cgroupHome finds the directory in which we may make leaves, "" where there is none: no version-2 hierarchy, no
// write permission, or another manager's ground that was not delegated to us.
//
// The leaves get no controllers, only membership. So the rule that a cgroup with controllers for its children
// holds no process itself is never touched, and we can stay where we are.
func cgroupHome() string {
	own := ownCgroup()
	mount, root := cgroupMount()
	if own == "" || mount == "" || !within(own, root) {
		return ""
	}
	dir := filepath.Join(mount, strings.TrimPrefix(own, strings.TrimSuffix(root, "/")))
	switch {
	case own == "/" || delegated(dir):
	case delegated(filepath.Dir(dir)):
		dir = filepath.Dir(dir) // DelegateSubgroup= put us one below what is ours
	default:
		return ""
	}
	if unix.Access(dir, unix.W_OK) != nil || unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) != nil {
		return ""
	}
	return dir
}

// ownCgroup is our path within the version-2 hierarchy as our cgroup namespace shows it.
func ownCgroup() string {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	return cgroupLine(string(b))
}

// cgroupLine picks the path of the version-2 hierarchy out of a /proc/PID/cgroup.
func cgroupLine(text string) string {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(path, "\n")
		}
	}
	return ""
}

// cgroupMount finds where the version-2 hierarchy is mounted, and which part of it that mount shows.
func cgroupMount() (mount, root string) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", ""
	}
	return mountLine(string(b))
}

// mountLine takes the first cgroup2 mount out of a mountinfo: "30 22 0:27 ROOT MOUNT options - cgroup2 …".
func mountLine(text string) (mount, root string) {
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(line, " - ")
		f := strings.Fields(before)
		if ok && len(f) >= 5 && strings.HasPrefix(after, "cgroup2 ") {
			return unescape(f[4]), unescape(f[3])
		}
	}
	return "", ""
}

// unescape undoes the kernel's octal escapes in paths.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// within reports whether the cgroup path is root or below it.
func within(path, root string) bool {
	root = strings.TrimSuffix(root, "/")
	return path == root || strings.HasPrefix(path, root+"/")
}

// delegated reports whether systemd has given the cgroup away (Delegate=yes).
func delegated(dir string) bool {
	for _, attr := range []string{"user.delegate", "trusted.delegate"} {
		value := make([]byte, 8)
		if n, err := unix.Getxattr(dir, attr, value); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}
