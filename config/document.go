package config

import (
	"fmt"
	"strings"
)

// Value is what a key is to have in a file.
type Value struct {
	Key     string // such as log.dir or etcd.args.name
	Texts   []string
	Comment string // in one line, beside it; empty: none
}

const exampleHead = "# Configuration of etcdsup: every key with its default. Those with a '#' directly before them have none that is\n" +
	"# a constant; the value there is an example. Nothing in this file is needed to run one etcd on loopback.\n"

// Example is a complete configuration file: every key with what it is for. Loaded as it is, it gives the defaults;
// without the '#' directly before a key, its lines are valid too.
func Example() string { return Filled(exampleHead, nil) }

// Filled is the example with another head and with values of one's own. Values of keys that do not exist are left out.
func Filled(head string, values []Value) string {
	var b strings.Builder
	b.WriteString(head)
	for _, s := range sections {
		fmt.Fprintf(&b, "\n# %s\n", s.doc)
		indent := ""
		if s.name != "" {
			fmt.Fprintf(&b, "%s:\n", s.name)
			indent = "  "
		}
		for i := range table {
			if table[i].Section() == s.name {
				b.WriteString("\n")
				table[i].example(&b, indent, values)
			}
		}
	}
	return b.String()
}

func (k *Key) example(b *strings.Builder, indent string, values []Value) {
	doc := k.Doc
	if k.Derived != "" {
		doc += " Default: " + k.Derived + "."
	}
	for _, line := range wrap(doc, 110) {
		fmt.Fprintf(b, "%s# %s\n", indent, line)
	}
	if k.filled(b, indent, values) {
		return
	}
	if k.Default != "" {
		fmt.Fprintf(b, "%s%s: %s\n", indent, k.Base(), k.Default)
		return
	}
	for i, line := range strings.Split(k.Base()+": "+k.Example, "\n") {
		line = strings.TrimRight(line, " ")
		if i > 0 {
			line = strings.TrimPrefix(line, indent)
		}
		fmt.Fprintf(b, "%s#%s\n", indent, line)
	}
}

// filled writes the key with its values, if it has any.
func (k *Key) filled(b *strings.Builder, indent string, values []Value) bool {
	found := false
	for _, v := range values {
		key, entry := resolve(v.Key)
		if key == nil || key.Name != k.Name || k.entries != (entry != "") || len(v.Texts) == 0 {
			continue
		}
		lead := indent + k.Base()
		if k.entries {
			if !found {
				fmt.Fprintf(b, "%s:\n", lead)
			}
			lead = indent + "  " + entry
		}
		fmt.Fprintf(b, "%s: %s%s\n", lead, k.written(v.Texts), comment(v.Comment))
		found = true
	}
	return found
}

func comment(text string) string {
	if text == "" {
		return ""
	}
	return "  # " + printable(text)
}

// written is a value as YAML has it.
func (k *Key) written(texts []string) string {
	if len(texts) == 1 {
		return k.scalar(texts[0])
	}
	all := make([]string, len(texts))
	for i, t := range texts {
		all[i] = k.scalar(t)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

var (
	plainScalar = pattern(`^[A-Za-z0-9/](?:[A-Za-z0-9/._:=@%+-]*[A-Za-z0-9/._=@%+-])?$`)
	yamlWord    = pattern(`(?i)^(?:null|true|false|yes|no|on|off|y|n|[0-9.+-].*)$`)
)

// scalar puts a text in quotes where YAML would take it for something else, or for something that the key does not take.
func (k *Key) scalar(text string) string {
	strict := k.takes&(scalarBool|scalarFloat) == 0
	plain := plainScalar().MatchString(text) && !strings.EqualFold(text, "null")
	if plain && (!strict || !yamlWord().MatchString(text)) {
		return text
	}
	return jsonText(text) // which YAML has for texts in quotes
}

// wrap breaks a text into lines of at most width characters, at spaces.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// Reference is the page docs/configuration.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, s := range sections {
		title := s.name
		if title == "" {
			title = "Top level"
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", title, s.doc)
		for i := range table {
			if table[i].Section() == s.name {
				table[i].reference(&b)
			}
		}
	}
	return b.String()
}

const referenceHead = `# Configuration

<!-- Made from the table in config/keys.go by: go run ./cmd/etcdsup config reference > docs/configuration.md -->

etcdsup runs without any configuration. What it is told comes from four places, a later one before an earlier one:

1. the defaults on this page
2. one YAML file: the one that ` + "`--config` or `ETCDSUP_CONFIG`" + ` names, or else the instance's own, if it exists:
   ` + "`/etc/etcdsup/<instance>.yaml`" + ` for root, ` + "`$XDG_CONFIG_HOME/etcdsup/<instance>.yaml`" + ` for others
3. environment variables, each key's own as given below; an empty one counts as not set
4. the command line: ` + "`--set log.max_size=1GiB`, `--instance`, `--dir`" + `

` + "`etcdsup config check`" + ` reports every fault at once, with its line and what to do. ` + "`etcdsup config show`" + ` prints every value and where it
came from. ` + "`etcdsup config example`" + ` prints a complete file. Nothing starts on a faulty file.

Durations are written as ` + "`500ms`, `10s`, `1h30m` or `7d`" + `, sizes as ` + "`512KiB`, `100MiB`" + ` (1024) or ` + "`2GB`" + ` (1000). Paths are absolute.
A value that is marked as live can change while etcd runs on; any other needs a new start.
`

func (k *Key) reference(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n", k.Name, k.Doc)
	fmt.Fprintf(b, "* Type: %s (%s)\n", k.Type, k.Form)
	if k.Default != "" {
		fmt.Fprintf(b, "* Default: `%s`\n", k.Default)
	} else {
		fmt.Fprintf(b, "* Default: %s\n", k.Derived)
	}
	variable := k.Variable()
	if k.entries {
		variable += "_<NAME>"
	}
	fmt.Fprintf(b, "* Variable: `%s`\n", variable)
	if k.Live {
		b.WriteString("* Live: yes\n")
	}
	fmt.Fprintf(b, "\n```yaml\n%s\n```\n", k.snippet())
}

// snippet is the example as it stands in a file.
func (k *Key) snippet() string {
	line := strings.TrimRight(k.Base()+": "+k.Example, " ")
	line = strings.ReplaceAll(line, ": \n", ":\n")
	if k.Section() == "" {
		return line
	}
	return k.Section() + ":\n  " + line
}
