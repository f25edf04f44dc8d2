#!/bin/bash
# etcd node1, started by supervise
./etcd --name node1 \
  --data-dir ./data \
  --listen-client-urls http://10.0.0.1:2379,http://10.0.0.1:4001 \
  --advertise-client-urls http://10.0.0.1:2379,http://10.0.0.1:4001 \
  --listen-peer-urls http://10.0.0.1:2380 \
  --initial-advertise-peer-urls http://10.0.0.1:2380 \
  --initial-cluster-token etcd-cluster-1 \
  --initial-cluster node1=http://10.0.0.1:2380,node2=http://10.0.0.2:2380,node3=http://10.0.0.3:2380 \
  --initial-cluster-state new > ./log/etcd.log 2>&1
