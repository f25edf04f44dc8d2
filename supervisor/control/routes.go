package control

import "net/http"

// Mode is what a route does to the daemon.
type Mode string

// The modes. A route that only reads takes GET, one that changes something POST.
const (
	Read  Mode = "read"
	Write Mode = "write"
)

// Route is one row of the API.
type Route struct {
	Method string
	Path   string
	Mode   Mode
	Doc    string // one sentence, for the reference page
	serve  func(*server, http.ResponseWriter, *http.Request) error
}

// Routes is the API: server, client tests and documentation derive from it.
var Routes = []Route{
	{"GET", "/v1/status", Read, "The newest status; with refresh=1 etcd is asked for its member details first.", (*server).status},
	{"GET", "/v1/status/watch", Read, "The newest status now and after each change, one JSON object a line.", (*server).watch},
	{"POST", "/v1/start", Write, "Want etcd up; answers with the status once the command is accepted.", (*server).start},
	{"POST", "/v1/stop", Write, "Want etcd down; answers with the status once the command is accepted.", (*server).stop},
	{"POST", "/v1/restart", Write, "Stop etcd and start it again; answers with the status once the command is accepted.", (*server).restart},
	{"POST", "/v1/logs/rotate", Write, "Close etcd's log file, keep it as an archive and go on in a new one.", (*server).rotate},
	{"POST", "/v1/reload", Write, "Read the configuration again and apply what needs no restart; answers with what is in force and what waits. A faulty one changes nothing.", (*server).reload},
	{"POST", "/v1/upgrade", Write, "Replace the running etcdsup by the executable at the path binary, which is asked first whether it can take over; for root and etcdsup's own user. It has the time within, such as 10s, to supervise, or else the old one comes back. Answers with the upgrade once nothing is left but to do it; what it comes to is seen in the status.", (*server).upgrade},
	{"GET", "/v1/members", Read, "The cluster's members, and how each is right now.", (*server).members},
	{"POST", "/v1/members/{op}", Write, "Change the member named by the parameter member (ID or name): op is remove, promote or update-url (with urls, separated by commas). Refused where it would cost the quorum; answers with the members after it.", (*server).changeMember},
	{"GET", "/v1/mode", Read, "The present mode, the change of mode that is under way, and the last one that ended.", (*server).modes},
	{"GET", "/v1/mode/plan", Read, "What a change of mode would do; it changes nothing. The parameter request is a ModeRequest as JSON.", (*server).planMode},
	{"POST", "/v1/mode", Write, "Change the mode: request as for the plan; confirm is the plan's own word, or yes where it has none. Answers with the transition once it is written down, and with null when there is nothing to do.", (*server).changeMode},
	{"POST", "/v1/mode/cancel", Write, "Roll the change of mode back that is under way. Answers with it once that is written down, and with null when none is under way.", (*server).cancelMode},
	{"POST", "/v1/accept-data", Write, "Take the data directory as it is for the one that is meant; answers with the status.", (*server).acceptData},
	{"GET", "/v1/history", Read, "The newest n starts, deaths and their causes (n from 1 to 1000, default 20), oldest first.", (*server).history},
	{"GET", "/v1/audit", Read, "The newest n entries of the audit log (n from 1 to 1000, default 20), oldest first, and whether its chain holds.", (*server).audit},
	{"GET", "/v1/version", Read, "Version and PID of etcdsup.", (*server).version},
}
