"""popips-postlogin: what Dovecot's script-login starts. Grants the address in IP, then becomes the server."""

from __future__ import annotations

import sys

from pam_hook import login
from popips.login import Login

PROGRAM = "popips-postlogin"
USAGE = f"""usage: {PROGRAM} [-c FILE] SERVER [ARGUMENT...]

Grants relaying to the address of a login, then becomes SERVER. A line for Dovecot, as in
  executable = script-login /usr/local/libexec/popips/{PROGRAM}

  -c FILE    the configuration, instead of /etc/popips.conf; the first argument
  --help     show this and exit
  --version  show the version and exit
"""


def main(argv: list[str] | None = None) -> int:
    """Run for postlogin.sh, the first argument says what for; return the exit status.

    grant SHELL REQUEST -c FILE, with the pid of sh, and the path of the request that sh has left or -; usage
    ARGUMENT...
    """
    task, *words = sys.argv[1:] if argv is None else argv
    if task == "grant":
        login.bounded(PROGRAM, words[0], lambda: _act(words[1], words[3]))
    return login.usage(PROGRAM, USAGE, words)


def _act(request: str, conf: str) -> None:
    from popips import policy

    user = login.variable("USER")
    if login.variable("AUTH_MECH") == "ANONYMOUS":
        user = policy.ANONYMOUS  # whatever auth_anonymous_username in Dovecot's configuration makes of it
    # script-login does not say for which server it runs; only an IMAP session has a token
    who = Login(user, "imap" if login.variable("AUTH_TOKEN") else "pop3", PROGRAM)
    login.admit(conf, login.variable("IP"), who, request)
