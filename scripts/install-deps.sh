#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs the Debian 12 packages that sidgate is built, run and tested with.
# Looks first at what is there: with nothing missing it changes nothing and
# needs no rights and no network.
set -euo pipefail

usage()
{
    echo "usage: scripts/install-deps.sh [build] [node] [test]"
    echo "  build  what compiles sidgate"
    echo "  node   Node.js and npm, for the quick start"
    echo "  test   both of these and what the tests need (the default)"
}

build=(gcc libc6-dev cmake ninja-build pkg-config libwebsockets-dev
    libwebsockets-evlib-uv libuv1-dev libcjson-dev libhiredis-dev node-llhttp
    zlib1g-dev libssl-dev libc-ares-dev)
test=(libcriterion-dev clang clang-format libclang-rt-14-dev mandoc shellcheck
    python3 python3-socketio python3-aiohttp chromium redis-server iproute2
    procps curl)

wanted=()
[ $# -gt 0 ] || set -- test

# Other packages than Debian's provide these commands just as well.
want_node()
{
    command -v node >/dev/null || wanted+=(nodejs)
    command -v npm >/dev/null || wanted+=(npm)
}

for group in "$@"; do
    case $group in
    build) wanted+=("${build[@]}") ;;
    node) want_node ;;
    test)
        wanted+=("${build[@]}" "${test[@]}")
        want_node
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "install-deps.sh: this system has no apt; make sure that it has the" \
        "likes of: ${wanted[*]}" >&2
    exit 0
fi

missing=()
for package in "${wanted[@]}"; do
    # shellcheck disable=SC2016 # the format is dpkg's, not the shell's
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) ||
        state=none
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "install-deps.sh: run as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "install-deps.sh: installing ${missing[*]}"
"${as_root[@]}" apt-get update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}"
