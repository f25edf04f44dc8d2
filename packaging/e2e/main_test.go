package e2e

import (
	"os"
	"testing"

	"github.com/etcdsup/etcdsup/packaging/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m, "daemontools")) }

// times is how often something is repeated: a few times, many with ETCDSUP_LONG=1, and with ETCDSUP_LONG=ci a tenth of many.
func times(short, long int) int {
	switch os.Getenv("ETCDSUP_LONG") {
	case "1":
		return long
	case "ci":
		return max(short, long/10)
	}
	return short
}
