package main

import (
	"testing"
	"time"
)

func TestHumanDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 5 * time.Microsecond: "<1ms", 340 * time.Millisecond: "340ms", 2500 * time.Millisecond: "2.5s", 2 * time.Second: "2s",
		12*time.Second + 400*time.Millisecond: "12s", 59*time.Second + 600*time.Millisecond: "1m00s", 192 * time.Second: "3m12s",
		5*time.Hour + 7*time.Minute: "5h07m", 291 * time.Hour: "12d3h", -time.Minute: "-1m00s",
	} {
		if got := humanDuration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestHumanSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1288490189: "1.2 GiB", 340 << 20: "340 MiB", 1<<20 - 1: "1.0 MiB",
		1<<63 - 1: "8.0 EiB", -2048: "-2.0 KiB", 10188: "9.9 KiB", 10200: "10 KiB",
	} {
		if got := humanSize(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestHumanTime(t *testing.T) {
	now := at(0)
	for text, when := range map[string]time.Time{
		"never": {}, "11:59:00": at(-1), "2026-02-28 12:00:00": at(-60 * 24),
	} {
		if got := humanTime(when, now); got != text {
			t.Errorf("%v: %q, want %q", when, got, text)
		}
	}
}

func TestPercent(t *testing.T) {
	if got := percent(999, 1000) + percent(1, 0) + percent(1<<62, 1<<62); got != "99 %?100 %" {
		t.Error(got)
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[2Jb\tc\nd é"); got != "a?[2Jb\tc?d é" {
		t.Errorf("%q", got)
	}
}
