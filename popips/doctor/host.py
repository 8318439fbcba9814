"""What else of the host a login needs: the clock, the log, and the hooks as programs."""

from __future__ import annotations

import ctypes
import os
import re
import socket
from collections.abc import Iterator
from stat import S_IMODE, S_ISSOCK

from popips.doctor import there
from popips.doctor.check import FAIL, WARN, Check, Finding, Patient, added, judged, skipped
from popips.log import SOCKET
from popips.paste import echoed, literal, quoted, replacement
from popips.probe import log, units
from popips.probe.machine import Machine

UNSYNCHRONISED = 5  # adjtimex(2): TIME_ERROR
PROFILES = "/sys/kernel/security/apparmor/profiles"
JOURNALD = (  # a socket of a service that runs cannot be started again
    "systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald; "
    "systemctl start systemd-journald-dev-log.socket systemd-journald"
)
# what Dovecot starts our programs from, and the folder of rules that an admin adds to AppArmor's own profiles
STARTS = {"popips-postlogin": "script-login", "popips-hook": "auth"}
CONFIGURED = ("/etc/dovecot/*.conf", "/etc/dovecot/conf.d/*.conf", "/etc/dovecot/conf.d/*.ext", "/etc/pam.d/*")


def look(patient: Patient) -> Iterator[Check]:
    """Look at the clock, the log and the hooks."""
    machine = patient.machine
    if machine.runs:
        yield judged("clock", "a clock that is kept by NTP or the like", "synchronised", list(_clock(patient)))
        yield judged("log", f"a log daemon that listens on {SOCKET}", _where(machine), list(_log(machine)))
    else:
        yield skipped("clock", "only files are here")
        yield skipped("log", "only files are here")
    wanted = "hooks that only root can change and everybody can run"
    yield judged("hook.programs", wanted, _run_by(machine), list(_programs(machine)))
    yield _apparmor(machine)


def _clock(patient: Patient) -> Iterator[Finding]:
    ahead = [name for name, stamp in patient.stamps(1000) if stamp.time > patient.now + 60]
    if ahead:
        found = f"stamps from the future, {ahead[0]} for one: has the clock been set back?"
        yield Finding(WARN, found, fix=there.sbin("popips-expire"))
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return
    if state == UNSYNCHRONISED:
        fix = "apt-get install -y systemd-timesyncd && systemctl enable --now systemd-timesyncd"
        found = "nothing sets the clock: when it jumps, grants end too early or too late"
        yield Finding(WARN, found, "adjtimex(2): the kernel's clock is not synchronised", fix)


def _log(machine: Machine) -> Iterator[Finding]:
    fix = JOURNALD if units.has_systemd(machine) else "service rsyslog restart || apt-get install -y rsyslog"
    try:
        if not S_ISSOCK(os.stat(SOCKET).st_mode):
            yield Finding(WARN, f"{SOCKET} is no socket: no line is logged", fix=fix)
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.connect(SOCKET)
    except OSError as error:
        yield Finding(WARN, f"{SOCKET}: {error.strerror}: no line is logged", fix=fix)


def _where(machine: Machine) -> str:
    """Return where the lines can be read."""
    file = next((path for path in ("/var/log/mail.log", "/var/log/maillog") if os.path.exists(machine.path(path))), "")
    return file or f"the journal: {log.IN_JOURNAL}"


