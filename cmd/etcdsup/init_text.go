package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/config/hostconf"
)

// tellInit says what went where. Of a configuration that is printed, only that itself is in standard output.
func (g *globals) tellInit(out initOutcome) error {
	var err error
	if g.json() {
		err = g.printJSON(out)
	} else {
		err = g.tellInitText(out)
	}
	if err != nil || out.OK {
		return err
	}
	if g.json() {
		return &failure{code: exitConfig, err: out.Problems, quiet: true}
	}
	return out.Problems
}

func (g *globals) tellInitText(out initOutcome) error {
	report := foundText(out.From)
	if len(out.Warnings) > 0 {
		report += "worth knowing:\n" + out.Warnings.Pretty() + "\n"
	}
	if out.File == "" {
		fmt.Fprint(g.err, report)
		return g.print(out.Text)
	}
	return g.print(report + g.wroteText(out))
}

func (g *globals) wroteText(out initOutcome) string {
	var b strings.Builder
	if out.Aside != "" {
		fmt.Fprintf(&b, "set aside  %s\n", out.Aside)
	}
	if out.Written {
		fmt.Fprintf(&b, "wrote      %s\n", out.File)
	} else {
		fmt.Fprintf(&b, "unchanged  %s says the same already\n", out.File)
	}
	if out.OK {
		next := "run"
		if os.Geteuid() == 0 && g.dir == "" { // a service has its folder where the unit says
			next = "install --now"
		}
		fmt.Fprintf(&b, "checked    no faults\ntry next   %s\n", g.commandLine(next))
	}
	return b.String()
}

// foundText is what was read, line by line: first what was taken, then what was not.
func foundText(found *hostconf.Found) string {
	if found == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "read       %s\n", printable(found.Path))
	if found.Dir != "" {
		fmt.Fprintf(&b, "started in %s\n", printable(found.Dir))
	}
	if found.User != "" {
		fmt.Fprintf(&b, "as user    %s\n", printable(found.User))
	}
	rows := [][]string{{"FROM", "SAYS", "KEY", "VALUE"}}
	for _, t := range found.Taken {
		rows = append(rows, []string{placeWithin(found, t.Place), short(t.Says), t.Key, takenText(t)})
	}
	b.WriteString("\n" + table(rows))
	if len(found.Left) == 0 {
		return b.String() + "\n"
	}
	rows = [][]string{{"NOT TAKEN", "SAYS", "WHY"}}
	for _, l := range found.Left {
		rows = append(rows, []string{placeWithin(found, l.Place), short(l.Says), printable(l.Why)})
	}
	return b.String() + "\n" + table(rows) + "\n"
}

const cellWidth = 44

// short keeps what may be long from pushing the columns behind it off the screen.
func short(text string) string { return clip(printable(text), cellWidth) }

func takenText(t hostconf.Taken) string {
	text := clip(printable(config.Shown(t.Key, strings.Join(t.Values, ", "))), 2*cellWidth)
	if t.Note != "" {
		text += " (" + printable(t.Note) + ")"
	}
	return text
}
