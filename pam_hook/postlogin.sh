#!/bin/sh
# popips-postlogin, for Dovecot's script-login: descriptors 0 and 1 are the client's connection. The server is started
# whatever fails: dash, for one, ends where it cannot fork.
become='restore; [ "${1-}" = -c ] && shift 2; unset PWD; exec "$@"'
trap "$become" EXIT
trap '' XFSZ PIPE # a write that fails is no reason to end, either

# restore: put signals and descriptors right again; what dash cannot save is closed by the first try, so that the second
# has nothing to save
restore() {
    [ "${restored-}" ] && return
    trap - XFSZ PIPE
    command exec <&7 || command exec <&7
    command exec >&8 || command exec >&8
    command exec 7<&-
    command exec 8>&-
    command exec 2>&9 || command exec 2>&9
    command exec 9>&-
    restored=yes
}
restored=
command exec 7<&0 || command exec 7<&0
command exec 8>&1 || command exec 8>&1

# @LANE@

# ---- popips-postlogin

conf=/etc/popips.conf
[ $# -ge 2 ] && [ "$1" = -c ] && conf=$2 && shift 2
case ${1-} in
    '' | --help | --version) exec "$python" -IS "$lib/popips-postlogin" usage "$@" 2>&9 ;;
esac

# is_plain: whether sh hands the environment on as it is: it drops names that it cannot have, like NAME/PART=, which
# Dovecot makes of the user's fields, and sets some itself, as this program does. Dovecot lists the names that it has
# made; without that list sh has to read all there is, which takes it as long as all else that it does.
is_plain() {
    case ${USERDB_KEYS-} in
        '') ;;
        *[!A-Z0-9_\ ]* | *PWD* | *IFS* | *PS[124]* | *OPTIND* | *PPID* | *LINENO*) return 1 ;;
        *) return 0 ;;
    esac
    read_all
    case $all in
        *PWD=* | *IFS=* | *PS[124]=* | *OPTIND=* | *PPID=* | *LINENO=* | *become=*) false ;;
        *python=* | *lib=* | *conf=* | *service=* | *all=* | *entry=* | *request=* | *marker=*) false ;;
        *lane_*=* | *stamp=* | *folder=* | *restored=*) false ;;
    esac
}

# read_all: read the whole environment into $all, without the NULs between the variables
read_all() {
    all=
    while IFS= read -r entry; do all="$all$entry
"; done
    all=$all$entry
} </proc/self/environ

# exactly SERVER ARGUMENT...: become the server with our own environment, to the byte; return if that cannot be done
exactly() {
    read_all
    [ "$all" ] || return
    for mark in '|' '~' '^' '%' '`'; do # stands for the end of a line; a variable can hold that, but no NUL
        case $all in *"$mark"*) mark= ;; *) break ;; esac
    done
    case $mark:$1 in :* | *=*) return ;; esac
    IFS='
'
    set -f
    entries=$(LC_ALL=C /usr/bin/tr '\n\0' "$mark\n" </proc/$$/environ) || return
    for entry in $entries; do
        case $entry in *"$mark"*) entry=$entry$mark IFS=$mark && join $entry ;; esac # what ends with one counts, too
        case $entry in *=*) set -- "$entry" "$@" ;; esac
    done
    restore
    LC_ALL=C exec /usr/bin/env -i -- "$@"
}

# join WORD...: make lines of them
join() {
    IFS='
'
    entry=$*
}

# become_server SERVER ARGUMENT...: become the server, if possible with our own environment to the byte
become_server() {
    is_plain || exactly "$@"
    eval "$become"
}

# script-login does not say for which server it runs; only an IMAP session has a token
service=pop3
[ "${AUTH_TOKEN-}" ] && service=imap
# where everybody may log in, whatever Dovecot calls him, a login opens nothing
[ "${AUTH_MECH-}" != ANONYMOUS ] && renewed "$conf" "${IP-}" "${USER-}" "$service" popips-postlogin &&
    become_server "$@"

# @LONG_WAY@

long_way popips-postlogin -c "$conf"
become_server "$@"
