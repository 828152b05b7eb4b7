# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the examples in ../sentinel and ../cluster share; sourced by them. They
# run everything on loopback, in a temporary folder, with new passwords.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${name:?}" "${default_port:?}" # from who sources this
host=127.0.0.1
is_tls=no
# shellcheck disable=SC2034 # theirs
first_port=$default_port
web_port=8081
gateway_args=()
has_backends=no
running=() # processes, in the order of their start
gateways=()
cli_tls=()

die()
{
    echo "$name: $*" >&2
    exit 1
}

usage()
{
    echo "usage: deploy/$name [--tls] [--port N] [--web N] [option of sidgate...]"
    echo "  --tls     all connections to Redis speak TLS"
    echo "  --port N  the first of Redis' ports (default: $default_port)"
    echo "  --web N   those of the two gateways are N and N + 1 (default: 8081)"
    echo "Without a --backend they are n1 to n3 at 127.0.0.1:3001 to 3003."
}

read_options()
{
    while [ $# -gt 0 ]; do
        case $1 in
        --tls) is_tls=yes ;;
        --port | --web)
            [[ ${2-} =~ ^[0-9]+$ ]] || die "$1 needs a number"
            # shellcheck disable=SC2034 # as above
            if [ "$1" = --web ]; then web_port=$2; else first_port=$2; fi
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            [[ $1 != --backend* ]] || has_backends=yes
            gateway_args+=("$1")
            ;;
        esac
        shift
    done
    if [ $has_backends = no ]; then
        gateway_args+=(--backend "n1=127.0.0.1:3001"
            --backend "n2=127.0.0.1:3002" --backend "n3=127.0.0.1:3003")
    fi
}

find_programs()
{
    local at

    for at in redis-server redis-cli openssl; do
        command -v $at >/dev/null ||
            die "no $at: apt-get install redis-server redis-tools openssl"
    done
    for at in "${SIDGATE-}" "$root"/build/{release,quickstart}/gateway/sidgate; do
        [ -x "$at" ] || continue
        sidgate=$at
        return
    done
    die "no sidgate: build it, or name it with SIDGATE=/path/to/sidgate"
}

stop_all()
{
    local i

    trap '' INT TERM
    trap - EXIT
    # The gateways first: they take their sessions out of Redis.
    [ ${#gateways[@]} -eq 0 ] || kill "${gateways[@]}" 2>/dev/null || true
    [ ${#gateways[@]} -eq 0 ] || wait "${gateways[@]}" 2>/dev/null || true
    for ((i = ${#running[@]} - 1; i >= 0; i--)); do
        kill "${running[i]}" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$folder"
}

begin()
{
    local who

    read_options "$@"
    find_programs
    folder=$(mktemp -d "${TMPDIR:-/tmp}/sidgate-${name%%/*}.XXXXXX")
    trap stop_all EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    umask 077
    for who in admin gateway replica sentinel; do
        openssl rand -hex 16 >"$folder/$who.password"
    done
    export REDISCLI_AUTH
    REDISCLI_AUTH=$(<"$folder/admin.password")
    [ $is_tls = no ] || make_certificates
}

make_certificates()
{
    "$root/deploy/redis/certificates.sh" "$folder/tls" $host localhost \
        >"$folder/certificates.log" 2>&1 || die "$(<"$folder/certificates.log")"
    cli_tls=(--tls --cacert "$folder/tls/ca.pem" --cert "$folder/tls/gateway.pem"
        --key "$folder/tls/gateway.key")
    gateway_args+=(--store-ca "$folder/tls/ca.pem"
        --store-certificate "$folder/tls/gateway.pem,key=$folder/tls/gateway.key")
}

# write_conf FILE PORT: a copy of the example with passwords, this port and a
# folder of its own. Redis and Sentinel write into their configurations.
write_conf()
{
    local copy=$folder/$2/redis.conf who script=

    for who in admin gateway replica sentinel; do
        script+="s/CHANGE-ME-${who^^}/$(<"$folder/$who.password")/;"
    done
    mkdir -p "$folder/$2"
    sed "$script" "$1" >"$copy"
    if [ $is_tls = yes ]; then
        sed "s|/etc/redis/tls|$folder/tls|; s/^tls-port .*/tls-port $2/" \
            "$root/deploy/redis/tls.conf" >>"$copy"
    else
        echo "port $2" >>"$copy"
    fi
    echo "dir $folder/$2" >>"$copy"
}

# start_redis PORT [argument...]: with the configuration that write_conf wrote.
start_redis()
{
    local port=$1

    shift
    redis-server "$folder/$port/redis.conf" "$@" >"$folder/$port/log" 2>&1 &
    running+=($!)
    wait_for "redis-server at port $port" is_there "$port" $! ||
        die "$(tail -n 3 "$folder/$port/log")"
}

is_there()
{
    kill -0 "$2" 2>/dev/null || return 2
    [ "$(cli "$1" PING 2>/dev/null)" = PONG ]
}

# cli PORT COMMAND...: as the administrator.
cli()
{
    local port=$1

    shift
    redis-cli "${cli_tls[@]}" -h $host -p "$port" "$@"
}

# wait_for WHAT COMMAND...: until it succeeds; 2 is an end to it.
wait_for()
{
    local what=$1 i status

    shift
    for ((i = 0; i < 300; i++)); do
        status=0
        "$@" || status=$?
        [ $status -ne 0 ] || return 0
        [ $status -ne 2 ] || return 1
        sleep 0.1
    done
    die "this takes too long: $what"
}

# start_gateways URL [option...]: two that share it.
start_gateways()
{
    local url=$1 i log

    shift
    for i in 0 1; do
        log=$folder/gateway-$((i + 1)).log
        : >"$log"
        "$sidgate" --listen $host:$((web_port + i)) \
            --admin $host:$((web_port + 1000 + i)) \
            --gateway-name "gw-$((i + 1))" --store "$url" \
            --store-password-file "$folder/gateway.password" \
            "$@" "${gateway_args[@]}" >"$log" 2>&1 &
        gateways+=($!)
        wait_for "a sidgate that is ready" has_line "$log" ready $! ||
            die "$(tail -n 3 "$log")"
        wait_for "a sidgate that has Redis" has_line "$log" store_up $!
        echo "gateway $((i + 1)): http://$host:$((web_port + i))/," \
            "its live page http://$host:$((web_port + 1000 + i))/"
    done
    echo "configurations, logs and passwords: $folder"
    echo "Ctrl-C stops everything."
}

has_line()
{
    kill -0 "$3" 2>/dev/null || return 2
    grep -qE "^[^ ]+ [a-z]+ $2 " "$1" || return 1
}
