package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdsup/etcdsup/config"
)

// newManCmd is what packages get their man pages from: the commands are known to themselves only.
func newManCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Hidden: true,
		Short:  "Write the man pages of all commands and of the configuration into a folder",
		Long:   "Write the man pages of all commands (section 1) and of the configuration (section 5) into a folder, which is made.",
		Example: `  etcdsup man /tmp/man
  man -l /tmp/man/etcdsup.1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return g.writeManuals(cmd.Root(), args[0]) },
	}
}

func (g *globals) writeManuals(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the folder for man pages: %w", err)
	}
	pages := manuals(root)
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(pages[name]), 0o644); err != nil { //nolint:gosec // for everybody
			return fmt.Errorf("cannot write a man page: %w", err)
		}
	}
	return g.print(fmt.Sprintf("%s in %s\n", count(len(pages), "man page"), dir))
}

// manuals are the pages by the names of their files.
func manuals(root *cobra.Command) map[string]string {
	pages := map[string]string{"etcdsup.1": mainManual(root), "etcdsup.yaml.5": configManual()}
	eachCommand(root, func(c *cobra.Command) { pages[manName(c)+".1"] = commandManual(c) })
	return pages
}

func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manHead is the head of a page. The same sources give the same page: its date is SOURCE_DATE_EPOCH's, or that of the
// commit.
func manHead(name, section, about string) *roff {
	r := &roff{}
	r.request("TH", strings.ToUpper(name), section, sourceDate(), "etcdsup "+thisVersion().Version, "etcdsup")
	r.section("Name")
	r.line(roffText(name) + " \\- " + roffText(about))
	return r
}

func sourceDate() string {
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(seconds, 0).UTC().Format(time.DateOnly)
	}
	date, _, _ := strings.Cut(thisVersion().Time, "T")
	return date
}

func mainManual(root *cobra.Command) string {
	r := manHead("etcdsup", "1", lowerFirst(root.Short))
	r.section("Synopsis")
	r.line("\\fBetcdsup\\fP \\fIcommand\\fP [\\fIflags\\fP]")
	r.section("Description")
	r.text("One etcdsup per host, or per etcd of the host, runs etcd as its child. However etcdsup itself ends, etcd goes on, and the next " +
		"etcdsup takes it over. As a service it is etcdsup.service, or etcdsup@NAME.service for further etcds of the host.")
	r.section("Commands")
	eachCommand(root, func(c *cobra.Command) { r.item("\\fB"+roffText(manName(c))+"\\fP(1)", c.Short+".") })
	r.section("Options of every command")
	r.flags(flagRows(root.PersistentFlags()))
	r.section("Examples")
	r.literal(outdent(root.Example))
	r.section("Exit status")
	for _, e := range exitCodes {
		r.item(fmt.Sprintf("\\fB%d\\fP  %s", e.code, roffText(e.name)), e.meaning+".")
	}
	r.section("Files")
	for _, f := range [][2]string{
		{"/etc/etcdsup/INSTANCE.yaml", "The configuration, see etcdsup.yaml(5). The instance of etcdsup.service is called default. Without a file, etcd is one member on loopback."},
		{"/var/lib/etcdsup/INSTANCE", "Data, logs, state and the socket of an instance, where the configuration names no other places."},
	} {
		r.item("\\fI"+roffText(f[0])+"\\fP", f[1])
	}
	r.section("See also")
	r.line("\\fBetcdsup.yaml\\fP(5), https://github.com/etcdsup/etcdsup")
	return r.String()
}

func commandManual(c *cobra.Command) string {
	r := manHead(manName(c), "1", lowerFirst(c.Short))
	r.section("Synopsis")
	rest := strings.TrimPrefix(c.UseLine(), c.CommandPath())
	r.line("\\fB" + roffText(c.CommandPath()) + "\\fP" + roffText(rest))
	r.section("Description")
	if c.Long == "" {
		r.text(c.Short + ".")
	}
	r.text(c.Long)
	if flags := flagRows(c.LocalFlags()); len(flags) > 0 {
		r.section("Options")
		r.flags(flags)
	}
	r.section("Examples")
	r.literal(outdent(c.Example))
	r.section("See also")
	r.line("\\fBetcdsup\\fP(1), with the options of every command and the exit status")
	return r.String()
}

func configManual() string {
	r := manHead("etcdsup.yaml", "5", "what etcdsup is told")
	r.section("Description")
	r.text("etcdsup runs without any configuration. What it is told comes from the defaults, then from one YAML file, then from environment " +
		"variables, then from the command line; a later one stands before an earlier one. etcdsup config check tells every fault at once, " +
		"etcdsup config show every value and where it came from. A value that is marked as live can change while etcd runs on.")
	section := "none"
	for _, k := range config.Keys() {
		if k.Section() != section {
			section = k.Section()
			if section == "" {
				r.section("Top level")
			} else {
				r.section("Section " + section)
			}
		}
		r.key(&k)
	}
	r.section("Files")
	r.item("\\fI/etc/etcdsup/INSTANCE.yaml\\fP", "The file of root's instances, and of the services.")
	r.section("See also")
	r.line("\\fBetcdsup\\-config\\-check\\fP(1), \\fBetcdsup\\-config\\-example\\fP(1), \\fBetcdsup\\-config\\-show\\fP(1)")
	return r.String()
}
