package hostconf

import (
	"strings"
)

// readEnvFile reads NAME=value lines as systemd does for EnvironmentFile=. A leading "export " is passed over, so that
// files which a shell reads in are read too.
func readEnvFile(path, text string) *start {
	s := &start{}
	lines := strings.Split(withoutMarks(text), "\n")
	for i := 0; i < len(lines); i++ {
		at := Place{path, i + 1}
		line := strings.TrimSpace(lines[i])
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + strings.TrimSpace(lines[i])
		}
		line = strings.TrimSpace(strings.TrimPrefix(line, "export "))
		name, value, ok := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case !ok || !isName(name):
			s.leave(at, clipped(line), "it is no NAME=value")
		default:
			s.env = append(s.env, variable{at, name, fromShell(unquote(value))})
		}
	}
	return s
}

// fromShell marks what only a shell would replace: systemd takes it as it is, but whoever wrote it did not mean that.
func fromShell(value string) string {
	if strings.Contains(value, "$(") || strings.Contains(value, "`") || strings.Contains(value, "${") {
		return unknownValue(value, "only a shell replaces what stands in it")
	}
	return value
}

// unquote takes quotes away wherever they stand, and in double ones the backslash.
func unquote(text string) string {
	var b strings.Builder
	quote := rune(0)
	escaped := false
	for _, r := range strings.TrimSpace(text) {
		switch {
		case escaped:
			b.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote == 0 && (r == '"' || r == '\''):
			quote = r
		case r == quote:
			quote = 0
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
