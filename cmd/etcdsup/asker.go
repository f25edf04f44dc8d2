package main

import (
	"context"
	"net"
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
	args    []string // etcd's, by the configuration
	fixed   bool     // the configuration names the endpoints itself
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
	return asker{options: o, args: clientArgs(c), fixed: len(c.Cluster.Endpoints) > 0}
}

// clientArgs are the arguments of an etcd by which its clients find it.
func clientArgs(c *config.Config) (args []string) {
	for _, flag := range []string{advertiseFlag, listenFlag} {
		if value := c.Arg(strings.Trim(flag, "-=")); value != "" {
			args = append(args, flag+value)
		}
	}
	return args
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
	return cluster.NewClient(a.ownOptions(ctx, args))
}

// ownOptions lead to the etcd with these arguments; nil: with those of the configuration.
func (a asker) ownOptions(ctx context.Context, args []string) cluster.Options {
	o := a.options
	if args == nil {
		args = a.args
	}
	advertised, serves := flagURLs(args, advertiseFlag), flagURLs(args, listenFlag)
	if len(serves) == 0 {
		serves = advertised
	}
	if len(serves) == 0 {
		return o
	}
	candidates := advertised
	if a.fixed {
		candidates = o.Endpoints
	}
	if own := ownAmong(ctx, candidates, serves); len(own) > 0 {
		o.Endpoints = own
		return o
	}
	// What it advertises leads elsewhere, such as to a balancer before several members.
	o.Endpoints = reachable(serves)
	if len(advertised) > 0 && o.Endpoints[0].Host != advertised[0].Host {
		o.ServerName = advertised[0].Hostname() // its certificate is for that
	}
	return o
}

const advertiseFlag, listenFlag = "--advertise-client-urls=", "--listen-client-urls="

// flagURLs are the values of a flag on a command line.
func flagURLs(args []string, flag string) []*url.URL { return parseURLs(flagValues(args, flag)) }

// clientFlags are the client URLs on a command line by which others reach its etcd.
func clientFlags(args []string) []*url.URL {
	if advertised := flagURLs(args, advertiseFlag); len(advertised) > 0 {
		return advertised
	}
	return flagURLs(args, listenFlag)
}

// reachable gives one who listens on all addresses of this host by one of them.
func reachable(listens []*url.URL) []*url.URL {
	urls := make([]*url.URL, len(listens))
	for i, u := range listens {
		at := *u
		switch ip := net.ParseIP(u.Hostname()); {
		case ip == nil || !ip.IsUnspecified():
		case ip.To4() != nil:
			at.Host = net.JoinHostPort("127.0.0.1", u.Port())
		default:
			at.Host = net.JoinHostPort("::1", u.Port())
		}
		urls[i] = &at
	}
	return urls
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
