package room

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Check finds out, by doing it, how a run can be isolated here: the better kind that works. The error says for each why
// it does not and which setting seems to forbid it, and wraps [ErrNotIsolated]; the kind is empty then.
func Check() (Kind, error) {
	var reasons []string
	for _, k := range []Kind{KindNetwork, KindUser} {
		err := try(k)
		if err == nil {
			return k, nil
		}
		reasons = append(reasons, fmt.Sprintf("%s: %s", k, reason(k, err, readSetting)))
	}
	return "", fmt.Errorf("cannot isolate etcd: %w: %s", ErrNotIsolated, strings.Join(reasons, "; "))
}

// try makes a room and leaves it at once.
func try(k Kind) error {
	r, err := start(&Spec{Kind: k}, "", nil)
	if err != nil {
		return err
	}
	return r.Wait()
}

// settings are what forbids rooms, where they are set so. Those that are not there forbid nothing.
var settings = []struct {
	kind  Kind // empty: both
	path  string
	value string
	says  string
}{
	{"", "/proc/sys/user/max_net_namespaces", "0", "user.max_net_namespaces is 0"},
	{KindUser, "/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces is 0"},
	{KindUser, "/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0"},
	{KindUser, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns is 1"},
}

// readSetting is the trimmed content, empty for a file that cannot be read.
func readSetting(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

// reason is the kernel's answer in words, with what may stand behind it.
func reason(k Kind, err error, read func(string) string) string {
	var because []string
	for _, s := range settings {
		if (s.kind == "" || s.kind == k) && read(s.path) == s.value {
			because = append(because, s.says)
		}
	}
	denied := errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES)
	if k == KindNetwork && denied {
		because = append(because, "only root, with CAP_SYS_ADMIN, may")
	}
	if denied && filtered(read("/proc/self/status")) {
		because = append(because, "a seccomp filter, as container runtimes set it, may forbid it")
	}
	text := strings.TrimPrefix(err.Error(), ErrNotIsolated.Error()+": ")
	if len(because) > 0 {
		text += " (" + strings.Join(because, ", ") + ")"
	}
	return text
}

// filtered reads off /proc/PID/status whether a seccomp filter is set.
func filtered(status string) bool {
	for line := range strings.Lines(status) {
		if v, ok := strings.CutPrefix(line, "Seccomp:"); ok {
			return strings.TrimSpace(v) == "2"
		}
	}
	return false
}
