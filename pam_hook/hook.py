"""popips-hook: what pam_exec starts at a login. Grants the address in PAM_RHOST; exit status 0 whatever happens."""

from __future__ import annotations

import sys

from pam_hook import login
from popips.login import Login

PROGRAM = "popips-hook"
PHASES = ("account", "open_session")  # PAM comes to these after the password was right, and to auth before
USAGE = f"""usage: {PROGRAM} [-c FILE] [--phase PHASE]

Grants relaying to the address of a login. A line for pam_exec(8), as in
  account optional pam_exec.so quiet /usr/local/libexec/popips/{PROGRAM}

  -c FILE        the configuration, instead of /etc/popips.conf
  --phase PHASE  act in this phase of PAM only: auth, account or session (default: account and session)
  --help         show this and exit
  --version      show the version and exit
"""


def main(argv: list[str] | None = None) -> int:
    """Run for hook.sh, the first argument says what for; return the exit status.

    grant SHELL REQUEST -c FILE [PHASE], with the pid of sh, and the path of the request that sh has left or -;
    usage ARGUMENT...
    """
    task, *words = sys.argv[1:] if argv is None else argv
    if task == "grant":
        login.bounded(PROGRAM, words[0], lambda: _act(*words[1:]))
    return login.usage(PROGRAM, USAGE, words)


def _act(request: str, *words: str) -> None:
    if words[:1] != ("-c",) or len(words) not in (2, 3):
        login.refuse(PROGRAM, "called with wrong arguments")
        return
    service, address = login.variable("PAM_SERVICE"), login.variable("PAM_RHOST")
    if login.variable("PAM_TYPE") in (words[2:] or PHASES):
        who = Login(login.variable("PAM_USER"), service, PROGRAM)
        if address:
            login.admit(words[1], address, who, request)
        else:
            cure = "this server does not tell PAM the client's address: use popips-postlogin, or popips-follow"
            login.refuse(PROGRAM, f"PAM_RHOST is empty; {cure}", who)
    else:
        login.pass_by(PROGRAM, words[1], service)
