package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/etcdsup/etcdsup/supervisor/control"
)

// The reference pages in docs/ are made from the command table, the route table and the nouns of the status, and must
// not differ from them.

const remakePages = "go test ./cmd/etcdsup -run TestPagesAreCurrent -update"

func TestPagesAreCurrent(t *testing.T) {
	root := moduleRoot(t)
	for name, want := range map[string]string{"commands.md": commandsPage(), "control-api.md": controlPage(t)} {
		path := filepath.Join(root, "docs", name)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if page, err := os.ReadFile(path); err != nil || string(page) != want {
			t.Errorf("docs/%s is not what the code says (%v); make it again with:\n\t%s", name, err, remakePages)
		}
	}
}

// commandsPage is every command with its help, and the exit codes.
func commandsPage() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Commands\n\n<!-- Made from the commands themselves by: %s -->\n\n", remakePages)
	root := newRoot(&globals{streams: streams{out: io.Discard, err: io.Discard}})
	fmt.Fprintf(&b, "%s.\n\n", root.Short)
	eachCommand(root, func(c *cobra.Command) {
		fmt.Fprintf(&b, "* [`%s`](#%s) – %s\n", c.CommandPath(), anchor(c), lowerFirst(c.Short))
	})
	fmt.Fprintf(&b, "\n## Flags of every command\n\n%s", flagTable(root.PersistentFlags()))
	eachCommand(root, func(c *cobra.Command) {
		fmt.Fprintf(&b, "\n## %s\n\n", c.CommandPath())
		fmt.Fprintf(&b, "%s\n\n```\n%s\n```\n", cmp.Or(strings.TrimSpace(c.Long), c.Short+"."), c.UseLine())
		if flags := flagTable(c.LocalFlags()); flags != "" {
			fmt.Fprintf(&b, "\n%s", flags)
		}
		fmt.Fprintf(&b, "\nExamples:\n\n```\n%s\n```\n", outdent(c.Example))
	})
	b.WriteString("\n## Exit codes\n\nThe same for every command; `etcdsup help exit-codes` prints them, and errors in JSON name them.\n\n| code | name | meaning |\n| ---: | --- | --- |\n")
	for _, e := range exitCodes {
		fmt.Fprintf(&b, "| %d | `%s` | %s |\n", e.code, e.name, e.meaning)
	}
	return b.String()
}

func anchor(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func flagTable(flags *pflag.FlagSet) string {
	var b strings.Builder
	for _, f := range flagRows(flags) {
		standard := f.standard
		if standard != "" {
			standard = "`" + standard + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.name, strings.ReplaceAll(f.usage, "|", "\\|"), standard)
	}
	if b.Len() == 0 {
		return ""
	}
	return "| flag | meaning | default |\n| --- | --- | --- |\n" + b.String()
}

const controlHead = `# Control socket

<!-- Made from the route table and the nouns in supervisor/status by: %s -->

HTTP with JSON over a Unix socket: ` + "`run/control.sock`" + ` in the instance's folder, or where ` + "`control.socket`" + ` says. Whatever the
command line shows of the daemon, or asks of it, goes through this socket.

Who may connect is told by the credentials of the peer's process: root, the user that etcdsup runs as, and the members of
` + "`control.group`" + ` where one is set. Everybody else is refused with ` + "`denied`" + `, whatever the file's mode is. No route takes a body; one
connection serves one request.

` + "```" + `
curl --unix-socket /var/lib/etcdsup/default/run/control.sock http://etcdsup/v1/status
` + "```" + `

Fields are only ever added within ` + "`v1`" + `: take no notice of those that you do not know.
`

// controlPage is routes, errors and nouns of the control socket.
func controlPage(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, controlHead, remakePages)
	b.WriteString("\n## Routes\n\n| route | | answer |\n| --- | --- | --- |\n")
	for _, r := range control.Routes {
		fmt.Fprintf(&b, "| `%s %s` | %ss | %s |\n", r.Method, r.Path, r.Mode, r.Doc)
	}
	nouns := parseNouns(t, "supervisor/status/status.go", "supervisor/status/mode.go", "supervisor/status/hook.go", "supervisor/status/audit.go")
	api := parseNouns(t, "supervisor/control/control.go")
	b.WriteString("\n## Errors\n\nAn answer that is not 200 has this form; `error` is for people, `code` for programs.\n\n")
	api.fields(&b, "Error")
	b.WriteString("\n| `code` | when |\n| --- | --- |\n")
	api.values(&b, "")
	b.WriteString("\n## Nouns\n\nTimes are RFC 3339; names that end in `_ns` are nanoseconds; sizes are bytes.\n")
	for _, noun := range nouns.structs {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", noun, nouns.doc[noun])
		nouns.fields(&b, noun)
	}
	fmt.Fprintf(&b, "\n### Version\n\n%s\n\n", api.doc["Version"])
	api.fields(&b, "Version")
	b.WriteString("\n## Words\n")
	for _, word := range nouns.words {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n| word | meaning |\n| --- | --- |\n", word, nouns.doc[word])
		nouns.values(&b, word)
	}
	return b.String()
}

