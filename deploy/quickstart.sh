#!/bin/bash
# SPDX-License-Identifier: MIT
# Builds sidgate and starts it with three Socket.IO nodes and a page to watch.
#
#   deploy/quickstart.sh                             three nodes of its own
#   deploy/quickstart.sh --backend 127.0.0.1:3001    your servers instead
#
# All arguments go to sidgate; with --backend or --config no nodes are started.
# Ctrl-C stops everything.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
here=$root/deploy/quickstart
build=$root/build/quickstart
sidgate=$build/gateway/sidgate
own_backends=no

for word in "$@"; do
    case $word in
    --backend | --backend=* | --config | --config=*) own_backends=yes ;;
    esac
done

# A step's output is shown only if it fails.
quietly()
{
    local log=$build/quickstart.log

    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        echo "quickstart.sh: this failed: $*" >&2
        exit 1
    fi
}

build_sidgate()
{
    echo "Building sidgate..."
    quietly cmake -S "$root" --preset release -B "$build" -DBUILD_TESTING=OFF
    quietly cmake --build "$build" --target sidgate
}

install_nodes()
{
    [ "$here/node_modules/.package-lock.json" -nt "$here/package-lock.json" ] &&
        return
    echo "Installing Socket.IO for the three nodes..."
    cd "$here"
    quietly npm ci --no-audit --no-fund
    # npm keeps an older file's time where nothing changed in it.
    touch node_modules/.package-lock.json
    cd "$root"
}

mkdir -p "$build"
cd "$root"
# Two copies started at once must not build into each other's files.
exec 9>"$build/quickstart.lock"
flock 9
if [ $own_backends = yes ]; then
    "$root/scripts/install-deps.sh" build
    build_sidgate
    exec 9>&-
    exec "$sidgate" "$@"
fi
"$root/scripts/install-deps.sh" build node
build_sidgate
install_nodes
exec 9>&-
exec node "$here/start.mjs" "$sidgate" "$@"
