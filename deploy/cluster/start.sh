#!/bin/bash
# SPDX-License-Identifier: MIT
# A Redis Cluster of three masters with a replica each on loopback, with the
# configuration beside this file, and two gateways that share it.
#
#   deploy/cluster/start.sh --backend n1=127.0.0.1:3001 ...
#
# The buses have the 16 ports that follow the six of the nodes.
set -euo pipefail

name=cluster/start.sh
default_port=7101
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=deploy/redis/common.sh
. "$here/../redis/common.sh"

start_nodes()
{
    local i port

    for i in 0 1 2 3 4 5; do
        port=$((first_port + i))
        write_conf "$here/redis.conf" $port
        # 10000 above may be more than there are ports.
        echo "cluster-port $((port + 10))" >>"$folder/$port/redis.conf"
        start_redis $port
        nodes+=("$host:$port")
    done
    echo "nodes: ${nodes[*]}, processes ${running[*]}"
}

make_cluster()
{
    redis-cli "${cli_tls[@]}" --cluster create "${nodes[@]}" \
        --cluster-replicas 1 --cluster-yes >"$folder/create.log" 2>&1 ||
        die "$(tail -n 3 "$folder/create.log")"
    wait_for "nodes that agree" all_agree
}

all_agree()
{
    local i

    for i in 0 1 2 3 4 5; do
        cli $((first_port + i)) CLUSTER INFO |
            grep -q '^cluster_state:ok' || return 1
    done
}

nodes=()
begin "$@"
start_nodes
make_cluster
scheme=redis
[ $is_tls = no ] || scheme=rediss
# Some of the nodes are enough: they name the others.
start_gateways "$scheme+cluster://gateway:@${nodes[0]},${nodes[1]},${nodes[2]}"
wait "${gateways[@]}"
