#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs what the tests need and runs them.
#
#   scripts/test.sh             everything
#   scripts/test.sh unit asan   only these steps; --help lists them
#
# The last line is "N passed, N failed", summed over all steps. Each test of a
# suite counts, and a build or a check counts as one. Logs: build/logs/.
set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
logs=$root/build/logs
passed=0
failed=0
all_steps=(format shell layering unit clang asan tsan integration)
# Of tests/wire, those that are run a second time over TLS.
tls_suites=(request-heads request-bytes request-bodies fields upgrade pipeline
    exchange responses response-bytes known-bugs limits edge-limits
    edge-origins closing tunnel slow pressure retry sessions binding)
# Of tests/integration, those whose clients come a second time over TLS.
tls_clients=(matrix-server-4 matrix-server-3 matrix-server-python
    matrix-server-2 payloads shared-connections)

# Those that hold a gateway under load to times and rates: nothing runs beside
# them.
alone=(change-discovery change-drain change-nodes change-reload change-scale
    change-upgrade redis-cluster-masters redis-cluster-slots redis-outage
    redis-outage-closed redis-outage-data redis-sentinel hostile-load
    handover-load)

usage()
{
    cat <<'END'
usage: scripts/test.sh [--no-install] [step ...]
  format       C files are as clang-format would write them
  shell        shellcheck has nothing to say
  layering     no module includes what stands above it
  unit         gcc build with warnings as errors; unit tests, fuzz corpora
  clang        clang build with warnings as errors
  asan         the same tests, the integration tests, and the wire tests once
               more over TLS, with address and undefined-behaviour sanitizers
  tsan         thread sanitizer: the store's race test, and the wire tests
               through a daemon that is built with it
  integration  release build; real servers and clients through the real binary
               and the wire tests, plain and over TLS
END
}

# Adds to the sums and says what a part of a step came to.
count()
{
    passed=$((passed + $2))
    failed=$((failed + $3))
    echo "-- $1: $2 passed, $3 failed"
}

# check <name> <command...>: one test, which passes if the command does.
check()
{
    local name=$1 log=$logs/$1.log

    shift
    if "$@" >"$log" 2>&1; then
        count "$name" 1 0
        return 0
    fi
    tail -n 200 "$log"
    count "$name" 0 1
    return 1
}

# Folders that hold C and shell sources, those that exist.
sources()
{
    find eio store gateway tests bench deploy scripts .ci \
        -name node_modules -prune -o -type f "$@" -print 2>/dev/null | sort
}

