// Package packaging holds what is installed on a host: the systemd unit, and what packages bring besides.
package packaging

import (
	"cmp"
	_ "embed"
	"strings"
	"sync"
	"text/template"

	"github.com/etcdsup/etcdsup/config"
)

//go:embed unit.service
var unitText string

var unitTemplate = sync.OnceValue(func() *template.Template { return template.Must(template.New("unit").Parse(unitText)) })

// Unit is one unit file. The zero value of a field is its usual value.
type Unit struct {
	Template bool   // etcdsup@.service, of which any number can run; else etcdsup.service
	Instance string // the one that etcdsup.service is for; "default"
	Binary   string // path of the executable; /usr/bin/etcdsup
	User     string // as whom etcd and etcdsup run; etcd
	Group    string // the user's name
}

// Name is the file's name.
func (u Unit) Name() string {
	if u.Template {
		return "etcdsup@.service"
	}
	return "etcdsup.service"
}

// Text is the file's content.
func (u Unit) Text() string {
	v := struct {
		Unit
		Name, Select string
	}{Unit: u, Name: strings.TrimSuffix(u.Name(), ".service")}
	v.Binary, v.User = cmp.Or(u.Binary, "/usr/bin/etcdsup"), cmp.Or(u.User, "etcd")
	v.Group = cmp.Or(u.Group, v.User)
	switch {
	case u.Template:
		v.Instance, v.Select = "%i", " -i %i"
	case u.Instance == "" || u.Instance == config.DefaultInstance:
		v.Instance = config.DefaultInstance
	default:
		v.Select = " -i " + u.Instance
	}
	var b strings.Builder
	if err := unitTemplate().Execute(&b, v); err != nil {
		panic(err) // a mistake in our own text, which the tests read
	}
	return b.String()
}
