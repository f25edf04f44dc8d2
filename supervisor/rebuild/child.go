package rebuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"syscall"
)

// Name is the name, argv[0], under which this executable does the work of an [Apart].
const Name = "etcdsup-rebuild"

// order is what the child is told, as its one argument.
type order struct {
	Work    string  `json:"work"`
	Source  string  `json:"source"`
	Dst     string  `json:"dst,omitempty"`
	WALDir  string  `json:"wal_dir,omitempty"`
	Options Options `json:"options"`
}

// report is one line of what the child says on its standard output: how far it is, or, last, how it ended.
type report struct {
	Doing  string          `json:"doing,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Failed *failure        `json:"failed,omitempty"`
}

// works are what a child can do. Each is given to tell how far it is.
var works = map[string]func(o order, tell func(string)) (any, error){
	"restore": func(o order, tell func(string)) (any, error) {
		o.Options.Tell = tell
		return Restore(context.Background(), o.Source, o.Dst, o.Options)
	},
	"keep-entries": func(o order, _ func(string)) (any, error) {
		return KeepEntries(o.Source, o.WALDir)
	},
}

// Enter is main for the child, called under [Name]. It does not return. What etcd's modules panic about in goroutines of
// their own ends the child, and is read from what Go prints then.
func Enter(args []string) {
	debug.SetTraceback("single")
	var o order
	if len(args) != 2 || json.Unmarshal([]byte(args[1]), &o) != nil || works[o.Work] == nil {
		fmt.Fprintf(os.Stderr, "cannot rebuild: %s is for etcdsup's own use\n", Name)
		os.Exit(2)
	}
	res, err := works[o.Work](o, func(doing string) { _ = say(report{Doing: doing}) }) // the end tells
	r := report{}
	if err == nil {
		r.Result, err = json.Marshal(res)
	}
	if err != nil {
		r = report{Failed: encodeFailure(err)}
	}
	if say(r) != nil {
		os.Exit(1) // nobody listens
	}
	os.Exit(0)
}

func say(r report) error {
	b, err := json.Marshal(r)
	if err == nil {
		_, err = os.Stdout.Write(append(b, '\n'))
	}
	return err
}

// kinds are the errors that a caller may ask for.
var kinds = map[string]error{"in-use": ErrInUse, "damaged": ErrDamaged, "removed": ErrRemoved, "exists": fs.ErrExist, "missing": fs.ErrNotExist}

// failure is an error on its way from the child. Its kinds stay beside the words, for errors.Is.
type failure struct {
	Text  string        `json:"text"`
	Kinds []string      `json:"kinds,omitempty"`
	Errno syscall.Errno `json:"errno,omitempty"`
}

func encodeFailure(err error) *failure {
	f := &failure{Text: err.Error()}
	for name, kind := range kinds {
		if errors.Is(err, kind) {
			f.Kinds = append(f.Kinds, name)
		}
	}
	_ = errors.As(err, &f.Errno) // 0 where there is none
	return f
}

// Error is the child's error in its words.
func (f *failure) Error() string { return f.Text }

// Unwrap are the errors that it wraps as far as they can be known.
func (f *failure) Unwrap() []error {
	var all []error
	for _, name := range f.Kinds {
		if kind := kinds[name]; kind != nil {
			all = append(all, kind)
		}
	}
	if f.Errno != 0 {
		all = append(all, f.Errno)
	}
	return all
}
