"""The fast lane: when a login need not look at the map, because nothing has touched it since all was well.

popips-expire leaves the file .lane in the stamp folder once it has seen that every settled stamp has its record. It
says what it holds for, and its mtime is the map's. A login has only to renew its stamp, if
  - the stamp is settled;
  - .lane is the same file before and after that: it is removed before anybody takes records out;
  - the map has the mtime of .lane, and its journal is done with: nothing but grants has changed it since;
  - popips.conf is as it was, and the expirer has run a short while ago.
pam_hook/lane.sh tests the same in sh, before Python is started. Wherever one of these is in doubt, the map is asked.
"""

from __future__ import annotations

import posix as os  # os itself costs a login two milliseconds

from popips.maps.journal import is_idle, journal_of
from popips.stamps import ALIVE, LANE, READ, RUN_FILE, Folder
from popips.watch import DEAD_AFTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from popips.config import Config

LONGEST = 16384  # bytes that the file may have


def renewed(config: Config, folder: Folder, name: str, now: float) -> bool:
    """Renew the stamp of the address if the lane is open for it; tell whether no more is to be done."""
    stamp = folder.get(name)
    if stamp is None or not stamp.settled:
        return False
    try:
        fd = os.open(LANE, READ, dir_fd=folder.fd)
    except OSError:
        return False
    try:
        last_run = os.stat(RUN_FILE, dir_fd=folder.fd, follow_symlinks=False).st_mtime
        is_open = 0 <= now - last_run <= DEAD_AFTER and _says_so(config, fd)
        return is_open and folder.renew(name, now) and _is_current(config, folder, fd)
    except OSError:
        return False
    finally:
        os.close(fd)


def holds(config: Config, folder: Folder) -> bool:
    """Tell whether every settled stamp still has its record."""
    try:
        fd = os.open(LANE, READ, dir_fd=folder.fd)
    except OSError:
        return False
    try:
        return _says_so(config, fd, _boot()) and _is_current(config, folder, fd)
    except OSError:
        return False
    finally:
        os.close(fd)


def _says_so(config: Config, fd: int, boot: bytes = b"") -> bool:
    return os.pread(fd, LONGEST, 0).startswith(_text(config) + boot)


def _is_current(config: Config, folder: Folder, fd: int) -> bool:
    ours, named = os.fstat(fd), os.stat(LANE, dir_fd=folder.fd, follow_symlinks=False)
    asked = os.stat(config.map.path, follow_symlinks=False)
    is_ours = ours.st_ino == named.st_ino and ours.st_nlink == 1
    return is_ours and asked.st_mtime_ns == named.st_mtime_ns and is_idle(config.map.path)


def _text(config: Config) -> bytes:
    """Give what the file says: five lines for lane.sh, and then what else it holds for."""
    of_map = os.stat(config.map.path, follow_symlinks=False)
    # a login that must be logged, or whose user may have left the group, is not one for sh
    conf = "" if config.log_renewals or config.only_group else config.path
    values = (
        conf,
        config.stamps,
        config.map.path,
        " ".join(config.only_services),
        "yes" if config.max_per_user else "",
    )
    is_plain = not any("\n" in value for value in values)
    lines = "".join(f"{value}\n" for value in values) if is_plain else "\n" * len(values)
    return f"{lines}{of_map.st_dev} {of_map.st_ino} {config.summary()}\n".encode()


def _boot() -> bytes:
    """Give what is another after a power failure: then the first run looks at all of the map."""
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        return file.read()


# ---- who keeps it: all of these under the writers' lock of the map


def withdraw(folder: Folder) -> None:
    """Close the lane; to be done before a record is taken out."""
    folder.remove(LANE)


def begin(config: Config, folder: Folder, is_known: bool) -> None:
    """Close the lane, and note the state of the map from which on grants say what they change.

    is_known: the lane held when the run began, or the map of its own was made anew since. Then that is the state: a
    change that somebody else has made by now must not be taken for ours.
    """
    try:
        if not is_known:
            state = os.stat(config.map.path, follow_symlinks=False)
        elif config.map.own:
            state = os.stat(journal_of(config.map.path), follow_symlinks=False)
        else:
            state = os.stat(LANE, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        withdraw(folder)
        return
    withdraw(folder)
    with folder.naming(LANE):
        fd = os.open(LANE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder.fd)
        os.utime(fd, ns=(state.st_mtime_ns, state.st_mtime_ns))
        os.close(fd)


def follow(folder: Folder, moved: tuple[int, int] | None) -> None:
    """Note that a change has moved the map's mtime, from and to, in ns, and left each settled stamp its record."""
    if not moved:
        return
    with folder.naming(LANE):
        try:
            if os.stat(LANE, dir_fd=folder.fd, follow_symlinks=False).st_mtime_ns == moved[0]:
                os.utime(LANE, ns=(moved[1], moved[1]), dir_fd=folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            pass


def finish(config: Config, folder: Folder, now: float) -> None:
    """Open the lane, unless it was withdrawn: every settled stamp has its record; now: when the run began."""
    with folder.naming(LANE):
        try:
            fd = os.open(LANE, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder.fd)
        except FileNotFoundError:
            return  # withdrawn meanwhile
        try:
            if not _says_so(config, fd, _boot()):
                moved = os.fstat(fd).st_mtime_ns
                os.ftruncate(fd, os.pwrite(fd, _text(config) + _boot(), 0))
                os.utime(fd, ns=(moved, moved))
        except FileNotFoundError:
            pass  # no map
        finally:
            os.close(fd)
    folder.touch(ALIVE, now + DEAD_AFTER)


def lead(config: Config) -> None:
    """Make the link by which lane.sh finds the lane: it stands beside popips.conf."""
    link, target = f"{config.path}.lane", f"{config.stamps}/{LANE}"
    try:
        if os.readlink(link) == target:
            return
    except OSError:
        pass  # there is none
    try:
        os.symlink(target, link + ".new")
        os.rename(link + ".new", link)
    except OSError:
        pass  # in a folder that is read only, say, each login takes the long way
