package logread

import (
	"regexp"
	"testing"
	"time"
)

func TestMatcherAgreesWithRegexp(t *testing.T) {
	lines := []string{
		"", "leader", "LEADER changed", "lost leader", "elected", "Kelvin \u212a sign", "long \u017f", "took too long: 1.5s", "a.b", "ab", "aXb", "aab",
		"rejected connection", "slow fdatasync", `"error":"x"`, "\xff\xfe", "KS", "skip", "ſkip", "panic: x", "foo bar", "foobar", "bazqux",
	}
	patterns := []string{
		"leader", "(?i)leader", "leader|elected", "(?i)k", "(?i)ks", "(?i)skip", "too long: [0-9.]+s", "a.b", `a\.b`, "a+b", "^leader$", "(foo|baz)(bar|qux)", "x*", "[lr]eader",
		"(?i)slow|fast|fd", "panic|fatal|error|warn|info|debug|trace", "(lost )?leader", "(?:reject){1,2}ed", "", "$", `"error":"[^"]+"`, "(?i)panic: x", "(?i)el(ect|ev)ed",
	}
	for _, p := range patterns {
		re := regexp.MustCompile(p)
		m := newMatcher(re)
		for _, line := range lines {
			if got, want := m.match([]byte(line)), re.MatchString(line); got != want {
				t.Errorf("%q in %q: %v, want %v (words %+v)", p, line, got, want, m.words)
			}
		}
	}
	if m := newMatcher(regexp.MustCompile("took .* long")); len(m.words) == 0 {
		t.Error("no short cut is taken")
	}
}

func FuzzMatcher(f *testing.F) {
	f.Add("(?i)ab|c+d", "xxABcd")
	f.Add("a(b|c)?d{2,}", "acdd")
	f.Fuzz(func(t *testing.T, pattern, line string) {
		re, err := regexp.Compile(pattern)
		if err != nil || len(pattern) > 200 {
			return
		}
		if got, want := newMatcher(re).match([]byte(line)), re.MatchString(line); got != want {
			t.Errorf("%q in %q: %v, want %v", pattern, line, got, want)
		}
	})
}

func TestParseWhen(t *testing.T) {
	zone := time.FixedZone("", 3600)
	now := time.Date(2026, 11, 22, 10, 30, 0, 0, zone)
	tests := map[string]string{
		"10m":                       "2026-11-22T10:20:00+01:00",
		"-10m":                      "2026-11-22T10:20:00+01:00",
		"2h ago":                    "2026-11-22T08:30:00+01:00",
		"3d":                        "2026-11-19T10:30:00+01:00",
		"1w1d1h30m":                 "2026-11-14T09:00:00+01:00",
		"10:11":                     "2026-11-22T10:11:00+01:00",
		"10:11:12.5":                "2026-11-22T10:11:12.5+01:00",
		"23:59":                     "2026-11-21T23:59:00+01:00", // not in the future
		"2026-11-20":                "2026-11-20T00:00:00+01:00",
		"2026-11-20 10:11":          "2026-11-20T10:11:00+01:00",
		"2026-11-20 10:11:12":       "2026-11-20T10:11:12+01:00",
		"2026-11-20T10:11:12":       "2026-11-20T10:11:12+01:00",
		"2026-11-20T10:11:12.123Z":  "2026-11-20T10:11:12.123Z",
		"2026-11-20T10:11:12+0200":  "2026-11-20T10:11:12+02:00",
		"2026-11-20T10:11:12+02:00": "2026-11-20T10:11:12+02:00",
	}
	for text, want := range tests {
		got, err := ParseWhen(text, now)
		if err != nil || !got.Equal(at(want)) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "10", "x", "-", "99999999d", "5x", "2026-13-01", "25:00", "ago", "1h-30m", "3d-1h"} {
		if got, err := ParseWhen(text, now); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestParseLevel(t *testing.T) {
	for text, want := range map[string]Level{"warn": LevelWarn, "WARNING": LevelWarn, "Err": LevelError, "critical": LevelFatal, "notice": LevelInfo, "trace": LevelDebug, "dpanic": LevelDPanic} {
		if got, err := ParseLevel(text); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, name := range Levels() {
		if l, err := ParseLevel(name); err != nil || l.String() != name {
			t.Errorf("%q: %v, %v", name, l, err)
		}
	}
	if _, err := ParseLevel("loud"); err == nil {
		t.Error("a level named loud")
	}
}
