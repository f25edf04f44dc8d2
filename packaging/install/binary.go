package install

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// homes are folders that a service has nothing to do with. The unit's ProtectHome hides them from it.
var homes = []string{"/home", "/root", "/run/user"}

// temporary are folders that are emptied, and of which the unit's PrivateTmp gives the service its own.
var temporary = []string{"/tmp", "/var/tmp"}

func isIn(path string, dirs []string) string {
	for _, dir := range dirs {
		if isWithin(path, dir) {
			return dir
		}
	}
	return ""
}

// checkBinary finds what would keep the service manager from running the binary as the user.
func (p *planner) checkBinary() {
	remedy := "cp " + p.Binary + " /usr/local/bin/etcdsup && /usr/local/bin/etcdsup install"
	path, err := filepath.EvalSymlinks(p.Binary)
	switch {
	case err != nil:
		p.fault("put etcdsup to /usr/local/bin and run it there", "cannot use the binary %s: %s", p.Binary, err)
	case strings.Contains(path, "/go-build"):
		p.fault("go build -o /usr/local/bin/ ./cmd/etcdsup && /usr/local/bin/etcdsup install",
			"cannot run the service from %s: go run deletes it when it ends", path)
	case isIn(path, homes) != "":
		p.fault(remedy, "cannot run the service from %s: services are kept out of %s%s", path, isIn(path, homes), p.seLinux(path))
	case isIn(path, temporary) != "":
		p.fault(remedy, "cannot run the service from %s: %s is emptied at times, and services have one of their own", path, isIn(path, temporary))
	case p.account.may(path, unix.X_OK) != nil:
		p.checkBinaryRights(path, remedy)
	case p.seLinux(path) != "":
		p.fault("restorecon -v "+path, "cannot run the service from %s%s", path, p.seLinux(path))
	}
}

func (p *planner) checkBinaryRights(path, remedy string) {
	if above := p.account.blocker(path); above != path {
		p.fault(remedy, "user %s cannot run %s: it may not pass %s", p.account.name, path, above)
		return
	}
	p.fault("chmod a+rx "+path, "user %s may not run %s", p.account.name, path)
}

// foreignLabels are the types of files that SELinux lets no service manager run: what a home folder or a temporary one has,
// and what keeps that when it is moved from there.
var foreignLabels = []string{"user_home_t", "user_home_dir_t", "admin_home_t", "home_root_t", "user_tmp_t", "tmp_t"}

// seLinux is why SELinux would not let the binary run; empty: it would, or it is not in force.
func (p *planner) seLinux(path string) string {
	enforce, err := os.ReadFile("/sys/fs/selinux/enforce")
	if err != nil || strings.TrimSpace(string(enforce)) != "1" {
		return ""
	}
	label := make([]byte, 256)
	n, err := unix.Getxattr(path, "security.selinux", label)
	if err != nil {
		return ""
	}
	return misfitLabel(strings.TrimRight(string(label[:n]), "\x00"))
}

func misfitLabel(label string) string {
	parts := strings.Split(label, ":") // user:role:type:level
	if len(parts) < 3 {
		return ""
	}
	for _, l := range foreignLabels {
		if parts[2] == l {
			return ", and SELinux is enforcing: it lets no service run a file of type " + l
		}
	}
	return ""
}
