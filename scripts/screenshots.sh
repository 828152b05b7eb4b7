#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes the pictures of the live page, docs/images/live-*.png: two replicas with
# a Redis, three nodes, real clients and a headless Chromium.
#
#   scripts/screenshots.sh [--seconds N]
#
# --seconds: for how long clients come and go before (default 180). The binary
# is $SIDGATE_BIN, or that of the release build, which is made if need be.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

case ${1-} in
'' | --seconds) ;;
*)
    sed -n 's/^#   //p' "$0" >&2
    exit 2
    ;;
esac

if [ -z "${SIDGATE_BIN-}" ]; then
    cmake --preset release
    cmake --build --preset release --target sidgate
fi
[ -d tests/integration/node_modules/playwright-core ] ||
    npm --prefix tests/integration ci --no-audit --no-fund
exec node tests/integration/screenshots.mjs "$@" docs/images
