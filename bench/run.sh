#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Run sidgate, HAProxy and nginx side by side and print what each costs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
build=$here/../build/release
sidgate=
rounds=7
idle_rounds=3
scale=100
idle_tunnels=4000
retries=2
limit=330
policy=(--other 0)
only=
targets=sidgate,sidgate-redis,haproxy,haproxy-sid,nginx,haproxy-tuned,nginx-tuned,direct
json=
check=0
tls=no
proxy_cpu=0
load_cpu=1

usage() {
    cat <<TEXT
usage: bench/run.sh [options]
  --quick            3 short rounds and 2,000 idle tunnels, under a minute
  --only ROW[,ROW]   of: ${!row_unit[*]}
  --targets T[,T]    of: $targets
  --rounds N         interleaved rounds (default $rounds)
  --idle-rounds N    rounds of the rows that open idle tunnels ($idle_rounds)
  --limit SECONDS    begin nothing later than this (default $limit)
  --realtime         run all programs at real-time priority (as root), for a
                     machine that others use too
  --idle N           idle tunnels (default $idle_tunnels)
  --scale PERCENT    operations in each measurement (default $scale)
  --json FILE        write all figures there too
  --tls              clients speak TLS, with an ECDSA certificate; without the
                     targets and rows that are not about that
  --check            exit 1 if sidgate misses a goal
  --build DIR        where the programs were built (default build/release)
  --sidgate FILE     the sidgate binary (default DIR/gateway/sidgate)
  --cpus PROXY,LOAD  the two cores to use (default $proxy_cpu,$load_cpu)
TEXT
}

# A row: its traffic, operations in one measurement, agents, unit.
declare -A row_kind row_count row_agents row_unit
row() {
    row_kind[$1]=$2 row_count[$1]=$3 row_agents[$1]=$4 row_unit[$1]=$5
}
row handshake handshake 20000 32 us
row poll poll 20000 32 us
row message message 30000 32 us
row large large 8192 4 s/GiB
row upgrade upgrade 2000 16 us
row setup setup 1500 16 us
row broadcast broadcast 40 500 us
row handshake-latency handshake-latency 600 32 us
row poll-latency poll-latency 600 32 us
row message-latency message-latency 600 32 us
row idle idle 1 1 bytes
row message-idle message 20000 32 us
rows=(idle handshake poll message large upgrade setup broadcast
    handshake-latency poll-latency message-latency message-idle)

