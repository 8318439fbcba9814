#!/bin/sh
# baseline.sh BASELINE MAP STAMPDIR MINUTES: expiry as a shell pipeline: the old stamps go, and then their records.
set -eu
cd "$3"
find . -type f -mmin "+$4" -printf '%f\n' |
    xargs -r sh -c 'deleter=$1 map=$2; shift 2; rm -f -- "$@"; printf "%s\n" "$@" | "$deleter" del "$map"' sh "$1" "$2"
