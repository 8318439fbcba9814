# The long way, in Python. In each program it stands behind the fast lane, whose logins need not wait until it is read.

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
        complain 'the process that was to grant it crashed; is the map damaged? rebuild it'
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

# was_seen: wait until our request has gone; fail if the granter has gone before, and it is this process that follows it.
# Each look costs a process, and in a crowd these keep the granter from its work.
was_seen() {
    for pause in 0.15 0.15 0.15 0.25 0.3 0.2; do
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
