package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The rules of the house, each with its reason. They are read off the sources themselves: what `go list` says would be
// taken from the test cache after a rule was broken.

const module = "github.com/etcdsup/etcdsup"

// importRule is what the packages of a folder may import of ours; with "/..." of all folders below it.
type importRule struct {
	folder string
	may    []string
	reason string
}

// imports are all packages of ours, and which others of ours each may import. A new package needs a row.
var imports = []importRule{
	{"cmd/etcdsup", []string{"cmd/etcdsup/relay", "config/...", "logsink/...", "packaging/...", "supervisor/..."},
		"the one place where everything meets: control, cluster and log sink reach the loop only from here"},
	{"cmd/etcdsup/e2e", []string{"config", "supervisor/control", "supervisor/status"},
		"the program is tested from outside: by its command line, its socket and its files"},
	{"cmd/etcdsup/relay", []string{"logsink", "supervisor/process"},
		"it runs before all else, which it can only if it depends on little"},
	{"config", nil, "a configuration is read without starting anything"},
	{"packaging/e2e", []string{"supervisor/control", "supervisor/status"},
		"the installed service is tried from outside, on hosts with a real systemd"},
	{"packaging/lab", nil, "hosts for tests, on which any program may be tried"},
	{"config/hostconf", []string{"config"}, "it turns texts into keys; what is done with them is not its business"},
	{"packaging", []string{"config"}, "what is put on a host; the daemon knows nothing of it"},
	{"packaging/build", []string{"config", "packaging"}, "packages are made from outside: what the program knows of itself, it is asked"},
	{"packaging/install", []string{"config", "packaging", "supervisor/status"}, "service managers are known here alone, and nothing of the daemon is"},
	{"logsink/...", nil, "whatever else fails, etcd's output is taken; so it depends on nothing that may fail"},
	{"supervisor", []string{"config", "supervisor/datadir", "supervisor/process", "supervisor/status"},
		"the loop does not know its audience: what cannot be seen in a status cannot be seen"},
	{"supervisor/status", nil, "plain nouns, for everybody"},
	{"supervisor/internal/roomtest", []string{"supervisor/cluster", "supervisor/datadir", "supervisor/room", "supervisor/status"},
		"tests only: what does not know each other is tried together, with real etcds"},
	{"supervisor/...", []string{"supervisor/status"},
		"each does one thing for the loop; what they say to each other goes through it, so no callback climbs upward"},
}

// testImports are packages that only tests may import, all of them, and these each other.
var testImports = []string{"packaging/lab", "supervisor/etcdbin", "supervisor/exetest", "supervisor/internal/etcdtest", "supervisor/loadtest", "supervisor/porttest", "supervisor/status/statustest"}

