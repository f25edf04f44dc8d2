#!/bin/bash
. /etc/sysconfig/etcd
PROG=/usr/bin/etcd
start() {
    if [ "$(id -u)" != 0 ]; then
        echo "must be root"
        exit 1
    fi
    while true; do
        su etcd -s /bin/bash -c "$PROG --data-dir $DATA --name $NAME --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 >> /var/log/etcd.log 2>&1"
        sleep 1
    done
}
stop() {
    pkill -x etcd
}
case "$1" in
    start)   start ;;
    stop)    stop ;;
    restart) stop; start ;;
    *)       echo "usage: $0 {start|stop|restart}"; exit 2 ;;
esac
