package install

import (
	"fmt"
	"slices"
	"strings"
)

// dropInName is the one file in a service's drop-in folder that is ours. It comes before those with higher numbers, so
// that what others wrote there counts more.
const dropInName = "10-etcdsup-install.conf"

// dropIn is what the unit needs beyond its text for the configuration of this host.
type dropIn struct {
	config   string   // the file that it follows from
	user     string   // other than the unit's; empty: the unit's
	group    string   // likewise
	homes    bool     // people's folders are seen, and read only but for those that are writable
	writable []string // folders that the sandbox lets through
	runtime  []string // names of folders below /run, which systemd makes for each start: none outlives a boot
	mounts   []string // folders that are mounted before the start where they are mounts
}

// text is empty where nothing is needed.
func (d dropIn) text() string {
	if d.user == "" && len(d.writable) == 0 && len(d.runtime) == 0 && !d.homes {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by etcdsup install for %s, and anew by the next one.\n# Changes of your own belong in another file of this folder.\n", d.config)
	if len(d.mounts) > 0 {
		fmt.Fprintf(&b, "[Unit]\nRequiresMountsFor=%s\n\n", words(d.mounts, ""))
	}
	b.WriteString("[Service]\n")
	if d.user != "" {
		fmt.Fprintf(&b, "User=%s\nGroup=%s\n", d.user, d.group)
	}
	if d.homes {
		b.WriteString("ProtectHome=read-only\n")
	}
	if len(d.writable) > 0 {
		// With "-": where the folder is missing, etcdsup is to say so, and not systemd that it cannot make a namespace.
		fmt.Fprintf(&b, "ReadWritePaths=%s\n", words(d.writable, "-"))
	}
	if len(d.runtime) > 0 {
		// It stays over a stop: what is in it belongs to etcdsup, which cleans up after itself.
		fmt.Fprintf(&b, "RuntimeDirectory=%s\nRuntimeDirectoryMode=0755\nRuntimeDirectoryPreserve=yes\n", words(d.runtime, ""))
	}
	return b.String()
}

// splitRuntime takes out the folders below /run, and gives them by their names there.
func splitRuntime(folders []string) (others, names []string) {
	for _, f := range folders {
		if name, ok := strings.CutPrefix(f, "/run/"); ok {
			names = append(names, name)
			continue
		}
		others = append(others, f)
	}
	return others, names
}

// ourKeys are what stands before the = in a drop-in of ours, or on a line of its own.
var ourKeys = []string{
	"", "[Unit]", "[Service]", "RequiresMountsFor", "User", "Group", "ProtectHome", "ReadWritePaths",
	"RuntimeDirectory", "RuntimeDirectoryMode", "RuntimeDirectoryPreserve",
}

// isOurs tells whether a drop-in is as we wrote it: only our own lines are in it.
func isOurs(text string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, _, _ := strings.Cut(line, "=")
		if !slices.Contains(ourKeys, key) && !strings.HasPrefix(line, "# ") {
			return false
		}
	}
	return strings.HasPrefix(text, "# Written by etcdsup install ")
}

// words is a list as a unit's file has it.
func words(paths []string, prefix string) string {
	quoted := make([]string, len(paths))
	for i, p := range paths {
		p = strings.ReplaceAll(prefix+p, "%", "%%")
		if strings.ContainsAny(p, " \t'\"\\") {
			p = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(p) + `"`
		}
		quoted[i] = p
	}
	return strings.Join(quoted, " ")
}

// setting is the last value of a setting in a unit's file; empty where it has none.
func setting(text, key string) (value string) {
	for line := range strings.Lines(text) {
		k, v, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && strings.TrimSpace(k) == key {
			value = strings.TrimSpace(v)
		}
	}
	return value
}
