#!/bin/bash
cd /opt/etcd
STATE=new
ROLE=member
if grep -q standby /etc/role; then
  STATE=existing
  ROLE=standby
  SNAP=5000
else
  SNAP=10000
fi
if [ -n "$FORCE" ]; then
  EXTRA=--force-new-cluster
fi
[ "$ROLE" = x ] && exit 3
IP=$(ifconfig eth1 | grep inet | awk '{print $2}')
MAIN=$(hostname -I | awk '{print $1}')
case $(uname -m) in
  x86_64) BIN=etcd-amd64 ;;
  *) BIN=etcd-arm64; export ETCD_UNSUPPORTED_ARCH=arm64 ;;
esac
./bin/$BIN --name "node-$ROLE" --snapshot-count $SNAP --initial-cluster-state $STATE $EXTRA --data-dir data \
  --listen-peer-urls http://$IP:2380 --initial-advertise-peer-urls http://$MAIN:2380 --heartbeat-interval $((100 * 2))
