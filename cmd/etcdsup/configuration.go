package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/etcdsup/etcdsup/config"
)

// config is what the instance runs by: the file, the environment and the flags, or every fault in them at once
// as a config.Problems.
func (g *globals) config() (*config.Config, error) {
	return config.Load(g.source())
}

func (g *globals) source() config.Source {
	return config.Source{File: g.configFile, FileRequired: g.configFile != "", Instance: g.instance, Dir: g.dir, Env: g.env, Overrides: g.overrides}
}

// getenv is the last value of the variable, empty when it is not set.
func (g *globals) getenv(name string) string {
	for _, kv := range slices.Backward(g.env) {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// or is the flag's value, or else the variable's.
func (g *globals) or(flag, variable string) string {
	if flag != "" {
		return flag
	}
	return g.getenv(variable)
}

// sockets are those of all instances whose folders lie beside c's, by instance name. The socket's place inside
// its folder is taken to be the same for all.
func sockets(c *config.Config) map[string]string {
	inside, err := filepath.Rel(c.Dir, c.Control.Socket)
	if err != nil || strings.HasPrefix(inside, "..") {
		return map[string]string{c.Instance: c.Control.Socket}
	}
	base := filepath.Dir(c.Dir)
	found := map[string]string{}
	entries, _ := os.ReadDir(base) // a folder that cannot be read has no instances for us
	for _, e := range entries {
		socket := filepath.Join(base, e.Name(), inside)
		if info, err := os.Stat(socket); err == nil && info.Mode().Type() == os.ModeSocket {
			found[e.Name()] = socket
		}
	}
	return found
}
