#!/bin/sh
# unpack.sh DIR NAME...: unpack Debian packages into DIR/root; of ONE|OTHER the first that there is. Nothing is installed:
# these come with daemons that the host need not have, and the tests want but a program of each. A DIR that is complete is
# left alone.
set -eu
dir=$1
shift
[ "$(cat "$dir/complete" 2>/dev/null)" != "$*" ] || exit 0
mkdir -p "$dir"
cd "$dir"
get() { apt-get -qq -o APT::Sandbox::User=root download "$@"; }
all() { for name; do get "${name%%|*}" 2>/dev/null || get "${name##*|}" || return; done; }
all "$@" 2>/dev/null || { apt-get -qq update; all "$@"; } # the lists were empty, or name files that are gone
for deb in *.deb; do dpkg-deb -x "$deb" root; rm "$deb"; done
echo "$*" > complete
