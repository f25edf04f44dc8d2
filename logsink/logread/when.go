package logread

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// stamps are the forms of a point in time that name the day.
var stamps = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04",
	"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02",
}

// ParseWhen reads a point in time: how long ago ("10m", "1h30m", "3d", "2w"), a time of day ("10:11",
// "10:11:12"; the latest one that is not in the future), or a timestamp ("2026-11-22 10:11", RFC 3339). What
// names no zone is in that of now.
func ParseWhen(s string, now time.Time) (time.Time, error) {
	s = strings.TrimSpace(s)
	if ago, ok := parseAgo(strings.TrimSuffix(s, " ago")); ok {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{"15:04:05.999999999", "15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			return latest(t, now), nil
		}
	}
	for _, layout := range stamps {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("cannot read time %q: neither how long ago (10m, 2h, 3d) nor a time (10:11, 2026-11-22 10:11, 2026-11-22T10:11:12Z)", s)
}

// latest is the time of day today, or yesterday if today it is still to come.
func latest(clock, now time.Time) time.Time {
	for _, day := range []int{now.Day(), now.Day() - 1} {
		t := time.Date(now.Year(), now.Month(), day, clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), now.Location())
		if !t.After(now) {
			return t
		}
	}
	return now
}

// maxDays is about how long a Duration can be.
const maxDays = 36500

// parseAgo reads a duration that may begin with weeks and days.
func parseAgo(s string) (total time.Duration, ok bool) {
	s = strings.TrimPrefix(s, "-")
	for _, unit := range []struct {
		name  string
		hours int
	}{{"w", 7 * 24}, {"d", 24}} {
		number, rest, found := strings.Cut(s, unit.name)
		if !found {
			continue
		}
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || n > maxDays*24/unit.hours {
			return 0, false
		}
		total += time.Duration(n*unit.hours) * time.Hour
		if s = rest; s == "" {
			return total, true
		}
	}
	d, err := time.ParseDuration(s)
	return total + d, err == nil && d >= 0 && s != ""
}
