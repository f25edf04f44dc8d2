package install

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/packaging"
)

// PrepareRemoval finds out what taking the service of an instance off the host comes to. Configuration, data, logs and the
// user stay. Without Changes there is no such service.
func PrepareRemoval(ctx context.Context, instance string) (*Plan, error) {
	m, err := detect()
	if err != nil {
		return nil, err
	}
	p := &Plan{Manager: m.title(), Service: m.name(instance), User: firstOf(m.installedUser(instance), DefaultUser), Changes: []Change{}, manager: m}
	m.planRemoval(ctx, p, instance)
	return p, nil
}

func (m systemd) planRemoval(ctx context.Context, p *Plan, _ string) {
	name := p.Service
	if m.isActive(ctx, name) {
		p.change(Change{What: "stop " + name + ", and etcd with it", do: func(ctx context.Context) error { return systemctl(ctx, "stop", name) }})
	}
	if m.isEnabled(ctx, name) {
		p.change(Change{What: "disable " + name, do: func(ctx context.Context) error {
			if err := systemctl(ctx, "disable", name); err != nil {
				return err
			}
			return m.syncWants(name)
		}})
	}
	before := len(p.Changes)
	m.planDropInRemoval(p, m.dropInPath(name))
	m.planUnitRemoval(p)
	if len(p.Changes) > before {
		p.change(Change{What: "have systemd read its units again", do: func(ctx context.Context) error { return systemctl(ctx, "daemon-reload") }})
	}
	if m.property(ctx, name, "ActiveState") == "failed" || len(p.Changes) > 0 {
		p.change(Change{What: "have systemd forget how " + name + " has ended", do: func(ctx context.Context) error {
			_ = systemctl(ctx, "reset-failed", name) // it knows no such unit any longer where it had not failed
			return nil
		}})
	}
	for _, path := range m.dropIns(name) {
		if path != m.dropInPath(name) {
			p.note("the drop-in %s stays", path)
		}
	}
}

func (m systemd) planUnitRemoval(p *Plan) {
	path := filepath.Join(m.dir, fileName(p.Service))
	if others := m.others(p.Service); fileName(p.Service) != p.Service && len(others) > 0 {
		p.note("%s stays: it is also the unit of %s", path, strings.Join(others, ", "))
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		if _, from := m.read(fileName(p.Service)); from != "" {
			p.note("%s stays: it is the package's", from)
		}
		return
	}
	p.change(removal(path, isPlain(string(text), p.Service)))
}

// isPlain tells whether a unit is what we would write: then nothing is lost with it.
func isPlain(text, name string) bool {
	u := packaging.Unit{Template: fileName(name) != name, User: setting(text, "User"), Group: setting(text, "Group")}
	u.Binary = binaryOf(text)
	return text == u.Text()
}

func binaryOf(text string) string {
	path, _, _ := strings.Cut(setting(text, "ExecStart"), " ")
	return path
}

func (m systemd) planDropInRemoval(p *Plan, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	c := removal(path, isOurs(string(text)))
	do := c.do
	c.do = func(ctx context.Context) error {
		if err := do(ctx); err != nil {
			return err
		}
		_ = os.Remove(filepath.Dir(path)) // as long as others' drop-ins are in it, it stays
		return syncDir(filepath.Dir(filepath.Dir(path)))
	}
	p.change(c)
}

// removal takes a file away: one that can be made again is deleted, any other is kept under another name.
func removal(path string, plain bool) Change {
	if plain {
		return Change{What: "remove " + path, do: func(context.Context) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return syncDir(filepath.Dir(path))
		}}
	}
	kept := asideName(filepath.Dir(path), filepath.Base(path), time.Now())
	return Change{What: "take " + path + " away", Kept: kept, do: func(context.Context) error {
		if err := os.Rename(path, kept); err != nil {
			return err
		}
		return syncDir(filepath.Dir(path))
	}}
}
