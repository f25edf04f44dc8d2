package flow

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// hookStep stands for the steps hook-1, hook-2, …, as many as a plan has hooks.
const hookStep = "hook"

// hookNumber is which of them a step is, from 1; 0: none.
func hookNumber(step string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(step, hookStep+"-"))
	if err != nil || n < 1 || step != status.HookStep(n) {
		return 0
	}
	return n
}

// addHooks puts the hooks behind all else. They follow a final step, so that none of them runs for a cluster that is taken
// back, and whatever becomes of them undoes nothing.
func addHooks(p *status.Plan, site Site) {
	p.Hooks = slices.Clone(site.Hooks)
	for i, h := range p.Hooks {
		p.Steps = append(p.Steps, status.Step{
			Name: status.HookStep(i + 1),
			Does: fmt.Sprintf("runs %s, for at most %v; nothing is undone when it fails", status.CommandText(h.Argv), h.Timeout),
		})
	}
	p.Warnings = append(p.Warnings, site.HookFaults...)
}

// runHook runs the hook of the present step, once: it may not be one that can be run again, and one that has etcdsup
// itself started anew would be run for ever.
func runHook(ctx context.Context, r *run) error {
	n := hookNumber(r.step)
	if n > len(r.plan.Hooks) {
		return fmt.Errorf("cannot run hook %d: the plan has %d", n, len(r.plan.Hooks))
	}
	h := r.plan.Hooks[n-1]
	if r.again {
		r.keepHook(n, status.HookRun{Argv: h.Argv, Outcome: status.HookInterrupted, Detail: "etcdsup ended while it ran"})
		return nil
	}
	ran, err := r.Hook(ctx, h, HookFacts{
		Transition: r.id, MemberID: r.data[dataOwn], ClusterIDBefore: r.fact("cluster"), ClusterIDAfter: r.data[dataCluster],
		RevisionBefore: r.before(), RevisionAfter: r.data[dataAfter],
	})
	if err != nil {
		return err
	}
	r.keepHook(n, ran)
	return nil
}

func (r *run) keepHook(n int, ran status.HookRun) {
	r.keep(status.HookStep(n), ran.Text())
	if ran.Failed() {
		r.say("the cluster stands; but hook %d was not done: run it by hand: %s", n, status.CommandText(ran.Argv))
	}
}

const (
	factKubernetes = "kubernetes"    // there are its objects
	factSeen       = "seen-revision" // the newest that was ever recorded here
)

// sayKubernetes says what is to be done with a Kubernetes whose objects are in the data. Its API servers, and all that
// watch through them, remember revisions of the old cluster.
func (r *run) sayKubernetes(now int64) {
	if r.fact(factKubernetes) == "" {
		return
	}
	was := ""
	if seen, _ := strconv.ParseInt(r.fact(factSeen), 10, 64); seen > now {
		was = fmt.Sprintf("; revision %d has been seen here before, so that API servers may know of writes that this data does not have", seen)
	}
	r.say("Kubernetes: the revision was %s in the data and is %d%s", r.before(), now, was)
	if r.restores() {
		r.say("Kubernetes: all before the present revision counts as compacted, so that every watch begins anew; restart every kube-apiserver all the same, one after the other")
		return
	}
	r.say("Kubernetes: restart every kube-apiserver now, one after the other, then kube-controller-manager and kube-scheduler: what they remember is of the old cluster, and a watch from a later revision waits in silence")
}
