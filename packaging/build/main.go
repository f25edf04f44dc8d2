// Command build makes the .deb and .rpm packages of etcdsup:
//
//	go run ./packaging/build
//
// The same commit gives the same bytes, on any machine with the same Go. It runs in the root of the repository, needs Go
// and git, and fetches modules where they are not cached.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// architectures are those that packages are made for, by Go's names.
var architectures = []string{"amd64", "arm64"}

// options are what the command line says.
type options struct {
	version string // of the packages and the executable in them; empty: the one that go build takes from git
	arches  []string
	out     string // folder
}

func parseOptions(args []string, usage io.Writer) (o options, err error) {
	f := flag.NewFlagSet("build", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&o.version, "version", "", "version of the packages and of the etcdsup in them, such as 1.2.3-rc.1 (default: the one that go build takes from git)")
	arch := f.String("arch", "all", strings.Join(architectures, ", ")+" or all")
	f.StringVar(&o.out, "out", "bin", "folder for the packages")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("cannot take %q: there are only flags, see -help", f.Arg(0))
	}
	switch {
	case *arch == "all":
		o.arches = architectures
	case slices.Contains(architectures, *arch):
		o.arches = []string{*arch}
	default:
		return o, fmt.Errorf("cannot build for %q: -arch takes %s or all", *arch, strings.Join(architectures, ", "))
	}
	if o.version != "" {
		if _, err := packageVersion(o.version); err != nil {
			return o, err
		}
	}
	return o, nil
}

func main() {
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if err == flag.ErrHelp { //nolint:errorlint // it is never wrapped
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = build(ctx, o, os.Stdout)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

// build makes the packages in a folder of its own, and moves them to their place when they are whole.
func build(ctx context.Context, o options, told io.Writer) error {
	temp, err := os.MkdirTemp("", "etcdsup-build")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("cannot make the folder for the packages: %w", err)
	}
	host, err := compile(ctx, temp, runtime.GOARCH, o.version) // the one that can be run here tells what is the same for all
	if err != nil {
		return err
	}
	shared, err := makeShared(ctx, host, filepath.Join(temp, "shared"))
	if err != nil {
		return err
	}
	for _, arch := range o.arches {
		exe := host
		if arch != host.arch {
			if exe, err = compile(ctx, temp, arch, o.version); err != nil {
				return err
			}
		}
		for _, form := range []string{"deb", "rpm"} {
			path, err := pack(ctx, exe, shared, form, o.out)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(told, path); err != nil {
				return err
			}
		}
	}
	return nil
}
