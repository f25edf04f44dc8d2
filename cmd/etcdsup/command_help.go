package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// What the pages about commands have in common, whatever they are written in.

// eachCommand visits the commands below c that do something, in the order of their names.
func eachCommand(c *cobra.Command, visit func(*cobra.Command)) {
	for _, sub := range c.Commands() {
		if sub.Runnable() && !sub.Hidden && sub.Name() != "help" {
			visit(sub)
		}
		eachCommand(sub, visit)
	}
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// outdent takes the two spaces away that examples are written with.
func outdent(s string) string {
	return strings.TrimRight(strings.TrimPrefix(strings.ReplaceAll("\n"+s, "\n  ", "\n"), "\n"), "\n")
}

// flagRow is what is to be said of a flag.
type flagRow struct {
	name     string // with its short form and its value: -o, --output string
	usage    string
	standard string // the default where it is worth a word and usage does not name it
}

func flagRows(flags *pflag.FlagSet) (rows []flagRow) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		value, usage := pflag.UnquoteUsage(f)
		if value == "stringArray" {
			value = "KEY=VALUE"
		}
		if value != "" {
			name += " " + value
		}
		standard := f.DefValue
		if standard == "false" || standard == "[]" || strings.Contains(usage, "(default") || strings.Contains(usage, "default: ") {
			standard = ""
		}
		rows = append(rows, flagRow{name, usage, standard})
	})
	return rows
}