// modules are all that is not ours, and where each may be known. A module that one package knows can be replaced there.
var modules = []struct {
	path   string
	in     []string // folders as above
	tests  []string // and of these the tests
	reason string
}{
	{"github.com/goccy/go-yaml", []string{"config"}, nil, "the form of the file is the configuration's business"},
	{"github.com/spf13/cobra", []string{"cmd/etcdsup"}, nil, "the command line ends where the daemon begins"},
	{"github.com/spf13/pflag", []string{"cmd/etcdsup"}, nil, "comes with cobra"},
	{"github.com/vishvananda/netlink", nil, []string{"cmd/etcdsup/e2e"}, "hosts of a test that are network namespaces"},
	{"github.com/kardianos/service", []string{"packaging/install"}, nil, "what the host's service manager is, and the ways of those that are not systemd"},
	{"github.com/rogpeppe/go-internal", []string{"packaging/install"}, nil, "the difference between two files"},
	{"go.etcd.io/etcd/api/v3", []string{"supervisor/cluster", "supervisor/rebuild", "cmd/etcdsup"}, []string{"cmd/etcdsup/e2e", "supervisor/internal/roomtest"}, "etcd's words for cluster, its version for the command version"},
	{"go.etcd.io/etcd/client/v3", []string{"supervisor/cluster", "supervisor/loadtest"}, []string{"cmd/etcdsup/...", "packaging/e2e", "supervisor/datadir", "supervisor/rebuild", "supervisor/internal/roomtest"}, "everything that is asked of etcd is asked in one place"},
	{"go.etcd.io/bbolt", []string{"supervisor/rebuild"}, []string{"supervisor/datadir"}, "it locks and maps what it reads; datadir reads without it, and has it as the judge of that in tests"},
	{"go.etcd.io/etcd/etcdutl/v3", []string{"supervisor/rebuild"}, nil, "what etcd has on disk is written in one place"},
	{"go.etcd.io/etcd/server/v3/storage/wal", []string{"supervisor/datadir", "supervisor/rebuild"}, nil, "what etcd has on disk is read in one place, and written in one"},
	{"go.etcd.io/etcd/server/v3", []string{"cmd/etcdsup"}, nil, "the built-in etcd is another process of the same executable, never a library of the daemon"},
	{"go.uber.org/goleak", nil, []string{"..."}, "finds goroutines that tests leave behind"},
	{"go.uber.org/zap", []string{"supervisor", "cmd/etcdsup", "supervisor/cluster", "supervisor/rebuild"}, []string{"cmd/etcdsup/...", "packaging/e2e", "supervisor/internal/roomtest"},
		"everybody else returns errors and values, and the loop tells; cluster and rebuild only silence the loggers of etcd's modules"},
	{"golang.org/x/sys", []string{"..."}, nil, "Linux"},
	{"go.etcd.io/raft/v3", []string{"supervisor/datadir", "supervisor/rebuild"}, nil, "what etcd has on disk is read in one place, and written in one"},
	{"google.golang.org/grpc", []string{"supervisor/cluster"}, []string{"packaging/e2e"}, "comes with etcd's client"},
	{"google.golang.org/protobuf", []string{"supervisor/datadir", "supervisor/rebuild"}, nil, "the form of what etcd has on disk"},
	{"gopkg.in/natefinch/lumberjack.v2", []string{"logsink"}, nil, "its traps are dealt with around it"},
	{"mvdan.cc/sh/v3", []string{"config/hostconf"}, nil, "scripts are read in one place, and never run"},
	{"pgregory.net/rapid", nil, []string{"..."}, "properties"},
}

// topLevel is all that stands at the top beside dotfiles and what .gitignore names.
var topLevel = []string{"cmd", "config", "docs", "logsink", "packaging", "supervisor", "CHANGELOG.md", "LICENSE", "README.md", "go.mod", "go.sum"}

const maxLines = 600

// houseRule finds what a source does against it.
type houseRule struct {
	name   string
	reason string
	broken func(*source) []string
}

var houseRules = []houseRule{
	{"import", "see the table in this file", (*source).foreignImports},
	{"module", "see the table in this file", (*source).foreignModules},
	{"cgo", "one static executable, built on any machine", (*source).cgo},
	{"length", "a file should be held in the head", (*source).tooLong},
	{"sleep", "a test that sleeps is slow where it passes and fails where the machine is slower", (*source).sleeps},
	{"pdeathsig", "it fires when the thread ends that started the child, and etcd must outlive us in any case", (*source).pdeathsig},
	{"skip", "a test that is skipped proves nothing; only what needs root may be skipped without it", (*source).skips},
}

// source is one Go file.
type source struct {
	path  string // from the module's root
	text  []byte
	files *token.FileSet
	tree  *ast.File
}

func parseSource(path string, text []byte) (*source, error) {
	s := &source{path: path, text: text, files: token.NewFileSet()}
	var err error
	s.tree, err = parser.ParseFile(s.files, path, text, parser.SkipObjectResolution)
	return s, err
}

func (s *source) folder() string { return path.Dir(s.path) }
func (s *source) isTest() bool   { return strings.HasSuffix(s.path, "_test.go") }

