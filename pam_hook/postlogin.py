"""popips-postlogin: what Dovecot's script-login starts. Grants the address in IP, then becomes the server.

Descriptors 0 and 1 are the client's connection: nothing is ever written to them.
"""

from __future__ import annotations

import os
import sys
from _signal import SIG_DFL, SIGPIPE, SIGXFSZ, signal  # type: ignore[import-not-found]

import popips
from pam_hook import environ, login

PROGRAM = "popips-postlogin"
USAGE = f"""usage: {PROGRAM} [-c FILE] SERVER [ARGUMENT...]

Grants relaying to the address of a login, then becomes SERVER. A line for Dovecot, as in
  executable = script-login /usr/local/libexec/popips/{PROGRAM}

  -c FILE    the configuration, instead of /etc/popips.conf; the first argument
  --help     show this and exit
  --version  show the version and exit
"""


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments (by default those of the process); give the exit status if there is no server."""
    argv = sys.argv[1:] if argv is None else argv
    if argv in (["--help"], ["--version"]):
        sys.stdout.write(USAGE if argv == ["--help"] else f"{PROGRAM} {popips.__version__}\n")
        return 0
    conf, server = (argv[1], argv[2:]) if argv[:1] == ["-c"] and len(argv) > 1 else (None, argv)
    if not server:
        sys.stderr.write(USAGE)
        return 64  # EX_USAGE
    login.apart(PROGRAM, lambda: _act(conf))
    return _become(server)


def _act(conf: str | None) -> None:
    variables = dict(environ.initial())
    address, user = (variables.get(name, b"").decode("utf-8", "surrogateescape") for name in (b"IP", b"USER"))
    # script-login does not say for which server it runs; only an IMAP session has a token
    login.admit(PROGRAM, conf, address, user, "imap" if b"AUTH_TOKEN" in variables else "pop3")


def _become(server: list[str]) -> int:
    for number in (SIGPIPE, SIGXFSZ):  # Python ignores both, and exec would hand that on
        signal(number, SIG_DFL)
    try:
        variables = dict(environ.initial())
    except OSError:
        variables = dict(os.environb)
    try:
        if "/" in server[0]:
            os.execve(server[0], server, variables)
        os.execvpe(server[0], server, variables)
    except OSError as error:
        sys.stderr.write(f"{PROGRAM}: {server[0]}: {error.strerror}\n")
    return 71  # EX_OSERR
