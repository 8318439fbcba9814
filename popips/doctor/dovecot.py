"""Dovecot: whether each login that passes comes to a hook of ours, and whether that may write what it has to."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from popips.doctor import there
from popips.doctor.by_setup import or_by_hand
from popips.doctor.check import FAIL, WARN, Check, Finding, Patient, added, judged, skipped
from popips.paste import echoed, quoted
from popips.probe import dovecot, pam, units
from popips.probe.dovecot import Dovecot
from popips.probe.pam_walk import HOOK, is_hook

IDS = ("hook", "fresh", "sandbox", "cache", "anonymous", "allow_nets", "proxies", "services")
CONFD = "/etc/dovecot/conf.d"
RESTART = "systemctl restart dovecot"
RELOAD = "doveadm reload"  # ends no session
POSTLOGIN = "popips-postlogin"
UNIT = "dovecot.service"
DROP_INS = "/etc/systemd/system/dovecot.service.d"


def look(patient: Patient) -> Iterator[Check]:
    """Look at Dovecot, if there is one."""
    found = dovecot.dovecot(patient.machine)
    if found is None or found.error:
        told = found.error if found else "no Dovecot here"
        if found:
            yield judged(
                "dovecot.hook", "a configuration that Dovecot accepts", "", [Finding(FAIL, told, "doveconf -n")]
            )
        else:
            yield skipped("dovecot.hook", told)
        yield from (skipped(f"dovecot.{name}", told) for name in IDS[1:])
        return
    wanted = {
        "hook": f"{POSTLOGIN} runs after each POP3 and IMAP login, or popips-hook in PAM",
        "fresh": "Dovecot has read its files as they are now",
        "sandbox": "Dovecot's processes may write to the map and the stamps",
        "cache": "PAM is asked at every login",
        "anonymous": "no anonymous logins",
        "allow_nets": "the hook runs only after a login has passed all checks",
        "proxies": "only your own proxies may report a client's address",
        "services": "only_services in popips.conf names the services that Dovecot reports",
    }
    well = _well(patient, found)
    looks = (_hook, _stale, _sandbox, _cache, _anonymous, _allow_nets, _proxies, _services)
    for name, one in zip(IDS, looks):
        if one is _stale and not dovecot.master(patient.machine):
            yield skipped(f"dovecot.{name}", "only files are here" if patient.machine.root else "Dovecot does not run")
        else:
            yield judged(f"dovecot.{name}", wanted[name], well[name], list(one(patient, found)))


def _well(patient: Patient, found: Dovecot) -> dict[str, str]:
    """Return what is found where nothing is wrong, by id."""
    after, of_pam, only = by_postlogin(found), by_pam(patient, found), patient.settings.only_services
    folders = dict.fromkeys((patient.settings.map.folder, patient.settings.stamps))
    return {
        "hook": f"{POSTLOGIN} after {' and '.join(after)}" if after else f"{HOOK} in PAM: {', '.join(of_pam)}",
        "fresh": "it has read them since their last change",
        "sandbox": " and ".join(filter(None, folders)) if after or of_pam else "no hook is here",
        "cache": f"auth_cache_size = {found.get('auth_cache_size') or '0'}" if of_pam else "PAM runs no hook",
        "anonymous": f"auth_mechanisms = {' '.join(_mechanisms(found)) or 'plain'}",
        "allow_nets": f"{POSTLOGIN} runs last" if after or not of_pam else "neither allow_nets nor nologin",
        "proxies": "no network is trusted",
        "services": f"only_services = {' '.join(sorted(only))}" if only else "only_services is not set",
    }


def by_postlogin(found: Dovecot) -> list[str]:
    """Return the protocols whose logins come to popips-postlogin."""
    return [
        protocol
        for protocol in found.protocols
        if any(POSTLOGIN in found.get(f"service {name}", "executable") for name in found.postlogin(protocol))
    ]


def by_pam(patient: Patient, found: Dovecot) -> list[str]:
    """Return the PAM services that Dovecot asks and that have a line of popips-hook."""
    return [name for name in found.pam_services if _has_line(patient, name)]


def _has_line(patient: Patient, service: str) -> bool:
    try:
        stacks = pam.stacks(patient.machine, service)
    except pam.Broken:
        return False
    return any(is_hook(line) for lines in stacks.values() for line in lines)


def _use_postlogin(patient: Patient) -> str:
    path = f"{CONFD}/99-popips.conf"
    return or_by_hand(patient, path, f"cp {there.contrib('dovecot/postlogin.conf')} {path} && {RESTART}")


def _hook(patient: Patient, found: Dovecot) -> Iterator[Finding]:
    after, of_pam = by_postlogin(found), by_pam(patient, found)
    if (after or of_pam) and patient.machine.runs and not dovecot.master(patient.machine):
        yield Finding(FAIL, "Dovecot does not run: nobody can log in", fix=RESTART)
    if after and of_pam:
        files = shlex.join(pam.file_of(patient.machine, name) for name in of_pam)
        both = f"{POSTLOGIN} and {HOOK} in PAM ({files}) both: each login is looked at twice"
        yield Finding(WARN, both, fix=f"sed -i '/{HOOK}/d' {files}")
    missing = [name for name in found.protocols if name not in after]
    if missing and not of_pam:
        yield Finding(
            FAIL, f"no hook runs after logins by {' and '.join(missing)}", "doveconf -n", _use_postlogin(patient)
        )
    elif of_pam and not after and (without := [name for name in found.pam_services if name not in of_pam]):
        said = f"Dovecot asks the PAM service {' and '.join(without)}, which has no line of popips-hook"
        yield Finding(FAIL, said, "doveconf passdb", _use_postlogin(patient))
    for protocol in after:
        for name in found.postlogin(protocol):
            user = found.get(f"service {name}", "user") or "$default_internal_user"
            if POSTLOGIN in found.get(f"service {name}", "executable") and user != "root":
                text = f"service {name}: {POSTLOGIN} runs as {user}, and map and stamps are root's"
                yield Finding(FAIL, text, "doveconf -n", _use_postlogin(patient))


def _stale(patient: Patient, found: Dovecot) -> Iterator[Finding]:
    """Return that Dovecot goes by what its files said before, if it does."""
    machine = patient.machine
    read, (changed, path) = dovecot.has_read(machine), dovecot.changed(machine)
    if read is None or changed <= read:
        return
    text = f"Dovecot has not read {path} as it is now, and goes by what it said before"
    evidence = f"changed {changed - read:.0f} s after Dovecot has read its files"
    named = list(dict.fromkeys(name for protocol in found.protocols for name in found.postlogin(protocol)))
    known = dovecot.listens(machine, named)
    unknown = [name for name in named if name not in known]
    if unknown:
        yield Finding(FAIL, f"{text}: no service {' and no '.join(unknown)}", evidence, RELOAD)
    else:
        yield Finding(WARN, text, evidence, RELOAD)


def _sandbox(patient: Patient, found: Dovecot) -> Iterator[Finding]:
    """Look at the mounts of the Dovecot that runs, or at what its unit says."""
    if not (by_postlogin(found) or by_pam(patient, found)):
        return
    machine, settings = patient.machine, patient.settings
    pid = dovecot.master(machine)
    for folder in dict.fromkeys((settings.map.folder, settings.stamps)):
        if pid:
            closed = dovecot.is_read_only(machine, pid, folder)
            evidence = f"/proc/{pid}/mountinfo"
        else:
            closed, evidence = _is_closed(patient, folder), units.unit_file(machine, UNIT)
        if closed:
            paths = f"ReadWritePaths=-{folder}"
            add = added(machine, f"{DROP_INS}/popips.conf", echoed("[Service]", paths))
            line = f"mkdir -p {DROP_INS} && {add} && "
            is_told = bool(pid) and not _is_closed(patient, folder)  # and Dovecot was not started anew since
            fix = f"{'' if is_told else line}systemctl daemon-reload && {RESTART}"
            text = f"{folder} is read only for all that Dovecot starts (ProtectSystem): no login is granted at once"
            yield Finding(FAIL, text, evidence, fix)


def _is_closed(patient: Patient, folder: str) -> bool:
    """Whether the files of Dovecot's unit keep a folder read only: systemd.exec(5), ProtectSystem=."""
    machine = patient.machine
    folders = (*units.FOLDERS, *units.FOLDERS_OF_OLD)
    found = {path.rpartition("/")[2]: path for one in folders[::-1] for path in machine.glob(f"{one}/{UNIT}.d/*.conf")}
    paths = [units.unit_file(machine, UNIT), *(found[name] for name in sorted(found))]
    text = "\n".join(machine.read(path) for path in paths if path)
    protect = (re.findall(r"(?m)^\s*ProtectSystem\s*=\s*(\S*)", text) or [""])[-1].lower()
    covered = {"full": ("/usr", "/boot", "/efi", "/etc"), "strict": ("/",), "yes": ("/usr", "/boot", "/efi")}
    covered |= dict.fromkeys(("true", "1", "on"), covered["yes"])
    opened = " ".join(re.findall(r"(?m)^\s*ReadWritePaths\s*=\s*(.*)", text)).split()
    below = f"{folder}/"
    if any(below.startswith(path.lstrip("-+").rstrip("/") + "/") for path in opened):
        return False
    return any(below.startswith(path.rstrip("/") + "/") for path in covered.get(protect, ()))


