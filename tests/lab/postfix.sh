#!/bin/sh
# postfix.sh DIR: unpack Debian's Postfix, and the libraries that it needs and this host lacks, into DIR/root.
# Nothing is installed: Postfix would put sendmail out. A DIR that is complete is left alone.
set -eu
[ ! -e "$1/complete" ] || exit 0
wanted='postfix postfix-lmdb postfix-cdb'

get() { # with the libraries that an installation would bring
    plan=$(apt-get -s --no-install-recommends -o Debug::NoLocking=1 install $wanted) &&
        apt-get -qq -o APT::Sandbox::User=root download $wanted \
            $(echo "$plan" | awk '$1 == "Inst" && $2 ~ /^lib/ { print $2 }')
}

mkdir -p "$1"
cd "$1"
get 2>/dev/null || { apt-get -qq update; get; } # the lists were empty, or name files that are gone
for deb in *.deb; do dpkg-deb -x "$deb" root; done
for folder in root/lib root/bin; do # /lib is /usr/lib on the host
    [ ! -d "$folder" ] || cp -a "$folder" root/usr/
done
touch complete
