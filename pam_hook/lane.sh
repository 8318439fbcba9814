# The way of a login: the fast lane in sh, and behind it the long way in Python. popips/lane.py says why each of these
# tests is there. Nothing is started on the fast lane; where it is not open, that is no error.

# What sh itself has to say, that a file has gone or a clock was killed, is not for the log. Each of these is a command
# of its own because dash saves each descriptor that it redirects, and closes it if none is free to save it in.
command exec 9>&2 || command exec 9>&2
command exec 2>&-

python=@PYTHON@
lib=@LIB@
request=- # the path of what this login has left for a granter to see

# renewed CONF ADDRESS USER SERVICE WRITER: renew the address's stamp; if that is not all that there is to do, leave a
# request, if that is possible, and fail
renewed() {
    case $2 in '' | *[!0-9a-f.:]*) return 1 ;; esac
    case $3 in '' | *[!A-Za-z0-9._@+-]* | [Aa][Nn][Oo][Nn][Yy][Mm][Oo][Uu][Ss]) return 1 ;; esac
    case $4 in '' | *[!A-Za-z0-9._@+-]*) return 1 ;; esac
    case $1 in */*) folder=${1%/*}/ ;; *) folder=. ;; esac
    [ ${#3} -le 64 ] && [ ${#4} -le 64 ] && [ -O "$folder" ] && [ -f "$1.lane" ] || return 1
    {
        {
            IFS= read -r lane_conf && IFS= read -r lane_stamps && IFS= read -r lane_services &&
                IFS= read -r lane_by_user
        } <&5
        [ -O /proc/self/fd/5 ] && [ -O "$lane_stamps" ] && is_open "$1" || return 1
        # in a network of `never`, as Python has told the log a short while ago
        stamp=$lane_stamps/.never-$2
        [ "$lane_conf" = "$1" ] && [ -f "$stamp" ] && [ -O "$stamp" ] && [ "$stamp" -nt "$1" ] && return 0
        stamp=$lane_stamps/$2
        [ "$lane_conf" = "$1" ] && [ -f "$stamp" ] && ! [ -L "$stamp" ] && [ -O "$stamp" ] && [ -x "$stamp" ] && {
            IFS=' ' read -r lane_user _ <&6 &&
                case $lane_by_user in ?*) [ "$lane_user" = "$3" ] ;; esac &&
                case " ${lane_services:-$4} " in *" $4 "*) ;; *) false ;; esac &&
                printf '%s\n' "$3 $4 $5" 1<>/proc/self/fd/6 &&
                [ /proc/self/fd/6 -ef "$stamp" ] && [ -x "$stamp" ] && is_open "$1" &&
                [ "$stamp" -nt "$lane_stamps/.expire" ] && [ "$lane_stamps/.alive" -nt "$stamp" ]
        } 6<"$stamp" && return
        request=$lane_stamps/.requests/$2-$$ marker=$lane_stamps/.granter
        printf '%s\n' "$3 $4 $5" >"$request" || request=-
        false
    } 5<"$1.lane"
}

# is_open CONF: whether the lane on descriptor 5 is the one that there is, and popips.conf is as the last run saw it
is_open() {
    [ /proc/self/fd/5 -ef "$1.lane" ] && ! [ "$1" -nt "$lane_stamps/.expire" ]
}

# long_way PROGRAM ARGUMENT...: have Python grant, and wait for that, but no longer than a login may be held up. What is
# waited for is a clock, a process that knows nothing of what it limits: a disk that no longer answers can keep that for
# ever. Whoever is done kills the clock, and is its child, not ours: a server does not wait for a child that it has not
# made. With what comes before and after, a login is held up for less than 2 s.
long_way() {
    (
        { attempt "$@"; } >/dev/null 7<&- 8>&- &
        [ -d /proc/self ] && LC_ALL=C exec /bin/sleep 1.3 # without /proc nobody could find it, to stop it
    )
}

# attempt PROGRAM ARGUMENT...: run Python, and log it if that fails; but where a granter is at work already, who
# sees to our request, too, only wait for that. Python stops the clock as soon as the login need wait no more; here that
# is done for all else.
attempt() {
    trap 'read -r _ _ _ clock _ </proc/self/stat && read -r _ _ _ parent _ <"/proc/$clock/stat" &&
        [ "$parent" = $$ ] && kill -KILL "$clock"' EXIT
    [ "$request" = - ] || { ! is_granter && was_seen && exit; }
    program=$1
    shift
    "$python" -IS "$lib/$program.pyc" grant $$ "$request" "$@" 2>&9 9>&-
    status=$?
    if [ $status -gt 0 ] && [ $status -lt 128 ]; then # Python is another version than at `make install`
        "$python" -IS "$lib/$program" grant $$ "$request" "$@" 2>&9 9>&-
        status=$?
    fi
    if [ $status -ge 128 ]; then
        complain 'the process that was to grant it crashed; is the map damaged? make it anew'
    elif [ $status -gt 0 ]; then
        complain "$python cannot run $lib/$program, status $status; install popips again"
    fi
}

# is_granter: make this process the granter, for the Python that it is about to start; fail if another is, and lives.
# One that is older than the last run does not count: by now its pid may be that of somebody else
is_granter() {
    set -C
    read -r me _ </proc/self/stat && printf '%s\n' "$me" >"$marker" && return
    ! { [ "$marker" -nt "$lane_stamps/.expire" ] && read -r granter <"$marker" && kill -0 "$granter"; }
}

# was_seen: wait until our request has gone; fail if the granter has gone before, and it is this process that follows it
was_seen() {
    for pause in 0.01 0.02 0.04 0.08 0.16 0.32 0.64; do
        LC_ALL=C /bin/sleep $pause
        [ -e "$request" ] || return 0
        kill -0 "$granter" || ! is_granter || return
    done
}

# complain REASON: log that nothing could be granted; what is left for a granter to see stays for the next run
complain() {
    verdict=refused
    [ "$request" = - ] || verdict=deferred
    line="$verdict: address=- user=- service=- map=- reason=\"$1\""
    printf '%s\n' "$program: $line" >&9
    /usr/bin/logger -p mail.warning -t "$program" -- "$line" 2>/dev/null
}
