package main

import (
	"bytes"
	"cmp"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// executable is one that was built for a package.
type executable struct {
	path    string
	arch    string
	version string    // as it was given, or as Go noted it down, such as v1.2.3 or v0.0.0-20261128133914-8a1d691abcde+dirty
	time    time.Time // of the commit, or what SOURCE_DATE_EPOCH says
}

// compile builds the static executable for an architecture. Nothing of this machine gets into it: neither paths, nor its
// processor's features, nor a C library. A version that is given is what the executable says of itself, too.
func compile(ctx context.Context, temp, arch, version string) (executable, error) {
	e := executable{arch: arch, path: filepath.Join(temp, "etcdsup-"+arch)}
	env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOAMD64=v1", "GOARM64=v8.0"}
	link := "-ldflags=-s -w"
	if version != "" {
		link += " -X main.packaged=v" + strings.TrimPrefix(version, "v") // with it, as Go has it
	}
	if _, err := run(ctx, env, "go", "build", "-trimpath", "-buildvcs=auto", link, "-o", e.path, "./cmd/etcdsup"); err != nil {
		return e, err
	}
	info, err := buildinfo.ReadFile(e.path)
	if err != nil {
		return e, fmt.Errorf("cannot read what was built: %w", err)
	}
	e.version = cmp.Or(version, info.Main.Version)
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	e.time, err = sourceTime(os.Getenv("SOURCE_DATE_EPOCH"), settings["vcs.time"])
	return e, err
}

// sourceTime is the one time that is written into the packages. With that of the commit the same sources give the same
// bytes.
func sourceTime(epoch, commit string) (time.Time, error) {
	if epoch == "" && commit == "" {
		return time.Time{}, errors.New("cannot date the packages: go build found no commit here, as in a tree without .git or one of git worktree; build in a clone, or set SOURCE_DATE_EPOCH and -version")
	}
	if epoch == "" {
		return time.Parse(time.RFC3339, commit)
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot date the packages: SOURCE_DATE_EPOCH is no number of seconds: %q", epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// packageVersion is a version as dpkg and rpm sort it: a pre-release, and a commit after a release, stand before the
// release that they lead to. It takes versions with and without v.
func packageVersion(version string) (string, error) {
	v := strings.TrimPrefix(version, "v")
	release, pre, isPre := strings.Cut(v, "-")
	if v == "" || v[0] < '0' || v[0] > '9' || strings.Trim(v, versionRunes) != "" {
		return "", fmt.Errorf("cannot name a package after version %q: give one such as 1.2.3 with -version", version)
	}
	if !isPre {
		return release, nil
	}
	return release + "~" + strings.ReplaceAll(pre, "-", "."), nil // rpm knows no hyphen in it
}

const versionRunes = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.+-~"

// run is a command's output. What it says when it fails is in the error.
func run(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot run %s: %w\n%s", strings.Join(cmd.Args, " "), err, said.Bytes())
	}
	return out, nil
}
