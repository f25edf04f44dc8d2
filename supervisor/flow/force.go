package flow

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// What the steps of force-new-cluster leave for those after them.
const (
	dataRevision = "revision" // of the rebuilt data, before anybody could write
	dataKeys     = "keys"     // that it has at that revision
	dataCluster  = "cluster"  // ID that the new directory has
	dataOwn      = "own"      // ID of its one member
	dataMember   = "member"   // ID of the learner that a join has added
	dataMark     = "mark"     // what was known of the member before
	dataBefore   = "before"   // revision of the data, all of its WAL included
	dataAfter    = "after"    // its revision when it was proven
)

// forceSteps are the steps of force-new-cluster in their order. Everything that changes data works on a copy; the
// directory itself is touched by two renames.
var forceSteps = []step{
	{Step: status.Step{Name: "check"}, do: checkAlone},
	{Step: status.Step{Name: "stop"}, do: stopEtcd, undo: startAgain},
	{Step: status.Step{Name: "copy"}, do: unlessPlaced(copySource)},
	{Step: status.Step{Name: "keep-entries"}, do: unlessPlaced(keepEntries)},
	{Step: status.Step{Name: "rebuild"}, do: unlessPlaced(rebuild)},
	{Step: status.Step{Name: "restore"}, do: unlessPlaced(restore)},
	{Step: status.Step{Name: "set-aside"}, do: setAside, undo: putBack},
	{Step: status.Step{Name: "place"}, do: place, undo: unplace},
	{Step: status.Step{Name: "start"}, do: startPlaced, undo: stopPlaced},
	{Step: status.Step{Name: "prove", Final: true}, do: proveForced},
	{Step: status.Step{Name: hookStep}, do: runHook}, // one for each hook
}

// Names beside the data directory, by the transition that made them. They are what a person finds, and never removed.
func (r *run) copyDir() string     { return r.DataDir + besideNew + r.id }
func (r *run) restoredDir() string { return r.DataDir + besideRestored + r.id }
func (r *run) asideDir() string    { return r.DataDir + besideAside + r.id }

// next is the directory that is to take the data directory's place.
func (r *run) next() string {
	if r.restores() {
		return r.restoredDir()
	}
	return r.copyDir()
}

func (r *run) restores() bool { return r.ask.NewIdentity || r.fact("source") == "snapshot" }
func (r *run) source() string {
	if r.ask.From != "" {
		return r.ask.From
	}
	return r.DataDir
}

func (r *run) fact(name string) string { return r.plan.Fact(name) }

// PlanForce makes the plan of a force-new-cluster, or says why there must be none. Nothing is changed.
func PlanForce(ctx context.Context, site Site, w World, ask status.ModeRequest) (*status.Plan, error) {
	from := ask.From
	if from == "" {
		from = site.DataDir
	}
	src, err := lookAtSource(w, site, from)
	if err != nil {
		return nil, err
	}
	if ask.From != "" {
		from, ask.From = src.Path, src.Path // such as that of the data directory, where its member folder was named
	}
	fits := status.JudgeVersion(site.Version, src.Versions)
	p := &status.Plan{Request: ask, Facts: forceFacts(src, site, w.HighWater()), Confirm: src.ClusterID, Warnings: fits.Warnings}
	p.Facts = append(p.Facts, dataFact(w.Holds(site.DataDir)))
	if urls, _ := oldAddresses(site, src, ask); len(urls) > 0 {
		p.Facts = append(p.Facts, status.Fact{Name: factOld, Value: strings.Join(urls, ",")})
	}
	forced := src.Voters > 1
	if err := together(site.fit(), fitForForce(src, ask, site), fitVersion(src, &fits), roomForCopies(w, site, src),
		askOld(ctx, w, site, src, ask, p), isolation(w, forced && !ask.AllowContact)); err != nil {
		return nil, err
	}
	if forced {
		p.Warnings = append(p.Warnings, status.ForceFaults(site.Version)...)
	}
	if src.Snapshot || ask.NewIdentity {
		p.Request.NewIdentity, p.Request.BumpRevision = true, bump(ask, src, w.HighWater())
		p.Confirm = ""
	}
	if !src.Snapshot && !ask.NewIdentity && src.Kubernetes {
		p.Warnings = append(p.Warnings, "there are keys of Kubernetes (/registry/): with --new-identity the revision is raised, so that no API server takes old data for new; without it, restart all API servers afterwards")
	}
	if src.Hot && !src.Own { // our own etcd is stopped first
		p.Warnings = append(p.Warnings, "the source is being written to ("+src.Holder+"): the copy will have what is on disk when it is made; later writes are not in it")
	}
	p.Warnings = append(p.Warnings, src.Notes...)
	p.Steps = forcePlanSteps(site, src, p.Request, forced, from)
	addHooks(p, site)
	return p, nil
}