die() {
    echo "run.sh: $*" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --quick) rounds=3 idle_rounds=1 scale=25 idle_tunnels=2000 limit=50 ;;
    --check) check=1 ;;
    --tls) tls=yes targets=sidgate,haproxy,nginx ;;
    --realtime) policy=(--rr 1) ;;
    --help) usage && exit 0 ;;
    --only | --targets | --rounds | --idle-rounds | --idle | --limit | \
        --scale | --json | --build | --sidgate | --cpus)
        [ $# -gt 1 ] || die "$1 needs a value"
        case $1 in
        --only) only=$2 ;;
        --targets) targets=$2 ;;
        --rounds) rounds=$2 ;;
        --idle-rounds) idle_rounds=$2 ;;
        --idle) idle_tunnels=$2 ;;
        --limit) limit=$2 ;;
        --scale) scale=$2 ;;
        --json) json=$2 ;;
        --build) build=$2 ;;
        --sidgate) sidgate=$2 ;;
        --cpus) proxy_cpu=${2%,*} load_cpu=${2#*,} ;;
        esac
        shift
        ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done

for value in "$rounds" "$idle_rounds" "$idle_tunnels" "$scale" "$limit" \
    "$proxy_cpu" "$load_cpu"; do
    [[ $value =~ ^[0-9]{1,6}$ ]] || die "not a number: $value"
done
if [ "$rounds" -gt 100 ] || [ "$idle_rounds" -gt 100 ]; then
    die "at most 100 rounds"
fi
sidgate=${sidgate:-$build/gateway/sidgate}
load=$build/bench/bench_load
backend=$build/bench/bench_backend
for program in "$load" "$backend"; do
    [ -x "$program" ] || die "$program is not built (see bench/README.md)"
done
for program in taskset chrt; do
    command -v $program >/dev/null || die "$program is missing (util-linux)"
done

# A proxy holds two descriptors for each tunnel.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
nofile=$(ulimit -n)
if [ "$nofile" = unlimited ] || [ "$nofile" -gt 20000 ]; then
    nofile=20000
fi
maxconn=$(((nofile - 500) / 2))
if [ "$idle_tunnels" -gt $((maxconn - 600)) ]; then
    idle_tunnels=$((maxconn - 600))
    echo "run.sh: the descriptor limit allows $idle_tunnels idle tunnels" >&2
fi

work=$(mktemp -d)
results=$work/results.tsv
: >"$results"
declare -A pid port main_pid
declare -A store=([sidgate]=memory)

# What each program needs to be told to speak TLS.
haproxy_tls='' nginx_tls='' sidgate_listen='' sidgate_tls=() load_tls=()
if [ $tls = yes ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
        -nodes -days 2 -subj /CN=localhost -keyout "$work/key.pem" \
        -out "$work/cert.pem" 2>"$work/openssl.log" ||
        die "openssl made no certificate"
    cat "$work/cert.pem" "$work/key.pem" >"$work/both.pem"
    haproxy_tls=" ssl crt $work/both.pem alpn http/1.1"
    nginx_tls=" ssl; ssl_certificate $work/both.pem; ssl_certificate_key $work/both.pem"
    sidgate_listen=,tls sidgate_tls=(--tls-certificate "$work/both.pem")
    load_tls=(--tls)
fi

on_proxy_cpu() { exec chrt "${policy[@]}" taskset -c "$proxy_cpu" "$@"; }
on_load_cpu() { chrt "${policy[@]}" taskset -c "$load_cpu" "$@"; }

# SIGTERM, and SIGKILL to what still drains after two seconds.
stop() {
    local target=$1 process i
    process=${main_pid[$target]:-}
    [ -n "$process" ] || return 0
    kill "$process" 2>/dev/null || true
    for ((i = 0; i < 100; i++)); do
        kill -0 "$process" 2>/dev/null || break
        sleep 0.02
    done
    kill -KILL "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
    unset "main_pid[$target]"
}

stop_all() {
    local target
    for target in "${!main_pid[@]}"; do
        stop "$target"
    done
    rm -rf "$work"
}
trap stop_all EXIT
trap 'exit 130' INT TERM

config_of() {
    local target=$1 template
    case $target in
    haproxy*) template=$here/peers/$target.cfg.in ;;
    *) template=$here/peers/$target.conf.in ;;
    esac
    sed -e "s|@BIND@|$haproxy_tls|" -e "s|@LISTEN@|$nginx_tls|" \
        -e "s|@PORT@|${port[$target]}|" -e "s|@DIR@|$work|" \
        -e "s|@NAME@|$target|" -e "s|@NOFILE@|$nofile|" \
        -e "s|@MAXCONN@|$maxconn|" -e "s|@CONNECTIONS@|$((nofile - 100))|" \
        -e "s|@NODE1@|${nodes[0]}|" -e "s|@NODE2@|${nodes[1]}|" \
        -e "s|@NODE3@|${nodes[2]}|" "$template" >"$work/$target.conf"
}

# The store has the other core, as the backend does.
start_redis() {
    local i
    [ -z "${main_pid[redis]:-}" ] || return 0
    port[redis]=$("$load" ports 1)
    chrt "${policy[@]}" taskset -c "$load_cpu" redis-server \
        --port "${port[redis]}" --bind 127.0.0.1 --save '' --appendonly no \
        --dir "$work" >"$work/redis.log" 2>&1 &
    main_pid[redis]=$!
    for ((i = 0; i < 100; i++)); do
        redis-cli -p "${port[redis]}" ping >"$work/redis.ping" 2>&1 && break
        sleep 0.05
    done
    grep -q PONG "$work/redis.ping" || die "redis-server did not start"
    store[sidgate-redis]=redis://127.0.0.1:${port[redis]}
}

# Start a target and wait until it serves. Sets port, main_pid and pid: the
# process that does the work.
start() {
    local target=$1
    port[$target]=$("$load" ports 1)
    case $target in
    direct)
        port[$target]=${nodes[0]}
        pid[$target]=0
        return
        ;;
    sidgate*)
        [ "$target" = sidgate ] || start_redis
        on_proxy_cpu "$sidgate" --workers 1 --store "${store[$target]}" \
            --listen "127.0.0.1:${port[$target]}$sidgate_listen" "${sidgate_tls[@]}" \
            --backend "b1=127.0.0.1:${nodes[0]}" \
            --backend "b2=127.0.0.1:${nodes[1]}" \
            --backend "b3=127.0.0.1:${nodes[2]}" \
            --log-level error 2>"$work/$target.log" &
        ;;
    haproxy*)
        config_of "$target"
        on_proxy_cpu haproxy -db -f "$work/$target.conf" \
            2>"$work/$target.log" &
        ;;
    nginx*)
        config_of "$target"
        on_proxy_cpu nginx -p "$work" -e stderr -c "$work/$target.conf" \
            2>"$work/$target.log" &
        ;;
    esac
    main_pid[$target]=$!
    pid[$target]=$!
    if ! "$load" wait "${port[$target]}" "${load_tls[@]}"; then
        cat "$work/$target.log" >&2
        die "$target did not start"
    fi
    if [[ $target == nginx* ]]; then
        # The file ends without a newline, which read takes for a failure.
        read -r "pid[$target]" _ <"/proc/$!/task/$!/children" || true
    fi
}

