"""What both hooks do with a login on its long way: grant it, and log what became of it.

All that may fail to import, by a Python upgrade that left the Berkeley DB binding behind for instance, is imported
where that ends in a log line.
"""

from __future__ import annotations

import os
import posix
import sys
import time
from signal import SIGKILL
from typing import TYPE_CHECKING

import popips
from popips.log import Log
from popips.login import Login
from popips.stamps import REQUESTS

# long_way.sh waits for 1.3 seconds, the start of Python included
LOCK_LIMIT = 1.1  # seconds to wait for locks: a stamp is still to be left

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from popips.settings import Settings


def usage(program: str, text: str, words: list[str]) -> int:
    """Answer --help, --version, or a mistake in the command line; return the exit status."""
    if words in (["--help"], ["--version"]):
        sys.stdout.write(text if words == ["--help"] else f"{program} {popips.__version__}\n")
        return 0
    sys.stderr.write(text)
    return 64  # EX_USAGE


def variable(name: str) -> str:
    """Return a variable of the environment, "" if there is none. os.environ costs an import that the rest can spare."""
    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


def bounded(program: str, shell: str, work: Callable[[], None]) -> NoReturn:
    """Do the work, let the login go on, and end the process. No error leaves this.

    shell: the pid of long_way.sh, which waits for a clock. The end of a process takes a while, too.
    """
    try:
        work()
        release(shell)
    except BaseException as error:
        os.write(2, f"{program}: {error!r}\n".encode(errors="replace"))
    finally:
        os._exit(0)  # Python's own way to end takes a fifth of the whole time


def release(shell: str) -> None:
    """Kill the clock that long_way.sh waits for, our parent's parent and its child, if it still does."""
    clock = parent_of(str(os.getppid()))
    if clock and parent_of(clock) == shell:
        os.kill(int(clock), SIGKILL)


def parent_of(pid: str) -> str:
    """Return the pid of a process's parent; "" if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", 0) as file:
            return file.read(1000).rpartition(b") ")[2].split()[1].decode()  # proc(5): the name may hold anything
    except (OSError, IndexError):
        return ""


def admit(conf: str, address: str, login: Login, request: str) -> None:
    """Grant the address what popips.conf says, and log one line. Errors end here: in that line.

    request: the path of what sh has left of this login, - if it has left nothing.
    """
    from functools import partial

    from popips import configuration, grant, settings, watch
    from popips.log import ERROR
    from popips.site import site

    now, program = settings.Settings(), login.writer
    folder, is_left, name = request.rpartition(f"/{REQUESTS}/")
    try:
        now = configuration.load(conf)
        with site(now, time.time(), min(now.lock_timeout, LOCK_LIMIT)) as host:
            if is_left and folder == now.stamps:
                grant.serve(host, partial(grant.tell, now), f"{REQUESTS}/{name}")
            else:
                grant.grant(host, address, login, partial(grant.tell, now))
    except Exception as error:
        # whatever it is, it must not cost a login
        verdict = grant.DEFERRED if is_left else grant.REFUSED
        grant.tell(now, login, grant.Outcome(verdict, address, watch.reason(error, program)))
        return
    try:
        _stand_in(now, program)
    except Exception as error:
        Log(program).line(ERROR, f"error: {watch.reason(error, program)}")


def _stand_in(settings: Settings, program: str) -> None:
    """Do a bounded part of the expirer's work if the expirer is dead, lest a relay stay open for ever."""
    from popips import watch
    from popips.log import ERROR, INFO
    from popips.site import site
    from popips.stamps import TOLD

    with site(settings, time.time()) as host:
        dead = watch.expirer_is_dead(host.folder, host.now)
        if not dead:
            return
        log = Log(program)
        if watch.is_news(host.folder, TOLD["expirer"], host.now):
            log.line(ERROR, f"error: {dead}")
        from popips import run

        with run.alone(host.folder) as is_alone:
            done = run.stand_in(host) if is_alone else run.Run()
    for level, text in done.describe(str(settings.map)):
        if level == INFO:
            log.line(level, text)


def pass_by(program: str, conf: str, service: str) -> None:
    """Log, once an hour, that a line in PAM's auth phase does nothing: a wrong password may come by there."""
    from popips import configuration, watch
    from popips.log import ERROR
    from popips.login import word
    from popips.stamps import TOLD
    from popips.stamps.folder import Folder

    log = Log(program)
    try:
        with Folder(configuration.load(conf).stamps) as folder:
            if not watch.is_news(folder, TOLD["phase"], time.time()):
                return
        cure = "move its line to the account phase; or, where no wrong password comes by it, have it say --phase auth"
        log.line(ERROR, f"error: nothing is granted in the auth phase of PAM's service {word(service)}: {cure}")
    except Exception as error:
        log.line(ERROR, f"error: {watch.reason(error, program)}")


def refuse(program: str, reason: str, login: Login | None = None) -> None:
    """Log that nothing can be granted because of how this program was called, or by what it was told of a login."""
    from popips import grant
    from popips.log import WARNING

    who = login or Login("", "", program)
    Log(program).line(WARNING, grant.Outcome(grant.REFUSED, "", reason).describe(who, "-"))
