"""What both hooks do with a login on its long way: grant it, and log what became of it.

All that may fail to import, by a Python upgrade that left the Berkeley DB binding behind for instance, is imported
where that ends in a log line.
"""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds
import time
from _signal import SIGUSR1  # type: ignore[import-not-found]
from _thread import allocate_lock, start_new_thread

from popips.log import Log

# A login may be held up for 2 seconds at the very most, the start of Python included
LIMIT = 1.8  # seconds after which lane.sh is told to wait no longer
LOCK_LIMIT = 1.6  # seconds to wait for locks: a stamp is still to be left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

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
    from functools import partial

    from popips import grant, settings, watch
    from popips.log import ERROR
    from popips.login import Login
    from popips.site import site

    login, now = Login(user, service, program), settings.Settings()
    try:
        now = settings.load(conf)
        with site(now, time.time(), min(now.lock_timeout, LOCK_LIMIT)) as host:
            grant.grant(host, address, login, partial(grant.tell, now))
    except Exception as error:
        # whatever it is, it must not cost a login
        grant.tell(now, login, grant.Outcome(grant.REFUSED, address, watch.reason(error, program)))
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
    from popips import settings, watch
    from popips.log import ERROR
    from popips.login import word
    from popips.stamps import TOLD
    from popips.stamps.folder import Folder

    log = Log(program)
    try:
        with Folder(settings.load(conf).stamps) as folder:
            if not watch.is_news(folder, TOLD["phase"], time.time()):
                return
        cure = "move its line to the account phase; or, where no wrong password comes by it, have it say --phase auth"
        log.line(ERROR, f"error: nothing is granted in the auth phase of PAM's service {word(service)}: {cure}")
    except Exception as error:
        log.line(ERROR, f"error: {watch.reason(error, program)}")


def refuse(program: str, reason: str) -> None:
    """Log that nothing can be granted because of how this program was called, or how it ended."""
    from popips import grant
    from popips.log import WARNING
    from popips.login import Login

    Log(program).line(WARNING, grant.Outcome(grant.REFUSED, "", reason).describe(Login("", "", ""), "-"))


def crashed(program: str) -> None:
    """Log that the process that was to grant has died."""
    refuse(program, "the process that was to grant it crashed; is the map damaged? make it anew")
