"""The stamp folder: whose it is, whether its file system tells times apart, and how much room there is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from stat import S_IMODE, S_ISDIR, S_ISVTX

from popips import denials
from popips.doctor import mta
from popips.doctor.check import FAIL, WARN, Check, Finding, Patient, judged, skipped
from popips.doctor.maps import open_folders
from popips.doctor.there import sbin
from popips.paste import quoted
from popips.settings import Settings
from popips.stamps import DENIED, RUN_FILE, StampError
from popips.stamps.folder import Folder

ROOM, LITTLE = 1 << 20, 64 << 20  # bytes: too little for anything, and little
FILES, FEW = 100, 5000  # inodes, in the same way
LOOKED_AT = 100  # files whose times are looked at
SECOND = 10**9


def look(patient: Patient) -> Iterator[Check]:
    """Look at the stamp folder."""
    path, here = patient.settings.stamps, patient.here.stamps
    wanted = f"{path}: owned by root, and not writable by others"
    wrong = list(_wrong_folder(patient))
    yield judged("stamps.folder", wanted, path, wrong)
    if not os.path.isdir(here):
        yield from (skipped(f"stamps.{id}", "there is no stamp folder") for id in ("times", "room"))
        return
    yield judged(
        "stamps.times",
        "a file system with timestamps finer than a second",
        "it keeps fractions",
        list(_wrong_times(patient)),
    )
    yield judged("stamps.room", "room for stamps, map and journal", _of_room(patient), list(_wrong_room(patient)))


def _wrong_folder(patient: Patient) -> Iterator[Finding]:
    path, here = patient.settings.stamps, patient.here.stamps
    try:
        state = os.lstat(here)
    except OSError:
        yield Finding(FAIL, f"{path}: there is no such folder", fix=f"install -d -m 0700 {quoted(path)}")
        return
    mode, its = S_IMODE(state.st_mode), quoted(path)
    if os.path.islink(here):
        real = os.path.realpath(here)
        fix = f"{patient.set_line('stamps', real)} && popips-expire"
        yield Finding(FAIL, f"{path}: a symbolic link to {real}", fix=fix)
    elif not S_ISDIR(state.st_mode):
        yield Finding(FAIL, f"{path}: not a folder", fix=f"mv {its} {its}.old && install -d -m 0700 {its}")
    elif state.st_uid not in (0, os.geteuid()) or mode & 0o022:
        found = f"{path}: others may write to it (owner {state.st_uid}, mode {mode:04o})"
        yield Finding(FAIL, found, fix=_mend(patient, mode))
    else:
        yield from open_folders(patient, os.path.dirname(path), False)
        yield from _odd(patient)


def _mend(patient: Patient, mode: int) -> str:
    """Return what makes the folder root's own; where others keep their files in it, popips has to go elsewhere."""
    path, here = patient.settings.stamps, patient.here.stamps
    is_own = os.path.lexists(f"{here}/{RUN_FILE}") or not os.listdir(here)
    if path == Settings.stamps or (is_own and not mode & S_ISVTX):
        return f"chown root {quoted(path)} && chmod 0700 {quoted(path)}"
    return f"{patient.set_line('stamps', Settings.stamps)} && {sbin('popips-expire')}"


def _odd(patient: Patient) -> Iterator[Finding]:
    try:
        with Folder(patient.here.stamps) as folder:
            if os.fstatvfs(folder.fd).f_flag & os.ST_RDONLY:
                yield Finding(FAIL, f"{folder.path}: on a file system that is mounted read only")
            if os.fstatvfs(folder.fd).f_flag & os.ST_NOEXEC:
                found = f"{folder.path}: mounted noexec, where sh sees no stamp as settled: each login starts Python"
                mount = _mount_point(folder.path)
                yield Finding(WARN, found, f"mounted at {mount}", f"mount -o remount,exec {quoted(mount)}")
            denials.load(folder)
    except StampError as error:
        list_ = quoted(f"{patient.settings.stamps}/{DENIED}")
        line = re.search(rf"{re.escape(DENIED)}:(\d+): ", str(error))
        yield Finding(FAIL, str(error), fix=f"sed -i '{line[1]}d' {list_}" if line else f"mv {list_} {list_}.bad")


def _wrong_times(patient: Patient) -> Iterator[Finding]:
    """Return that times are whole seconds only, by those that the kernel has set."""
    here = patient.here.stamps
    with os.scandir(here) as entries:
        states = [entry.stat(follow_symlinks=False) for entry, _ in zip(entries, range(LOOKED_AT))]
    states.append(os.lstat(here))
    if len(states) > 2 and not any(state.st_ctime_ns % SECOND for state in states):
        found = f"{patient.settings.stamps}: its file system keeps whole seconds only"
        yield Finding(WARN, found, fix=patient.set_line("stamps", "/var/lib/popips/stamps"))


def _of_room(patient: Patient) -> str:
    return "; ".join(f"{path}: {_free(here)[0] >> 20} MiB free" for path, here in _places(patient))


def _wrong_room(patient: Patient) -> Iterator[Finding]:
    for path, here in _places(patient):
        room, files = _free(here)
        if room < LITTLE or files < FEW:
            status = FAIL if room < ROOM or files < FILES else WARN
            found = f"{path}: room for {room >> 10} KiB and {files} files"
            yield Finding(status, found, fix=f"df -h {path} && df -i {path}")


def _places(patient: Patient) -> list[tuple[str, str]]:
    of, here = patient.settings, patient.here
    if mta.another(patient):  # whose map is of no use here
        return [(of.stamps, here.stamps)]
    return list({of.stamps: here.stamps, of.map.folder: here.map.folder}.items())


def _free(path: str) -> tuple[int, int]:
    """Return bytes and files for which the file system has room; one without a limit on files has room for many."""
    try:
        state = os.statvfs(path)
    except OSError:
        return 0, 0
    return state.f_bavail * state.f_frsize, state.f_favail if state.f_files else 1 << 32


def _mount_point(path: str) -> str:
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path
