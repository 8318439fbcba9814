# The fast lane: popips/lane.py says why each of these tests is there. Nothing is started on it; where it is not open,
# that is no error.

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
            IFS=' ' read -r lane_user lane_rest <&6 &&
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
