package config

import (
	"math"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1": 1, "512KiB": 512 << 10, "100MiB": 100 << 20, "1.5GiB": 3 << 29, "2GB": 2e9, "2gb": 2e9, "3 MB": 3e6,
		"7B": 7, "1kB": 1000, "9007199254740993": 9007199254740993, "9223372036854775807": math.MaxInt64, " 1TiB ": 1 << 40,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "x", "1XB", "1M", "0.5", "1e3", "1.2.3MiB", "9223372036854775808", "1MiB2", "٣MiB", "1__0", "+1", "0x10"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q was taken as %d", text, got)
		}
	}
}

func TestSizeString(t *testing.T) {
	for want, size := range map[string]Size{"0": 0, "1": 1, "1KiB": 1024, "2GiB": 2 << 30, "2GB": 2e9, "1500MiB": 1500 << 20, "1025": 1025, "1536KiB": 1536 << 10} {
		if got := size.String(); got != want {
			t.Errorf("%d: got %s, want %s", int64(size), got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "500ms": 500 * time.Millisecond, "1h30m": 90 * time.Minute, "7d": 7 * day, "1d12h": 36 * time.Hour, " 5s ": 5 * time.Second, "-1s": -time.Second,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: got %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "1.5", "d", "1.5d", "-1d", "1d-1h", "1dd", "200000d", "106751d24h", "1 s", "s", "1w"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q was taken as %s", text, got)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0": 0, "1m": time.Minute, "1h": time.Hour, "1d": day, "36h": 36 * time.Hour, "1m30s": 90 * time.Second, "500ms": 500 * time.Millisecond, "1h0m10s": time.Hour + 10*time.Second, "10m": 10 * time.Minute,
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%d: got %s, want %s", d, got, want)
		}
	}
}

func FuzzSize(f *testing.F) {
	for _, seed := range []string{"0", "100MiB", "1.5GiB", "2GB", "1M", "", "-1", "9223372036854775808", "1/3MiB", "1e9TiB", "0.0000000000000000000001TiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := ParseSize(text)
		if err != nil {
			return
		}
		if size < 0 {
			t.Fatalf("%q is %d", text, size)
		}
		if again, err := ParseSize(size.String()); err != nil || again != size {
			t.Fatalf("%q is %d, written %s, read again as %d, %v", text, size, size, again, err)
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"0", "500ms", "1h30m", "7d", "1d12h", "5", "", "-1s", "106751d23h47m16.854775807s", "1d-1h", "0d0s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDuration(text)
		if err != nil {
			return
		}
		if again, err := ParseDuration(FormatDuration(d)); err != nil || again != d {
			t.Fatalf("%q is %d, written %s, read again as %d, %v", text, d, FormatDuration(d), again, err)
		}
	})
}
