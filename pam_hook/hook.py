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
    """Run for hook.sh, with the path of its environment and its own arguments; give the exit status.

    With --crashed instead, say what became of such a run.
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv == ["--crashed"]:
        login.bounded(PROGRAM, lambda: login.crashed(PROGRAM))
    path, *words = argv
    if words in (["--help"], ["--version"]):
        sys.stdout.write(USAGE if words == ["--help"] else f"{PROGRAM} {popips.__version__}\n")
        return 0
    if len(words) == 2 and words[0] == "-c":
        login.bounded(PROGRAM, lambda: _act(path, words[1]))
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(USAGE)
        return 64  # EX_USAGE
    return login.bounded(PROGRAM, lambda: login.refuse(PROGRAM, "called with wrong arguments"))


def _act(path: str, conf: str) -> None:
    try:
        pam = environ.single(environ.initial(path), b"PAM_")
    except (environ.Unclear, OSError) as reason:
        login.refuse(PROGRAM, str(reason))
        return
    if pam.get("PAM_TYPE") in ACTS_ON:
        login.admit(PROGRAM, conf, pam.get("PAM_RHOST", ""), pam.get("PAM_USER", ""), pam.get("PAM_SERVICE", ""))
