package supervisor

import (
	"cmp"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// publish makes the present whole visible and wakes everybody who waits for a change.
func (l *Loop) publish() {
	st := l.status()
	l.tellNotices(st.Notices[len(l.set.Notices):])
	l.published.Store(st)
	if l.begin.Shown != nil && !l.started.IsZero() {
		l.begin.Shown(st)
	}
	next := make(chan struct{})
	close(*l.changed.Swap(&next))
}

func (l *Loop) status() *status.Status {
	s := &status.Status{
		Instance:   l.set.Instance,
		Supervisor: status.Supervisor{PID: l.set.PID, Version: l.set.Version, Started: l.started, Binary: l.set.Binary},
		Goal:       l.m.goal, State: word[l.m.is], Since: l.since, Reason: l.m.reason, Next: l.typed(l.m.next),
		Mode: cmp.Or(l.mode, status.ModeNormal), Job: l.job, Ready: l.m.is == ready, Member: l.member,
		Restart: l.restartStatus(), LastExit: l.lastExit, Log: l.host.Log(), Config: l.set.Config,
		Upgrade: l.upgrade, Notices: slices.Clone(l.set.Notices),
	}
	if n := status.PeerURLNotice(l.set.PeerURLs, l.member); n != nil {
		s.Notices = append(s.Notices, status.Fault{What: n.What, Remedy: l.typed(n.Remedy)})
	}
	if l.child != nil {
		info := l.child.Info()
		info.Version = l.version
		s.Process, s.Health = &info, l.probe.last // of a process that is gone nothing is well
		s.Config.Pending = slices.Concat(l.host.Pending(), l.set.Config.Pending)
	}
	if p, stopping := phase[l.m.is]; stopping {
		s.Stop = &status.Stop{Phase: p, Began: l.since, Deadline: l.due, Left: l.left}
	}
	return s
}

// tellNotices logs each notice of the member once, when it comes up.
func (l *Loop) tellNotices(now []status.Fault) {
	for _, n := range now {
		if !slices.Contains(l.noticed, n) {
			l.log.Warn("not as configured", zap.String("what", n.What), zap.String("next", n.Remedy))
		}
	}
	if l.member != nil { // else nobody was asked
		l.noticed = now
	}
}

// ShowJob makes a transition visible in the status; nil: it has ended.
func (l *Loop) ShowJob(job *status.Job) {
	l.show(func() {
		l.mode, l.job = "", job
		if job != nil {
			l.mode = job.Mode
		}
	})
}

// typed makes the commands in a hint those for this instance.
func (l *Loop) typed(hint string) string {
	if l.set.Program == "" {
		return hint
	}
	return strings.ReplaceAll(hint, "etcdsup ", l.set.Program+" ")
}

func (l *Loop) restartStatus() status.Restart {
	r := status.Restart{
		Count: l.count, LastHour: len(l.m.budget.lastHour(l.boot())), PerHour: l.set.PerHour, Streak: l.m.budget.streak,
	}
	if l.m.is == backoff || l.m.is == held && !l.due.IsZero() {
		r.Delay, r.NextAt, r.Reason = l.m.delay, l.due, l.m.reason
	}
	return r
}

// Apply takes changed settings that need no restart of etcd.
func (l *Loop) Apply(s Settings) {
	l.show(func() {
		l.set = s
		l.m.p = l.policy()
		l.probe.pace(l.m.is, s.Interval)
	})
}
