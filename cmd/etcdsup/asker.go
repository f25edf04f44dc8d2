package main

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/cluster"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// asker asks the running etcd, by what the configuration says of it.
type asker struct {
	options cluster.Options
	fixed   bool // the configuration names the endpoints itself
}

func newAsker(c *config.Config) asker {
	o := cluster.Options{
		Endpoints: c.Cluster.Endpoints, Timeout: c.Health.Timeout,
		CACert: c.Cluster.CACert, Cert: c.Cluster.Cert, Key: c.Cluster.Key,
		User: c.Cluster.User, PasswordFile: c.Cluster.PasswordFile,
	}
	if len(o.Endpoints) == 0 {
		o.Endpoints = parseURLs(clientURLs(c))
	}
	o.Name = c.Arg("name")
	o.Quota, _ = strconv.ParseInt(c.Arg("quota-backend-bytes"), 10, 64) // etcd's own default where there is none
	return asker{options: o, fixed: len(c.Cluster.Endpoints) > 0}
}

// Probe asks the health endpoint below base once.
func (a asker) Probe(ctx context.Context, base string) supervisor.Health {
	o := a.options
	var err error
	if o.Health, err = url.Parse(base); err != nil {
		return supervisor.Health{Detail: err.Error()}
	}
	p, err := cluster.NewProber(o)
	if err != nil {
		return supervisor.Health{Detail: err.Error()}
	}
	h := p.Probe(ctx)
	return supervisor.Health{Answered: h.Answered, Serving: h.Serving, Quorum: h.Quorum, Detail: h.Detail}
}

// client asks the etcd that runs with these arguments, and no other: after a take-over the configuration may name other
// URLs, where perhaps another etcd answers, and those of other members besides its own.
func (a asker) client(ctx context.Context, args []string) (*cluster.Client, error) {
	o := a.options
	own := clientFlags(args)
	if a.fixed && len(own) > 0 {
		if some := ownAmong(ctx, o.Endpoints, servedURLs(args)); len(some) > 0 {
			own = some
		}
	}
	if len(own) > 0 {
		o.Endpoints = own
	}
	return cluster.NewClient(o)
}

// clientFlags are the client URLs on a command line by which others reach its etcd.
func clientFlags(args []string) []*url.URL {
	for _, name := range clientURLFlags {
		if values := flagValues(args, name); values != nil {
			return parseURLs(values)
		}
	}
	return nil
}

var clientURLFlags = []string{"--advertise-client-urls=", "--listen-client-urls="}

// servedURLs are all client URLs on a command line.
func servedURLs(args []string) (all []*url.URL) {
	for _, name := range clientURLFlags {
		all = append(all, parseURLs(flagValues(args, name))...)
	}
	return all
}

// flagValues are those of a flag, such as --name=, on a command line; nil: it is not there.
func flagValues(args []string, flag string) []string {
	i := slices.IndexFunc(args, func(arg string) bool { return strings.HasPrefix(arg, flag) })
	if i < 0 {
		return nil
	}
	return strings.Split(strings.TrimPrefix(args[i], flag), ",")
}

// parseURLs leaves out what does not parse: it was a fault of the configuration.
func parseURLs(texts []string) (urls []*url.URL) {
	for _, text := range texts {
		if u, err := url.Parse(text); err == nil {
			urls = append(urls, u)
		}
	}
	return urls
}

// Member asks etcd who it is, and its version.
func (a asker) Member(ctx context.Context, args []string) (*status.Member, string, error) {
	c, err := a.client(ctx, args)
	if err != nil {
		return nil, "", err
	}
	return c.Status(ctx)
}

// Transfer hands leadership over, and says what came of it.
func (a asker) Transfer(ctx context.Context, args []string) string {
	c, err := a.client(ctx, args)
	if err != nil {
		return err.Error()
	}
	moved, to, err := c.TransferLeadership(ctx)
	switch {
	case err != nil:
		return err.Error()
	case moved:
		return "handed over to " + to
	}
	return "nothing to hand over"
}
