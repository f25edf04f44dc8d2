package main

import (
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/logsink/logread"
)

// telling is what the most telling of an etcd's last lines says: the last of the gravest ones, from error upwards.
// The word is in the field error where there is one: etcd's last message is "discovery failed" for nearly everything.
// at is its place among the lines.
func telling(lines []string) (says string, at int) {
	var best logread.Entry
	for i, l := range lines {
		e := logread.Parse([]byte(l), time.UTC)
		switch {
		case e.Kind == logread.KindText && best.Level < logread.LevelFatal:
			// A flag that etcd refuses: said before there is a logger, and followed by its whole usage.
			if best.Kind != logread.KindText {
				best, at = e, i
			}
		case e.Kind != logread.KindMore && e.Level >= logread.LevelError && e.Level >= best.Level && !routine(e) && !repeats(e, best):
			best, at = e, i
		}
	}
	return sentence(best), at
}

// routine tells the error that etcd logs at each orderly stop.
func routine(e logread.Entry) bool { return e.Msg == "setting up serving from embedded etcd failed." }

// repeats tells the runtime's line of a panic that etcd has logged with its cause.
func repeats(e, logged logread.Entry) bool {
	return logged.Msg != "" && strings.HasPrefix(e.Msg, "panic: ") && strings.TrimPrefix(e.Msg, "panic: ") == logged.Msg
}

func sentence(e logread.Entry) string {
	for _, f := range e.Fields {
		if f.Key == "error" && f.Value != "" {
			return f.Value
		}
	}
	return e.Msg
}
