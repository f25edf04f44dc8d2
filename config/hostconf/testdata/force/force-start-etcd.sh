#!/bin/sh
cd /home/work/etcd || exit 1
ulimit -n 102400
mkdir -p log
# take over as a cluster of one
exec ./etcd -name=node1 -data-dir=./data -wal-dir wal \
    -listen-client-urls=http://0.0.0.0:2379 -advertise-client-urls=http://10.0.0.1:2379 \
    -listen-peer-urls http://10.0.0.1:2380 -initial-advertise-peer-urls http://10.0.0.1:2380 \
    -initial-cluster=node1=http://10.0.0.1:2380 -initial-cluster-state=existing \
    -force-new-cluster -auto-compaction-retention=1 -snapshot-count=10000 \
    -quota-backend-bytes=8589934592 >>log/etcd.log 2>&1
