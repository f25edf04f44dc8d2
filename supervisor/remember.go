package supervisor

import (
	"errors"

	"go.uber.org/zap"
)

// remember has the mark kept, in step with the probes: no wake-up is made for it. An etcd without a leader may have
// begun something that never comes to be; nothing is remembered of it.
func (l *Loop) remember(c Child) {
	save, err := l.host.Remember(c)
	if save == nil && err == nil {
		return
	}
	l.show(func() {
		l.keepMark(save)
		l.tellUnmarked(err)
		l.expel(c, err)
	})
}

// keepMark has the mark written by the goroutine that may wait for a disk.
func (l *Loop) keepMark(save func() error) {
	if save != nil {
		l.write(note{save: save})
	}
}

// expel turns an etcd away that is not the member on record.
func (l *Loop) expel(c Child, err error) {
	f, foreigner := errors.AsType[*ForeignError](err)
	if !foreigner || c == nil || c != l.child {
		return
	}
	l.log.Error("etcd is not who should run here", zap.Int("pid", c.Info().PID), zap.String("cluster", f.ClusterID), zap.String("member", f.MemberID),
		zap.String("recorded-cluster", f.Record.ClusterID), zap.String("recorded-member", f.Record.MemberID))
	l.handle(event{in: foreign, why: f.Error(), next: nextPutBack + nextAccept})
}

// tellUnmarked logs why the mark cannot be refreshed, once for each reason.
func (l *Loop) tellUnmarked(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != l.unmarked && text != "" {
		l.log.Warn("mark not refreshed", zap.Error(err))
	}
	l.unmarked = text
}
