package main

import (
	"fmt"
	"strings"

	"github.com/etcdsup/etcdsup/config"
)

// roff is a man page in the making. Help texts are plain: paragraphs, and lines that are indented because they are to
// stay as they are. (What makes man pages for cobra reads them as Markdown, and takes their tables and underscores apart.)
type roff struct {
	strings.Builder
	began bool // a section has begun, and has nothing in it
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", "\\(ga", "^", `\(ha`, "~", `\(ti`, "–", `\(en`, "≤", `\(<=`, "±", `\(+-`)

// roffText is a text in which nothing has a meaning for roff.
func roffText(s string) string { return roffEscapes.Replace(s) }

// line writes a line of roff that is no request, whatever it begins with.
func (r *roff) line(s string) {
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	fmt.Fprintln(r, s)
}

func (r *roff) request(name string, args ...string) {
	fmt.Fprint(r, "."+name)
	for _, a := range args {
		fmt.Fprintf(r, ` "%s"`, strings.ReplaceAll(a, `"`, `\(dq`))
	}
	fmt.Fprintln(r)
}

func (r *roff) section(name string) {
	r.request("SH", strings.ToUpper(name))
	r.began = true
}

// paragraph begins one, unless a section has just done that.
func (r *roff) paragraph() {
	if !r.began {
		fmt.Fprintln(r, ".PP")
	}
	r.began = false
}

// text writes paragraphs. One with an indented line stays as it is.
func (r *roff) text(s string) {
	for p := range strings.SplitSeq(strings.Trim(s, "\n"), "\n\n") {
		switch {
		case p == "":
		case strings.HasPrefix(p, " ") || strings.Contains(p, "\n "):
			r.literal(strings.Trim(p, "\n"))
		default:
			r.paragraph()
			r.filled(p)
		}
	}
}

func (r *roff) filled(s string) {
	for l := range strings.SplitSeq(s, "\n") {
		r.line(roffText(strings.TrimSpace(l)))
	}
}

// literal writes lines that stay lines.
func (r *roff) literal(s string) {
	r.paragraph()
	fmt.Fprintln(r, ".nf\n.RS 4")
	for l := range strings.SplitSeq(s, "\n") {
		r.line(roffText(l))
	}
	fmt.Fprintln(r, ".RE\n.fi")
}

// item writes a term, in roff already, and what it means.
func (r *roff) item(term, meaning string) {
	fmt.Fprintln(r, ".TP")
	r.began = false
	r.line(term)
	r.filled(meaning)
}

func (r *roff) flags(rows []flagRow) {
	for _, f := range rows {
		usage := f.usage
		if f.standard != "" {
			usage += " (default " + f.standard + ")"
		}
		r.item(`\fB`+roffText(f.name)+`\fP`, usage)
	}
}

// key writes down one key of the configuration.
func (r *roff) key(k *config.Key) {
	r.item(`\fB`+roffText(k.Name)+`\fP`, k.Doc)
	facts := []string{"Type: " + k.Type + " (" + k.Form + ")", "Default: " + k.DefaultText(), "Variable: " + k.Variable()}
	if k.DefaultText() == "" {
		facts[1] = "No default"
	}
	if k.Live {
		facts = append(facts, "Live: yes")
	}
	for _, f := range facts {
		fmt.Fprintln(r, ".br")
		r.line(roffText(f))
	}
}