def _cache(patient: Patient, found: Dovecot) -> Iterator[Finding]:
    if not by_pam(patient, found) or found.get("auth_cache_size") in ("", "0"):
        return
    size, its = found.get("auth_cache_size"), found.pam[0][1]
    if found.version == "2.3" and "cache_key=" in its.get("args", ""):
        fix = f"echo 'auth_cache_size = 0' > {CONFD}/99-popips-cache.conf && {RESTART}"
    elif found.version != "2.3" and its.get("use_cache", its.get("passdb_use_cache")) != "no":
        fix = f"printf 'passdb pam {{\\n  use_cache = no\\n}}\\n' > {CONFD}/99-popips-cache.conf && {RESTART}"
    else:
        return
    text = f"auth_cache_size = {size}: a login whose password Dovecot remembers comes to no PAM, and renews nothing"
    yield Finding(FAIL, text, "doveconf -n", fix)


def _mechanisms(found: Dovecot) -> list[str]:
    listed = [value.name for value in found.values if value.blocks == ("auth_mechanisms",) and value.text == "yes"]
    return found.get("auth_mechanisms").split() or listed


def _anonymous(patient: Patient, found: Dovecot) -> Iterator[Finding]:
    mechanisms = _mechanisms(found)
    if "anonymous" in mechanisms:
        others = " ".join(name for name in mechanisms if name != "anonymous") or "plain"
        fix = f"{echoed(f'auth_mechanisms = {others}')} > {CONFD}/99-popips-anonymous.conf && {RESTART}"
        text = "anonymous is one of auth_mechanisms: whoever connects can log in, which popips grants nothing"
        yield Finding(WARN, text, "doveconf auth_mechanisms", fix)


