"""What both hooks do with a login on its long way: grant it, and log what became of it.

All that may fail to import, by a Python upgrade that left the Berkeley DB binding behind for instance, is imported
where that ends in a log line.
"""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds
import time
from _signal import SIGUSR1  # type: ignore[import-not-found]
from _thread import allocate_lock, start_new_thread

# A login may be held up for 2 seconds at the very most, the start of Python included
LIMIT = 1.8  # seconds after which lane.sh is told to wait no longer
LOCK_LIMIT = 1.6  # seconds to wait for locks: a stamp is still to be left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from popips.log import Log
    from popips.settings import Settings


def bounded(program: str, shell: str, work: Callable[[], None], is_last: bool) -> NoReturn:
    """Do the work, and end the process; lane.sh, whose pid is `shell`, is told after LIMIT seconds not to wait for it.

    A thread tells it, for a signal handler would have to wait until, say, fsync returns. Where lane.sh has nothing
    else to do (is_last), it is told as soon as the work is done: the end of a process takes a while, too. It is told
    once, for afterwards it may be another program. No error leaves this.
    """
    untold = allocate_lock()

    def tell() -> None:
        if untold.acquire(False) and str(os.getppid()) == shell:
            os.kill(int(shell), SIGUSR1)

    def tell_late() -> None:
        time.sleep(LIMIT)
        tell()

    try:
        start_new_thread(tell_late, ())
        work()
        if is_last:
            tell()
    except BaseException as error:
        os.write(2, f"{program}: {error!r}\n".encode(errors="replace"))
    finally:
        os._exit(0)  # Python's own way to end takes a fifth of the whole time


def admit(program: str, conf: str, address: str, user: str, service: str) -> None:
    """Grant the address what popips.conf says, and log one line. Errors end here: in that line."""
    from popips import grants, watch
    from popips.log import ERROR, WARNING, Log
    from popips.settings import load

    log, login, where = Log(program), grants.Login(user, service, program), "-"
    try:
        settings = load(conf)
        where = str(settings.map)
        patient = settings.replace(lock_timeout=min(settings.lock_timeout, LOCK_LIMIT))
        outcome = grants.grant(patient, address, login, time.time())
        grants.tell(log, settings, login, outcome)
    except Exception as error:
        # whatever it is, it must not cost a login
        log.line(WARNING, grants.Outcome(grants.REFUSED, address, str(error) or repr(error)).describe(login, where))
        return
    try:
        _stand_in(settings, log, time.time())
    except Exception as error:
        log.line(ERROR, f"error: {watch.reason(error, program)}")


def _stand_in(settings: Settings, log: Log, now: float) -> None:
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


def pass_by(program: str, conf: str, service: str) -> None:
    """Log, once an hour, that a line in PAM's auth phase does nothing: a wrong password may come by there."""
    from popips import watch
    from popips.log import ERROR, Log
    from popips.settings import load
    from popips.stamps import Folder, word

    log, now = Log(program), time.time()
    try:
        with Folder(load(conf).stamps) as folder:
            if not watch.is_news(folder, "phase", now):
                return
        cure = "move its line to the account phase; or, where no wrong password comes by it, have it say --phase auth"
        log.line(ERROR, f"error: nothing is granted in the auth phase of PAM's service {word(service)}: {cure}")
    except Exception as error:
        log.line(ERROR, f"error: {watch.reason(error, program)}")


def refuse(program: str, reason: str) -> None:
    """Log that nothing can be granted because of how this program was called, or how it ended."""
    from popips import grants
    from popips.log import WARNING, Log

    Log(program).line(WARNING, grants.Outcome(grants.REFUSED, "", reason).describe(grants.Login("", "", ""), "-"))


def crashed(program: str) -> None:
    """Log that the process that was to grant has died."""
    refuse(program, "the process that was to grant it crashed; is the map damaged? make it anew")
