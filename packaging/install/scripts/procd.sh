#!/bin/sh /etc/rc.common
# {{.Head}}
USE_PROCD=1
START=50
STOP=02

start_service() {
	procd_open_instance
	procd_set_param command {{quote .Binary}} run{{.Select}}
	# With these the service has the files where root's own etcdsup has them, and root's commands find it.
	procd_set_param env XDG_CONFIG_HOME=/etc XDG_STATE_HOME=/var/lib
	procd_set_param user {{quote .User}}
	procd_set_param group {{quote .Group}}
	# etcdsup comes back however often it ends. The brake for etcd is its own.
	procd_set_param respawn 0 1 0
	procd_set_param term_timeout 90
	procd_set_param limits nofile="65536 65536"
	procd_close_instance
}

# After a stop that was asked for nothing may be left.
service_stopped() {
	SERVICE_RESULT=success {{quote .Binary}} after-stop{{.Select}}
}

reload_service() {
	{{quote .Binary}} reload{{.Select}}
}
