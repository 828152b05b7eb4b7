#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes sure that programs which some tests drive can be found, without
# installing them: their packages would start services and pull in more than
# the one file that is wanted. A program that is on PATH is taken as it is; any
# other is unpacked below build/tools, and linked from build/tools/bin, which
# the caller puts on its PATH.
#
#   scripts/get-tools.sh promtool nginx haproxy
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/build/tools
PATH=$PATH:/usr/sbin:/sbin

# Where a package has it: package, path in it.
source_of()
{
    case $1 in
    promtool) echo prometheus usr/bin/promtool ;;
    nginx) echo nginx usr/sbin/nginx ;;
    haproxy) echo haproxy usr/sbin/haproxy ;;
    *)
        echo "get-tools.sh: no package is known for $1" >&2
        return 1
        ;;
    esac
}

update_lists()
{
    if [ "$(id -u)" -eq 0 ]; then
        apt-get -qq update
    elif command -v sudo >/dev/null; then
        sudo apt-get -qq update
    else
        return 1
    fi
}

# Unpacks a package into a folder. Old package lists name files that are gone.
unpack()
{
    local package=$1 into=$2

    (
        cd "$into"
        if ! apt-get -qq download "$package" 2>download.log; then
            update_lists && apt-get -qq download "$package" 2>download.log
        fi
    ) || {
        cat "$into/download.log" >&2
        return 1
    }
    dpkg -x "$into/$package"_*.deb "$into/root"
    rm -f "$into"/*.deb "$into/download.log"
}

# Shared libraries that this system lacks: those of the package, and theirs.
missing_libraries()
{
    local wanted=("$1") seen=' ' library state

    ldd "$2" | grep -q 'not found' || return 0
    while [ ${#wanted[@]} -gt 0 ]; do
        while read -r library; do
            [[ $seen != *" $library "* ]] || continue
            seen+="$library "
            # shellcheck disable=SC2016 # the format is dpkg's, not the shell's
            state=$(dpkg-query -W -f '${db:Status-Status}' "$library" \
                2>/dev/null) || state=none
            [ "$state" != installed ] || continue
            echo "$library"
            wanted+=("$library")
        done < <(apt-cache depends --important "${wanted[0]}" |
            sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p' | grep -v '^libjs-')
        wanted=("${wanted[@]:1}")
    done
}

# The folders of libraries that came with a tool.
libraries_of()
{
    find "$1" -type d -name '*-linux-gnu*' | paste -sd:
}

# Whether nothing is missing any more.
is_whole()
{
    local absent

    absent=$(LD_LIBRARY_PATH=$(libraries_of "$1") ldd "$1/$2" |
        grep 'not found') || return 0
    echo "get-tools.sh: $2 lacks libraries:" >&2
    echo "$absent" >&2
    return 1
}

# A link to it; or, where it came with libraries, a script that names these.
link()
{
    local tool=$1 path=$2 libraries

    libraries=$(libraries_of "$tools/$tool")
    if [ -z "$libraries" ]; then
        ln -sf "$path" "$tools/bin/$tool"
        return
    fi
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$libraries" \
        "$path" >"$tools/bin/.$tool"
    chmod +x "$tools/bin/.$tool"
    mv -f "$tools/bin/.$tool" "$tools/bin/$tool"
}

# What is linked is whole: that is done last.
fetch()
{
    local tool=$1 package=$2 path=$3 fresh=$tools/.fresh library

    rm -rf "$fresh"
    mkdir -p "$fresh/root" "$tools/bin"
    unpack "$package" "$fresh"
    for library in $(missing_libraries "$package" "$fresh/root/$path"); do
        unpack "$library" "$fresh"
    done
    is_whole "$fresh/root" "$path"
    find "$fresh/root" ! -type d ! -path "$fresh/root/$path" \
        ! -path '*-linux-gnu*' -delete
    rm -rf "${tools:?}/$tool"
    mv "$fresh/root" "$tools/$tool"
    rm -rf "$fresh"
    link "$tool" "$tools/$tool/$path"
}

if [ $# -eq 0 ]; then
    sed -n 's/^#   /usage: /p' "$0" >&2
    exit 2
fi
mkdir -p "$tools"
exec 9>"$tools/.lock"
flock 9
for tool in "$@"; do
    source=$(source_of "$tool")
    if command -v "$tool" >/dev/null || [ -x "$tools/bin/$tool" ]; then
        continue
    fi
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        echo "get-tools.sh: this system has no apt; install $tool" >&2
        exit 1
    fi
    echo "get-tools.sh: unpacking ${source% *} for $tool"
    fetch "$tool" "${source% *}" "${source#* }"
done
