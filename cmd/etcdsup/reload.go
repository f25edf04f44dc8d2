package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// codeConfig is the API's code for a configuration with faults.
const codeConfig = "config"

// Reload takes over what of the configuration needs no restart, and tells what does. With a fault the old one stays.
func (d *daemon) Reload(ctx context.Context) (*status.Reload, error) {
	now, faults := config.Examine(ctx, d.g.source(), builtinRunner())
	if len(faults) > 0 {
		d.log.Warn("configuration not reloaded", zap.Error(faults))
		return nil, d.refusedReload(faults)
	}
	live, pending := config.Changed(d.cfg, now)
	binary, argv0, err := chosenBinary(now)
	if err == nil {
		// A change of mode starts the etcd that its plan was made for.
		err = d.exec.between(func() error {
			err := d.sink.Reconfigure(logOptions(now))
			if err == nil {
				d.machine.Reconfigure(now, binary, argv0)
			}
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("cannot reload the configuration: the old one stays: %w", err)
	}
	r := &status.Reload{File: now.File, Applied: none(live), Etcd: []string{}, Daemon: []string{}}
	for _, key := range pending {
		if strings.HasPrefix(key, "etcd.") {
			r.Etcd = append(r.Etcd, key)
		} else {
			r.Daemon = append(r.Daemon, key)
		}
	}
	set := d.settings(now)
	set.Config.Pending = r.Daemon // what concerns etcd itself the machine tells, and it ends with the next start
	d.loop.Apply(set)
	d.log.Info("configuration reloaded", zap.Strings("applied", live), zap.Strings("wait-for-restart", pending))
	return r, nil
}

// refusedReload is a fault of the configuration as it travels over the socket.
func (d *daemon) refusedReload(faults config.Problems) error {
	problems, err := json.Marshal(faults)
	if err != nil {
		d.log.Warn("faults not sent", zap.Error(err)) // the message has them too
	}
	return &control.Error{
		Code: codeConfig, Remedy: "the old configuration stays in force; see all of it with " + d.g.commandLine("config check"), Problems: problems,
		Message: fmt.Sprintf("cannot reload the configuration: it has %s\n\n%s", count(len(faults), "fault"), strings.TrimRight(faults.Pretty(), "\n")),
	}
}

// faultyConfig is that fault for who has asked. A daemon of before sends only its words.
func faultyConfig(e *control.Error) error {
	var faults config.Problems
	if err := json.Unmarshal(e.Problems, &faults); err != nil || len(faults) == 0 {
		return &failure{code: exitConfig, err: e, remedy: e.Remedy}
	}
	return failf(exitConfig, "", "cannot reload, the old configuration stays in force: %w", faults)
}

// none is a list that is there even if nothing is in it.
func none(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
