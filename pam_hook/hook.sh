
# ---- popips-hook, for pam_exec

case $#:${1-} in
    0:) set -- -c /etc/popips.conf ;;
    2:-c) ;;
    1:--help | 1:--version) exec "$python" -IS "$lib/popips-hook" usage "$1" ;;
    *)
        [ -t 2 ] && exec "$python" -IS "$lib/popips-hook" usage
        long_way popips-hook grant $$ "$@"
        exit 0
        ;;
esac

# is_single: tell whether the variables of PAM are there once each: read leaves out the NULs between them
is_single() {
    ! IFS= read -r all && case $all in
        *PAM_TYPE=*PAM_TYPE=* | *PAM_RHOST=*PAM_RHOST=* | *PAM_USER=*PAM_USER=* | *PAM_SERVICE=*PAM_SERVICE=*) false ;;
        *PAM_RHOST="$PAM_RHOST"*) ;;
        *) false ;;
    esac
} </proc/self/environ

case ${PAM_TYPE-} in
    auth | account | open_session)
        renewed "$2" "${PAM_RHOST-}" "${PAM_USER-}" "${PAM_SERVICE-}" popips-hook && exit 0
        ;;
esac
long_way popips-hook grant $$ "$@"
exit 0
