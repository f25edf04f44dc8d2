package status

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Validate says what is wrong with a request, before anybody looks at the host or the cluster.
func (r *ModeRequest) Validate() error {
	switch r.Mode {
	case ModeForceNewCluster:
		if len(r.Endpoints) > 0 || r.Replace {
			return errors.New("cannot force a new cluster: endpoints and replace are for a join")
		}
		return r.validateForce()
	case ModeJoin:
		if r.From != "" || r.NewIdentity || r.BumpRevision != 0 || len(r.Fenced) > 0 || len(r.Peers) > 0 || r.AllowContact {
			return errors.New("cannot join: from, new_identity, bump_revision, fenced, peers and allow_contact are for force-new-cluster")
		}
		return validateURLs("client", r.Endpoints)
	case ModeNormal:
		return errors.New("cannot ask for normal: every transition ends in it; one that is under way is cancelled")
	case "":
		return errors.New("cannot change the mode: none is named; it is join or force-new-cluster")
	}
	return fmt.Errorf("cannot change the mode to %q: it is join or force-new-cluster", r.Mode)
}

func (r *ModeRequest) validateForce() error {
	switch {
	case r.From != "" && !filepath.IsAbs(r.From):
		return fmt.Errorf("cannot take data from %q: the path has to be absolute", r.From)
	case !utf8.ValidString(r.From):
		return fmt.Errorf("cannot take data from %q: the path is not in UTF-8; rename it, or make a link to it", r.From)
	case r.BumpRevision < 0:
		return fmt.Errorf("cannot bump the revision by %d: it only ever grows", r.BumpRevision)
	case r.BumpRevision > 0 && !r.NewIdentity:
		return errors.New("cannot bump the revision without a new identity")
	}
	for _, host := range r.Fenced {
		if host == "" || strings.ContainsAny(host, "/, \t\r\n") {
			return fmt.Errorf("cannot take %q for a fenced host: give a name or an address", host)
		}
	}
	return validateURLs("peer", r.Peers)
}

func validateURLs(kind string, texts []string) error {
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" ||
			u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("cannot use %q as a %s URL: give it as http://HOST:PORT or https://HOST:PORT", text, kind)
		}
	}
	return nil
}

// Confirmed tells whether text is what a person had to type: the plan's own word, or yes where it has none.
func (p *Plan) Confirmed(text string) bool {
	if p.Confirm == "" {
		return text == "yes"
	}
	return text == p.Confirm
}
