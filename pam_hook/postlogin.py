"""popips-postlogin: what Dovecot's script-login starts. Grants the address in IP, then becomes the server."""

from __future__ import annotations

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
    """Run for postlogin.sh, the first argument says what for; give the exit status.

    grant SHELL -c FILE, with the pid of lane.sh; environ SHELL prints the environment of that so that it can keep it in
    a variable, POPIPS_ENVIRON; become SERVER ARGUMENT... becomes the server with it; usage ARGUMENT...;
    --crashed SHELL says what became of a grant.
    """
    task, *words = sys.argv[1:] if argv is None else argv
    if task == "--crashed":
        login.bounded(PROGRAM, words[0], lambda: login.crashed(PROGRAM), is_last=False)
    if task == "grant":
        login.bounded(PROGRAM, words[0], lambda: _act(words[0], words[2]), is_last=False)
    if task == "environ":
        sys.stdout.write(environ.read(words[0]).hex())
        return 0
    if task == "become":
        return _become(words)
    if words in (["--help"], ["--version"]):
        sys.stdout.write(USAGE if words == ["--help"] else f"{PROGRAM} {popips.__version__}\n")
        return 0
    sys.stderr.write(USAGE)
    return 64  # EX_USAGE


def _act(shell: str, conf: str) -> None:
    from popips import policy

    variables = dict(environ.initial(shell))
    address, user = (variables.get(name, b"").decode("utf-8", "surrogateescape") for name in (b"IP", b"USER"))
    if variables.get(b"AUTH_MECH") == b"ANONYMOUS":
        user = policy.ANONYMOUS  # whatever auth_anonymous_username in Dovecot's configuration makes of it
    # script-login does not say for which server it runs; only an IMAP session has a token
    login.admit(PROGRAM, conf, address, user, "imap" if b"AUTH_TOKEN" in variables else "pop3")


def _become(server: list[str]) -> int:
    import os

    for number in (SIGPIPE, SIGXFSZ):  # Python ignores both, and exec would hand that on
        signal(number, SIG_DFL)
    variables = dict(environ.parsed(bytes.fromhex(os.environ["POPIPS_ENVIRON"])))
    try:
        if "/" in server[0]:
            os.execve(server[0], server, variables)
        os.execvpe(server[0], server, variables)
    except OSError as error:
        sys.stderr.write(f"{PROGRAM}: {server[0]}: {error.strerror}\n")
    return 71  # EX_OSERR