// lookAtSource looks at the data that a cluster is to be made of. Its peers are also those which the data that is to give
// way knows, if that is of the same cluster: a copy from elsewhere may be older than they are.
func lookAtSource(w World, site Site, from string) (*Source, error) {
	src, err := w.Look(from)
	if err != nil || src.Path == site.DataDir || src.ClusterID == "" {
		return src, err
	}
	here, err := w.Look(site.DataDir)
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(here.ClusterID, src.ClusterID) {
		src.Peers = append(slices.Clone(src.Peers), here.Peers...)
	}
	return src, nil
}

// isolation refuses a forced run that could reach others.
func isolation(w World, needed bool) error {
	if !needed {
		return nil
	}
	if err := w.Isolates(); err != nil {
		return troublef("run etcdsup as root, allow user namespaces (sysctl user.max_user_namespaces), or add --allow-contact when every old member is off for certain",
			"cannot isolate the forced run of etcd: %w", err)
	}
	return nil
}

// fit refuses a host whose data cannot give way by two renames.
func (s Site) fit() error {
	switch {
	case s.WALDir != "":
		return troublef("remove etcd.args.wal-dir for the time of the change: with etcd stopped, move the WAL to member/wal in the data directory",
			"cannot change the mode: the WAL is apart from the data, in %s", s.WALDir)
	case s.Link != "":
		return troublef("name that directory in etcd.args.data-dir, and start etcdsup anew: etcd's data stays where it is",
			"cannot change the mode: the data directory %s is a symbolic link to %s, in whose place no directory can be put", s.DataDir, s.Link)
	case s.Mounted:
		return troublef("name a folder below the mount point in etcd.args.data-dir, and move the data there while etcd is stopped",
			"cannot change the mode: the data directory %s is a mount point, which cannot be renamed", s.DataDir)
	}
	return nil
}

func fitVersion(src *Source, fits *status.VersionVerdict) error {
	if fits.Refuse == "" {
		return nil
	}
	return troublef(fits.Remedy, "cannot make a cluster of %s: %s", src.Path, fits.Refuse)
}

func roomForCopies(w World, site Site, src *Source) error {
	if err := w.Room(site.DataDir, 2*src.Size); err != nil {
		return troublef("let etcdsup write there, with enough room; what earlier changes of mode have set aside lies in it too, as "+site.DataDir+".*",
			"cannot force a new cluster: no place for the copies: %w", err)
	}
	return nil
}

// fitForForce refuses data that cannot become a cluster, or that the flag would ruin.
func fitForForce(src *Source, ask status.ModeRequest, site Site) error {
	var all []error
	cannot := func(remedy, format string, args ...any) {
		all = append(all, troublef(remedy, "cannot make a cluster of %s: "+format, append([]any{src.Path}, args...)...))
	}
	switch {
	case src.Missing && ask.From != "":
		cannot("look at the path: it is one on the host of etcdsup", "there is no such file or directory")
	case src.Empty:
		cannot("name the data with --from DIR or --from SNAPSHOT", "there is no data in it, and the result would be an empty cluster")
	case ask.From == "" && src.Snapshot:
		cannot("name a directory in etcd.args.data-dir", "it is a file")
	case ask.BumpRevision > math.MaxInt64-src.Revision-bumpRoom:
		cannot("give a smaller --bump-revision, or none", "its revision is %d, and none can be %d above it", src.Revision, ask.BumpRevision)
	case src.Role == "learner" && !ask.NewIdentity:
		cannot("use a voter's directory, or --new-identity to restore from this one", "it is a learner's directory, which etcd refuses to force")
	case src.Role == "removed" && !ask.NewIdentity:
		cannot("use the directory of a member that was not removed, or --new-identity to restore from this one", "this member was removed from its cluster")
	}
	for _, why := range src.Held {
		cannot("see "+site.Command+" inspect "+src.Path, "%s", why)
	}
	return together(all...)
}

func forceFacts(src *Source, site Site, seen int64) []status.Fact {
	kind := "directory"
	if src.Snapshot {
		kind = "snapshot"
	}
	facts := []status.Fact{{Name: "from", Value: src.Path}, {Name: "source", Value: kind}}
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, status.Fact{Name: name, Value: value})
		}
	}
	facts = append(facts, etcdFact(site))
	add("cluster", src.ClusterID)
	add("member", src.MemberID)
	if src.Voters > 0 {
		add("voters", strconv.Itoa(src.Voters))
	}
	add("revision", strconv.FormatInt(src.Revision, 10))
	if src.Kubernetes {
		add(factKubernetes, "yes")
		add(factSeen, strconv.FormatInt(seen, 10))
	}
	return append(facts, site.facts()...)
}