def _allow_nets(patient: Patient, found: Dovecot) -> Iterator[Finding]:
    if not by_pam(patient, found) or by_postlogin(found):
        return
    named = (
        re.search(r"\S*(?<![a-z])(allow_nets|nologin)\b\S*", f"{value.name}={value.text}") for value in found.values
    )
    if words := [one[0] for one in named if one]:  # and no more of the line than that: a password may stand beside it
        files = shlex.join(pam.file_of(patient.machine, name) for name in by_pam(patient, found))
        text = f"{words[0]}: it refuses logins that PAM's hook has granted by then"
        yield Finding(FAIL, text, "doveconf -n", f"sed -i '/{HOOK}/d' {files} && {_use_postlogin(patient)}")


def _proxies(patient: Patient, found: Dovecot) -> Iterator[Finding]:
    for name in ("login_trusted_networks", "haproxy_trusted_networks"):
        said = found.get(name)
        if not said:
            continue
        is_all = any(re.search(r"/0$", word) for word in said.replace(",", " ").split())
        text = f"{name} = {said}: hosts there may say that a client has any address, which is then granted"
        fix = f"echo '{name} =' > {CONFD}/99-popips-{name.partition('_')[0]}.conf && {RESTART}" if is_all else ""
        yield Finding(FAIL if is_all else WARN, text, "doveconf -n", fix)


def _services(patient: Patient, found: Dovecot) -> Iterator[Finding]:
    only = patient.settings.only_services
    if only and by_pam(patient, found) and not by_postlogin(found):
        missing = [name for name in found.pam_services if name not in only]
        if missing:
            text = f"only_services does not name {', '.join(missing)}, the PAM service of Dovecot's logins"
            named = " ".join([*only, *dict.fromkeys(missing)])
            yield Finding(FAIL, text, f"{patient.conf}; doveconf -n", patient.set_line("only_services", named))
    if only and (after := by_postlogin(found)) and (missing := [name for name in after if name not in only]):
        text = f"only_services does not name {', '.join(missing)}: logins by it are granted nothing"
        yield Finding(WARN, text, patient.conf, patient.set_line("only_services", " ".join([*only, *missing])))
    if len(found.pam) > 1:
        names = ", ".join(name for name, _ in found.pam)
        text = f"Dovecot has several passdbs of PAM ({names}): a right password comes to the first one alone"
        yield Finding(WARN, text, "doveconf -n", _without_second(patient))


def _without_second(patient: Patient) -> str:
    """Return the commands that leave the first passdb of PAM alone, where the second fills a file of its own."""
    files = [*patient.machine.glob(f"{CONFD}/*.conf")]
    alone = r"(?s)\s*passdb(\s+\S+)?\s*\{[^{}]*\bdriver\s*=\s*pam\b[^{}]*\}\s*"
    own = [path for path in files if re.fullmatch(alone, re.sub(r"(?m)^\s*#.*$", "", patient.machine.read(path)))]
    return f"mv {quoted(own[-1])} {quoted(own[-1])}.off && {RESTART}" if own else ""
