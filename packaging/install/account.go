package install

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// account is the user as whom the service runs.
type account struct {
	name   string
	group  string
	exists bool
	uid    int // of one that does not exist: of a user who has no rights of his own either
	gid    int
	groups []int
}

// nobody is the user who has no rights that not everybody has.
const nobody = 65534

// findAccount looks the user up; one who does not exist yet has no rights but those of everybody.
func findAccount(name string) (account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return account{name: name, group: name, uid: nobody, gid: nobody}, nil //nolint:nilerr // most often there is none, and making one will tell
	}
	a := account{name: name, exists: true}
	if a.uid, err = strconv.Atoi(u.Uid); err != nil {
		return a, fmt.Errorf("cannot use the user %s: %w", name, err)
	}
	if a.gid, err = strconv.Atoi(u.Gid); err != nil {
		return a, fmt.Errorf("cannot use the user %s: %w", name, err)
	}
	a.group = u.Gid
	if g, err := user.LookupGroupId(u.Gid); err == nil {
		a.group = g.Name
	}
	a.groups = []int{a.gid}
	ids, _ := u.GroupIds() // further groups only add rights
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil && n != a.gid {
			a.groups = append(a.groups, n)
		}
	}
	return a, nil
}

// now is the account once it is there.
func (a account) now() account {
	if found, err := findAccount(a.name); err == nil && found.exists {
		return found
	}
	return a
}

func (a account) uidNow() int { return a.now().uid }
func (a account) gidNow() int { return a.now().gid }

var userName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`) })

// planAccount makes the user where there is none.
func (p *planner) planAccount() {
	name := p.Service.User
	a, err := findAccount(name)
	p.account = a
	switch {
	case err != nil:
		p.fault("name another user with --user", "%s", err)
		return
	case a.exists:
		return
	case !userName().MatchString(name):
		p.fault("name a user with --user: small letters, digits, '_' and '-', no more than 32", "cannot make the user %q: it is no name for one", name)
		return
	}
	_, groupErr := user.LookupGroup(name)
	commands := accountCommands(findTool, name, groupErr == nil)
	if commands == nil {
		p.fault("make a system user "+name+" with a group of the same name by hand, or name one that is there with --user",
			"cannot make the user %s: neither useradd nor busybox's adduser is here", name)
		return
	}
	p.change(Change{What: "make the system user " + name, New: true, do: func(ctx context.Context) error { return makeAccount(ctx, commands) }})
}

// making is the beginning of a remedy that names a user who does not exist yet; empty where he does.
func (a account) making() string {
	if a.exists {
		return ""
	}
	return "useradd --system " + a.name + " && "
}

func makeAccount(ctx context.Context, commands [][]string) error {
	for _, c := range commands {
		if _, err := run(ctx, c[0], c[1:]...); err != nil {
			return err
		}
	}
	return syncAccounts()
}

// accountCommands are those that make a system user without a home of its own and without a shell. find gives the path of a
// tool, empty where it is not here.
func accountCommands(find func(string) string, name string, hasGroup bool) [][]string {
	const comment = "etcd, run by etcdsup"
	shell := firstOf(find("nologin"), "/bin/false")
	if useradd := find("useradd"); useradd != "" {
		group := []string{"--user-group"}
		if hasGroup {
			group = []string{"--gid", name}
		}
		return [][]string{append(append([]string{useradd, "--system"}, group...),
			"--no-create-home", "--home-dir", StateDir, "--shell", shell, "--comment", comment, name)}
	}
	adduser, addgroup := find("busybox-adduser"), find("busybox-addgroup")
	if adduser == "" || addgroup == "" {
		return nil
	}
	var commands [][]string
	if !hasGroup {
		commands = append(commands, []string{addgroup, "-S", name})
	}
	return append(commands, []string{adduser, "-S", "-D", "-H", "-h", StateDir, "-s", shell, "-g", comment, "-G", name, name})
}

// sbin are folders that the PATH of a root shell may lack.
var sbin = []string{"/usr/sbin", "/sbin", "/usr/local/sbin"}

// findTool is the path of a program. With "busybox-" in front it is busybox's: others of the same name take other flags.
func findTool(name string) string {
	name, busybox := strings.CutPrefix(name, "busybox-")
	path, err := exec.LookPath(name)
	for i := 0; err != nil && i < len(sbin); i++ {
		path, err = exec.LookPath(filepath.Join(sbin[i], name))
	}
	if err != nil {
		return ""
	}
	if target, err := filepath.EvalSymlinks(path); busybox && (err != nil || filepath.Base(target) != "busybox") {
		return ""
	}
	return path
}

// syncAccounts makes a new user outlive a power cut.
func syncAccounts() error {
	for _, name := range []string{"passwd", "group", "shadow", "gshadow"} {
		if err := syncFile(filepath.Join("/etc", name)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}
