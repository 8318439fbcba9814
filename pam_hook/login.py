"""What both hooks do with a login on its long way: grant it, and log what became of it.

All that may fail to import, by a Python upgrade that left the Berkeley DB binding behind for instance, is imported
where that ends in a log line.
"""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds
import time
from _signal import SIGKILL  # type: ignore[import-not-found]

# lane.sh waits for 1.3 seconds, the start of Python included
LOCK_LIMIT = 1.1  # seconds to wait for locks: a stamp is still to be left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from popips.config import Config
    from popips.log import Log


def bounded(program: str, shell: str, work: Callable[[], None]) -> NoReturn:
    """Do the work, let the login go on, and end the process. No error leaves this.

    shell: the pid of lane.sh, which waits for a clock. The end of a process takes a while, too.
    """
    try:
        work()
        release(shell)
    except BaseException as error:
        os.write(2, f"{program}: {error!r}\n".encode(errors="replace"))
    finally:
        os._exit(0)  # Python's own way to end takes a fifth of the whole time


def release(shell: str) -> None:
    """Kill the clock that lane.sh waits for, if it still does."""
    clock = clock_of(shell)
    if clock:
        os.kill(int(clock), SIGKILL)


def clock_of(shell: str) -> str:
    """Return the pid of the clock that lane.sh waits for, our parent's parent and its child; "" if it waits no more."""
    clock = parent_of(str(os.getppid()))
    return clock if parent_of(clock) == shell else ""


def parent_of(pid: str) -> str:
    """Return the pid of a process's parent; "" if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", 0) as file:
            return file.read(1000).rpartition(b") ")[2].split()[1].decode()  # proc(5): the name may hold anything
    except (OSError, IndexError):
        return ""


def admit(program: str, conf: str, address: str, user: str, service: str) -> None:
    """Grant the address what popips.conf says, and log one line. Errors end here: in that line."""
    from popips import config, grants, watch
    from popips.log import ERROR, WARNING, Log

    log, login, where = Log(program), grants.Login(user, service, program), "-"
    try:
        settings = config.load(conf)
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


def pass_by(program: str, conf: str, service: str) -> None:
    """Log, once an hour, that a line in PAM's auth phase does nothing: a wrong password may come by there."""
    from popips import config, watch
    from popips.log import ERROR, Log
    from popips.stamps import Folder, word

    log, now = Log(program), time.time()
    try:
        with Folder(config.load(conf).stamps) as folder:
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