def _programs(machine: Machine) -> Iterator[Finding]:
    """Look at the hooks that are installed here, and at those that Dovecot and PAM are told to run."""
    named = _named(machine)
    if machine.runs and there.is_installed():
        named |= {there.hook(name): "" for name in there.HOOKS if there.hook(name) not in named}
        if unfit := there.unfit_pack():
            yield Finding(WARN, f"{unfit}: made for another Python: a login takes longer", fix=there.pack_again())
    for path, file in named.items():
        try:
            state = os.stat(machine.path(path))
        except OSError:
            yield _missing(machine, path, file)
            continue
        mode = S_IMODE(state.st_mode)
        if mode & 0o111 != 0o111:
            yield Finding(
                FAIL, f"{path}: not everybody may run it (mode {mode:04o})", file, fix=f"chmod 0755 {quoted(path)}"
            )
        elif state.st_uid not in (0, os.geteuid()) or mode & 0o022:
            found = f"{path}: others may write it (owner {state.st_uid}, mode {mode:04o}), and root runs it"
            yield Finding(FAIL, found, file, fix=f"chown root {quoted(path)} && chmod 0755 {quoted(path)}")
        elif machine.runs and os.statvfs(path).f_flag & os.ST_NOEXEC:
            yield Finding(FAIL, f"{path}: on a file system that is mounted noexec", file)
        elif (said := re.search(r"^python=(\S+)$", machine.read(path), re.M)) is None:
            yield Finding(FAIL, f"{path}: not popips' own program: no login is granted", file, there.install_again())
        elif not os.path.exists(machine.path(python := said[1])):
            yield Finding(FAIL, f"{path}: there is no {python}, which it starts", file, "apt-get install -y python3")


def _run_by(machine: Machine) -> str:
    """Return which hooks are told to run, and by which file."""
    return "; ".join(f"{path}, by {file}" for path, file in _named(machine).items()) or "no file names one"


def _missing(machine: Machine, path: str, file: str) -> Finding:
    name = path.rpartition("/")[2]
    found = f"{path}: there is no such program, and {file or 'popips'} is to run it: "
    found += "a login that needs it is refused" if name == "popips-postlogin" else "no login is granted"
    ours = there.hook(name)
    if path != ours and os.path.exists(machine.path(ours)) and file:
        edit = f"s|{literal(path)}|{replacement(ours)}|"
        return Finding(FAIL, found, file, f"sed -i {quoted(edit)} {quoted(file)} && service dovecot reload")
    return Finding(FAIL, found, file, "\n".join([*_pass(path), there.install_again()]))


def _pass(path: str) -> list[str]:
    """Return the command after which logins pass at once, without a network, until the hook itself is there again."""
    if path.rpartition("/")[2] != "popips-postlogin":  # popips-hook is optional: PAM goes on without it
        return []
    stand_in = "'#!/bin/sh\\nexec \"$@\"\\n'"
    return [
        f"mkdir -p {quoted(os.path.dirname(path))} && printf {stand_in} > {quoted(path)} && chmod 0755 {quoted(path)}"
    ]


def _named(machine: Machine) -> dict[str, str]:
    """Return the paths of our hooks that a file of Dovecot or PAM names, each with that file."""
    found: dict[str, str] = {}
    for path in (path for pattern in CONFIGURED for path in machine.glob(pattern)):
        if os.path.isdir(machine.path(path)):
            continue
        for line in machine.read(path).splitlines():
            if not line.lstrip().startswith("#"):
                for program in re.findall(rf"(/\S*/(?:{'|'.join(there.HOOKS)}))(?=[\s;}}]|$)", line):
                    found.setdefault(program, path)
    return found


def _apparmor(machine: Machine) -> Check:
    """Look for a profile of AppArmor that forbids Dovecot to start a hook."""
    try:
        profiles = machine.read(PROFILES)
    except OSError as error:
        return skipped("hook.apparmor", f"{PROFILES}: {error.strerror}")
    enforced = [line.rpartition(" (")[0] for line in profiles.splitlines() if line.endswith("(enforce)")]
    named = _named(machine)
    wrong = []
    for path, file in named.items():
        part = STARTS[path.rpartition("/")[2]]
        profile = next((each for each in enforced if re.fullmatch(rf"(/usr/lib/dovecot/|dovecot-){part}", each)), "")
        local = f"/etc/apparmor.d/local/usr.lib.dovecot.{part}"
        if profile and path not in machine.read(local):
            found = f"AppArmor's profile {profile} is enforced, and has no rule by which {path} may be run"
            add = added(machine, local, echoed(f"{path} Ux,"))
            fix = f"{add} && apparmor_parser -r /etc/apparmor.d/usr.lib.dovecot.{part}"
            wrong.append(Finding(FAIL, found, f"{PROFILES}; {file}", fix))
    well = "no profile stands against it" if profiles else "no AppArmor here"
    return judged("hook.apparmor", "no AppArmor profile that keeps Dovecot from running the hooks", well, wrong)
