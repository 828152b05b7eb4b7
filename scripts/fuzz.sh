#!/bin/bash
# SPDX-License-Identifier: MIT
# Fuzzes: each target for some minutes of processor time, two at a time.
#
#   scripts/fuzz.sh                          every libFuzzer target
#   scripts/fuzz.sh --minutes 1 gw_client    only these
#   scripts/fuzz.sh differential             mutated messages through a gateway
#
# What is new goes to build/fuzz/<target>/, with crash-* for what went wrong.
# Ends with 1 if anything did.
set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
finds=$root/build/fuzz
programs=$finds/tests/fuzz
minutes=10
differential=no
targets=()

usage()
{
    echo 'usage: scripts/fuzz.sh [--minutes N] [differential | target ...]'
    echo "targets: $(all_targets | tr '\n' ' ')"
}

all_targets()
{
    find tests/fuzz -maxdepth 1 -name 'fuzz_*.c' -printf '%f\n' |
        sed 's/^fuzz_//; s/\.c$//' | sort
}

build()
{
    local names=()

    mapfile -t names < <(printf 'fuzz_%s\n' "$@")
    cmake --preset fuzz &&
        cmake --build --preset fuzz --target "${names[@]}"
}

# Processor time of a process and those it has waited for, in seconds.
cpu_seconds()
{
    local fields

    read -ra fields < <(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) || return 1
    echo $(((fields[11] + fields[12]) / $(getconf CLK_TCK)))
}

# run_target <target>: until it crashes or has had its time.
run_target()
{
    local target=$1 folder=$finds/$1 log=$finds/$1.log status=0 pid used
    local corpus=tests/fuzz/corpus/${1#*_}

    mkdir -p "$folder"
    ASAN_OPTIONS=abort_on_error=1:detect_leaks=1 \
        UBSAN_OPTIONS=print_stacktrace=1 \
        "$programs/fuzz_$target" -max_len=16384 -timeout=25 \
        -print_final_stats=1 -artifact_prefix="$folder/" \
        "$folder" "$corpus" >"$log" 2>&1 &
    pid=$!
    while used=$(cpu_seconds $pid) && [ "$used" -lt $((minutes * 60)) ]; do
        sleep 1
    done
    kill -INT $pid 2>/dev/null
    wait $pid || status=$?
    report "$target" "$log" "$folder" "$status"
}

# libFuzzer's own end by SIGINT says so; anything else is a crash.
report()
{
    local target=$1 log=$2 folder=$3 status=$4 runs coverage

    runs=$(grep -ao '^#[0-9]*' "$log" | tail -n 1 | tr -d '#')
    coverage=$(grep -ao 'cov: [0-9]*' "$log" | tail -n 1 | tr -dc 0-9)
    if grep -qa '^SUMMARY:\|ERROR: ' "$log" ||
        { [ "$status" != 0 ] && ! grep -qa 'run interrupted' "$log"; }; then
        grep -a -A 12 'ERROR: ' "$log" | head -n 20
        echo "$target: CRASH (status $status), see $log and $folder"
        return 1
    fi
    echo "$target: clean, ${runs:-0} runs, coverage ${coverage:-0}"
}

run_all()
{
    local target failed=0 running=0

    for target in "$@"; do
        if [ $running -ge 2 ]; then
            wait -n || failed=1
            running=$((running - 1))
        fi
        run_target "$target" &
        running=$((running + 1))
    done
    while [ $running -gt 0 ]; do
        wait -n || failed=1
        running=$((running - 1))
    done
    return $failed
}

run_differential()
{
    cmake --preset asan && cmake --build --preset asan --target sidgate &&
        SIDGATE_BIN=$root/build/asan/gateway/sidgate \
            ASAN_OPTIONS=abort_on_error=1 \
            node tests/fuzz/differential.mjs --minutes "$minutes"
}

while [ $# -gt 0 ]; do
    case $1 in
    --minutes)
        minutes=${2:-}
        shift
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    differential) differential=yes ;;
    *)
        if [ ! -f "tests/fuzz/fuzz_$1.c" ]; then
            usage >&2
            exit 2
        fi
        targets+=("$1")
        ;;
    esac
    shift
done
if ! [[ $minutes =~ ^[1-9][0-9]*$ ]]; then
    usage >&2
    exit 2
fi

mkdir -p "$finds"
failed=0
if [ $differential = yes ]; then
    run_differential || failed=1
    [ ${#targets[@]} -gt 0 ] || exit $failed
fi
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(all_targets)
if ! build "${targets[@]}" >"$finds/build.log" 2>&1; then
    tail -n 50 "$finds/build.log"
    exit 1
fi
run_all "${targets[@]}" || failed=1
exit $failed
