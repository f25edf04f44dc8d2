package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

func newMemberCmd(g *globals) *cobra.Command {
	o := &memberOptions{}
	cmd := &cobra.Command{
		Use:   "member",
		Short: "List the cluster's members, remove, promote or readdress one",
		Long: `List the cluster's members and change the list.

A member is named by its name or its ID. Before a change the votes are counted, and a change that would cost the
cluster its quorum is refused. The daemon asks etcd; with --endpoint etcd is asked directly, by the TLS files and
credentials of the configuration.`,
		Example: `  etcdsup member list
  etcdsup member remove n3
  etcdsup member update-url n1 http://10.0.0.1:2380`,
	}
	cmd.PersistentFlags().StringArrayVar(&o.endpoints, "endpoint", nil, "ask etcd at this client `URL` instead of the daemon (repeatable)")
	cmd.PersistentFlags().DurationVarP(&o.timeout, "timeout", "t", memberPatience, "give up waiting for an answer after this long, with exit code 4")
	noFiles(cmd, "timeout", "endpoint")
	return group(cmd, newMemberListCmd(g, o), newMemberRemoveCmd(g, o), newMemberPromoteCmd(g, o), newMemberUpdateCmd(g, o))
}

// memberPatience is for etcd to make a change, which it refuses for five seconds after the one before, and for the members
// to be listed before and after it, of whom those that are dead take a second each time.
const memberPatience = 20 * time.Second

type memberOptions struct {
	endpoints []string
	yes       bool
	timeout   time.Duration
}

func newMemberListCmd(g *globals, o *memberOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the members, how each is, and how many may fail",
		Example: `  etcdsup member list
  etcdsup member list -o json
  etcdsup member list --endpoint http://10.0.0.1:2379`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withMembers(cmd.Context(), o, func(ctx context.Context, k memberKeeper) error {
				l, err := k.Members(ctx)
				if err != nil {
					return err
				}
				return g.printMembers(l)
			})
		},
	}
}

func newMemberRemoveCmd(g *globals, o *memberOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove MEMBER",
		Short: "Take a member out of the cluster",
		Long: `Take a member out of the cluster. If it runs it shuts itself down, and its data directory is of no more use:
nothing of it is deleted.`,
		Example: `  etcdsup member remove n3
  etcdsup member remove 8211f1d0f64f3269 --yes`,
		Args: cobra.ExactArgs(1),
	}
	o.addYes(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return g.changeMember(cmd.Context(), o, status.MemberOrder{Op: status.MemberRemove, Member: args[0]})
	}
	return cmd
}

func newMemberPromoteCmd(g *globals, o *memberOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "promote MEMBER",
		Short:   "Make a learner that has caught up a voter",
		Example: `  etcdsup member promote n3`,
		Args:    cobra.ExactArgs(1),
	}
	o.addYes(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return g.changeMember(cmd.Context(), o, status.MemberOrder{Op: status.MemberPromote, Member: args[0]})
	}
	return cmd
}

func newMemberUpdateCmd(g *globals, o *memberOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "update-url MEMBER URL...",
		Short: "Change the URLs under which its peers reach a member",
		Long: `Change the peer URLs that the cluster has on record for a member. etcd publishes its client URLs at each start, but
never its peer URLs: after a change of address they have to be changed here.`,
		Example: `  etcdsup member update-url n1 http://10.0.0.1:2380`,
		Args:    cobra.MinimumNArgs(2),
	}
	o.addYes(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, u := range args[1:] {
			if err := checkURL("peer", u); err != nil {
				return err
			}
		}
		return g.changeMember(cmd.Context(), o, status.MemberOrder{Op: status.MemberUpdateURL, Member: args[0], URLs: args[1:]})
	}
	return cmd
}

func (o *memberOptions) addYes(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
}

// checkURL tells of a text that is no URL of the kind, peer or client.
func checkURL(kind, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Port() == "" || u.Path != "" {
		return failf(exitUsage, "give it as http://HOST:PORT or https://HOST:PORT", "cannot use %q as a %s URL", text, kind)
	}
	return nil
}

