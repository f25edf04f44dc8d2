package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/config"
)

// planConfig puts the configuration in its place and finds its faults, as the service will see it.
func (p *planner) planConfig(ctx context.Context) error {
	p.letPass(ConfigDir)
	place := p.ConfigFile()
	source := firstOf(p.Service.Config, place)
	text, err := os.ReadFile(source)
	missing := errors.Is(err, fs.ErrNotExist) && source == place
	switch {
	case missing:
	case err != nil:
		p.fault("name a file that exists; etcdsup config example prints one", "cannot read the configuration: %s", err)
		return nil
	case source == place:
		p.planConfigRights(place)
	default:
		if err := p.planConfigFile(text); err != nil {
			return err
		}
	}
	p.loadConfig(source, missing)
	p.examine(ctx, source, text, missing)
	return nil
}

const configMode = 0o640

func (p *planner) planConfigFile(text []byte) error {
	c, needed, err := file{path: p.ConfigFile(), text: text, mode: configMode, gid: p.account.gidNow}.change()
	if err != nil {
		return err
	}
	if p.renewed = needed; needed {
		p.makeFolder(ConfigDir, 0o755, false)
		p.change(c)
	} else {
		p.planConfigRights(p.ConfigFile())
	}
	return nil
}

// planConfigRights lets the service read the file that is there, and keeps it from everybody else where it is not theirs
// already.
func (p *planner) planConfigRights(path string) {
	if p.account.may(path, unix.R_OK) == nil {
		return
	}
	if above := p.account.blocker(path); above != path && above != ConfigDir {
		p.fault("chmod a+x "+above, "user %s cannot read %s: it may not pass %s", p.account.name, path, above)
		return
	}
	if inGroup(path, p.account) {
		return // it is only the folder that was closed
	}
	p.change(Change{What: fmt.Sprintf("let group %s read %s", p.account.group, path), do: func(context.Context) error {
		if err := os.Chown(path, -1, p.account.gidNow()); err != nil {
			return err
		}
		if err := os.Chmod(path, configMode); err != nil {
			return err
		}
		return syncFile(path)
	}})
}

// inGroup tells whether the account may read the file itself, by its group or as one of all users.
func inGroup(path string, a account) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode().Perm()
	return ok && (mode&0o004 != 0 || mode&0o040 != 0 && slices.Contains(a.groups, int(st.Gid)))
}

// loadConfig reads it as the service will. Where it has faults, it is looked at for others all the same.
func (p *planner) loadConfig(source string, missing bool) {
	src := config.Source{Instance: p.Instance, Env: Environment()}
	if !missing {
		src.File, src.FileRequired = source, true
	}
	p.Plan.Config, p.Problems = config.Read(src)
}

// folderKeys are the settings whose folders are made here: that they cannot be written to yet is no fault.
var folderKeys = []string{"dir", "log.dir", "control.socket", "etcd.args.data-dir", "etcd.args.wal-dir"}

// examine has the binary check the configuration as the user whom it will run as, and with nothing but the service's
// environment. What Load has found is found again there, with all that only this user can tell.
func (p *planner) examine(ctx context.Context, source string, text []byte, missing bool) {
	found, warnings, err := p.ask(ctx, source, text, missing)
	if err != nil && p.account.may(p.Binary, unix.X_OK) == nil { // else checkBinary says why
		p.fault("run that command by hand", "%s", err)
	}
	for _, f := range found {
		known := slices.ContainsFunc(p.Problems, func(k config.Problem) bool { return k.Key == f.Key && k.Line == f.Line })
		if !known && !slices.Contains(folderKeys, f.Key) {
			p.Problems = append(p.Problems, f)
		}
	}
	for _, w := range warnings {
		p.warn(w.Remedy, "%s", w.Error())
	}
}

// ask returns what "etcdsup config check" finds.
func (p *planner) ask(ctx context.Context, source string, text []byte, missing bool) (found, warnings config.Problems, err error) {
	args := []string{"config", "check", "-i", p.Instance, "-o", "json"}
	var files []*os.File
	if !missing {
		f, err := p.readable(text)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		files, args = []*os.File{f}, append(args, "-c", inherited)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Binary, args...)
	cmd.Env, cmd.ExtraFiles, cmd.Dir = Environment(), files, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.account.credential()}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	runErr := cmd.Run()
	var answer struct{ Problems, Warnings config.Problems }
	if err := json.Unmarshal(bytes.ReplaceAll(out.Bytes(), []byte(inherited), []byte(source)), &answer); err != nil {
		return nil, nil, fmt.Errorf("cannot check the configuration as user %s: %s: %w: %s", p.account.name,
			strings.Join(cmd.Args, " "), firstError(runErr, err), strings.TrimSpace(errs.String()))
	}
	return answer.Problems, answer.Warnings, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// inherited is where the child finds the one file that it is given.
const inherited = "/proc/self/fd/3"

// readable is the configuration as the service's user will be able to read it, whatever the file's present rights are.
func (p *planner) readable(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("etcdsup-configuration", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot hand the configuration on: %w", err)
	}
	f := os.NewFile(uintptr(fd), "configuration")
	_, err = f.Write(text)
	if err = firstError(err, f.Chown(0, p.account.gid), f.Chmod(configMode)); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot hand the configuration on: %w", err)
	}
	return f, nil
}

func (a account) credential() *syscall.Credential {
	c := &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	for _, g := range a.groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	return c
}
