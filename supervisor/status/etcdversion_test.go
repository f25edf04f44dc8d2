package status

import (
	"slices"
	"strings"
	"testing"
)

func TestParseEtcdVersion(t *testing.T) {
	for text, want := range map[string]EtcdVersion{
		"3.7.3": {minor{3, 7}, 3}, "v3.6": {minor{3, 6}, -1}, "3.7.0-rc.1": {minor{3, 7}, 0}, "3.4.23+b4": {minor{3, 4}, 23}, "3.4.x": {minor{3, 4}, -1}, "10.11.12": {minor{10, 11}, 12},
	} {
		if got, ok := ParseEtcdVersion(text); !ok || got != want {
			t.Errorf("%s: %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "3", "x.y.z", "3.x", "not_decided"} {
		if got, ok := ParseEtcdVersion(text); ok || MinorOf(text) != "" {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestMayOpen(t *testing.T) {
	for _, tt := range []struct {
		data DataVersions
		want []string
	}{
		{DataVersions{}, nil},
		{DataVersions{Cluster: "3.5"}, []string{"3.5", "3.6"}},
		{DataVersions{Cluster: "3.6", Storage: "3.6"}, []string{"3.6", "3.7"}},
		{DataVersions{Storage: "3.6"}, []string{"3.6", "3.7"}},
		{DataVersions{Cluster: "3.5", Storage: "3.6"}, []string{"3.6", "3.7"}},
		{DataVersions{Cluster: "3.7", Storage: "3.6"}, []string{"3.7", "3.8"}},
		{DataVersions{Cluster: "3.7", Storage: "3.7", Downgrade: "3.6"}, []string{"3.6", "3.7", "3.8"}},
		{DataVersions{Cluster: "3.6", Downgrade: "3.6"}, []string{"3.6", "3.7"}},
		{DataVersions{Cluster: "3.10"}, []string{"3.10", "3.11"}},
	} {
		if got := tt.data.MayOpen(); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %q, want %q", tt.data, got, tt.want)
		}
	}
}

func TestJudgeVersion(t *testing.T) {
	const older, skips, trap35, trap36 = "is older", "skips a minor", "3.5.26", "3.6.11"
	for _, tt := range []struct {
		version string
		data    DataVersions
		refuse  string
		warn    []string
	}{
		{"3.7.3", DataVersions{}, "", nil},
		{"", DataVersions{Cluster: "3.6"}, "", nil},
		{"3.6.16", DataVersions{Cluster: "3.6", Storage: "3.6"}, "", nil},
		{"3.7.3", DataVersions{Cluster: "3.6"}, "", []string{trap36}},
		{"3.6.16", DataVersions{Cluster: "3.5"}, "", []string{trap35}},
		{"3.5.35", DataVersions{Cluster: "3.6", Storage: "3.6"}, older, nil},
		{"3.5.35", DataVersions{Storage: "3.7"}, older, nil}, // restored, and nothing in etcd would object
		{"3.5.35", DataVersions{Cluster: "3.7"}, older, nil},
		{"3.6.16", DataVersions{Cluster: "3.7", Downgrade: "3.6"}, "", nil},
		{"3.5.35", DataVersions{Cluster: "3.7", Downgrade: "3.6"}, older, nil},
		{"3.6.16", DataVersions{Cluster: "3.4"}, skips, nil},
		{"3.7.3", DataVersions{Cluster: "3.5"}, skips, nil},
		{"3.5.35", DataVersions{Cluster: "3.4"}, "", nil},
		{"3.10.0", DataVersions{Cluster: "3.9"}, "", nil},
		{"4.0.0", DataVersions{Cluster: "3.9"}, skips, nil},
		{"3.5.2", DataVersions{Cluster: "3.5"}, "", []string{"#13766", "#14370", "#14685", "#17780"}},
		{"3.5.13", DataVersions{}, "", []string{"#17780"}},
		{"3.5.14", DataVersions{}, "", nil},
		{"3.5", DataVersions{}, "", nil},
		{"3.4.20", DataVersions{}, "", []string{"#14370", "#17780", "not maintained"}},
		{"3.4.45", DataVersions{}, "", []string{"not maintained"}},
		{"3.3.10", DataVersions{}, "", []string{"not maintained"}},
	} {
		v := JudgeVersion(tt.version, tt.data)
		if (v.Refuse == "") != (tt.refuse == "") || !strings.Contains(v.Refuse, tt.refuse) || (v.Refuse == "") != (v.Remedy == "") {
			t.Errorf("%s on %+v: %q, remedy %q; want %q", tt.version, tt.data, v.Refuse, v.Remedy, tt.refuse)
		}
		if v.Refuse == "" && !slices.EqualFunc(v.Warnings, tt.warn, strings.Contains) {
			t.Errorf("%s on %+v warns %q, want %q", tt.version, tt.data, v.Warnings, tt.warn)
		}
		if v.Refuse == "" && len(tt.data.MayOpen()) > 0 && tt.version != "" && !slices.Contains(tt.data.MayOpen(), MinorOf(tt.version)) {
			t.Errorf("%s is not among %q", tt.version, tt.data.MayOpen())
		}
	}
}

func TestForceFaults(t *testing.T) {
	for version, bad := range map[string]bool{"3.5.21": true, "3.5.22": false, "3.6.0": true, "3.6.1": false, "3.7.0": false, "3.4.1": false, "": false, "3.6": false} {
		if got := ForceFaults(version); len(got) > 0 != bad {
			t.Errorf("%s: %q", version, got)
		}
	}
}
