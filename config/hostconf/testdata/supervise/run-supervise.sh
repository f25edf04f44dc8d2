#!/bin/sh
# starts supervise, which starts etcd
cd /home/work/etcd
setsid ./bin/supervise -f ./start-etcd.sh -F conf/supervise.conf -p ./status </dev/null >/dev/null 2>&1 &
