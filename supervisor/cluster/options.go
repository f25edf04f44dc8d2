// Package cluster holds everything that is asked of etcd: its health, its status, its members, and the one thing that
// is asked for, to hand leadership over. It is the only user of etcd's client.
//
// Nothing is kept open between two questions, so an idle daemon pays for its probes only.
package cluster

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"
)

// Options say where etcd is and how to be let in.
type Options struct {
	Name      string        // of the member, for display
	Endpoints []*url.URL    // this member's own client URLs, or those of several members of one cluster
	ClusterID string        // hexadecimal: Members, Proof, CatchUp and every change ask only members of it; empty: of any
	Health    *url.URL      // probed: the metrics URL, which answers before there is a quorum, or else a client URL; without path
	Timeout   time.Duration // of one probe; 0: DefaultTimeout

	CACert string // PEM file; empty: the system's roots
	Cert   string // client certificate, PEM file; empty: none
	Key    string // its key
	// ServerName is what the servers' certificates are to be for, where the endpoints have another host; empty: for that.
	ServerName string

	User         string // empty: no authentication
	PasswordFile string // the password is its first line

	Quota int64 // the member's quota-backend-bytes, for versions before 3.6, which do not tell; 0: etcd's default
}

// DefaultQuota is what etcd takes when it is given none.
const DefaultQuota = 2 << 30

func (o Options) files() TLSFiles { return TLSFiles{CA: o.CACert, Cert: o.Cert, Key: o.Key} }

func (o Options) password() (string, error) {
	if o.PasswordFile == "" {
		return "", errors.New("no password file is set")
	}
	b, err := os.ReadFile(o.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("cannot read the password: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

// urls are o.Endpoints as the client takes them.
func (o Options) urls() []string {
	urls := make([]string, len(o.Endpoints))
	for i, u := range o.Endpoints {
		urls[i] = u.String()
	}
	return urls
}