takes_part() {
    local row=$1 target=$2
    case $target in
    *-tuned) [ "$row" = large ] ;;
    direct) [[ $row == *-latency ]] ;;
    sidgate-redis)
        [[ $row == handshake* || $row == poll* || $row == setup ]]
        ;;
    *) true ;;
    esac
}

# One measurement. If the proxy had to wait for its core for more than a tenth
# of the time it used, somebody else was at work there: try again, twice at
# most, and keep the calmest.
measure() {
    local row=$1 target=$2 round=$3 count agents=${row_agents[$1]} idle=0
    local line waited best='' calmest=1000000000 try
    count=$((row_count[$row] * scale / 100))
    [ "$row" != idle ] || agents=$idle_tunnels
    [ "$row" != message-idle ] || idle=$idle_tunnels
    for ((try = 0; try <= retries && calmest > 10; try++)); do
        [ $try -eq 0 ] || [ $((SECONDS - started)) -lt $((limit / 2)) ] || break
        if ! line=$(on_load_cpu "$load" run --row "${row_kind[$row]}" \
            --port "${port[$target]}" --pid "${pid[$target]}" \
            --backend "${nodes[0]}" --agents "$agents" --idle "$idle" \
            --count "$((count > 20 ? count : 20))" "${load_tls[@]}"); then
            cat "$work/$target.log" >&2 2>/dev/null || true
            die "row $row failed on $target"
        fi
        waited=${line#*waited=}
        waited=${waited%% *}
        if [ "$waited" -lt "$calmest" ]; then
            calmest=$waited
            best=$line
        fi
    done
    printf '%s\t%s\t%s\t%s\n' "$row" "$target" "$round" "$best" >>"$results"
}

# Every other round goes through the targets backwards, so that a machine that
# slows down or warms up favours nobody.
one_round() {
    local round=$1 row=$2 order=("${list[@]}") i
    if [ $((round % 2)) -eq 1 ]; then
        order=()
        for ((i = ${#list[@]} - 1; i >= 0; i--)); do
            order+=("${list[$i]}")
        done
    fi
    for target in "${order[@]}"; do
        takes_part "$row" "$target" || continue
        if [ "$row" = idle ]; then # memory is compared from a fresh start
            stop "$target"
            start "$target"
        fi
        measure "$row" "$target" "$round"
    done
}

# Whether a further round may begin: the first always does.
has_time() { [ "$1" -eq 0 ] || [ $((SECONDS - started)) -lt "$limit" ]; }

is_wanted() { [ -z "$only" ] || [[ ",$only," == *",$1,"* ]]; }

for name in ${only//,/ }; do
    [ -n "${row_unit[$name]:-}" ] || die "no such row: $name"
done
list=()
for target in ${targets//,/ }; do
    case $target in
    sidgate) program=$sidgate ;;
    sidgate-redis) program=redis-server ;;
    haproxy | haproxy-sid | haproxy-tuned) program=haproxy ;;
    nginx | nginx-tuned) program=nginx ;;
    direct) program=true ;;
    *) die "no such target: $target" ;;
    esac
    if command -v "$program" >/dev/null; then
        list+=("$target")
    else
        echo "run.sh: $program is missing, going on without $target" >&2
    fi
done

coproc exec chrt "${policy[@]}" taskset -c "$load_cpu" "$backend"
main_pid[backend]=$COPROC_PID
read -r -a nodes <&"${COPROC[0]}"
for target in "${list[@]}"; do
    start "$target"
done

started=$SECONDS
if is_wanted idle; then
    for ((round = 0; round < idle_rounds; round++)); do
        has_time "$round" || break
        one_round "$round" idle
    done
    # The other rows' processes shall have no such past.
    for target in "${list[@]}"; do
        stop "$target"
        start "$target"
    done
fi
for ((round = 0; round < rounds; round++)); do
    [ ! -t 2 ] || printf 'round %d of %d\r' $((round + 1)) "$rounds" >&2
    for row in "${rows[@]}"; do
        is_wanted "$row" || continue
        has_time "$round" || break 2
        case $row in
        idle) continue ;;
        message-idle) [ "$round" -lt "$idle_rounds" ] || continue ;;
        esac
        one_round "$round" "$row"
    done
done

awk -f "$here/report.awk" -v json="$json" -v check="$check" \
    -v idle="$idle_tunnels" -v tls=$tls \
    -v seconds=$((SECONDS - started)) "$results"
