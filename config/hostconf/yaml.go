package hostconf

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/etcdsup/etcdsup/config"
)

// times are flags that etcd's file has in nanoseconds, while the flag wants a unit.
var times = []string{
	"backend-batch-interval", "corrupt-check-time", "compact-hash-check-time", "compaction-sleep-interval", "downgrade-check-time",
	"grpc-keepalive-interval", "grpc-keepalive-min-time", "grpc-keepalive-timeout", "warning-apply-duration",
	"warning-unary-request-duration", "watch-progress-notify-interval",
}

// renamed are keys of etcd's file that the flag has under another name.
var renamed = map[string]string{
	"client-transport-security.allowed-cn":                   "client-cert-allowed-cn",
	"client-transport-security.allowed-hostname":             "client-cert-allowed-hostname",
	"peer-transport-security.allowed-cn":                     "peer-cert-allowed-cn",
	"peer-transport-security.allowed-hostname":               "peer-cert-allowed-hostname",
	"peer-transport-security.skip-client-san-verification":   "peer-skip-client-san-verification",
	"client-transport-security.skip-client-san-verification": "",
	"client-transport-security.client-cert-file":             "client-cert-file",
	"client-transport-security.client-key-file":              "client-key-file",
}

var wholeNumber = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9]+$`) })

// readYAML reads etcd's own configuration file. Beside one etcd goes by no flags.
func readYAML(path string, text []byte) (*start, error) {
	entries, faults := config.ReadPlain(path, text)
	if len(faults) > 0 {
		return nil, faults
	}
	s := &start{}
	for _, e := range entries {
		s.takeEntry(path, e)
	}
	return s, nil
}

func (s *start) takeEntry(path string, e config.PlainEntry) {
	at := Place{path, e.Line}
	name, known := flagFor(e.Path)
	value := strings.Join(e.Values, ",")
	says := e.Path + ": " + config.Shown(argsPrefix+name, value)
	switch {
	case !known:
		s.leave(at, clipped(says), "no flag of etcd says the same")
	case value == "":
		s.leave(at, clipped(says), "it is empty, which etcd takes for not set")
	case slices.Contains(times, strings.TrimPrefix(name, "experimental-")) && wholeNumber().MatchString(value):
		s.flags = append(s.flags, flag{at, name, value + "ns", says, "the file has nanoseconds"})
	default:
		s.flags = append(s.flags, flag{at, name, value, says, ""})
	}
}

// flagFor is the flag that stands for a key of the file.
func flagFor(key string) (string, bool) {
	if name, ok := renamed[key]; ok {
		return name, name != ""
	}
	section, base, nested := strings.Cut(key, ".")
	switch {
	case !nested:
		return key, true
	case section == "client-transport-security":
		return base, true
	case section == "peer-transport-security":
		return "peer-" + base, true
	}
	return "", false
}
