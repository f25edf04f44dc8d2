package main

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/version"
)

// versions are what this executable is made of.
type versions struct {
	Version  string `json:"version"`            // of etcdsup, "devel" when it was built from a working copy
	Revision string `json:"revision,omitempty"` // of the repository
	Time     string `json:"time,omitempty"`     // of that revision, RFC 3339
	Modified bool   `json:"modified,omitempty"` // the working copy was not clean
	Etcd     string `json:"etcd"`               // the built-in one
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// packaged is the version that a package was made with, which the linker writes here; empty: what Go took from git counts.
var packaged string

// thisVersion reads what the linker noted down.
func thisVersion() versions {
	v := versions{Version: "devel", Etcd: version.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	v.Version = cmp.Or(packaged, v.Version)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func newVersionCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the versions of etcdsup and of its built-in etcd",
		Long: `Show the versions of this executable and of its built-in etcd.

What a running daemon is, and which etcd it runs, stands in etcdsup status.`,
		Example: `  etcdsup version
  etcdsup version -o json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return g.printVersion(thisVersion()) },
	}
}

func (g *globals) printVersion(v versions) error {
	if g.json() {
		return g.printJSON(v)
	}
	rows := [][]string{{"etcdsup", v.Version + revision(v)}, {"built-in etcd", v.Etcd}, {"go", v.Go + " " + v.Platform}}
	return g.print(table(rows))
}

func revision(v versions) string {
	if v.Revision == "" {
		return ""
	}
	short := v.Revision[:min(12, len(v.Revision))]
	if strings.Contains(v.Version, short) { // it is named after the commit, and says by itself when that was modified
		return ""
	}
	if v.Modified {
		short += ", modified"
	}
	return " (" + short + ")"
}
