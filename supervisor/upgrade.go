package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// UpgradePath is where the last upgrade of etcdsup is written down in an instance's state folder.
func UpgradePath(stateDir string) string { return filepath.Join(stateDir, "upgrade.json") }

// SaveUpgrade writes down how far an upgrade is.
func SaveUpgrade(stateDir string, u *status.Upgrade) error {
	data, err := json.MarshalIndent(u, "", "  ")
	if err == nil {
		err = replaceFile(UpgradePath(stateDir), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("cannot write down the upgrade in %s: %w", UpgradePath(stateDir), err)
	}
	return nil
}

// PeekUpgrade reads the last upgrade; nil: there was none, or nothing that can be understood.
func PeekUpgrade(stateDir string) *status.Upgrade {
	data, err := os.ReadFile(UpgradePath(stateDir))
	u := new(status.Upgrade)
	if err != nil || json.Unmarshal(data, u) != nil || u.ID == "" {
		return nil
	}
	return u
}

// Formats are the forms of what lies in a state folder, by name: what this program writes, and the newest that it reads.
// One that reads less than another one writes cannot take over from it.
func Formats() map[string]int {
	return map[string]int{"record": recordVersion, "history": historyVersion, "mark": markVersion}
}

// Readable is nil where this program understands the record of a state folder. One that is missing is fine.
func Readable(stateDir string) error {
	data, err := os.ReadFile(RecordPath(stateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = parseRecord(data)
	}
	if err != nil {
		return fmt.Errorf("cannot read record %s: %w", RecordPath(stateDir), err)
	}
	return nil
}

// beforeUpgrade is the copy of a file that an etcdsup makes before it lets another one have the state: that one may write
// a form of it which nobody else can read, and then not be fit to run.
func beforeUpgrade(path string) string { return path + ".before-upgrade" }

// keptFiles are those that are read by one who comes back. The history is read line by line, and loses nothing.
func keptFiles(stateDir string) []string { return []string{RecordPath(stateDir), MarkPath(stateDir)} }

// KeepState copies what an etcdsup needs that has to come back after a failed upgrade.
func KeepState(stateDir string) error {
	for _, path := range keptFiles(stateDir) {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = replaceFile(beforeUpgrade(path), data)
		}
		if err != nil {
			return fmt.Errorf("cannot keep a copy of %s: %w", path, err)
		}
	}
	return nil
}

// DropState removes the copies that KeepState made: whoever runs now reads what lies there, and the copies grow old.
func DropState(stateDir string) {
	for _, path := range keptFiles(stateDir) {
		_ = os.Remove(beforeUpgrade(path)) // it is not there nearly always
	}
}
