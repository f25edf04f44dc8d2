// Package install puts etcdsup on a host as a service, and takes it off again. A Plan is made first: what would be
// changed, and everything that stands against it, all at once; nothing is touched until it is carried out. It is the one
// place that knows service managers.
package install

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// The usual places. The unit's environment has etcdsup look for its files there whoever it runs as.
const (
	ConfigDir = "/etc/etcdsup"
	StateDir  = "/var/lib/etcdsup"
)

// DefaultUser is as whom etcd runs where nobody says otherwise.
const DefaultUser = "etcd"

// Service is what is to be installed.
type Service struct {
	Instance string // name among several etcds of the host
	Binary   string // absolute path of the etcdsup that is to run
	User     string // as whom; empty: as it is installed already, or else DefaultUser
	Config   string // a file to be put in the configuration's place; empty: what is there stays
	Start    bool   // it is to start at once: what stands against that is a fault, and otherwise only to be known

	// Homes lets the service see the folders of people, where what it needs is: data under /home is there to stay. Once
	// said, it holds for later installations too.
	Homes bool

	// Own gives the PID of the instance's etcd, 0 where none lives: it has its ports by right. nil: nobody knows.
	Own func(*config.Config) int
	// Yields tells of a process that has a port whether it will be gone before the service starts. nil: none will.
	Yields func(pid int) bool
}

// ConfigFile is where the configuration of the service is.
func (s Service) ConfigFile() string { return filepath.Join(ConfigDir, s.Instance+".yaml") }

// BaseDir is the folder that the service has for itself, whatever its configuration says.
func (s Service) BaseDir() string { return filepath.Join(StateDir, s.Instance) }

// Environment is that of the service, as far as etcdsup reads it.
func Environment() []string { return []string{"XDG_CONFIG_HOME=/etc", "XDG_STATE_HOME=/var/lib"} }

// Change is one thing that is done to the host.
type Change struct {
	What string `json:"what"`           // such as "write /etc/etcdsup/default.yaml"
	Diff string `json:"diff,omitempty"` // between the file that is there and the one that will be
	New  bool   `json:"new,omitempty"`  // nothing was there before
	Kept string `json:"kept,omitempty"` // where the file that gives way is kept

	do func(context.Context) error
}

// Plan is what installing or removing a service comes to on this host. Without Changes everything is as it should be.
type Plan struct {
	Manager  string         `json:"manager"` // such as "systemd"
	Service  string         `json:"service"` // its name there, such as "etcdsup@events.service"
	User     string         `json:"user"`
	Active   bool           `json:"active"` // it runs already, by what was there before
	Changes  []Change       `json:"changes"`
	Faults   []status.Fault `json:"faults,omitempty"`   // why it must not be done
	Warnings []status.Fault `json:"warnings,omitempty"` // worth knowing
	Notes    []string       `json:"notes,omitempty"`    // what was left alone, and what this manager cannot give

	Problems config.Problems `json:"problems,omitempty"` // those faults that are the configuration's, with line and remedy
	Config   *config.Config  `json:"-"`                  // as the service will see it; nil where it cannot be read

	manager manager
}

// manager is one kind of service manager on this host.
type manager interface {
	title() string               // such as "systemd"
	name(instance string) string // of the service
	installedUser(instance string) string
	instances() []string            // that are installed
	plan(context.Context, *planner) // adds what the manager's own files need
	planRemoval(context.Context, *Plan, string)
	start(ctx context.Context, name string) error
	isActive(ctx context.Context, name string) bool
	isEnabled(ctx context.Context, name string) bool // whether it starts at boot
	owns(pid int, name string) bool                  // whether the process is the service's
}

// planner is a Plan that is being made.
type planner struct {
	Plan
	Service
	account account
	folders folders
	renewed bool // the configuration will be another one than the service has read
}

// Standing is the service of an instance where it runs, or starts at boot; empty: neither, though its files may be there.
func Standing(ctx context.Context, instance string) (service string, err error) {
	m, err := detect()
	if err != nil {
		return "", err
	}
	if name := m.name(instance); m.isActive(ctx, name) || m.isEnabled(ctx, name) {
		return name, nil
	}
	return "", nil
}

// ErrNoManager says that the host has no service manager that could be installed into.
var ErrNoManager = errors.New("no service manager runs here")

// Prepare finds out what installing the service would change, and what stands against it. An error is for what could not
// be found out; the faults of the host and of the configuration are in the Plan.
func Prepare(ctx context.Context, s Service) (*Plan, error) {
	m, err := detect()
	if err != nil {
		return nil, err
	}
	p := &planner{Service: s}
	p.Plan = Plan{Manager: m.title(), Service: m.name(s.Instance), Changes: []Change{}, manager: m}
	if p.Service.User == "" {
		p.Service.User = firstOf(m.installedUser(s.Instance), DefaultUser)
	}
	p.Plan.User = p.Service.User
	p.planAccount()
	if err := p.planConfig(ctx); err != nil {
		return nil, err
	}
	p.planFolders()
	p.checkBinary()
	p.checkPorts()
	m.plan(ctx, p)
	if p.Active = m.isActive(ctx, p.Plan.Service); p.Active && p.renewed {
		p.note("%s runs, and goes on by the configuration that it has read: %s has it read this one, and names what waits for a restart of etcd",
			p.Plan.Service, p.command("reload"))
	}
	return &p.Plan, nil
}

// command is how one types a verb for the installed service.
func (s Service) command(verb string) string {
	if s.Instance == config.DefaultInstance {
		return "etcdsup " + verb
	}
	return "etcdsup -i " + s.Instance + " " + verb
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// Apply makes the changes, in order. Where it fails or is interrupted, what was done stays, and is found done by the next
// Prepare. told hears of each change that was made; nil: nobody.
func (p *Plan) Apply(ctx context.Context, told func(Change)) error {
	if n := len(p.Faults) + len(p.Problems); n > 0 {
		return fmt.Errorf("cannot change the host: %d things stand against it", n)
	}
	for _, c := range p.Changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.do(context.WithoutCancel(ctx)); err != nil { // half a change is worse than a late end
			return fmt.Errorf("cannot %s: %w", c.What, err)
		}
		if told != nil {
			told(c)
		}
	}
	return nil
}

// Start starts the service and waits until the manager takes it for started. One that runs is left alone.
func (p *Plan) Start(ctx context.Context) error { return p.manager.start(ctx, p.Service) }

// IsActive tells whether the service runs.
func (p *Plan) IsActive(ctx context.Context) bool { return p.manager.isActive(ctx, p.Service) }

// Owns tells whether a process is the service's.
func (p *Plan) Owns(pid int) bool { return p.manager.owns(pid, p.Service) }

func (p *Plan) change(c Change) { p.Changes = append(p.Changes, c) }

func (p *Plan) fault(remedy, format string, args ...any) {
	p.Faults = append(p.Faults, status.Fault{What: fmt.Sprintf(format, args...), Remedy: remedy})
}

func (p *Plan) warn(remedy, format string, args ...any) {
	p.Warnings = append(p.Warnings, status.Fault{What: fmt.Sprintf(format, args...), Remedy: remedy})
}

func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}