// runs is the fact that etcd ran when the plan was made: rolled back, it runs again.
const runs = "running"

func etcdFact(site Site) status.Fact {
	if site.Running {
		return status.Fact{Name: "etcd", Value: runs}
	}
	return status.Fact{Name: "etcd", Value: "down"}
}

// slack is added to a revision that is known, so that what was written after it was recorded is passed too; unknownBump
// is for when nothing is known.
const slack, unknownBump = 1_000_000, 1_000_000_000

// bumpRoom is what a raised revision leaves at least for the writes of a long life.
const bumpRoom = 1 << 53

func bump(ask status.ModeRequest, src *Source, highWater int64) int64 {
	switch {
	case ask.BumpRevision > 0:
		return ask.BumpRevision
	case highWater > 0:
		return max(highWater-src.Revision, 0) + slack
	}
	return unknownBump
}

// askOld refuses while an old member answers, or may live where nobody can tell.
func askOld(ctx context.Context, w World, site Site, src *Source, ask status.ModeRequest, p *status.Plan) error {
	urls, called := oldAddresses(site, src, ask)
	if len(urls) == 0 {
		return nil
	}
	found := w.Ask(ctx, urls, src.ClusterID)
	var unknown []string
	var alive []error
	for _, u := range urls {
		switch found[u] {
		case PresenceAlive:
			if p.Request.NewIdentity || src.Snapshot {
				p.Warnings = append(p.Warnings, fmt.Sprintf("an etcd answers at %s, where %s was: it will not know the new cluster, and clients may find either", u, called[u]))
				continue
			}
			alive = append(alive, troublef("stop that etcd for good, so that nothing starts it again, and try again; to become a member of its cluster instead: "+site.Command+" mode join --endpoint URL",
				"cannot force a new cluster: %s answers at %s, with the same cluster ID %s: there would be two clusters that take themselves for one", called[u], u, src.ClusterID))
		case PresenceUnknown:
			if p.Request.NewIdentity || src.Snapshot {
				continue // it has other IDs: they cannot meet
			}
			if !slices.Contains(ask.Fenced, hostOf(u)) {
				unknown = append(unknown, u)
				continue
			}
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s at %s does not answer; that it is off is your word (--fenced %s)", called[u], u, hostOf(u)))
		}
	}
	return together(append(alive, notKnown(unknown))...)
}

// notKnown refuses where old members may live.
func notKnown(unknown []string) error {
	if len(unknown) == 0 {
		return nil
	}
	hosts := make([]string, len(unknown))
	for i, u := range unknown {
		hosts[i] = hostOf(u)
	}
	slices.Sort(hosts)
	return troublef("make sure that it is off, then add --fenced "+strings.Join(slices.Compact(hosts), " --fenced "),
		"cannot force a new cluster: nothing tells whether the old member at %s lives; it does not answer, and its host does not say that nobody is there", strings.Join(unknown, ", "))
}

// oldAddresses are the peer URLs of the old cluster, but for those that will be this member's own.
func oldAddresses(site Site, src *Source, ask status.ModeRequest) (urls []string, called map[string]string) {
	called = map[string]string{}
	add := func(name string, list []string) {
		for _, u := range list {
			if _, known := called[u]; known || slices.Contains(site.PeerURLs, u) {
				continue
			}
			called[u] = name
			urls = append(urls, u)
		}
	}
	for _, m := range src.Peers {
		add("member "+m.Name, m.URLs)
	}
	add("the etcd whose data this is", src.PeerURLs)
	add("a member", ask.Peers)
	add("a host of initial-cluster", site.Configured)
	return urls, called
}

func hostOf(peerURL string) string {
	u, err := url.Parse(peerURL)
	if err != nil {
		return peerURL
	}
	return u.Hostname()
}

