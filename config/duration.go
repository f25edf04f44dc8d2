package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// ParseDuration reads what time.ParseDuration reads, and days in front of it: "500ms", "1h30m", "7d", "1d12h".
// A number without unit is refused, except 0.
func ParseDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, errors.New("it is empty")
	}
	if text != "0" && strings.Trim(text, "0123456789.") == "" {
		return 0, unfit{"it has no unit", "write " + text + "s if seconds are meant; ms, s, m, h and d are known"}
	}
	days, rest, found := strings.Cut(text, "d")
	if !found {
		return parseClock(text)
	}
	n, err := strconv.ParseUint(days, 10, 32)
	if err != nil || n > uint64(math.MaxInt64/day) {
		return 0, errors.New("its number of days cannot be read")
	}
	if rest == "" {
		return time.Duration(n) * day, nil
	}
	clock, err := parseClock(rest)
	if err != nil {
		return 0, err
	}
	if clock < 0 || clock > math.MaxInt64-time.Duration(n)*day {
		return 0, errors.New("it is out of range")
	}
	return time.Duration(n)*day + clock, nil
}

func parseClock(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, errors.New("it is not a duration")
	}
	return d, nil
}

// FormatDuration writes d in the shortest form that ParseDuration reads again: "1m", "7d", "0".
func FormatDuration(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d > 0 && d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
