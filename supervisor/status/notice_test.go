package status

import (
	"strings"
	"testing"
)

func TestPeerURLNotice(t *testing.T) {
	for _, tt := range []struct {
		configured []string
		listed     *Member
		want       string
	}{
		{nil, &Member{PeerURLs: []string{"http://a:1"}}, ""},
		{[]string{"http://a:1"}, nil, ""},
		{[]string{"http://a:1"}, &Member{}, ""},
		{[]string{"http://a:1", "http://b:1"}, &Member{PeerURLs: []string{"http://b:1", "http://a:1"}}, ""},
		{[]string{"http://a:1"}, &Member{ID: "1f", Name: "n", PeerURLs: []string{"http://b:1"}}, "etcdsup member update-url 1f http://a:1"},
		{[]string{"http://a:1", "http://b:1"}, &Member{Name: "n", PeerURLs: []string{"http://b:1"}}, "etcdsup member update-url n http://a:1 http://b:1"},
	} {
		n := PeerURLNotice(tt.configured, tt.listed)
		switch {
		case tt.want == "" && n != nil:
			t.Errorf("%v, %+v: %+v", tt.configured, tt.listed, n)
		case tt.want != "" && (n == nil || n.Remedy != tt.want || !strings.Contains(n.What, "http://b:1, and")):
			t.Errorf("%v, %+v: %+v", tt.configured, tt.listed, n)
		}
	}
}
