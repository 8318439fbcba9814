#!/bin/sh
# cover.sh CMD...: run CMD, the tests for instance, in a mount namespace where overlays cover the host's configuration,
# state and mail: all of it can be read there, and what is written lies on the cover. If anything lies there at the end,
# CMD has reached for the host's files, and that is a failure, whatever CMD made of it.
set -eu
cover=$(mktemp -d -p /run) # where nobody but root writes: makemap looks at that
trap 'rmdir "$cover"' EXIT
unshare --mount --uts --propagation private sh -euc '
cover=$1 checkout=$2 covered=
hostname mx.example.test # without a full name sendmail waits for one, for a minute
shift 2
# a cover in a cover takes its place: Linux stacks but two overlays, and the root of a container is often one
for folder in $(findmnt --raw --noheadings --output TARGET --source popips-cover); do umount -l "$folder"; done
mount -t tmpfs -o mode=755 tmpfs "$cover"
mkdir "$cover/real"
mount --rbind / "$cover/real"
# what a program without settings of its own would work on is there, whatever this host has: its settings are refused,
# its map and its stamps can be written to
bait="$cover/bait"
mkdir -p "$bait/etc/mail" "$bait/var/lib/popips/stamps"
echo "a test reads the settings of the host" > "$bait/etc/popips.conf"
makemap hash "$bait/etc/mail/access.db" < /dev/null
for folder in /etc/mail /var/lib/popips; do
    [ ! -d "$folder" ] || { chown --reference="$folder" "$bait$folder"; chmod --reference="$folder" "$bait$folder"; }
done
chmod 0700 "$bait/var/lib/popips/stamps"
for folder in /etc /var/lib /var/mail /var/spool; do
    [ -d "$folder" ] && [ ! -L "$folder" ] || continue
    over="$cover/over$folder" work="$cover/work$folder"
    mkdir -p "$over" "$work" "$bait$folder"
    chown --reference="$folder" "$over"
    chmod --reference="$folder" "$over"
    touch -d @0 "$over"
    below=$(findmnt --raw --noheadings --output TARGET | grep "^$folder/" || :)
    case "$checkout" in "$folder"/*) below="$below $checkout" ;; esac
    mount -t overlay -o "lowerdir=$bait$folder:$folder,upperdir=$over,workdir=$work" popips-cover "$folder"
    for path in $below; do mount --rbind "$cover/real$path" "$path"; done # an overlay shows nothing that is mounted below
    covered="$covered $over"
done
umount -l "$cover/real"
status=0
"$@" || status=$?
# a folder that has its first time yet, as on top, is one in which nothing was made
reached=$(for over in $covered; do find "$over" \( -path "$over" ! -newermt @0 \) -o -print; done | sed "s|^$cover/over||")
[ -z "$reached" ] || { echo "cover.sh: the command has reached for the files of the host:" $reached >&2; status=1; }
exit "$status"
' sh "$cover" "$(cd "$(dirname "$0")/../.." && pwd)" "$@"