// nouns are the exported types and constants of some files, in their order, as their authors wrote them.
type nouns struct {
	structs, words []string
	doc            map[string]string
	types          map[string]*ast.StructType
	consts         map[string][]*ast.ValueSpec // by type
}

func parseNouns(t *testing.T, paths ...string) *nouns {
	t.Helper()
	n := &nouns{doc: map[string]string{}, types: map[string]*ast.StructType{}, consts: map[string][]*ast.ValueSpec{}}
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(moduleRoot(t), path), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				n.take(g)
			}
		}
	}
	return n
}

func (n *nouns) take(g *ast.GenDecl) {
	for _, spec := range g.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			n.doc[spec.Name.Name] = cell(g.Doc)
			if s, ok := spec.Type.(*ast.StructType); ok {
				n.types[spec.Name.Name] = s
				n.structs = append(n.structs, spec.Name.Name)
			} else if _, ok := spec.Type.(*ast.Ident); ok {
				n.words = append(n.words, spec.Name.Name)
			}
		case *ast.ValueSpec:
			if g.Tok == token.CONST {
				kind, _ := spec.Type.(*ast.Ident)
				name := ""
				if kind != nil {
					name = kind.Name
				}
				n.consts[name] = append(n.consts[name], spec)
			}
		}
	}
}

func cell(c *ast.CommentGroup) string {
	return strings.NewReplacer("|", "\\|", "nil ", "missing ", "*Error", "error with a code").Replace(strings.Join(strings.Fields(c.Text()), " "))
}

func (n *nouns) fields(b *strings.Builder, noun string) {
	b.WriteString("| field | type | meaning |\n| --- | --- | --- |\n")
	for _, f := range n.types[noun].Fields.List {
		text, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			continue
		}
		name, options, _ := strings.Cut(reflect.StructTag(text).Get("json"), ",")
		kind := typeWords(f.Type)
		if options != "" {
			kind += ", may be missing"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, kind, cmp.Or(cell(f.Comment), cell(f.Doc)))
	}
}

// values are the constants of a type that are texts.
func (n *nouns) values(b *strings.Builder, kind string) {
	for _, c := range n.consts[kind] {
		if lit, ok := c.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			fmt.Fprintf(b, "| `%s` | %s |\n", strings.Trim(lit.Value, `"`), cell(c.Comment))
		}
	}
}

func typeWords(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeWords(e.X)
	case *ast.ArrayType:
		return "list of " + typeWords(e.Elt)
	case *ast.MapType:
		return "object of " + typeWords(e.Value)
	case *ast.SelectorExpr:
		switch from, _ := e.X.(*ast.Ident); {
		case from != nil && from.Name == "status":
			return typeWords(e.Sel)
		case e.Sel.Name == "Duration":
			return "number"
		case e.Sel.Name == "RawMessage": // of what is a list elsewhere
			return "list"
		}
		return "time"
	case *ast.Ident:
		switch {
		case e.Name == "string":
			return "text"
		case e.Name == "bool":
			return "true or false"
		case ast.IsExported(e.Name):
			return fmt.Sprintf("[%s](#%s)", e.Name, strings.ToLower(e.Name))
		}
	}
	return "number"
}
