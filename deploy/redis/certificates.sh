#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes an authority of your own, a certificate for Redis and its Sentinels, and
# one for sidgate.
#
#   certificates.sh FOLDER NAME...     names or addresses of all those hosts
#
# FOLDER then has ca.pem and ca.key (keep that one elsewhere), redis.pem and
# redis.key (to each Redis host), gateway.pem and gateway.key (to each sidgate).
# Called again it makes new certificates by the same authority: put them in
# place, then reload sidgate (SIGHUP) and restart Redis.
set -euo pipefail

[ $# -ge 2 ] || {
    sed -n 's/^# \{0,1\}//; 3,11p' "$0" >&2
    exit 2
}
folder=$1
shift
names=
for name in "$@"; do
    if [[ $name =~ ^[0-9.]+$ || $name == *:* ]]; then
        names+=,IP:$name
    else
        names+=,DNS:$name
    fi
done

umask 077
mkdir -p "$folder"
cd "$folder"
new_key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -sha256)

if [ ! -e ca.key ]; then
    openssl req -x509 "${new_key[@]}" -days 3650 -subj "/CN=sidgate's Redis" \
        -addext basicConstraints=critical,CA:TRUE \
        -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout ca.key -out ca.pem
fi

# sign NAME EXTENSIONS
sign()
{
    openssl req -new "${new_key[@]}" -subj "/CN=$1" -keyout "$1.key" |
        openssl x509 -req -sha256 -days 825 -CA ca.pem -CAkey ca.key \
            -set_serial "0x$(openssl rand -hex 16)" -out "$1.pem" -extfile <(
                echo "basicConstraints = CA:FALSE"
                echo "keyUsage = critical, digitalSignature"
                printf '%s\n' "${@:2}"
            )
}

# A server is the client of its master and of other nodes.
sign redis "extendedKeyUsage = serverAuth, clientAuth" \
    "subjectAltName = ${names#,}"
sign gateway "extendedKeyUsage = clientAuth"
