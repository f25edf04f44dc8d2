package packaging

import (
	"strings"
	"testing"
)

func TestUnitText(t *testing.T) {
	for _, tt := range []struct {
		unit Unit
		name string
		has  []string
		not  []string
	}{
		{
			Unit{}, "etcdsup.service",
			[]string{"ExecStart=/usr/bin/etcdsup run\n", "ExecReload=/usr/bin/etcdsup reload\n", "User=etcd\n", "StateDirectory=etcdsup/default\n", "systemctl edit etcdsup\n"},
			[]string{"%i"},
		},
		{
			Unit{Template: true, Binary: "/opt/etcdsup", User: "kv", Group: "staff"}, "etcdsup@.service",
			[]string{"ExecStart=/opt/etcdsup run -i %i\n", "ExecStopPost=/opt/etcdsup after-stop -i %i\n", "User=kv\n", "Group=staff\n", "StateDirectory=etcdsup/%i\n", "systemctl edit etcdsup@\n"},
			nil,
		},
		{Unit{Instance: "events"}, "etcdsup.service", []string{"run -i events\n", "StateDirectory=etcdsup/events\n"}, []string{"%i"}},
	} {
		text := tt.unit.Text()
		if tt.unit.Name() != tt.name {
			t.Errorf("name %s, want %s", tt.unit.Name(), tt.name)
		}
		for _, want := range tt.has {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is missing in\n%s", tt.name, want, text)
			}
		}
		for _, bad := range append(tt.not, "{{", "<no value>", "\t") {
			if strings.Contains(text, bad) {
				t.Errorf("%s: has %q", tt.name, bad)
			}
		}
		if !strings.HasPrefix(text, "# ") || !strings.HasSuffix(text, "WantedBy=multi-user.target\n") {
			t.Errorf("%s: begins or ends otherwise:\n%s", tt.name, text)
		}
	}
}

// What a service must have so that etcd outlives etcdsup; a unit without one of these kills it.
func TestUnitKeepsEtcdAlive(t *testing.T) {
	lines := strings.Split(Unit{}.Text(), "\n")
	has := map[string]bool{}
	for _, line := range lines {
		has[line] = true
	}
	for _, want := range []string{"KillMode=process", "OOMPolicy=continue", "Restart=always", "StartLimitIntervalSec=0", "Delegate=yes", "Type=notify", "NotifyAccess=main"} {
		if !has[want] {
			t.Errorf("%s is missing", want)
		}
	}
}
