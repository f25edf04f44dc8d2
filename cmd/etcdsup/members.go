package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/etcdsup/etcdsup/supervisor/cluster"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// memberKeeper lists and changes members: the daemon over its socket, or etcd itself.
type memberKeeper interface {
	Members(context.Context) (*status.Members, error)
	ChangeMember(context.Context, status.MemberOrder) (*status.Members, error)
}

// directMembers asks etcd itself.
type directMembers struct{ *cluster.Client }

// ChangeMember judges an order by the list as it is now, carries it out, and lists again.
func (d directMembers) ChangeMember(ctx context.Context, o status.MemberOrder) (*status.Members, error) {
	l, err := d.Members(ctx)
	if err != nil {
		return nil, err
	}
	p, change, err := l.Judge(o)
	if err != nil {
		return nil, err
	}
	if change.Refuse != "" {
		return nil, refusal(o, p, change)
	}
	switch o.Op {
	case status.MemberRemove:
		err = d.Remove(ctx, p)
	case status.MemberPromote:
		err = d.Promote(ctx, p)
	case status.MemberUpdateURL:
		err = d.UpdatePeerURLs(ctx, p, o.URLs)
	}
	if err != nil {
		return nil, err
	}
	return d.Members(ctx)
}

// refusal is why an order is not carried out, with the arithmetic where it is that which shows it.
func refusal(o status.MemberOrder, p *status.Peer, c status.Change) error {
	text := fmt.Sprintf("cannot %s member %s: %s", o.Op, p.Called(), c.Refuse)
	if c.Counts {
		text += fmt.Sprintf(" (now %s; then %s)", c.Before, c.After)
	}
	return &control.Error{Code: control.CodeRefused, Message: text, Remedy: c.Remedy}
}

// Members lists the cluster's members.
func (d *daemon) Members(ctx context.Context) (*status.Members, error) {
	m, err := d.members(ctx)
	if err != nil {
		return nil, err
	}
	return m.Members(ctx)
}

// ChangeMember changes one of them.
func (d *daemon) ChangeMember(ctx context.Context, o status.MemberOrder) (*status.Members, error) {
	m, err := d.members(ctx)
	if err != nil {
		return nil, err
	}
	l, err := m.ChangeMember(ctx, o)
	d.tellMemberOrder(ctx, o, err)
	return l, err
}

// members asks the cluster of this host's etcd while that runs, at the endpoints of the configuration too: it may not
// answer itself.
func (d *daemon) members(ctx context.Context) (directMembers, error) {
	a, cluster := newAsker(d.next()), d.machine.Mark().ClusterID
	runs := d.loop.Status().Process != nil
	switch {
	case a.fixed && (!runs || cluster == ""):
		return a.members()
	case a.fixed:
		a.options.ClusterID = cluster
		return a.members(append(clientFlags(d.machine.Running().Args), a.options.Endpoints...)...)
	case !runs:
		return directMembers{}, &control.Error{Code: control.CodeRefused, Message: "cannot ask about the members: the etcd of this host does not run",
			Remedy: "start it: " + d.g.commandLine("start") + "; or name another member with --endpoint"}
	}
	c, err := a.client(ctx, d.machine.Running().Args)
	return directMembers{c}, err
}

func (a asker) members(endpoints ...*url.URL) (directMembers, error) {
	if len(endpoints) > 0 {
		a.options.Endpoints = endpoints
	}
	c, err := cluster.NewClient(a.options)
	return directMembers{c}, err
}
