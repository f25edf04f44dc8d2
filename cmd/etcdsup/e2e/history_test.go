package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// readHistory reads the file itself, with or without a daemon.
func readHistory(t *testing.T, in *instance) (events []status.Event) {
	t.Helper()
	if _, err := os.Stat(in.dir + "/state/history.jsonl"); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	eachFileLine(t, in.dir+"/state/history.jsonl", func(line []byte, whole bool) {
		var e status.Event
		if err := json.Unmarshal(line, &e); err != nil || !whole {
			t.Errorf("line of the history %q: %v", line, err)
		}
		events = append(events, e)
	})
	return events
}

// awaitRecorded waits until record and history know the etcd: both are written beside what happens, not before it.
func (in *instance) awaitRecorded(pid int) {
	in.t.Helper()
	await(in.t, "the record knows it", patience, func() bool {
		return strings.Contains(readAll(in.dir+"/state/record.json"), fmt.Sprintf(`"pid": %d,`, pid)) && len(readHistory(in.t, in)) >= 2
	})
}
