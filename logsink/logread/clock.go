package logread

import (
	"strconv"
	"time"
)

// scanTime reads a date and a time of day at the start of b ("2006-01-02T15:04:05.999", with whatever
// separators are asked for) and, where one follows, a zone. It returns what is left of b; ok is false if b does
// not start so. It stands in for time.Parse because every line of a log passes through it.
func scanTime(b []byte, date, between byte, loc *time.Location) (t time.Time, rest []byte, ok bool) {
	const width = len("2006-01-02T15:04:05")
	if len(b) < width || b[4] != date || b[7] != date || b[10] != between || b[13] != ':' || b[16] != ':' {
		return time.Time{}, b, false
	}
	var v [6]int
	for i, at := range [...]int{0, 5, 8, 11, 14, 17} {
		n := 2
		if i == 0 {
			n = 4
		}
		if v[i], ok = digits(b[at : at+n]); !ok {
			return time.Time{}, b, false
		}
	}
	if v[1] < 1 || v[1] > 12 || v[2] < 1 || v[2] > 31 || v[3] > 23 || v[4] > 59 || v[5] > 60 {
		return time.Time{}, b, false
	}
	nano, rest := scanFraction(b[width:])
	if zone, after, found := scanZone(rest); found {
		loc, rest = zone, after
	}
	return time.Date(v[0], time.Month(v[1]), v[2], v[3], v[4], v[5], nano, loc), rest, true
}

func digits(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// scanFraction reads ".123456" as nanoseconds; digits beyond the ninth are ignored.
func scanFraction(b []byte) (nano int, rest []byte) {
	if len(b) < 2 || b[0] != '.' {
		return 0, b
	}
	i, unit := 1, int(time.Second)
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		unit /= 10
		nano += int(b[i]-'0') * unit
	}
	if i == 1 {
		return 0, b
	}
	return nano, b[i:]
}

// scanZone reads "Z", "+0100" or "+01:00".
func scanZone(b []byte) (loc *time.Location, rest []byte, ok bool) {
	if len(b) > 0 && b[0] == 'Z' {
		return time.UTC, b[1:], true
	}
	if len(b) < 5 || b[0] != '+' && b[0] != '-' {
		return nil, b, false
	}
	hour, minute := b[1:3], b[3:5]
	rest = b[5:]
	if b[3] == ':' && len(b) >= 6 {
		minute, rest = b[4:6], b[6:]
	}
	h, hok := digits(hour)
	m, mok := digits(minute)
	if !hok || !mok || h > 23 || m > 59 {
		return nil, b, false
	}
	offset := h*3600 + m*60
	if b[0] == '-' {
		offset = -offset
	}
	if offset == 0 {
		return time.UTC, rest, true
	}
	return time.FixedZone("", offset), rest, true
}

// jsonTime reads the value of "ts": zap's ISO 8601 text, or its seconds since 1970 as a number.
func jsonTime(raw []byte) (time.Time, bool) {
	if len(raw) > 2 && raw[0] == '"' {
		text := raw[1 : len(raw)-1]
		t, rest, ok := scanTime(text, '-', 'T', time.UTC)
		return t, ok && len(rest) == 0
	}
	sec, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || sec < 0 || sec > 1e11 {
		return time.Time{}, false
	}
	return time.UnixMicro(int64(sec * 1e6)).UTC(), true
}
