
# ---- popips-postlogin, for Dovecot's script-login: descriptors 0 and 1 are the client's connection

conf=/etc/popips.conf
[ $# -ge 2 ] && [ "$1" = -c ] && conf=$2 && shift 2
case ${1-} in
    '' | --help | --version) exec "$python" -IS "$lib/popips-postlogin" usage "$@" ;;
esac

# Dovecot sets each variable once
is_single() { :; }

# script-login does not say for which server it runs; only an IMAP session has a token
service=pop3
[ "${AUTH_TOKEN+there}" ] && service=imap
# where everybody may log in, whatever Dovecot calls him, a login opens nothing
{ [ "${AUTH_MECH-}" != ANONYMOUS ] && renewed "$conf" "${IP-}" "${USER-}" "$service" popips-postlogin; } ||
    long_way popips-postlogin grant $$ -c "$conf"

# plain: tell whether sh hands the environment on as it is: it drops names that it cannot have, like NAME/PART=, which
# Dovecot makes of the user's fields, and sets some itself, as this program does
plain() {
    ! IFS= read -r all && case $all in
        '' | *PWD=* | *IFS=* | *PS[124]=* | *OPTIND=* | *PPID=* | *LINENO=* | *POPIPS_ENVIRON=*) false ;;
        *python=* | *lib=* | *conf=* | *service=* | *all=* | *told=* | *program=* | *status=*) false ;;
        *lane_*=* | *stamp=* | *record=*) false ;;
    esac && case ${USERDB_KEYS-} in
        *[!A-Za-z0-9_\ ]*) false ;;
    esac
} </proc/self/environ

if ! plain; then
    POPIPS_ENVIRON=$("$python" -IS "$lib/popips-postlogin" environ $$)
    [ "$POPIPS_ENVIRON" ] && export POPIPS_ENVIRON && exec "$python" -IS "$lib/popips-postlogin" become "$@"
fi
unset PWD
exec "$@"
