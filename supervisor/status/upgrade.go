package status

import (
	"fmt"
	"time"
)

// UpgradeOutcome is what an upgrade of etcdsup has come to.
type UpgradeOutcome string

// The outcomes.
const (
	UpgradeRunning  UpgradeOutcome = "running"   // the new etcdsup has yet to say that it supervises
	UpgradeDone     UpgradeOutcome = "done"      // it does
	UpgradeCameBack UpgradeOutcome = "came-back" // it did not, and the old one is back, see Why
)

// Upgrade is one replacement of the running etcdsup by another executable, in the same process.
type Upgrade struct {
	ID      string         `json:"id"`
	From    string         `json:"from"`         // version that was replaced
	To      string         `json:"to,omitempty"` // version that the new executable says it is
	Binary  string         `json:"binary"`       // path of the new executable when it was asked for
	Began   time.Time      `json:"began"`
	Outcome UpgradeOutcome `json:"outcome"`
	Why     string         `json:"why,omitempty"`    // came-back: one sentence
	Gap     time.Duration  `json:"gap_ns,omitempty"` // for how long nobody read etcd's output
	Told    bool           `json:"told,omitempty"`   // what it came to stands in the history
}

// String is what an upgrade has come to, as one sentence.
func (u *Upgrade) String() string {
	switch u.Outcome {
	case UpgradeDone:
		return fmt.Sprintf("etcdsup %s was replaced by %s", u.From, u.To)
	case UpgradeCameBack:
		return fmt.Sprintf("etcdsup %s goes on, the upgrade to %s failed: %s", u.From, u.To, u.Why)
	}
	return fmt.Sprintf("etcdsup %s is being replaced by %s", u.From, u.To)
}
