package hostconf

import (
	"slices"
	"strings"

	"github.com/etcdsup/etcdsup/config"
)

// switches are etcd's flags from 3.2 on that have no value of their own in the next word.
var switches = []string{
	"auto-tls", "client-cert-auth", "debug", "discovery-insecure-skip-tls-verify", "discovery-insecure-transport",
	"enable-distributed-tracing", "enable-grpc-gateway", "enable-log-rotation", "enable-pprof", "enable-v2", "force-new-cluster",
	"h", "help", "initial-election-tick-advance", "memory-mlock", "peer-auto-tls", "peer-client-cert-auth",
	"peer-skip-client-san-verification", "pre-vote", "socket-reuse-address", "socket-reuse-port", "stop-grpc-service-on-defrag",
	"strict-reconfig-check", "txn-mode-write-with-shared-buffer", "unsafe-no-fsync", "version",
	"experimental-compact-hash-check-enabled", "experimental-enable-distributed-tracing", "experimental-enable-lease-checkpoint",
	"experimental-enable-lease-checkpoint-persist", "experimental-initial-corrupt-check", "experimental-memory-mlock",
	"experimental-peer-skip-client-san-verification", "experimental-stop-grpc-service-on-defrag",
	"experimental-txn-mode-write-with-shared-buffer",
}

// takeArgs reads the words after etcd's name as etcd itself does.
func (s *start) takeArgs(words []word) {
	for i := 0; i < len(words); i++ {
		w := words[i]
		name, value, joined := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(w.text, "-"), "-"), "=")
		switch {
		case len(w.text) < 2 || w.text[0] != '-' || w.text == "--":
			s.strayArgs(words[i:])
			return
		case hasUnknown(name):
			s.leave(w.Place, w.shown(), whyUnknown(w.text))
			continue
		case !joined && slices.Contains(switches, name):
			value = "true"
		case !joined && i+1 == len(words):
			s.leave(w.Place, w.shown(), "it has no value")
			continue
		case !joined:
			i++
			value = words[i].text
		}
		s.flags = append(s.flags, flag{w.Place, name, value, saysFlag(w, name, value, joined), ""})
	}
}

// strayArgs are words that etcd refuses, or that only the shell can tell.
func (s *start) strayArgs(words []word) {
	for i, w := range words {
		if hasUnknown(w.text) {
			s.leave(w.Place, w.shown(), whyUnknown(w.text))
			s.takeArgs(words[i+1:]) // it may stand for nothing, and what follows be flags again
			return
		}
		s.leave(w.Place, w.shown(), "it is no flag")
	}
}

func (w word) shown() string {
	if w.says != "" {
		return w.says
	}
	return readable(w.text)
}

// saysFlag is the flag as it would be typed, without what must not be shown.
func saysFlag(w word, name, value string, joined bool) string {
	shown := config.Shown(argsPrefix+name, readable(value))
	lead := w.text[:len(w.text)-len(strings.TrimLeft(w.text, "-"))] + name
	switch {
	case joined:
		return lead + "=" + shown
	case slices.Contains(switches, name):
		return lead
	}
	return lead + " " + shown
}
