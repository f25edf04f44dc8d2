package config

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestNames compares what is said of names with patterns that say the same.
func TestNames(t *testing.T) {
	alphabet := rapid.StringOfN(rapid.SampledFrom([]rune("aZ09_.-/ \n\x00é€")), 0, 4, -1)
	for _, c := range []struct {
		pattern string
		is      func(string) bool
	}{
		{`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`, IsInstanceName},
		{`^[A-Za-z0-9][A-Za-z0-9_.-]*$`, isFlagName},
		{`^[A-Za-z_][A-Za-z0-9_]*$`, isVariableName},
	} {
		re := regexp.MustCompile(c.pattern)
		for _, text := range []string{"", strings.Repeat("a", 64), strings.Repeat("a", 65), "a\n", "\n"} {
			if got := c.is(text); got != re.MatchString(text) {
				t.Errorf("%q: %v, but %s says otherwise", text, got, c.pattern)
			}
		}
		rapid.Check(t, func(t *rapid.T) {
			text := alphabet.Draw(t, "text")
			if got := c.is(text); got != re.MatchString(text) {
				t.Fatalf("%q: %v, but %s says otherwise", text, got, c.pattern)
			}
		})
	}
}
