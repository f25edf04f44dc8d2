#!/bin/bash
set -e
cd "$(dirname "$0")"
BASE=$(pwd)
IP=`hostname -i`
HOST=$(hostname -s)
PORT=${ETCD_PORT:-2379}
: ${PEER_PORT:=2380}
NAME="etcd-${HOST}"
# members, in the order of the racks
CLUSTER="etcd-a=http://10.0.0.1:${PEER_PORT}"
CLUSTER="$CLUSTER,etcd-b=http://10.0.0.2:${PEER_PORT}"
CLUSTER="$CLUSTER,${NAME}=http://$IP:${PEER_PORT}"
TOKEN=`date +%Y`-cluster
export GOMAXPROCS=4 GOGC=50
export ETCD_HEARTBEAT_INTERVAL=200
export ETCD_ELECTION_TIMEOUT="2000"
export LANG=C
OPTS="--name $NAME --data-dir $BASE/data"
OPTS="$OPTS --listen-client-urls http://$IP:$PORT,http://127.0.0.1:$PORT"
nohup $BASE/bin/etcd $OPTS \
    --advertise-client-urls "http://$IP:$PORT" \
    --listen-peer-urls "http://$IP:$PEER_PORT" --initial-advertise-peer-urls "http://$IP:$PEER_PORT" \
    --initial-cluster "$CLUSTER" --initial-cluster-token "$TOKEN" --logger=zap --log-outputs=stderr \
    $EXTRA_OPTS --auto-compaction-mode periodic --auto-compaction-retention '1h' \
    1>>"$BASE/log/etcd.out" 2>>"$BASE/log/etcd.err" &
echo $! > "$BASE/etcd.pid"
