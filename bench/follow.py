"""python -m bench.follow [TREE ...]: seconds that popips-follow takes for lines that wait, by each tree of the sources.

Once 250,000 lines with 5,000 logins from as many addresses, through a pipe; then as many lines without a login, half of
them Dovecot's. The trees run by turns, and the best of three runs counts. Run it under tests/lab/cover.sh.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.lab import Untimed
from bench.site import Site, address
from tests.box import CRON_ENVIRONMENT, ROOT

LINES, LOGINS, ROUNDS = 250_000, 5_000, 3
OTHERS = (
    "postfix/smtpd[4711]: NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 554 5.7.1 <x@y.example>: Relay access denied",
    "dovecot: imap-login: Disconnected: Aborted login (auth failed, 1 attempts in 2 secs): user=<info>, method=PLAIN, "
    "rip=192.0.2.7, lip=192.0.2.1, TLS, session=<6q9sGpRCw7jAqAEC>",
)
LOGIN = (
    "dovecot: imap-login: Login: user=<u{}>, method=PLAIN, rip={}, lip=192.0.2.1, mpid=78, TLS, session=<96zCacpgje>"
)


def log(path: Path, logins: int) -> Path:
    """Write a log of this moment."""
    head = time.strftime("%b %e %H:%M:%S mail ")
    every = LINES // logins if logins else LINES + 1
    with path.open("w") as file:
        for number in range(LINES):
            of, rest = divmod(number, every)
            message = OTHERS[number % 2] if rest or not logins else LOGIN.format(of, address(of))
            file.write(f"{head}{message}\n")
    return path


def took(tree: Path, folder: Path, logins: int) -> float:
    """Return the seconds that the program of a tree takes for a log, on a site of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        site = Site(Path(name))
        source = log(Path(name) / "log", logins)
        program = "import sys; from follower.follow import main; sys.exit(main(sys.argv[1:]))"
        command = f"cat {source} | {sys.executable} -c '{program}' -c {site.conf} --format dovecot"
        start = time.perf_counter()
        done = subprocess.run(
            ["sh", "-c", command], env={**CRON_ENVIRONMENT, "PYTHONPATH": str(tree)}, cwd=tree, capture_output=True
        )
        seconds = time.perf_counter() - start
        if done.returncode or site.counted()[1] != logins:
            raise Untimed(f"{tree}: {site.counted()} records and stamps: {done.stderr.decode()[-1000:]}")
        return seconds


def main() -> None:
    """Measure and print."""
    trees = [Path(word).resolve() for word in sys.argv[1:]] or [ROOT]
    with tempfile.TemporaryDirectory(prefix="popips-", dir="/tmp") as folder:
        for logins in (LOGINS, 0):
            times: dict[Path, list[float]] = {tree: [] for tree in trees}
            for _ in range(ROUNDS):
                for tree in trees:
                    times[tree].append(took(tree, Path(folder), logins))
            for tree in trees:
                print(f"{LINES:,} lines, {logins:,} logins: {min(times[tree]):.2f} s  {tree.name}", flush=True)


if __name__ == "__main__":
    main()