func forcePlanSteps(site Site, src *Source, ask status.ModeRequest, forced bool, from string) []status.Step {
	restores := src.Snapshot || ask.NewIdentity
	return choose(forceSteps, func(name string) (does, undo string, yes bool) {
		switch name {
		case "check":
			return "asks once more that no old member answers", "", !src.Snapshot || len(ask.Peers) > 0
		case "stop":
			undo := "nothing: etcd is down now"
			if site.Running {
				undo = "starts etcd again"
			}
			return "stops the etcd of this instance and keeps it down", undo, true
		case "copy":
			return "copies " + from + " beside the data directory", "leaves the copy there, unused", !src.Snapshot
		case "keep-entries":
			return "makes the entries that are only in the copy's WAL count as committed, since etcd would drop them", "", !src.Snapshot && forced && !src.Clean
		case "rebuild":
			with := "as it is, for it is its cluster's only voter"
			if forced {
				with = "with --force-new-cluster, once"
			}
			return fmt.Sprintf("runs etcd on the copy %s, where nobody can reach it and it can reach nobody; its peer URL becomes %s", with, strings.Join(site.PeerURLs, ",")), "", !src.Snapshot
		case "restore":
			return fmt.Sprintf("restores into a new directory with a new cluster ID and member ID, the revision raised by %d and all before it compacted", ask.BumpRevision), "leaves that directory there, unused", restores
		case "set-aside":
			return "renames " + site.DataDir + " to " + site.DataDir + ".aside-…", "renames it back", true
		case "place":
			return "renames the new directory to " + site.DataDir, "renames it away again", true
		case "start":
			return "starts etcd on it, in the normal way", "stops it", true
		case hookStep:
			return "", "", false // see addHooks
		}
		return "proves it: one voter with the right peer URL, reads and writes, the revision and the number of keys as in the copy", "", true
	})
}

// ---- the steps ----

func checkAlone(ctx context.Context, r *run) error {
	src, err := lookAtSource(r, r.Site, r.source())
	if err != nil {
		return err
	}
	if src.ClusterID == "" {
		src.ClusterID = r.fact("cluster")
	}
	return askOld(ctx, r, r.Site, src, r.ask, &status.Plan{Request: r.ask})
}

func stopEtcd(ctx context.Context, r *run) error {
	if err := r.Stop(ctx); err != nil {
		return err
	}
	r.keep(dataMark, r.Mark())
	return nil
}

func stopPlaced(ctx context.Context, r *run) error { return r.Stop(ctx) }

// startAgain has done what it can once etcd is to be up: that it does not stay up, on its own data, is the supervisor's to
// deal with and to tell. The way back is not to stand still for it.
func startAgain(ctx context.Context, r *run) error {
	if r.fact("etcd") != runs {
		return nil
	}
	if r.moved != "" {
		r.left = true
		r.say("etcd is left down: its data is in %s, and etcd.args.data-dir names %s now; once it names the right one: %s start", r.DataDir, r.moved, r.Command)
		return nil
	}
	if err := r.Launch(ctx, ""); err != nil {
		r.left = true
		r.say("etcd does not run again: %s; see %s status", err, r.Command)
	}
	return nil
}

func copySource(ctx context.Context, r *run) error {
	if r.Holds(r.copyDir()) {
		return nil // it appears whole
	}
	return r.Copy(ctx, r.source(), r.copyDir(), func(p string) { r.Progress(p) })
}

func keepEntries(ctx context.Context, r *run) error {
	_, err := r.KeepEntries(ctx, r.copyDir())
	return err
}

// rebuild passes --force-new-cluster at most once: killed in the midst of it, the request is rolled back.
func rebuild(ctx context.Context, r *run) error {
	force := r.fact("voters") != "1" && r.severalVoters()
	if force && r.again {
		return troublef("ask for it again: nothing was changed but a copy",
			"etcdsup ended while etcd ran with --force-new-cluster, which it is given once a request only")
	}
	p, err := r.Rebuild(ctx, r.copyDir(), force, r.ask.AllowContact)
	if err != nil {
		return err
	}
	r.keep(dataBefore, strconv.FormatInt(p.Revision, 10))
	r.keepProof(p)
	return nil
}

// severalVoters is what the copy itself knows: one that was forced already knows one, and needs no flag.
func (r *run) severalVoters() bool {
	src, err := r.Look(r.copyDir())
	return err != nil || src.Voters != 1
}

// before is the revision that the data had. The plan may have been made while etcd wrote, and from its db alone.
func (r *run) before() string { return cmp.Or(r.data[dataBefore], r.fact("revision")) }

func (r *run) keepProof(p *Proof) {
	r.keepMember(p.Revision, p.ClusterID, p.MemberID)
	r.keep(dataKeys, strconv.FormatInt(p.Keys, 10))
}

// keepMember keeps how far the new directory is, and who lives in it.
func (r *run) keepMember(revision int64, clusterID, memberID string) {
	r.keep(dataRevision, strconv.FormatInt(revision, 10))
	r.keep(dataCluster, clusterID)
	r.keep(dataOwn, memberID)
}

