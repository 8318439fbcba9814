"""Cures that are told to be pasted: what others have named, a shell takes for a name, and nothing else."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from popips import paste
from popips.doctor.looks import examine
from popips.maps import Place
from popips.maps.kinds import KINDS
from tests.doctor.hosts import WITH_POSTFIX, WITH_SENDMAIL, Files, Host

ODD = r"o'd $(canary) |&.*\x"
ODD_WORD = "$(canary)"  # where no blank can be
TEXTS = ["", "plain/-x", "a b", ODD, "'", '"`x`"', "*[]^$", "a\\nb", "$HOME;x", "\u20ac"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_word_is_what_it_was(text: str) -> None:
    assert paste.quoted(text) == shlex.quote(text)
    for shell in ("sh", "bash"):
        said = subprocess.run([shell, "-c", paste.echoed(text)], capture_output=True, text=True, check=True).stdout
        assert said == f"{text}\n"
    edit = f"s|{paste.literal(text)}|<{paste.replacement(text)}>|"
    if text:
        said = subprocess.run(["sed", edit], input=f"-{text}-", capture_output=True, text=True, check=True).stdout
        assert said == f"-<{text}>-"


@pytest.mark.parametrize(("there", "after"), {"": "", "a = b\n": "a = b\n", "a = b": "a = b\n"}.items())
def test_a_line_is_added_behind_the_last_one_even_if_that_has_no_end(tmp_path: Path, there: str, after: str) -> None:
    path = tmp_path / ODD.replace("/", "")
    path.write_text(there)
    command = f"{paste.ended(str(path), there)}{paste.echoed('c = d', ODD)} >> {paste.quoted(str(path))}"
    subprocess.run(["sh", "-ec", command], check=True)
    assert path.read_text() == f"{after}c = d\n{ODD}\n"


def as_it_is(host: Host) -> None:
    """Change nothing."""


def write(path: str, text: str) -> Callable[[Host], object]:
    return lambda host: host.write(path, text)


def mode(path: str, bits: int) -> Callable[[Host], object]:
    return lambda host: host.path(path).chmod(bits)


def owner(path: str) -> Callable[[Host], object]:
    return lambda host: os.chown(host.path(path), 4711, -1)


def away(path: str) -> Callable[[Host], object]:
    return lambda host: host.path(path).rename(host.path(f"{path}.away"))


def ahead(path: str) -> Callable[[Host], object]:
    return lambda host: os.utime(host.path(path), (time.time() + 999,) * 2)


def as_link(path: str) -> Callable[[Host], object]:
    def change(host: Host) -> None:
        away(path)(host)
        host.path(path).symlink_to(host.path(f"{path}.away"))

    return change


def grow(path: str) -> Callable[[Host], object]:
    return lambda host: os.truncate(host.path(path), 40 << 20)


CONF, STAMPS = f"/etc/{ODD}.conf", f"/var/lib/{ODD}/stamps"
MAP, TEXT = f"/etc/{ODD}/access.db", f"/etc/{ODD}/access"
SAID = f"map = hash:{TEXT}\nstamps = {STAMPS}\n"
POSTLOGIN = "service pop3-postlogin {{\n  executable = script-login {}/popips-postlogin\n}}\n"
PAM = "account optional pam_exec.so quiet /usr/local/libexec/popips/popips-hook\n"
HOOK = f"/usr/{ODD_WORD}/popips-postlogin"
HOOKED = {"/etc/dovecot/conf.d/99-popips.conf": POSTLOGIN.format(f"/usr/{ODD_WORD}")}
Case = tuple[str, Files, Callable[[Host], object]]
CASES: list[Case] = [
    ("map.there", {}, away(MAP)),
    ("map.format", {}, write(MAP, "nonsense")),
    ("map.owner", {}, mode(MAP, 0o666)),
    ("map.owner", {}, mode(MAP, 0o644)),
    ("map.owner", {}, mode(MAP, 0o240)),
    ("map.owner", {}, owner(MAP)),
    ("map.owner", {}, as_link(MAP)),
    ("map.owner", {}, mode(f"/etc/{ODD}", 0o775)),
    ("map.owner", {}, mode(f"/etc/{ODD}", 0o777)),
    ("map.journal", {f"{MAP}.popips": ""}, mode(f"{MAP}.popips", 0o666)),
    ("map.ahead", {}, ahead(MAP)),
    ("map.ahead", {}, ahead(TEXT)),
    ("map.size", {}, grow(MAP)),
    ("map.pending", {}, write(TEXT, "Connect:10.1 REJECT\n")),
    ("map.key", {CONF: f"{SAID}compressed_ipv6 = yes\n"}, as_it_is),
    ("mta.asks", {}, as_it_is),
    ("mta.asks", {CONF: f"{SAID}own_map = yes\n"}, as_it_is),
    ("mta.asks", {CONF: f"{SAID}mta = postfix\n"}, as_it_is),
    ("stamps.folder", {}, away(STAMPS)),
    ("stamps.folder", {}, mode(STAMPS, 0o770)),
    ("stamps.folder", {}, as_link(STAMPS)),
    ("stamps.folder", {CONF: f"map = hash:{TEXT}\nstamps = {TEXT}\n"}, as_it_is),
    ("stamps.folder", {f"{STAMPS}/.denied": "no\n"}, as_it_is),
    ("expirer.run", {}, away(STAMPS)),
    ("conf", {CONF: "window = soon\n"}, as_it_is),
    ("conf", {CONF: f"map = cdb:{TEXT}\n"}, as_it_is),
    ("conf", {CONF: "own_map = yes\n"}, as_it_is),
    ("conf", {CONF: f"map = hash:{TEXT}\nmta = postfix\nkey = bare\n"}, as_it_is),
    ("conf", {CONF: f"{SAID}never = none\n"}, as_it_is),
    ("conf", {}, mode(CONF, 0o666)),
    ("hook.programs", {**HOOKED, HOOK: ""}, as_it_is),
    ("hook.programs", {**HOOKED, HOOK: "x"}, mode(HOOK, 0o777)),
    ("hook.programs", HOOKED, as_it_is),
    (
        "hook.apparmor",
        {**HOOKED, "/sys/kernel/security/apparmor/profiles": "dovecot-script-login (enforce)\n"},
        as_it_is,
    ),
    ("dovecot.anonymous", {"/etc/dovecot/dovecot.conf": f"auth_mechanisms = {ODD} anonymous\n"}, as_it_is),
    (
        "pam.pop3",
        {
            "/etc/pam.d/pop3": f"auth required pam_unix.so\n@include {ODD_WORD}\n",
            f"/etc/pam.d/{ODD_WORD}": f"auth required pam_deny.so\n{PAM}",
        },
        as_it_is,
    ),
]


def bare(fix: str) -> str:
    """Return what of a command stands in no quotes."""
    return re.sub(r"""'[^']*'|"'" """.strip(), "", fix)


