#!/bin/sh
# {{.Head}}
# Changes of your own belong in /etc/default/{{.Name}}, which is read after the variables below.
### BEGIN INIT INFO
# Provides:          {{.Name}}
# Required-Start:    $remote_fs $network
# Required-Stop:     $remote_fs $network
# Should-Start:      $named $time
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: etcd, supervised by etcdsup
### END INIT INFO
# chkconfig: 2345 50 02
# description: etcd, supervised by etcdsup

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
name={{quote .Name}}
binary={{quote .Binary}}
user={{quote .User}}
group={{quote .Group}}
files=65536   # that may be open
patience=90   # seconds for a stop in order
# With these the service has the files where root's own etcdsup has them, and root's commands find it.
export XDG_CONFIG_HOME=/etc XDG_STATE_HOME=/var/lib
[ ! -r "/etc/default/$name" ] || . "/etc/default/$name"
pidfile="/run/$name.pid"

# running is true while the process is there that was started as etcdsup run, and not another one with its number.
running() {
	pid=$(cat "$pidfile" 2>/dev/null) && [ -n "$pid" ] || return 1
	case $({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null) in
	"$binary run{{.Select}} ") return 0 ;;
	esac
	return 1
}

start() {
	if running; then
		echo "$name runs already, process $pid"
		return 0
	fi
	ulimit -n "$files" 2>/dev/null
	if command -v start-stop-daemon >/dev/null; then
		start-stop-daemon -S -q -b -m -p "$pidfile" -c "$user:$group" -x "$binary" -- run{{.Select}} || return 1
	elif command -v setpriv >/dev/null; then
		setsid sh -c 'echo $$ >"$1"; shift; exec "$@"' sh "$pidfile" \
			setpriv --reuid "$user" --regid "$group" --init-groups -- "$binary" run{{.Select}} </dev/null >/dev/null 2>&1 &
	else
		echo "cannot start $name: neither start-stop-daemon nor setpriv is here" >&2
		return 1
	fi
	left=5
	while ! running && [ $left -gt 0 ]; do
		sleep 1
		left=$((left - 1))
	done
	if ! running; then
		echo "$name has not started, or has ended at once: etcdsup logs --self tells why" >&2
		return 1
	fi
	echo "$name is started, process $pid"
}

stop() {
	if ! running; then
		echo "$name does not run"
		SERVICE_RESULT=success "$binary" after-stop{{.Select}}
		return
	fi
	kill "$pid"
	result=success
	while running; do
		if [ "$patience" -le 0 ]; then
			kill -9 "$pid"
			result=timeout
		fi
		sleep 1
		patience=$((patience - 1))
	done
	rm -f "$pidfile"
	SERVICE_RESULT=$result "$binary" after-stop{{.Select}} || return 1
	echo "$name is stopped"
}

case "$1" in
start) start ;;
stop) stop ;;
restart | force-reload) stop && start ;;
reload) "$binary" reload{{.Select}} ;;
status)
	if running; then
		echo "Running, process $pid"
	else
		echo "Stopped"
		exit 3
	fi
	;;
*)
	echo "Usage: $0 {start|stop|restart|force-reload|reload|status}" >&2
	exit 2
	;;
esac
