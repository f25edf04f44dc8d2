package logread

import (
	"testing"

	"go.uber.org/goleak"
)

// Reading needs no goroutine, following neither.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