func (s *source) at(n ast.Node, what string) string {
	return fmt.Sprintf("%s: %s", s.files.Position(n.Pos()), what)
}

func (s *source) imported() map[string]ast.Node {
	all := map[string]ast.Node{}
	for _, i := range s.tree.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err == nil {
			all[p] = i
		}
	}
	return all
}

// within says whether folder is the pattern's own, or with "/..." lies below it.
func within(folder, pattern string) bool {
	if pattern == "..." {
		return true
	}
	above, below := strings.CutSuffix(pattern, "/...")
	return folder == above || below && strings.HasPrefix(folder, above+"/")
}

func withinAny(folder string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return within(folder, p) })
}

func (s *source) foreignImports() []string {
	i := slices.IndexFunc(imports, func(r importRule) bool { return within(s.folder(), r.folder) })
	if i < 0 {
		return []string{s.at(s.tree.Name, "a package that the table does not have")}
	}
	var all []string
	for p, n := range s.imported() {
		ours, isOurs := strings.CutPrefix(p, module+"/")
		forTests := withinAny(ours, testImports)
		switch {
		case !isOurs || ours == s.folder(): // an external test imports what it tests
		case forTests && (s.isTest() || withinAny(s.folder(), testImports)):
		case forTests:
			all = append(all, s.at(n, ours+" is for tests"))
		case !withinAny(ours, imports[i].may):
			all = append(all, s.at(n, ours+": "+imports[i].reason))
		}
	}
	return all
}

func (s *source) foreignModules() []string {
	var all []string
	for p, n := range s.imported() {
		if host, _, _ := strings.Cut(p, "/"); !strings.Contains(host, ".") || strings.HasPrefix(p, module) {
			continue
		}
		i := moduleOf(p)
		switch {
		case i < 0:
			all = append(all, s.at(n, p+": a module that the table does not have"))
		case withinAny(s.folder(), modules[i].in), s.isTest() && withinAny(s.folder(), modules[i].tests):
		default:
			all = append(all, s.at(n, p+": "+modules[i].reason))
		}
	}
	return all
}

// moduleOf is the row of the module that the package belongs to, -1 if there is none.
func moduleOf(pkg string) int {
	for i, m := range modules {
		if within(pkg, m.path+"/...") {
			return i
		}
	}
	return -1
}

func (s *source) cgo() []string {
	if n := s.imported()["C"]; n != nil {
		return []string{s.at(n, `import "C"`)}
	}
	return nil
}

func (s *source) tooLong() []string {
	if n := bytes.Count(s.text, []byte("\n")); n > maxLines && !s.isTest() {
		return []string{fmt.Sprintf("%s: %d lines, the most are %d", s.path, n, maxLines)}
	}
	return nil
}

func (s *source) sleeps() []string {
	if !s.isTest() {
		return nil
	}
	return s.find(func(n ast.Node) string {
		if sel, ok := n.(*ast.SelectorExpr); ok && isName(sel.X, "time") && sel.Sel.Name == "Sleep" {
			return "time.Sleep in a test"
		}
		return ""
	})
}

// mayDieWithUs is the one folder whose children are to end with us, and are started from a thread that waits for them.
const mayDieWithUs = "supervisor/rebuild"

func (s *source) pdeathsig() []string {
	if s.folder() == mayDieWithUs {
		return nil
	}
	return s.find(func(n ast.Node) string {
		if isName(n, "Pdeathsig") {
			return "Pdeathsig"
		}
		return ""
	})
}

func (s *source) find(fault func(ast.Node) string) []string {
	var all []string
	ast.Inspect(s.tree, func(n ast.Node) bool {
		if n != nil {
			if what := fault(n); what != "" {
				all = append(all, s.at(n, what))
			}
		}
		return true
	})
	return all
}

func isName(n ast.Node, name string) bool {
	id, ok := n.(*ast.Ident)
	return ok && id.Name == name
}

