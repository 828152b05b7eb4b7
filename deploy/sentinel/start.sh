#!/bin/bash
# SPDX-License-Identifier: MIT
# A master, two replicas and three Sentinels on loopback, with the
# configurations beside this file, and two gateways that share them.
#
#   deploy/sentinel/start.sh --backend n1=127.0.0.1:3001 ...
#
# To see a failover: kill -9 the master, whose process id is printed.
set -euo pipefail

name=sentinel/start.sh
default_port=7001
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=deploy/redis/common.sh
. "$here/../redis/common.sh"

start_servers()
{
    local i port

    for i in 0 1 2; do
        port=$((first_port + i))
        write_conf "$here/redis.conf" $port
        [ $i -eq 0 ] ||
            echo "replicaof $host $first_port" >>"$folder/$port/redis.conf"
        start_redis $port
    done
    echo "master: $host:$first_port, process ${running[0]};" \
        "replicas: ports $((first_port + 1)) and $((first_port + 2))"
}

start_sentinels()
{
    local i port

    for i in 3 4 5; do
        port=$((first_port + i))
        write_conf "$here/sentinel.conf" $port
        sed -i "s/^sentinel monitor .*/sentinel monitor sidgate $host $first_port 2/" \
            "$folder/$port/redis.conf"
        start_redis $port --sentinel
        hosts+=${hosts:+,}$host:$port
    done
    echo "Sentinels: $hosts"
}

# Each knows the two others and both replicas.
all_see_all()
{
    local i

    for i in 3 4 5; do
        cli $((first_port + i)) SENTINEL MASTER sidgate |
            paste -sd' ' - | grep -q ' num-slaves 2 num-other-sentinels 2 ' ||
            return 1
    done
}

hosts=
begin "$@"
start_servers
start_sentinels
wait_for "Sentinels that see each other" all_see_all
scheme=redis
[ $is_tls = no ] || scheme=rediss
start_gateways "$scheme+sentinel://gateway:@$hosts/sidgate" \
    --sentinel-user gateway --sentinel-password-file "$folder/gateway.password"
wait "${gateways[@]}"
