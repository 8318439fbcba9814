#!/bin/sh
# popips-hook, for pam_exec. The login goes on whatever fails: dash, for one, ends where it cannot fork.
trap 'exit 0' EXIT
trap '' XFSZ PIPE # a write that fails is no reason to end, either

# @LANE@

# ---- popips-hook

case $#:${1-} in
    1:--help | 1:--version) exec "$python" -IS "$lib/popips-hook" usage "$1" 2>&9 ;;
esac
conf=/etc/popips.conf
phase=
while [ $# -ge 2 ]; do
    case $1 in
        -c) conf=$2 ;;
        --phase)
            case $2 in
                auth | account) phase=$2 ;;
                session) phase=open_session ;;
                *) break ;;
            esac
            ;;
        *) break ;;
    esac
    shift 2
done
if [ $# -gt 0 ]; then
    [ -t 9 ] && exec "$python" -IS "$lib/popips-hook" usage 2>&9 # else Python logs it
else
    set -- -c "$conf" $phase
    # pam_env can be made to put a second PAM_RHOST, from the user's own file, in front of the one that pam_exec sets:
    # sh goes by the last one of a name, and hands on no other
    case ${PAM_TYPE-} in
        "${phase:-account}" | "${phase:-open_session}")
            renewed "$conf" "${PAM_RHOST-}" "${PAM_USER-}" "${PAM_SERVICE-}" popips-hook && exit 0
            ;;
        auth) ;; # not the phase to act in: Python tells why
        *) exit 0 ;;
    esac
fi

# @LONG_WAY@

long_way popips-hook "$@"
exit 0