// skips finds skipped tests. A rapid.T that is skipped is a draw that does not apply, and no test.
func (s *source) skips() []string {
	var all []string
	var around []ast.Node
	ast.Inspect(s.tree, func(n ast.Node) bool {
		if n == nil {
			around = around[:len(around)-1]
			return true
		}
		if name := skipped(n); name != "" && !excused(name, around) {
			all = append(all, s.at(n, "a skip for another reason than a missing root"))
		}
		around = append(around, n)
		return true
	})
	return all
}

// skipped is the name of what a call skips, or "" when it is no such call.
func skipped(n ast.Node) string {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return ""
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
		return ""
	}
	if id, ok := sel.X.(*ast.Ident); ok {
		return id.Name
	}
	return "."
}

// excused looks outward from the call: for the question who we are, and for the function whose parameter is skipped.
func excused(name string, around []ast.Node) bool {
	for _, n := range slices.Backward(around) {
		var f *ast.FuncType
		switch n := n.(type) {
		case *ast.IfStmt:
			if asksForRoot(n.Cond) {
				return true
			}
		case *ast.FuncLit:
			f = n.Type
		case *ast.FuncDecl:
			f = n.Type
		}
		if found, excuse := parameter(f, name); found {
			return excuse
		}
	}
	return false
}

// asksForRoot is the one form: os.Geteuid() != 0.
func asksForRoot(cond ast.Expr) bool {
	b, ok := cond.(*ast.BinaryExpr)
	if !ok || b.Op != token.NEQ {
		return false
	}
	call, ok := b.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && slices.Contains([]string{"Geteuid", "Getuid"}, sel.Sel.Name)
}

// parameter says whether f has one of the name, and whether it is a *rapid.T.
func parameter(f *ast.FuncType, name string) (found, isRapid bool) {
	if f == nil {
		return false, false
	}
	for _, p := range f.Params.List {
		if slices.ContainsFunc(p.Names, func(id *ast.Ident) bool { return id.Name == name }) {
			star, ok := p.Type.(*ast.StarExpr)
			if !ok {
				return true, false
			}
			sel, ok := star.X.(*ast.SelectorExpr)
			return true, ok && isName(sel.X, "rapid")
		}
	}
	return false, false
}

// moduleRoot is where go.mod is.
func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return root
}

func ourSources(t *testing.T) []*source {
	t.Helper()
	root := moduleRoot(t)
	var all []*source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		short, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		s, err := parseSource(filepath.ToSlash(short), text)
		all = append(all, s)
		return err
	})
	if err != nil || len(all) < 50 {
		t.Fatalf("cannot read our sources: %d of them, %v", len(all), err)
	}
	return all
}

func TestHouseRules(t *testing.T) {
	known := map[string]bool{}
	for _, s := range ourSources(t) {
		for _, r := range houseRules {
			for _, what := range r.broken(s) {
				t.Errorf("%s\n\t%s: %s", what, r.name, r.reason)
			}
		}
		for p := range s.imported() {
			if i := moduleOf(p); i >= 0 {
				known[modules[i].path] = true
			}
		}
	}
	for _, m := range modules {
		if !known[m.path] {
			t.Errorf("nobody imports %s any longer: its row is to go", m.path)
		}
	}
}

// strays are the names that have no place at the top.
func strays(names []string, ignored string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return strings.HasPrefix(name, ".") || slices.Contains(topLevel, name) ||
			slices.ContainsFunc(strings.Fields(ignored), func(line string) bool { return strings.Trim(line, "/") == name })
	})
}

func TestTopLevelIsTidy(t *testing.T) {
	root := moduleRoot(t)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, name := range strays(names, string(ignored)) {
		t.Errorf("%s has no place at the top of the repository: sources stand in cmd, config, logsink, packaging and supervisor", name)
	}
	for _, name := range topLevel {
		if !slices.Contains(names, name) && name != "packaging" { // git keeps no empty folder
			t.Errorf("%s is missing", name)
		}
	}
}
