#!/sbin/openrc-run
# {{.Head}}
# Changes of your own belong in /etc/conf.d/{{.Name}}.

name="{{.Name}}"
description="etcd, supervised by etcdsup"
extra_started_commands="reload"
supervisor="supervise-daemon"
command={{quote .Binary}}
command_args="run{{.Select}}"
command_user="{{.User}}:{{.Group}}"
pidfile="/run/{{.Name}}.pid"
# etcdsup comes back however often it ends. The brake for etcd is its own.
respawn_delay="${respawn_delay:-1}"
respawn_max="${respawn_max:-0}"
retry="${retry:-TERM/90/KILL/5}"
rc_ulimit="${rc_ulimit:--n 65536}"
# With these the service has the files where root's own etcdsup has them, and root's commands find it.
export XDG_CONFIG_HOME=/etc XDG_STATE_HOME=/var/lib

depend() {
	use localmount net dns
	after firewall
}

start_pre() {
	checkpath --directory --mode 0755 /var/lib/etcdsup &&
		checkpath --directory --mode 0700 --owner "$command_user" {{quote .Base}}
}

# After a stop that was asked for nothing may be left.
stop_post() {
	SERVICE_RESULT=success "$command" after-stop{{.Select}}
}

reload() {
	ebegin "Reading the configuration of $RC_SVCNAME again"
	"$command" reload{{.Select}}
	eend $?
}
