#!/bin/sh
cd /etc/etcd
exec etcd --config-file=./etcd.conf.yml --name ignored >log 2>&1
