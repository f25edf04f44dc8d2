#!/usr/bin/env bash
source ./etcd.env
args=(
  --name "$NODE"            # as in the inventory
  --data-dir /data/etcd
)
peers=""
for n in 1 2 3; do
  peers+="${peers:+,}node$n=https://10.0.0.$n:2380"
done
args+=(--initial-cluster "$peers")
if [[ $TLS == yes ]]; then
  args+=(--cert-file=certs/server.crt --key-file=certs/server.key --trusted-ca-file=certs/ca.crt --client-cert-auth)
  args+=(--peer-cert-file=certs/peer.crt --peer-key-file=certs/peer.key --peer-trusted-ca-file=certs/ca.crt --peer-client-cert-auth=true)
fi
exec /usr/local/bin/etcd "${args[@]}" --listen-client-urls https://10.0.0.1:2379 --advertise-client-urls https://10.0.0.1:2379 \
  --listen-peer-urls https://10.0.0.1:2380 --initial-advertise-peer-urls https://10.0.0.1:2380 2>&1 | tee -a log/etcd.log
