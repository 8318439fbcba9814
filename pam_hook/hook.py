"""popips-hook: what pam_exec starts at a login. Grants the address in PAM_RHOST; exit status 0 whatever happens."""

from __future__ import annotations

import sys

import popips
from pam_hook import environ, login

PROGRAM = "popips-hook"
ACTS_ON = ("auth", "account", "open_session")
USAGE = f"""usage: {PROGRAM} [-c FILE]

Grants relaying to the address of a login. A line for pam_exec(8), as in
  account optional pam_exec.so quiet /usr/local/libexec/popips/{PROGRAM}

  -c FILE    the configuration, instead of /etc/popips.conf
  --help     show this and exit
  --version  show the version and exit
"""


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments (those of the process by default) after the program's name; give the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if argv in (["--help"], ["--version"]):
        sys.stdout.write(USAGE if argv == ["--help"] else f"{PROGRAM} {popips.__version__}\n")
        return 0
    if argv and not (len(argv) == 2 and argv[0] == "-c"):
        if sys.stderr is not None and sys.stderr.isatty():
            sys.stderr.write(USAGE)
            return 64  # EX_USAGE
        login.apart(PROGRAM, lambda: login.refuse(PROGRAM, "called with wrong arguments"))
        return 0
    login.apart(PROGRAM, lambda: _act(argv[1] if argv else None))
    return 0


def _act(conf: str | None) -> None:
    try:
        pam = environ.single(environ.initial(), b"PAM_")
    except (environ.Unclear, OSError) as reason:
        login.refuse(PROGRAM, str(reason))
        return
    if pam.get("PAM_TYPE") in ACTS_ON:
        login.admit(PROGRAM, conf, pam.get("PAM_RHOST", ""), pam.get("PAM_USER", ""), pam.get("PAM_SERVICE", ""))
