package flow

import (
	"errors"
	"fmt"
	"strings"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Faults are all things that stand against a plan: who mends one is not to meet the next only then.
type Faults []status.Fault

// Error tells them in one line.
func (f Faults) Error() string {
	if len(f) == 1 {
		return f[0].What
	}
	words := make([]string, len(f))
	for i := range f {
		words[i] = f[i].What
	}
	return fmt.Sprintf("%d things stand against it: %s", len(f), strings.Join(words, "; "))
}

// FaultsOf are the faults that an error stands for: one, unless it is made of several.
func FaultsOf(err error) Faults {
	if all, ok := errors.AsType[Faults](err); ok {
		return all
	}
	return Faults{{What: err.Error(), Remedy: RemedyOf(err)}}
}

// together makes one error of all that are not nil.
func together(errs ...error) error {
	var all Faults
	for _, err := range errs {
		if err != nil {
			all = append(all, FaultsOf(err)...)
		}
	}
	if all == nil {
		return nil
	}
	return all
}
