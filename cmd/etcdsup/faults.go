package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/cluster"
	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/flow"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// fault is something that is wrong with what the configuration names: files, or the etcd to run.
type fault struct {
	key string // of the configuration
	cluster.TLSProblem
}

// faultsOf are those that config.Check does not know of, since they are not of the configuration's own making: of the
// certificates, and of the etcd for the data that is there.
func faultsOf(ctx context.Context, c *config.Config) []fault {
	return append(tlsFaults(c), versionFaults(ctx, c)...)
}

// versionFaults are what is to be said of the etcd that would run.
func versionFaults(ctx context.Context, c *config.Config) (found []fault) {
	if !c.Etcd.Verify {
		return nil
	}
	version, err := etcdVersion(ctx, c)
	if err != nil {
		return nil // that it does not run is config.Check's to say
	}
	of, err := datadir.VersionsOf(c.DataDir() + "/member/snap/db")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		of = datadir.Versions{} // what is wrong with the data is inspect's to say
	}
	v := status.JudgeVersion(version, of.Data())
	if v.Refuse != "" {
		found = append(found, fault{"etcd.binary", cluster.TLSProblem{What: "cannot start etcd on " + c.DataDir() + ": " + v.Refuse, Remedy: v.Remedy}})
	}
	for _, w := range v.Warnings {
		found = append(found, fault{"etcd.binary", cluster.TLSProblem{What: w, Warning: true}})
	}
	return found
}

// etcdVersion is that of the etcd that would run.
func etcdVersion(ctx context.Context, c *config.Config) (string, error) {
	if c.Etcd.Binary == "" {
		return thisVersion().Etcd, nil
	}
	out, _, err := config.Program(c.Etcd.Binary, c.Etcd.Binary)(ctx, "--version")
	if err != nil {
		return "", fmt.Errorf("cannot learn the version of %s: %w", c.Etcd.Binary, err)
	}
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(line, "etcd Version:"); ok {
			return strings.TrimSpace(v), nil
		}
	}
	return "", fmt.Errorf("cannot learn the version of %s: it does not say it", c.Etcd.Binary)
}

// problems are the faults at their places in the configuration: those that something does not work with, and those that
// are only to be known.
func problems(c *config.Config, found []fault) (broken, warnings config.Problems) {
	for _, f := range found {
		p := c.Fault(f.key, f.What, f.Remedy)
		if f.Warning {
			warnings = append(warnings, p)
		} else {
			broken = append(broken, p)
		}
	}
	return broken, warnings
}

// unfit is why etcd must not be started with the files as they are.
func unfit(c *config.Config) (why, remedy string) {
	found := slices.DeleteFunc(tlsFaults(c), func(f fault) bool { return !f.Fatal })
	return allOf(found)
}

// allOf is what faults come to: all of them, and each remedy once.
func allOf(found []fault) (what, remedy string) {
	var whats, remedies []string
	for _, f := range found {
		whats = append(whats, f.What)
		if !slices.Contains(remedies, f.Remedy) {
			remedies = append(remedies, f.Remedy)
		}
	}
	return strings.Join(whats, "; "), strings.Join(remedies, "; ")
}

// sound refuses a change of mode on a host whose member could not be talked to afterwards. Warnings are for the plan.
func sound(c *config.Config, mode status.Mode) (warnings []string, err error) {
	var broken []fault
	for _, f := range tlsFaults(c) {
		if f.Warning {
			warnings = append(warnings, f.What)
		} else {
			broken = append(broken, f)
		}
	}
	if len(broken) == 0 {
		return warnings, nil
	}
	what, remedy := allOf(broken)
	return nil, &flow.Trouble{Err: fmt.Errorf("cannot begin %s: %s", mode, what), Remedy: remedy}
}

// logFaults says in our own log what etcd is started with all the same.
func (d *daemon) logFaults(found []fault) {
	for _, f := range found {
		d.log.Warn("configuration fault", zap.String("key", f.key), zap.String("what", f.What), zap.String("remedy", f.Remedy))
	}
}
