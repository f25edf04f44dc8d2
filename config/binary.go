package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Runner runs an etcd with the arguments to its end, and returns all that it printed and its exit status. An error
// means that it could not be run or did not end in time.
type Runner func(ctx context.Context, args ...string) (output []byte, status int, err error)

// askTime is how long a binary may take for one answer. etcd takes some hundredths of a second; but on a host on which
// everything is started at once it has taken more than ten, and who gives up then does not start etcd at all.
const askTime = 2 * time.Minute

// Program is the Runner of an executable, with argv0 as the name that it sees itself under. It gets no environment:
// a variable ETCD_* of the caller must not change the answer.
func Program(path, argv0 string) Runner {
	return func(ctx context.Context, args ...string) ([]byte, int, error) {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		cmd := exec.CommandContext(ctx, path)
		cmd.Args = append([]string{argv0}, args...)
		cmd.Env = []string{}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = time.Second
		output, err := cmd.CombinedOutput()
		var exited *exec.ExitError
		switch {
		case ctx.Err() != nil:
			return output, -1, fmt.Errorf("it did not end within %s", FormatDuration(askTime))
		case errors.As(err, &exited):
			return output, exited.ExitCode(), nil
		case err != nil:
			return output, -1, err
		}
		return output, 0, nil
	}
}

// binary checks the file, and asks it about every flag that it will get.
func (k *checker) binary(ctx context.Context, run Runner) {
	c := k.cfg
	if path := c.Etcd.Binary; path != "" {
		if err := executable(path); err != nil {
			k.fault("", "cannot run "+path+": "+reason(err), "name an etcd that this user may execute, or remove etcd.binary for the built-in one", "etcd.binary")
			return
		}
		run = Program(path, path)
	}
	if !c.Etcd.Verify || run == nil {
		return
	}
	known, err := ask(ctx, run)
	if err != nil {
		k.fault("", "cannot ask "+binaryName(c)+" for its flags: "+err.Error(),
			"name an etcd; for a program that only stands in for one, set etcd.verify to false", "etcd.binary")
		return
	}
	k.flags(ctx, run, known)
}

func binaryName(c *Config) string {
	if c.Etcd.Binary == "" {
		return "the built-in etcd"
	}
	return c.Etcd.Binary
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return unix.EISDIR
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}

var helpFlag = pattern(`(?m)^\s+--([a-z0-9][a-z0-9.-]*)`)

// ask returns the flags that the help lists. Every etcd has these two; a program without them is something else.
func ask(ctx context.Context, run Runner) ([]string, error) {
	output, status, err := run(ctx, "--help")
	if err != nil {
		return nil, err
	}
	var known []string
	for _, found := range helpFlag().FindAllSubmatch(output, -1) {
		known = append(known, string(found[1]))
	}
	if !slices.Contains(known, "data-dir") || !slices.Contains(known, "initial-cluster") {
		return nil, fmt.Errorf("its --help (exit status %d) is not that of an etcd", status)
	}
	slices.Sort(known)
	return slices.Compact(known), nil
}

// flags lets etcd itself parse the flags, together with --version, which makes it end before it does anything. So
// values are tried too, and flags that the help leaves out are accepted. etcd stops at the first fault: each one found
// is taken out, and the rest tried again.
func (k *checker) flags(ctx context.Context, run Runner, known []string) {
	left := slices.DeleteFunc(slices.Clone(k.cfg.Etcd.Args), func(a Arg) bool { return owned[a.Name] != "" })
	for range len(left) + 1 {
		output, status, err := run(ctx, commandLine(left)...)
		if err != nil || status == 0 {
			return
		}
		flag, why := complaint(output)
		i := slices.IndexFunc(left, func(a Arg) bool { return a.Name == flag })
		if i < 0 {
			return // an etcd that words it in another way; its own start will tell
		}
		k.refused(left[i], why, known)
		left = slices.Delete(left, i, i+1)
	}
}

func commandLine(args []Arg) []string {
	line := make([]string, 0, len(args)+1)
	for _, a := range args {
		line = append(line, "--"+a.Name+"="+a.Value())
	}
	return append(line, "--version")
}

var (
	unknownFlag = pattern(`(?m)^flag provided but not defined: --?(\S+)$`)
	badValue    = pattern(`(?m)^invalid (?:boolean )?value ".*" for (?:flag )?--?([^:\s]+): (.*)$`)
)

// complaint takes apart what Go's flag package says: which flag, and why; no reason means that there is no such flag.
func complaint(output []byte) (flag, why string) {
	if found := unknownFlag().FindSubmatch(output); found != nil {
		return string(found[1]), ""
	}
	if found := badValue().FindSubmatch(output); found != nil {
		return string(found[1]), string(bytes.TrimSpace(found[2]))
	}
	return "", ""
}

func (k *checker) refused(a Arg, why string, known []string) {
	key := keyArgs + "." + a.Name
	if why != "" {
		k.fault("", "cannot set "+key+" to "+quoted(key, a.Value())+": "+binaryName(k.cfg)+" says: "+printable(why),
			"`etcd --help` describes the flag", key)
		return
	}
	remedy := "remove it; `etcd --help` lists the flags of this version"
	if near := nearestFlag(a.Name, known); near != "" {
		remedy = "write " + near + ", or remove it"
	}
	what := "cannot give etcd the flag " + quoted("", a.Name) + ": " + binaryName(k.cfg) + " has none of this name"
	k.faults = append(k.faults, k.cfg.nameProblem(key, what, remedy))
}

// nearestFlag knows that etcd 3.6 took the word experimental out of its flags' names.
func nearestFlag(name string, known []string) string {
	stable := strings.TrimPrefix(name, "experimental-")
	if stable != name && slices.Contains(known, stable) {
		return stable
	}
	if slices.Contains(known, "experimental-"+name) {
		return "experimental-" + name
	}
	return nearest(name, known)
}