func restore(ctx context.Context, r *run) error {
	if r.Holds(r.restoredDir()) { // it appears whole
		src, err := r.Look(r.restoredDir())
		if err == nil {
			r.keepMember(src.Revision, src.ClusterID, src.MemberID)
		}
		return err
	}
	from := r.ask.From
	if r.fact("source") != "snapshot" {
		from = r.copyDir() + "/member/snap/db"
	}
	p, err := r.Restore(ctx, from, r.restoredDir(), r.ask.BumpRevision)
	if err != nil {
		return err
	}
	r.keepMember(p.Revision, p.ClusterID, p.MemberID)
	return nil
}

// setAside finds the directory aside already only where the journal has lost that it was: what is here now is what this
// transition has put in its place.
func setAside(_ context.Context, r *run) error {
	if !r.Holds(r.DataDir) || r.Holds(r.asideDir()) || r.placed() {
		return nil
	}
	return r.Move(r.DataDir, r.asideDir())
}

func putBack(_ context.Context, r *run) error {
	if !r.Holds(r.asideDir()) {
		return nil
	}
	return r.Move(r.asideDir(), r.DataDir)
}

// place never leaves an empty directory to be started from: etcd would serve it as a new, empty cluster. Of one that
// another has come into meanwhile the start is refused, for its member is not the one that is expected.
func place(_ context.Context, r *run) error {
	switch {
	case r.Holds(r.next()):
		if err := r.Move(r.next(), r.DataDir); err != nil {
			return err
		}
	case !r.Holds(r.DataDir):
		return fmt.Errorf("the new directory %s is gone", r.next())
	}
	return r.Expect(r.data[dataCluster], r.data[dataOwn])
}

func unplace(_ context.Context, r *run) error {
	if !r.Holds(r.next()) && r.Holds(r.DataDir) { // else it was never placed, or is taken back already
		if err := r.Move(r.DataDir, r.next()); err != nil {
			return err
		}
	}
	return r.RestoreMark(r.data[dataMark])
}

// startPlaced asks once more before anybody can write: another host may have made a cluster of the same data meanwhile,
// with the same IDs.
func startPlaced(ctx context.Context, r *run) error {
	if twin := r.twin(ctx); twin != "" && !r.again {
		return troublef("if that cluster is the one that is meant: "+r.Command+" mode join --endpoint with a client URL of it; otherwise stop it for good and try again",
			"an etcd of the same cluster %s answers at %s by now", r.fact("cluster"), twin)
	}
	return r.Start(ctx)
}

// proveForced holds what was promised against what is there. Clients may be writing already: keys are counted as of the
// revision that nobody but we had seen.
func proveForced(ctx context.Context, r *run) error {
	want, _ := strconv.ParseInt(r.data[dataRevision], 10, 64)
	p, err := r.Prove(ctx, want)
	if err != nil {
		return err
	}
	if len(p.Members) != 1 || p.Members[0].Learner || !slices.Equal(p.Members[0].PeerURLs, r.PeerURLs) {
		return fmt.Errorf("the new cluster has members %s, not this one alone at %s", membersText(p.Members), strings.Join(r.PeerURLs, ","))
	}
	if p.Revision < want {
		return fmt.Errorf("the new cluster is at revision %d, and was at %d before", p.Revision, want)
	}
	if keys := r.data[dataKeys]; keys != "" && keys != strconv.FormatInt(p.Keys, 10) {
		return fmt.Errorf("the new cluster has %d keys at revision %d, and had %s before", p.Keys, want, keys)
	}
	r.say("cluster %s has one voter, %s %s, at %s", p.ClusterID, r.Name, p.MemberID, strings.Join(r.PeerURLs, ","))
	r.say("it has %d keys; the revision is %d, and was %s before", p.Keys, p.Revision, r.before())
	r.keep(dataCluster, p.ClusterID)
	r.keep(dataOwn, p.MemberID)
	r.keep(dataAfter, strconv.FormatInt(p.Revision, 10))
	r.sayKubernetes(p.Revision)
	if twin := r.twin(ctx); twin != "" {
		r.say("another etcd of cluster %s answers at %s: two hosts have made a cluster of the same data, and neither knows of the other's writes", p.ClusterID, twin)
		r.say("next: decide which of the two stays; on the other host, etcdsup mode join --endpoint with a client URL of the one that stays, which sets the data of the other aside")
		return nil
	}
	r.say("next: on each other host, etcdsup mode join --endpoint %s", strings.Join(r.ClientURLs, ","))
	return nil
}

func membersText(list []status.Peer) string {
	var names []string
	for i := range list {
		names = append(names, list[i].Called()+" at "+strings.Join(list[i].PeerURLs, ","))
	}
	return strings.Join(names, "; ")
}
