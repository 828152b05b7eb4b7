#!/bin/sh
# SPDX-License-Identifier: MIT
# Checks what the libraries may include, and that no banned function is used.
#
#   check-layering.sh [ROOT]        prints each offending line, exits 1 if any
#   check-layering.sh --self-test   plants offences in a copy and looks for them
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)

banned='strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|strncpy|alloca'
loops='hiredis/|uv\.h|uv/|libwebsockets|lws'

# forbid WHAT PATTERN FOLDER...: no line in the folders' sources may match.
forbid() {
    what=$1 pattern=$2
    shift 2
    for folder in "$@"; do
        [ -d "$folder" ] || continue
        if grep -rnE --exclude-dir=node_modules --include='*.c' --include='*.h' --include='*.def' \
            "$pattern" "$folder"; then
            echo "  ^ $what" >&2
            bad=1
        fi
    done
}

includes() {
    printf '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"](\\.\\./|\\./)*(%s)' "$1"
}

check() {
    cd "$1"
    bad=0
    forbid 'eio/ stands alone' "$(includes 'store/|gateway/')" eio
    forbid 'eio/ does no I/O' "$(includes "$loops|sys/socket\\.h")" eio
    forbid 'store/ knows neither eio/ nor gateway/' \
        "$(includes 'eio/|gateway/')" store
    forbid 'store/ reaches a loop only through its hooks' \
        "$(includes 'uv\.h|uv/|libwebsockets|lws|hiredis/adapters/')" store
    forbid 'banned function' \
        "(^|[^[:alnum:]_])($banned)[[:space:]]*\\(" \
        eio store gateway tests bench
    return "$bad"
}

# plant FILE LINE: one offence at a time must be found, and named.
plant() {
    cp -R "$here/eio" "$here/store" "$here/gateway" "$copy"
    mkdir -p "$copy/${1%/*}"
    printf '%s\n' "$2" >> "$copy/$1"
    if found=$("$here/scripts/check-layering.sh" "$copy" 2>&1); then
        echo "not found: $2 in $1" >&2
        exit 1
    fi
    case $found in
    *"$1"*"$2"*) ;;
    *)
        echo "not named: $2 in $1" >&2
        exit 1
        ;;
    esac
    rm -rf "${copy:?}"/*
}

self_test() {
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    cp -R "$here/eio" "$here/store" "$here/gateway" "$copy"
    "$here/scripts/check-layering.sh" "$copy"
    rm -rf "${copy:?}"/*
    plant eio/sid.c '#include "gateway/log.h"'
    plant eio/sid.h '#  include "store/store.h"'
    plant eio/query.c '#include "../store/store.h"'
    plant eio/query.c '#include <hiredis/hiredis.h>'
    plant eio/frame.c '#include <uv.h>'
    plant eio/frame.c '#include <libwebsockets.h>'
    plant store/store.h '#include "eio/sid.h"'
    plant store/planted.c '#include "gateway/config.h"'
    plant store/planted.c '#include <uv.h>'
    plant gateway/planted.c '    strcpy(a, b);'
    plant eio/planted.c 'int n = atoi (text);'
}

case ${1-} in
--self-test) self_test ;;
*) check "${1:-$here}" ;;
esac
