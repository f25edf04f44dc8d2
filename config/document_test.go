package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestDefaultsFitTheirKeys(t *testing.T) {
	var c Config
	for _, k := range Keys() {
		if k.Doc == "" || k.Example == "" || k.DefaultText() == "" || k.Form == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s is not documented: %+v", k.Name, k)
		}
		if k.Default == "" || k.entries {
			continue
		}
		if err := k.set(&c, k.Default); err != nil {
			t.Errorf("%s: %v", k.Name, err)
		}
		if got := k.get(&c); got != k.Default {
			t.Errorf("%s: the default is %s, and shown as %s", k.Name, k.Default, got)
		}
	}
}

func TestTableIsInTheOrderOfItsSections(t *testing.T) {
	section := 0
	for _, k := range Keys() {
		for sections[section].name != k.Section() {
			if section++; section == len(sections) {
				t.Fatalf("%s stands outside of its section", k.Name)
			}
		}
	}
}

func TestExampleYieldsTheDefaults(t *testing.T) {
	plain := mustLoad(t, asRoot(""))
	c := mustLoad(t, asRoot(writeFile(t, Example())))
	if live, restart := Changed(plain, c); len(live)+len(restart) > 0 {
		t.Errorf("the example changes %v %v", live, restart)
	}
}

var hidden = regexp.MustCompile(`(?m)^( *)#( *[a-zA-Z_-]+:)`)

func TestExampleIsValidInFull(t *testing.T) {
	full := hidden.ReplaceAllString(Example(), "$1$2")
	c := mustLoad(t, asRoot(writeFile(t, strings.Replace(full, "metrics: http://127.0.0.1:2381", "metrics: http://127.0.0.1:2379", 1))))
	for _, k := range Keys() {
		if k.entries {
			continue
		}
		if c.Origin(k.Name).From != FromFile {
			t.Errorf("%s is not in the example", k.Name)
		}
	}
	if c.arg("name") != "n1" || c.Etcd.Env["GOMEMLIMIT"] != "6GiB" {
		t.Errorf("got %v %v", c.Etcd.Args, c.Etcd.Env)
	}
}

func TestExampleFitsATerminal(t *testing.T) {
	for line := range strings.SplitSeq(Example(), "\n") {
		if len(line) > 120 || strings.TrimRight(line, " ") != line {
			t.Errorf("%q", line)
		}
	}
}

var snippet = regexp.MustCompile("(?s)```yaml\n(.*?)```")

func TestSnippetsOfTheReferenceAreValid(t *testing.T) {
	found := snippet.FindAllStringSubmatch(Reference(), -1)
	if len(found) != len(Keys()) {
		t.Fatalf("%d snippets for %d keys", len(found), len(Keys()))
	}
	for i, s := range found {
		_, faults := Read(asRoot(writeFile(t, s[1])))
		for _, p := range faults {
			if !strings.Contains(p.What, "without") && p.Key != "health.metrics" { // half of a pair, or of a metrics URL
				t.Errorf("%s:\n%s", Keys()[i].Name, p.Pretty())
			}
		}
	}
}

func TestReferenceIsCurrent(t *testing.T) {
	page, err := os.ReadFile("../docs/configuration.md")
	if err != nil || string(page) != Reference() {
		t.Errorf("docs/configuration.md is not what the table says (%v); make it again with:\n\tgo run ./cmd/etcdsup config reference > docs/configuration.md", err)
	}
}
