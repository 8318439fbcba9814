#!/bin/sh
# packages.sh NAME...: install the Debian packages that are missing, quietly, and start no daemon of theirs.
# A postinst may start its server or wait a minute for an unqualified host name to resolve (sendmail): here it runs
# in pid and uts namespaces of its own, under a full host name, with no systemd in sight, and its daemons die with it.
set -eu
missing=
for name; do
    dpkg-query -W -f '${Status}\n' "$name" 2>/dev/null | grep -q ' installed$' || missing="$missing $name"
done
[ -n "$missing" ] || exit 0
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive missing
exec unshare --mount --pid --uts --fork --kill-child --mount-proc sh -euc '
    resolv=$(readlink -f /etc/resolv.conf)
    keep=$(cat "$resolv")
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /run/lock "${resolv%/*}"
    [ -e "$resolv" ] || echo "$keep" > "$resolv"
    hostname mx.example.test
    log=$(mktemp)
    # --no-remove: never let a mail server of the host give way to the one that the tests want
    { apt-get -q update && apt-get -q -y --no-install-recommends --no-remove install $missing; } > "$log" 2>&1 ||
        { cat "$log" >&2; echo "packages.sh: could not install$missing" >&2; exit 1; }
    rm -f "$log"'