// withMembers runs f with whoever is to be asked, and gives its errors their exit codes.
func (g *globals) withMembers(ctx context.Context, o *memberOptions, f func(context.Context, memberKeeper) error) error {
	if o.timeout <= 0 {
		return failf(exitUsage, "", "cannot wait for %v: --timeout must be above 0", o.timeout)
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	if len(o.endpoints) == 0 {
		t, err := g.target()
		if err != nil {
			return err
		}
		return t.explain(f(ctx, &timedKeeper{t.client, g, "the daemon", o.timeout}))
	}
	cfg, err := g.config()
	if err != nil {
		return err
	}
	endpoints, err := o.urls()
	if err != nil {
		return err
	}
	k, err := newAsker(cfg).members(endpoints...)
	if err != nil {
		return err
	}
	return refused(f(ctx, &timedKeeper{k, g, strings.Join(o.endpoints, ", "), o.timeout}))
}

// urls are the endpoints of the command line.
func (o *memberOptions) urls() (urls []*url.URL, err error) {
	for _, text := range o.endpoints {
		if err := checkURL("client", text); err != nil {
			return nil, err
		}
		u, _ := url.Parse(text) // checked above
		urls = append(urls, u)
	}
	return urls, nil
}

// timedKeeper gives each answer of another one a time, and tells a person who waits for it. The time in which a person
// thinks about a question counts for nothing.
type timedKeeper struct {
	memberKeeper

	g      *globals
	asked  string // who is asked
	within time.Duration
}

func (k *timedKeeper) Members(ctx context.Context) (l *status.Members, err error) {
	err = k.ask(ctx, "list the members", func(ctx context.Context) error {
		l, err = k.memberKeeper.Members(ctx)
		return err
	})
	return l, err
}

func (k *timedKeeper) ChangeMember(ctx context.Context, o status.MemberOrder) (l *status.Members, err error) {
	err = k.ask(ctx, "tell whether member "+o.Member+" was changed", func(ctx context.Context) error {
		l, err = k.memberKeeper.ChangeMember(ctx, o)
		return err
	})
	return l, err
}

func (k *timedKeeper) ask(ctx context.Context, what string, do func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, k.within)
	defer cancel()
	err := k.g.whileTelling("waiting for "+k.asked, func() error { return do(limited) })
	if err == nil || ctx.Err() != nil || limited.Err() == nil {
		return err
	}
	return failf(exitTimeout, "see with etcdsup status on its host whether etcd runs there; --endpoint asks another member, --timeout waits longer",
		"cannot %s: no answer from %s within %s", what, k.asked, humanDuration(k.within))
}

// refused shows a refusal's remedy apart from it.
func refused(err error) error {
	if e, ok := errors.AsType[*control.Error](err); ok {
		return &failure{code: exitFailure, err: err, remedy: e.Remedy}
	}
	return err
}

// changeMember shows what a change does to the votes, asks, and has it made.
func (g *globals) changeMember(ctx context.Context, o *memberOptions, order status.MemberOrder) error {
	return g.withMembers(ctx, o, func(ctx context.Context, k memberKeeper) error {
		l, err := k.Members(ctx)
		if err != nil {
			return err
		}
		p, change, err := l.Judge(order)
		switch {
		case err != nil:
			return err
		case change.Refuse != "":
			return refusal(order, p, change)
		case !o.yes:
			if err := g.confirm(ctx, memberQuestion(order, p, change)); err != nil {
				return err
			}
		}
		if l, err = k.ChangeMember(ctx, order); err != nil {
			return err
		}
		return g.printMembers(l)
	})
}

func memberQuestion(o status.MemberOrder, p *status.Peer, c status.Change) string {
	return fmt.Sprintf("%s member %s (%s, %s)\n  now:  %s\n  then: %s\n", o.Op, p.Called(), p.ID, strings.Join(p.PeerURLs, ", "), c.Before, c.After)
}

func (g *globals) printMembers(l *status.Members) error {
	if g.json() {
		return g.printJSON(l)
	}
	rows := [][]string{{"NAME", "ID", "ROLE", "HEALTH", "VERSION", "REVISION", "DB", "PEER URLS", "CLIENT URLS"}}
	for i := range l.Members {
		rows = append(rows, memberRowOf(&l.Members[i]))
	}
	text := table(rows) + "\n" + l.Count().String() + "\n"
	if l.Stale {
		text += "there is no quorum: this is what the member that was asked knows itself\n"
	}
	return g.print(text)
}

func memberRowOf(p *status.Peer) []string {
	health := "healthy"
	if p.Trouble != "" {
		health = printable(p.Trouble)
	}
	revision, db := "-", "-"
	if p.Revision > 0 {
		revision, db = fmt.Sprint(p.Revision), humanSize(p.DBSize)
	}
	return []string{
		orDash(p.Name), p.ID, peerRole(p), health, orDash(p.Version), revision, db,
		orDash(strings.Join(p.PeerURLs, ",")), orDash(strings.Join(p.ClientURLs, ",")),
	}
}

func peerRole(p *status.Peer) string {
	switch {
	case p.Learner:
		return "learner"
	case p.Leader:
		return "leader"
	}
	return "voter"
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