check_format()
{
    local files

    mapfile -t files < <(sources -name '*.[ch]')
    [ ${#files[@]} -gt 0 ] && clang-format --dry-run -Werror "${files[@]}"
}

check_shell()
{
    local files

    mapfile -t files < <(sources '(' -name '*.sh' -o -path .ci/run ')')
    [ ${#files[@]} -gt 0 ] && shellcheck "${files[@]}"
}

build()
{
    cmake --preset "$1" -DBUILD_TESTING=ON && cmake --build --preset "$1"
}

# Shows the output of those tests that failed.
show_ctest_failures()
{
    awk '
        { line[NR] = $0; gsub(/\033\[[0-9;]*m/, "", line[NR]) }
        /^ *[0-9]+\/[0-9]+ +Test +#[0-9]+: / && !/   Passed +[0-9.]+ sec$/ {
            match($0, /#[0-9]+:/)
            bad[substr($0, RSTART + 1, RLENGTH - 1)] = 1
            print
        }
        END {
            for (i = 1; i <= NR; i++) {
                split(line[i], word, " ")
                if (word[1] in bad)
                    print line[i]
            }
        }' "$1" | tail -n 300
}

run_ctest()
{
    local preset=$1 log=$logs/$1-ctest.log status=0 result

    ctest --preset "$preset" -V >"$log" 2>&1 || status=$?
    result=$(awk -v kind=ctest -v status=$status -f scripts/count.awk "$log")
    [ "${result#* }" = 0 ] || show_ctest_failures "$log"
    # shellcheck disable=SC2086 # two numbers
    count "$preset tests" $result
}

# Installs a suite's npm packages unless they are there.
install_packages()
{
    local folder=$1

    [ -f "$folder/package-lock.json" ] || return 0
    [ "$folder/node_modules/.package-lock.json" -nt \
        "$folder/package-lock.json" ] && return 0
    (cd "$folder" && npm ci --no-audit --no-fund) || return 1
    touch "$folder/node_modules/.package-lock.json"
}

# One suite: a file of tests against one binary, plain or over tls. Leaves
# "passed failed" in a file of its own, since suites run beside one another.
run_suite()
{
    local preset=$1 how=$2 file=$3 log=$4 status=0 result

    SIDGATE_BIN=$root/build/$preset/gateway/sidgate \
        TEST_TLS=$([ "$how" = tls ] && echo 1) \
        ASAN_OPTIONS=abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1 \
        TSAN_OPTIONS=suppressions=$root/tests/support/tsan.supp \
        timeout --kill-after=10 1200 \
        node --test --test-reporter=tap "$file" >"$log" 2>&1 || status=$?
    result=$(awk -v kind=node -v status=$status -f scripts/count.awk "$log")
    [ "${result#* }" = 0 ] || tail -n 300 "$log"
    echo "$result" >"$log.count"
}

# log_of <preset> <plain|tls> <file>
log_of()
{
    local name=$1

    [ "$2" = plain ] || name=$1-$2
    echo "$logs/$name-$(basename "$(dirname "$3")")-$(basename "$3").log"
}

# run_suites <preset> <plain|tls> <file...>: runs suites, as many at once as
# there are cores (at least two: they mostly wait), those of `alone` behind the
# others and one by one; then counts them.
run_suites()
{
    local preset=$1 how=$2 name=$1 file cores result
    local last=()

    shift 2
    [ "$how" = plain ] || name="$preset $how"
    cores=$(nproc)
    for file in "$@"; do
        rm -f "$(log_of "$preset" "$how" "$file").count"
        if [[ " ${alone[*]} " == *" $(basename "$file" .test.mjs) "* ]]; then
            last+=("$file")
            continue
        fi
        while [ "$(jobs -rp | wc -l)" -ge $((cores > 2 ? cores : 2)) ]; do
            wait -n
        done
        run_suite "$preset" "$how" "$file" \
            "$(log_of "$preset" "$how" "$file")" &
    done
    wait
    for file in "${last[@]}"; do
        run_suite "$preset" "$how" "$file" \
            "$(log_of "$preset" "$how" "$file")"
    done
    for file in "$@"; do
        result=$(cat "$(log_of "$preset" "$how" "$file").count") ||
            result='0 1'
        # shellcheck disable=SC2086 # two numbers
        count "$name $file" $result
    done
}

# The same tests, hostile ones above all, over TLS.
run_over_tls()
{
    local suite files=()

    for suite in "${tls_suites[@]}"; do
        files+=("tests/wire/$suite.test.mjs")
    done
    run_suites "$1" tls "${files[@]}"
}

# The same clients over https and wss.
run_clients_over_tls()
{
    local suite files=()

    for suite in "${tls_clients[@]}"; do
        files+=("tests/integration/$suite.test.mjs")
    done
    run_suites "$1" tls "${files[@]}"
}

# run_integration <preset> <folder...>
run_integration()
{
    local preset=$1 file folder
    local files=()

    shift
    for folder in "$@"; do
        [ -d "$folder" ] || continue
        if ! install_packages "$folder" >"$logs/npm.log" 2>&1; then
            cat "$logs/npm.log"
            count "npm ci in $folder" 0 1
            continue
        fi
        for file in "$folder"/*.test.mjs; do
            [ -f "$file" ] && files+=("$file")
        done
    done
    if [ ${#files[@]} -eq 0 ]; then
        count "$preset integration: no tests found" 0 1
    else
        run_suites "$preset" plain "${files[@]}"
    fi
}

run_step()
{
    echo "== $1"
    case $1 in
    format) check format check_format ;;
    shell) check shell check_shell ;;
    layering) check layering scripts/check-layering.sh ;;
    unit) check debug-build build debug && run_ctest debug ;;
    clang) check clang-build build clang ;;
    asan)
        check asan-build build asan && run_ctest asan &&
            run_integration asan tests/integration tests/wire &&
            run_over_tls asan
        ;;
    tsan)
        check tsan-build build tsan && run_ctest tsan &&
            run_integration tsan tests/wire
        ;;
    integration)
        check release-build build release &&
            run_integration release tests/integration tests/wire &&
            run_over_tls release && run_clients_over_tls release
        ;;
    esac
}

do_install=yes
steps=()
for word in "$@"; do
    case $word in
    --no-install) do_install=no ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        if [[ " ${all_steps[*]} " != *" $word "* ]]; then
            usage >&2
            exit 2
        fi
        steps+=("$word")
        ;;
    esac
done
[ ${#steps[@]} -gt 0 ] || steps=("${all_steps[@]}")

mkdir -p "$logs"
if [ $do_install = yes ]; then
    scripts/install-deps.sh test || count install 0 1
    scripts/get-tools.sh promtool nginx haproxy || count tools 0 1
fi
PATH=$PATH:$root/build/tools/bin
for step in "${steps[@]}"; do
    run_step "$step"
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