MC, PROFILES = "/etc/mail/sendmail.mc", "/sys/kernel/security/apparmor/profiles"
LOCAL = "/etc/apparmor.d/local/usr.lib.dovecot.script-login"
WITHOUT_DRAC = {path: text for path, text in WITH_SENDMAIL.items() if "drac" not in path}
ADDING: list[tuple[str, str, Files]] = [  # a file without an end of its last line, to which the cure of a check adds
    ("map.size", CONF, {**WITH_SENDMAIL, CONF: f"{SAID}window = 5m"}),
    ("mta.asks", CONF, {**WITH_POSTFIX, CONF: "window = 5m"}),
    ("conf", CONF, {**WITH_SENDMAIL, CONF: f"map = cdb:{TEXT}\nmta = postfix"}),
    ("conf", CONF, {**WITH_SENDMAIL, CONF: "own_map = yes"}),
    ("mta.asks", MC, {**WITHOUT_DRAC, CONF: f"{SAID}own_map = yes\n", MC: "dnl"}),
    ("mta.asks", MC, {**WITH_SENDMAIL, CONF: "map = mapd\n", MC: "dnl"}),
    ("hook.apparmor", LOCAL, {**WITH_SENDMAIL, **HOOKED, PROFILES: "dovecot-script-login (enforce)\n", LOCAL: "/x r,"}),
]


@pytest.mark.parametrize("case", ADDING, ids=[f"{number}-{case[0]}" for number, case in enumerate(ADDING)])
def test_no_cure_adds_to_a_line_without_an_end(tmp_path: Path, case: tuple[str, str, Files]) -> None:
    id, path, files = case
    host = Host(tmp_path, {TEXT: "", **files})
    makemap = ["makemap", "hash", str(host.path(TEXT))]
    subprocess.run(makemap, input="", text=True, check=True, env={"PATH": "/usr/sbin:/usr/bin"})
    grow(MAP)(host)
    (fix,) = (check.fix for check in examine(host.machine, CONF, time.time()) if check.id == id)
    before, adds, _ = fix.partition(f" >> {paste.quoted(path)}")
    assert adds and f"sed -i '$a\\' {paste.quoted(path)} && " in before, fix


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)])
def test_no_cure_leaves_a_name_to_the_shell(tmp_path: Path, case: Case) -> None:
    id, files, change = case
    there = {**WITH_SENDMAIL, CONF: SAID, TEXT: "", **files}
    host = Host(tmp_path, {path: text for path, text in there.items() if path != MAP})
    makemap = ["makemap", "hash", str(host.path(TEXT))]
    subprocess.run(makemap, input="", text=True, check=True, env={"PATH": "/usr/sbin:/usr/bin"})
    host.path(STAMPS).mkdir(parents=True, mode=0o700, exist_ok=True)
    change(host)
    found = {check.id: check for check in examine(host.machine, CONF, time.time())}
    assert "canary" in found[id].fix, found[id]
    for check in found.values():
        assert "canary" not in bare(check.fix), check
        assert subprocess.run(["sh", "-n", "-c", check.fix], check=False).returncode == 0, check


@pytest.mark.parametrize("kind", ["hash", "lmdb"])
def test_the_cure_of_a_map_leaves_no_name_to_the_shell(tmp_path: Path, kind: str) -> None:
    place = Place(kind, f"{tmp_path}/{ODD}{KINDS[kind].suffix}", postfix=kind == "lmdb")
    assert "canary" in place.cure() and "canary" not in bare(place.cure().partition("by: ")[2])
