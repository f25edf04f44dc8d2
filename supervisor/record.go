package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// recordVersion is the format that this program writes. A reader accepts every version up to its own.
const recordVersion = 1

// Record is what one etcdsup leaves to the next: what was asked for, which process runs, how the restart budget
// stands. It is facts to be checked, never to be trusted: a process is taken over only after its identity was verified.
type Record struct {
	Version int         `json:"version"`
	Token   string      `json:"token"` // marks this instance's processes in their environment
	Goal    status.Goal `json:"goal"`
	Left    bool        `json:"left,omitempty"`    // etcdsup was told to end, and stopped etcd: the next start is asked for
	Command string      `json:"command,omitempty"` // how a user types a command for this instance, up to the verb
	Run     *Run        `json:"run,omitempty"`     // nil when none was alive

	Count     int             `json:"restart_count"`
	Streak    int             `json:"streak"`
	LastDelay time.Duration   `json:"last_delay_ns"`
	Starts    []time.Duration `json:"starts_ns"` // boot clock of BootID
	BootID    string          `json:"boot_id"`
	SavedAt   time.Duration   `json:"saved_at_ns"` // boot clock of BootID
}

// Run is the etcd that was alive when the record was written.
type Run struct {
	ID      process.ID `json:"id"`
	Started time.Time  `json:"started"`
	Ready   bool       `json:"ready"`
	Binary  string     `json:"binary"`
	Metrics string     `json:"metrics,omitempty"` // URL that answers health before quorum
	Cgroup  string     `json:"cgroup,omitempty"`
	Args    []string   `json:"args,omitempty"`
	LogFrom uint64     `json:"log_from,omitempty"` // where its output begins in the log, see Output.Position
}

// loadRecord reads the record at path. A missing one is a fresh record; one that cannot be understood is set
// aside under a new name, never deleted and never trusted, and aside tells where it is now.
func loadRecord(path string) (r Record, aside string, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, "", nil
	}
	var parseErr error
	if err == nil {
		r, parseErr = parseRecord(data)
	} else {
		parseErr = err // a folder of that name, a bad sector: no better than garbage
	}
	if parseErr == nil {
		return r, "", nil
	}
	aside, err = setAside(path)
	if err != nil {
		return Record{}, "", fmt.Errorf("cannot set aside unreadable record %s (%w): %w", path, parseErr, err)
	}
	if data, err := os.ReadFile(beforeUpgrade(path)); err == nil { // it was another etcdsup that wrote what we cannot read
		r, _ = parseRecord(data)
	}
	return r, aside, nil
}

// PeekRecord reads the record of a state folder without touching it; ok is false where there is none to go by.
func PeekRecord(stateDir string) (r Record, ok bool) {
	data, err := os.ReadFile(RecordPath(stateDir))
	if err != nil {
		return Record{}, false
	}
	r, err = parseRecord(data)
	return r, err == nil
}

// parseRecord accepts only what can be acted on.
func parseRecord(data []byte) (Record, error) {
	var form struct{ Version int } // first: nobody knows what the rest is in another one
	if err := json.Unmarshal(data, &form); err != nil {
		return Record{}, err
	}
	if form.Version < 1 || form.Version > recordVersion {
		return Record{}, fmt.Errorf("its version %d is not between 1 and %d, which this etcdsup reads", form.Version, recordVersion)
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, err
	}
	switch {
	case r.Goal != status.GoalUp && r.Goal != status.GoalDown:
		return Record{}, fmt.Errorf("goal %q is neither up nor down", r.Goal)
	case r.Run != nil && r.Run.ID.PID <= 1:
		return Record{}, fmt.Errorf("pid %d cannot be an etcd", r.Run.ID.PID)
	case r.Streak < 0 || r.LastDelay < 0 || r.Count < 0:
		return Record{}, errors.New("negative restart figures")
	}
	for i := 1; i < len(r.Starts); i++ {
		if r.Starts[i] < r.Starts[i-1] {
			return Record{}, errors.New("starts are out of order")
		}
	}
	if n := len(r.Starts); n > 0 && r.Starts[n-1] > r.SavedAt {
		return Record{}, errors.New("starts lie after the time at which they were saved")
	}
	return r, nil
}

// budgetAt is the restart budget that the record holds, on the boot clock of the present boot.
func (r Record) budgetAt(bootID string, now time.Duration) budget {
	b := budget{starts: r.Starts, streak: r.Streak, lastDelay: r.LastDelay}
	if r.BootID != bootID || r.SavedAt > now {
		return b.rebased(r.SavedAt, now)
	}
	return b
}

// setAside renames a file that cannot be understood to a name that nobody has yet.
func setAside(path string) (string, error) { return setAsideAs(path, "unreadable") }

// setAsideAs renames a file that gives way, for the reason that word names.
func setAsideAs(path, word string) (string, error) {
	stem := path + "." + word + "-" + time.Now().UTC().Format("20060102T150405Z")
	for n := 0; ; n++ {
		to := fmt.Sprintf("%s.%d", stem, n)
		// A rename that does not overwrite needs no room on a full disk, and moves a folder too.
		err := unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system that cannot
			if err = os.Link(path, to); err == nil {
				err = os.Remove(path)
			}
		}
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		return to, err
	}
}

// saveRecord replaces the record at path: written whole beside it, synced, renamed, the folder synced.
func saveRecord(path string, r Record) error {
	r.Version = recordVersion
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode record: %w", err)
	}
	if err := replaceFile(path, append(data, '\n')); err != nil {
		return fmt.Errorf("cannot save record %s: %w", path, err)
	}
	return nil
}

func replaceFile(path string, data []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
