package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

func newRunCmd(g *globals) *cobra.Command {
	var set *[]string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Supervise etcd in the foreground",
		Long: `Run etcd as a child, in the foreground, until SIGTERM or Ctrl-C: etcd is then stopped in order.

With nothing configured the built-in etcd serves on 127.0.0.1:2379 from a folder that is named at the start. If
etcdsup itself is killed, etcd goes on; the next run takes the same process over.

As PID 1 of a container it also takes away what ends as an orphan. After SIGTERM it ends with 0.

Signals: SIGTERM, SIGINT stop etcd and end; SIGUSR1 rotates etcd's log; SIGHUP reads the configuration again.`,
		Example: `  etcdsup run
  etcdsup run --dir /tmp/try --set etcd.args.listen-client-urls=http://127.0.0.1:4001
  etcdsup run -c /etc/etcdsup/events.yaml -i events`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			g.overrides = *set
			g.stay = func(ctx context.Context) error { return runDaemon(ctx, g) }
			return nil
		},
	}
	set = addSetFlag(cmd)
	return cmd
}

// runDaemon is the daemon's life. What keeps it from supervising in place of another etcdsup gives the process back to
// that one.
func runDaemon(ctx context.Context, g *globals) error {
	err := supervise(ctx, g)
	if err != nil && g.handed.open() {
		return g.handed.comeBack(err)
	}
	return err
}

// supervise is the daemon's life from configuration to the last line of its log.
func supervise(ctx context.Context, g *globals) error {
	cfg, err := g.config()
	if _, faulty := errors.AsType[config.Problems](err); faulty {
		if _, all := config.Examine(ctx, g.source(), builtinRunner()); len(all) > 0 {
			return all // those too that only the host knows
		}
	}
	if err != nil {
		return err
	}
	if err := makeFolders(cfg); err != nil {
		return err
	}
	nameProcess()
	d, err := openDaemon(ctx, g, cfg)
	if err != nil {
		return err
	}
	defer d.close()
	d.greet()
	return d.serve(ctx)
}

// nameProcess gives this process the name that ps and pgrep know it by. After an upgrade it would have that of the file
// that was executed, which was not at its place yet.
func nameProcess() { _ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0) }

// makeFolders makes what the instance needs, for its own user only.
func makeFolders(c *config.Config) error {
	if err := os.MkdirAll(filepath.Dir(c.Dir), 0o755); err != nil {
		return failf(exitConfig, "make it, or name another one with --dir", "cannot make folder %s: %w", filepath.Dir(c.Dir), err)
	}
	dirs := []string{c.Dir, c.StateDir(), c.RunDir(), c.Log.Dir}
	if !isDataGone(c) {
		dirs = append(dirs, c.DataDir())
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, config.DirMode); err != nil {
			return failf(exitConfig, "make it, or name another one with dir in the configuration or --dir", "cannot make folder %s: %w", dir, err)
		}
	}
	return letGroupIn(c)
}

// isDataGone tells that the data directory is missing although a member was in it: as long as none is made in its place,
// the right one can be mounted or moved back.
func isDataGone(c *config.Config) bool {
	mark, _ := supervisor.PeekMark(c.StateDir())
	_, err := os.Lstat(c.DataDir())
	return c.Etcd.Verify && mark.MemberID != "" && errors.Is(err, fs.ErrNotExist)
}

// letGroupIn opens the way to the socket for the control group: the folders above it are passed through, not read.
func letGroupIn(c *config.Config) error {
	if c.Control.Group == "" {
		return nil
	}
	gid, err := control.LookupGroup(c.Control.Group)
	if err != nil {
		return err
	}
	for dir := filepath.Dir(c.Control.Socket); dir == c.Dir || strings.HasPrefix(dir, c.Dir+"/"); dir = filepath.Dir(dir) {
		if err := errors.Join(os.Chown(dir, -1, gid), os.Chmod(dir, config.DirMode|0o010)); err != nil {
			return failf(exitConfig, "run etcdsup as a user who is in that group, or remove control.group",
				"cannot let group %s in: %w", c.Control.Group, err)
		}
	}
	return nil
}

// greet says on the terminal where everything is.
func (d *daemon) greet() {
	c, st := d.cfg, d.loop.Status()
	binary := c.Etcd.Binary
	if binary == "" {
		binary = "built-in etcd " + thisVersion().Etcd
	}
	did := "starts"
	if d.adopted != 0 {
		did = fmt.Sprintf("takes over PID %d of", d.adopted)
	}
	rows := [][2]string{
		{"data", c.DataDir()},
		{"log", d.sinkFile()},
		{"clients", strings.Join(st.Config.Client, ", ")},
		{"try next", d.g.commandLine("status")},
		{"", d.g.commandLine("logs -f")},
		{"stop", "Ctrl-C here, or " + d.g.commandLine("stop")},
	}
	if d.adopted == 0 && st.Goal == status.GoalDown {
		fmt.Fprintf(d.g.out, "etcdsup %s leaves etcd down: it was stopped by command\n  start it  %s\n", st.Supervisor.Version, d.g.commandLine("start"))
		return
	}
	fmt.Fprintf(d.g.out, "etcdsup %s %s %s\n", st.Supervisor.Version, did, binary)
	for _, r := range rows {
		if r[1] != "" {
			fmt.Fprintf(d.g.out, "  %-9s %s\n", r[0], r[1])
		}
	}
}
