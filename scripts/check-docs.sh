#!/bin/bash
# SPDX-License-Identifier: MIT
# Checks the documents against the program.
#
#   check-docs.sh man SIDGATE      docs/sidgate.8 has the options of --man-options
#   check-docs.sh sample SIDGATE   deploy/sidgate.json is accepted and complete
#   check-docs.sh metrics          docs/metrics.md names every metric
#   check-docs.sh events           docs/operations.md names every log event
#   check-docs.sh api              docs/api.md has every path and parameter
#   check-docs.sh update SIDGATE   writes the options into docs/sidgate.8
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
page=$root/docs/sidgate.8
begin='.\" BEGIN OPTIONS'
end='.\" END OPTIONS'

# A caller's environment is no part of what is checked.
for name in $(compgen -e SIDGATE_); do
    unset "$name"
done

# The page with the options that the program prints.
fresh_page()
{
    local options

    options=$("$1" --man-options)
    awk -v begin="${begin//\\/\\\\}" -v end="${end//\\/\\\\}" '
        $0 == end { inside = 0 }
        !inside { print }
        $0 == begin {
            inside = 1
            while ((getline line < "/dev/stdin") > 0)
                print line
        }' "$page" <<<"$options"
}

check_man()
{
    if ! fresh_page "$1" | diff -u "$page" -; then
        echo "docs/sidgate.8 is stale: run scripts/check-docs.sh update $1" >&2
        return 1
    fi
    grep -q '^\.It Fl -listen' "$page"
    mandoc -T lint -W style "$page"
}

check_sample()
{
    local sample=$root/deploy/sidgate.json missing=0 key

    "$1" --config "$sample" --check
    while read -r key; do
        if ! grep -q "\"$key\":" "$sample"; then
            echo "deploy/sidgate.json does not show \"$key\"" >&2
            missing=1
        fi
    done < <("$1" --backend 127.0.0.1:1 --print-config |
        sed -n 's/^  "\([a-z_]*\)": .*/\1/p')
    return $missing
}

# Names on standard input that a page does not have in backquotes.
check_named()
{
    local page=docs/$1 missing=0 count=0 name

    while read -r name; do
        count=$((count + 1))
        if ! grep -qF "\`$name\`" "$root/$page"; then
            echo "$page does not name $name" >&2
            missing=1
        fi
    done
    [ $missing -eq 0 ] && [ $count -gt 0 ]
}

check_metrics()
{
    {
        sed -n 's/^GW_[A-Z_]*([a-z_]*, "\([a-z_]*\).*/sidgate_\1/p' \
            "$root/gateway/metrics.def"
        grep -ohE '"(sidgate|process)_[a-z_]+' "$root"/gateway/metrics_*.c |
            tr -d '"'
    } | sort -u | check_named metrics.md
}

check_events()
{
    cat "$root"/gateway/*.c | tr '\n' ' ' |
        grep -oE '\<gw_log\( *GW_LOG_[A-Z]+,[^,]*,' |
        grep -oE '"[a-z_]+"' | tr -d '"' | sort -u | check_named operations.md
}

# What stands at '*' in a path is called ID there; parameters stand in the first
# column of a table, or in a sentence.
check_api()
{
    local page=$root/docs/api.md missing=0 count=0 name

    while read -r name; do
        count=$((count + 1))
        if ! grep -qF "\`$name\`" "$page"; then
            echo "docs/api.md does not name $name" >&2
            missing=1
        fi
    done < <(
        sed -n 's/^ *{"\(\/api\/[^"]*\)", ABOUT_.*/\1/p' \
            "$root/gateway/command.c" | sed 's/\*/ID/'
        sed -n 's/^ *{"\([a-z]*\)", GW_VERB_.*/\1/p' \
            "$root/gateway/command_query.c" | sort -u
    )
    [ $missing -eq 0 ] && [ $count -ge 20 ]
}

update()
{
    local text

    text=$(fresh_page "$1")
    printf '%s\n' "$text" >"$page"
}

case ${1-} in
man | sample | update)
    [ -n "${2-}" ] || {
        echo "usage: check-docs.sh $1 SIDGATE" >&2
        exit 2
    }
    if [ "$1" = update ]; then
        update "$2"
    else
        "check_$1" "$2"
    fi
    ;;
metrics) check_metrics ;;
events) check_events ;;
api) check_api ;;
*)
    sed -n 's/^#   //p' "$0" >&2
    exit 2
    ;;
esac
