#!/bin/sh
# The way of a login: the fast lane in sh, and behind it the long way in Python. popips/lane.py says why each of these
# tests is there. Nothing is started on the fast lane; where it is not open, that is no error, and nothing is said.

python=@PYTHON@
lib=@LIB@

# renewed CONF ADDRESS USER SERVICE WRITER: renew the address's stamp; fail if that is not all that there is to do
renewed() {
    case $2 in '' | *[!0-9a-f.:]*) return 1 ;; esac
    case $3 in '' | *[!A-Za-z0-9._@+-]* | [Aa][Nn][Oo][Nn][Yy][Mm][Oo][Uu][Ss]) return 1 ;; esac
    case $4 in '' | *[!A-Za-z0-9._@+-]*) return 1 ;; esac
    [ ${#3} -le 64 ] && [ ${#4} -le 64 ] && [ -f "$1.lane" ] || return 1
    {
        lane_conf= lane_services= lane_by_user=
        . /dev/fd/3
        stamp=$lane_stamps/$2
        [ "$lane_conf" = "$1" ] && [ -f "$stamp" ] && [ -x "$stamp" ] && is_open "$1" && is_single && {
            IFS= read -r record <&4 && IFS=' ' read -r lane_user _ <&4 &&
                case $lane_by_user in ?*) [ "$lane_user" = "$3" ] ;; esac &&
                case " ${lane_services:-$4} " in *" $4 "*) ;; *) false ;; esac &&
                printf '%s\n' "$record" "$3 $4 $5" 1<>/dev/fd/4 &&
                [ /dev/fd/4 -ef "$stamp" ] && [ -x "$stamp" ] && is_open "$1" &&
                [ "$stamp" -nt "$lane_stamps/.expire" ] && [ "$lane_stamps/.alive" -nt "$stamp" ]
        } 4<"$stamp"
    } 3<"$1.lane"
} 2>/dev/null

# is_open CONF: tell whether the lane on descriptor 3 is the one that there is, and the map is as it was
is_open() {
    [ /dev/fd/3 -ef "$1.lane" ] && ! [ "$1" -nt "$lane_stamps/.expire" ] && [ -f "$lane_map" ] &&
        ! [ "$lane_map" -nt "$1.lane" ] && ! [ "$lane_map" -ot "$1.lane" ] &&
        { ! [ -s "$lane_map.popips" ] || [ -x "$lane_map.popips" ]; }
}

# long_way PROGRAM ARGUMENT...: have Python grant, and wait for it no longer than a login may be held up
long_way() {
    told=
    trap told=yes USR1 # sent by the program itself, when nobody need wait for it: a dying disk can keep it for ever
    program=$1
    shift
    start "$program.pyc" "$@"
    if [ $status -gt 0 ] && [ $status -lt 128 ]; then # Python is of another version than at `make install`
        start "$program" "$@"
    fi
    if [ $status -gt 128 ] && ! [ $told ]; then # a damaged map can crash libdb
        start "$program" --crashed $$
    fi
    trap - USR1
}

start() {
    "$python" -IS "$lib/$@" </dev/null >/dev/null &
    wait $!
    status=$?
}
