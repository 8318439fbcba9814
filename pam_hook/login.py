"""What both hooks do with a login: grant it in a process of its own, and log what became of it.

All that may fail to import, by a Python upgrade that left the Berkeley DB binding behind for instance, is imported in
that process alone.
"""

from __future__ import annotations

import os
import select
import sys

# A login may be held up for 2 seconds at the very most, the start of Python included
LIMIT = 1.8  # seconds that it waits for the child
LOCK_LIMIT = 1.6  # seconds that the child waits for locks: it still has to leave a stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from popips.config import Config
    from popips.log import Log


def admit(program: str, conf: str | None, address: str, user: str, service: str) -> None:
    """Grant the address what popips.conf says, and log one line. Errors end here: in that line."""
    import time

    from popips import config, grants
    from popips.log import ERROR, INFO, WARNING, Log

    log, login, where = Log(program), grants.Login(user, service, program), "-"
    try:
        settings = config.load(conf or config.PATH)
        where = str(settings.map)
        patient = settings.replace(lock_timeout=min(settings.lock_timeout, LOCK_LIMIT))
        outcome = grants.grant(patient, address, login, time.time())
        if outcome.verdict != grants.RENEWED or settings.log_renewals:
            quiet = outcome.verdict in (grants.GRANTED, grants.RENEWED, grants.STATIC)
            log.line(INFO if quiet else WARNING, outcome.describe(login, where))
    except Exception as error:
        # whatever it is, it must not cost a login
        log.line(WARNING, grants.Outcome(grants.REFUSED, address, str(error) or repr(error)).describe(login, where))
        return
    try:
        _stand_in(settings, log, time.time())
    except Exception as error:
        log.line(ERROR, f"error: {error}")


def _stand_in(settings: Config, log: Log, now: float) -> None:
    """Do a bounded part of the expirer's work if the expirer is dead, lest a relay stay open for ever."""
    from popips import watch
    from popips.log import ERROR, INFO
    from popips.stamps import Folder

    with Folder(settings.stamps) as folder:
        dead = watch.expirer_is_dead(folder, now)
        if not dead:
            return
        if watch.is_news(folder, "expirer", now):
            log.line(ERROR, f"error: {dead}")
        from popips import upkeep

        with upkeep.alone(folder) as is_alone:
            run = upkeep.expire(settings, now, upkeep.STAND_IN) if is_alone else upkeep.Run()
    for level, text in run.describe(str(settings.map)):
        if level == INFO:
            log.line(level, text)


def refuse(program: str, reason: str) -> None:
    """Log that nothing can be granted because of how this program was called."""
    from popips import grants
    from popips.log import WARNING, Log

    Log(program).line(WARNING, grants.Outcome(grants.REFUSED, "", reason).describe(grants.Login("", "", ""), "-"))


def apart(program: str, work: Callable[[], None]) -> None:
    """Do the work in a child, and wait for it no longer than a login may be held up. No error leaves this.

    A damaged map can crash libdb, a dying disk can keep fsync waiting for ever: neither may take the login along.
    """
    try:
        done, running = os.pipe()
        child = os.fork()
        if child == 0:
            _be_the_child(program, work)
        os.close(running)
        poll = select.poll()
        poll.register(done, 0)  # POLLHUP, when the child's end is closed
        is_done = poll.poll(LIMIT * 1000)
        os.close(done)
        if is_done and os.waitpid(child, 0)[1] != 0:
            refuse(program, "the process that was to grant it crashed; is the map damaged? make it anew")
    except Exception as error:
        sys.stderr.write(f"{program}: {error}\n")


def _be_the_child(program: str, work: Callable[[], None]) -> None:
    try:
        # descriptors 0 and 1 may be the client's connection: it must end with the session, not with this child
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        work()
    except BaseException as error:
        os.write(2, f"{program}: {error!r}\n".encode(errors="replace"))
    finally:
        os._exit(0)
