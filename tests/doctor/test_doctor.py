"""popips-db doctor: what it prints, and its looks at map, stamps, expirer and hooks, on hosts that are only files."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from popips.db import main
from popips.doctor import ways
from popips.doctor.check import FAIL, OK, SKIP, WARN, Check, Patient
from popips.probe.cron import CRONTAB
from popips.probe.machine import Machine
from popips.settings import Settings
from tests.doctor.hosts import (
    CRON_LINE,
    DRAC_CF,
    OWN_CONF,
    SENDMAIL_CF,
    STAMPS,
    UNITS,
    WITH_POSTFIX,
    WITH_SENDMAIL,
    Files,
    Host,
)

Change = Callable[[Host], object]
ACCESS, JOURNAL, CONF = "/etc/mail/access.db", "/etc/mail/access.db.popips", "/etc/popips.conf"
POSTLOGIN = "service pop3-postlogin {\n  executable = script-login /usr/libexec/popips/popips-postlogin\n}\n"
HOOK, PROFILES = "/usr/libexec/popips/popips-postlogin", "/sys/kernel/security/apparmor/profiles"
LOCAL = "/etc/apparmor.d/local/usr.lib.dovecot.script-login"
HOOKED = {"/etc/dovecot/conf.d/99-popips.conf": POSTLOGIN, HOOK: "#!/bin/sh\npython=/usr/bin/python3\n"}


def write(path: str, text: str) -> Change:
    return lambda host: host.write(path, text)


def mode(path: str, bits: int) -> Change:
    return lambda host: host.path(path).chmod(bits)


def owner(path: str, uid: int) -> Change:
    return lambda host: os.chown(host.path(path), uid, -1)


def time_of(path: str, seconds: float) -> Change:
    """Move a file's time so far from now."""
    return lambda host: os.utime(host.path(path), (time.time() + seconds,) * 2)


def gone(path: str) -> Change:
    return lambda host: host.path(path).rename(host.path(path).with_name(f"{os.path.basename(path)}.away"))


def version(number: int) -> Change:
    def change(host: Host) -> None:
        data = bytearray(host.path(ACCESS).read_bytes())
        data[16:20] = number.to_bytes(4, "little")
        host.path(ACCESS).write_bytes(data)

    return change


def link(path: str, target: str) -> Change:
    def change(host: Host) -> None:
        host.path(path).rename(host.path(target))
        host.path(path).symlink_to(host.path(target))

    return change


def folder_and_pipe(path: str) -> Change:
    """Put something else than files where files are read: what an admin has put aside, a pipe that nobody writes to."""

    def change(host: Host) -> None:
        host.path(f"{path}/old").mkdir(parents=True)
        os.mkfifo(host.path(f"{path}/pipe"))

    return change


def link_to_itself(path: str) -> Change:
    def change(host: Host) -> None:
        host.path(path).parent.mkdir()
        host.path(path).symlink_to(host.path(path))

    return change


def each(*changes: Change) -> Change:
    return lambda host: [change(host) for change in changes]


CASES: list[tuple[str, Change, str, str, str]] = [
    ("conf", write(CONF, "window = soon\n"), FAIL, "popips.conf:1: window:", "sed -i '1s/^/#/' /etc/popips.conf"),
    ("conf", write(CONF, "map = lmdb:/etc/mail/access\n"), FAIL, "sendmail asks no lmdb", ",\\1hash:,'"),
    ("conf", write(CONF, "map = cdb:/etc/mail/access\n"), FAIL, "sendmail's cdb can only", ",\\1hash:,'"),
    ("conf", write(CONF, "mta = postfix\n"), FAIL, "set map", "printf '%s\\n' 'map = hash:/var/lib/popips/popips'"),
    ("conf", write(CONF, "own_map = yes\n"), FAIL, "set map", "echo 'map = hash:/var/lib/popips/popips' >>"),
    ("conf", each(write(CONF, ""), mode(CONF, 0o666)), FAIL, "others may write it", "chmod go-w /etc/popips.conf"),
    (
        "conf",
        write(CONF, "never = 10.0.0.0/8\n"),
        WARN,
        "no 127.0.0.0/8 and no ::1",
        "never = 10.0.0.0/8 127.0.0.0/8 ::1|",
    ),
    ("conf", write(CONF, "never = none\n"), WARN, "no 127.0.0.0/8 and no ::1", "never = 127.0.0.0/8 ::1|"),
    ("conf", write(CONF, "never = 127.0.0.1 10.0.0.1\n"), WARN, "never has no ::1:", "127.0.0.1 10.0.0.1 ::1|"),
    ("conf", write(CONF, "never = 127.0.0.1, ::1\n"), OK, "", ""),
    ("map.there", gone(ACCESS), FAIL, "is not there", "makemap hash /etc/mail/access < /etc/mail/access"),
    ("map.there", each(gone(ACCESS), gone("/etc/mail/access")), FAIL, "is not there", "< /dev/null"),
    ("map.format", gone(ACCESS), SKIP, "there is no map", ""),
    ("map.format", write(ACCESS, "nonsense"), FAIL, "not a hash file", "makemap hash /etc/mail/access"),
    ("map.format", write(ACCESS, ""), FAIL, "empty", "makemap hash /etc/mail/access"),
    ("map.format", version(10), FAIL, "", "makemap hash /etc/mail/access"),
    ("map.owner", mode(ACCESS, 0o666), FAIL, "any user may write it", "chmod o-rwx /etc/mail/access.db"),
    ("map.owner", mode(ACCESS, 0o644), WARN, "any user may read it", "chmod o-r /etc/mail/access.db"),
    ("map.owner", mode(ACCESS, 0o640), OK, "mode 0640", ""),
    ("map.owner", owner(ACCESS, 4711), FAIL, "its owner is user 4711", "chown smmta /etc/mail/access.db"),
    ("map.owner", mode("/etc/mail", 0o775), FAIL, "its group may write to it", "chmod g-w /etc/mail"),
    ("map.owner", mode("/etc", 0o757), FAIL, "any user may write to it", "chmod o-w /etc"),
    ("map.owner", link(ACCESS, "/etc/mail/real.db"), FAIL, "a link to /etc/mail/real.db", "hash:/etc/mail/real.db"),
    ("map.journal", each(write(JOURNAL, ""), mode(JOURNAL, 0o666)), FAIL, "only root may write", f"rm {JOURNAL}"),
    ("map.journal", each(write(JOURNAL, "x" * 9000), mode(JOURNAL, 0o600)), WARN, "of a change", "popips-expire"),
    ("map.journal", each(write(JOURNAL, "x" * 9000), mode(JOURNAL, 0o700)), OK, "", ""),
    ("map.ahead", time_of(ACCESS, 30), OK, "", ""),
    ("map.ahead", time_of(ACCESS, 600), WARN, "ahead of the clock", "touch /etc/mail/access.db"),
    ("map.ahead", time_of("/etc/mail/access", 600), WARN, "in the future", "touch /etc/mail/access"),
    ("map.size", lambda host: os.truncate(host.path(ACCESS), 40 << 20), WARN, "40 MiB", "FEATURE(`drac'"),
    ("map.size", lambda host: os.truncate(host.path(ACCESS), 3 << 30), FAIL, "3072 MiB", "FEATURE(`drac'"),
    ("map.pending", write("/etc/mail/access", "Connect:10.1 REJECT\n"), WARN, "connect:10.1", "makemap hash"),
    ("stamps.folder", gone(STAMPS), FAIL, "there is no such folder", f"install -d -m 0700 {STAMPS}"),
    ("stamps.folder", mode(STAMPS, 0o770), FAIL, "others may write to it", f"chmod 0700 {STAMPS}"),
    ("stamps.folder", owner(STAMPS, 4711), FAIL, "others may write to it", f"chown root {STAMPS}"),
    ("stamps.folder", mode(STAMPS, 0o1777), FAIL, "others may write to it", f"chmod 0700 {STAMPS}"),
    (
        "stamps.folder",
        each(write(CONF, "stamps = /tmp\n"), write("/tmp/.expire", ""), mode("/tmp", 0o1777)),
        FAIL,
        "others may write to it",
        "stamps = /var/lib/popips/stamps|",
    ),
    (
        "stamps.folder",
        each(write(CONF, "stamps = /var/mail\n"), write("/var/mail/alice", ""), mode("/var/mail", 0o775)),
        FAIL,
        "others may write to it",
        "stamps = /var/lib/popips/stamps|",
    ),
    ("stamps.folder", mode("/var/lib/popips", 0o777), FAIL, "any user may write", "chmod o-w /var/lib/popips"),
    ("stamps.folder", link(STAMPS, "/var/lib/real"), FAIL, "a symbolic link", "stamps = /var/lib/real"),
    ("stamps.folder", each(gone(STAMPS), write(STAMPS, "")), FAIL, "not a folder", f"mv {STAMPS} {STAMPS}.old"),
    (
        "stamps.folder",
        write(f"{STAMPS}/.denied", "10.0.0.1 - root\nno\n"),
        FAIL,
        ".denied:2:",
        f"'2d' {STAMPS}/.denied",
    ),
    ("stamps.times", lambda host: None, OK, "", ""),
    ("stamps.room", lambda host: None, OK, "MiB free", ""),
    ("expirer.started", lambda host: None, OK, "popips-expire.timer", ""),
    (
        "expirer.started",
        gone(f"{UNITS}/timers.target.wants"),
        FAIL,
        "is not enabled",
        "enable --now popips-expire.timer",
    ),
    (
        "expirer.started",
        write("/etc/cron.d/popips", CRON_LINE),
        WARN,
        "both start it",
        "sed -i '1s/^/#/' /etc/cron.d/popips",
    ),
    (
        "expirer.started",
        write("/etc/crontab", f"# popips-expire\n\n{CRON_LINE}"),
        WARN,
        "cron (/etc/crontab:3) both start it",
        "sed -i '3s/^/#/' /etc/crontab",
    ),
    (
        "expirer.started",
        each(write(CRONTAB, CRON_LINE.replace("root ", "")), mode(CRONTAB, 0o600)),
        WARN,
        f"{CRONTAB}:1",
        r"crontab -l | sed 's|^[[:blank:]]*\* \* \* \* \* /usr/local/sbin/popips-expire[[:blank:]]*$|#&|' | crontab -",
    ),
    ("expirer.started", write("/etc/crontab", CRON_LINE.replace("expire", "expire -n")), OK, "popips-expire.timer", ""),
    (
        "expirer.started",
        each(gone(UNITS), write("/etc/cron.d/popips", CRON_LINE.replace("* * root", "* 1 root"))),
        FAIL,
        "nothing starts popips-expire",
        "cron.d/popips /etc/cron.d/popips-expire",
    ),
    ("expirer.started", write("/etc/cron.d/popips.bak", CRON_LINE), OK, "", ""),
    ("expirer.started", write("/etc/cron.d/popips", f"#{CRON_LINE}"), OK, "", ""),
    (
        "expirer.started",
        write("/etc/cron.d/popips", CRON_LINE.replace("root ", "root [ -d /run/systemd/system ] || ")),
        OK,
        "popips-expire.timer",
        "",
    ),
    (
        "expirer.started",
        each(gone(f"{UNITS}/timers.target.wants"), gone(f"{UNITS}/popips-expire.timer")),
        FAIL,
        "nothing starts popips-expire",
        "systemd/popips-expire.timer /etc/systemd/system/",
    ),
    (
        "expirer.started",
        each(gone(UNITS), write("/etc/cron.d/popips", CRON_LINE)),
        OK,
        "/etc/cron.d/popips",
        "",
    ),
    ("expirer.started", gone(UNITS), FAIL, "nothing starts popips-expire", "cron.d/popips /etc/cron.d/popips"),
    ("expirer.run", time_of(f"{STAMPS}/.expire", -3600), FAIL, "for 60 minutes", "popips-expire"),
    ("expirer.run", time_of(f"{STAMPS}/.expire", 3600), FAIL, "for 60 minutes", "popips-expire"),
    ("expirer.run", gone(f"{STAMPS}/.expire"), FAIL, "never finished a run", "popips-expire"),
    ("expirer.run", gone("/etc/popips.conf.lane"), WARN, "each login starts Python", "popips-expire"),
    ("expirer.started", link_to_itself("/etc/cron.d/popips"), OK, "popips-expire.timer", ""),
    ("expirer.run", folder_and_pipe("/etc/cron.d"), OK, "", ""),
    ("expirer.run", folder_and_pipe("/etc/pam.d"), OK, "", ""),
    ("clock", lambda host: None, SKIP, "only files", ""),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[3]}")
def test_a_look_at_files(tmp_path: Path, case: tuple[str, Change, str, str, str]) -> None:
    id, change, status, found, fix = case
    host = Host(tmp_path, WITH_SENDMAIL)
    change(host)
    check = host.checks()[id]
    if id == "map.format" and status == FAIL and not found:
        assert check.status == FAIL or "version 10" in check.found, check  # which this libdb may read
        return
    assert (check.status, found in check.found, fix in check.fix) == (status, True, True), check
    assert str(tmp_path) not in str(check)


HOOKS: list[tuple[str, Files, str, str, str]] = [
    ("hook.programs", {}, OK, "", ""),
    ("hook.programs", HOOKED, FAIL, "not everybody may run it", f"chmod 0755 {HOOK}"),
    ("hook.programs", {"/etc/dovecot/conf.d/99-popips.conf": POSTLOGIN}, FAIL, "is refused", " install"),
    ("hook.programs", {**HOOKED, HOOK: '#!/bin/sh\nexec "$@"\n'}, FAIL, "not everybody may run it", "chmod 0755"),
    ("hook.programs", {"/etc/dovecot/dovecot.conf": f"# executable = script-login {HOOK}\n"}, OK, "", ""),
    (
        "hook.programs",
        {"/etc/pam.d/pop3": "account optional pam_exec.so quiet /usr/x/popips-hook\n"},
        FAIL,
        "no login is granted",
        " install",
    ),
    ("hook.apparmor", HOOKED, OK, "no AppArmor here", ""),
    ("hook.apparmor", {**HOOKED, PROFILES: "dovecot-script-login (complain)\n"}, OK, "no profile", ""),
    (
        "hook.apparmor",
        {**HOOKED, PROFILES: "dovecot-script-login (enforce)\n"},
        FAIL,
        "dovecot-script-login is enforced",
        f"echo '{HOOK} Ux,' >> {LOCAL}",
    ),
    (
        "hook.apparmor",
        {**HOOKED, PROFILES: "/usr/lib/dovecot/script-login (enforce)\n"},
        FAIL,
        "/usr/lib/dovecot/script-login is enforced",
        "apparmor_parser -r",
    ),
    (
        "hook.apparmor",
        {**HOOKED, PROFILES: "dovecot-script-login (enforce)\n", LOCAL: f"{HOOK} Ux,\n"},
        OK,
        "no profile",
        "",
    ),
    ("hook.apparmor", {PROFILES: "dovecot-script-login (enforce)\n"}, OK, "no profile", ""),
]


@pytest.mark.parametrize("case", HOOKS, ids=lambda case: f"{case[0]}-{case[3]}")
def test_a_look_at_hooks(tmp_path: Path, case: tuple[str, Files, str, str, str]) -> None:
    id, files, status, found, fix = case
    check = Host(tmp_path, WITH_SENDMAIL | files).checks()[id]
    assert (check.status, found in check.found, fix in check.fix) == (status, True, True), check


def test_where_the_hook_is_gone_the_first_cure_lets_logins_pass_and_the_second_brings_it_back(tmp_path: Path) -> None:
    host = Host(tmp_path, WITH_SENDMAIL | {"/etc/dovecot/conf.d/99-popips.conf": POSTLOGIN})
    first, second = host.checks()["hook.programs"].fix.splitlines()
    subprocess.run(["sh", "-ec", first.replace("/usr/", f"{tmp_path}/usr/")], check=True)
    server = [str(host.path(HOOK)), "sh", "-c", 'printf "$0 $1"', "a  server"]
    assert subprocess.run(server, capture_output=True, text=True, check=True).stdout == "a  server "
    check = host.checks()["hook.programs"]
    assert (check.status, "not popips' own program" in check.found, check.fix) == (FAIL, True, second)


def test_no_cure_makes_a_map_of_nothing_where_its_records_stand_nowhere_else(tmp_path: Path) -> None:
    host = Host(tmp_path, WITH_SENDMAIL)
    link(ACCESS, "/etc/mail/elsewhere.db")(host)
    gone("/etc/mail/access")(host)
    assert [check.fix for check in host.checks().values() if "/dev/null" in check.fix] == []
    assert host.checks()["map.owner"].status == FAIL


# ---- what it prints


OF_EXPIRER = (f"{UNITS}/popips-expire.timer", f"{UNITS}/timers.target.wants/popips-expire.timer")


def doctor(host: Host, capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main.main(["-c", "/etc/popips.conf", "doctor", "--root", str(host.folder), *words])
    said = capfd.readouterr()
    return status, said.out, said.err


def test_it_begins_with_the_verdict_and_says_what_to_paste(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    host = Host(tmp_path, WITH_SENDMAIL)
    status, out, _ = doctor(host, capfd, "--only", "map,mta,stamps,expirer")
    assert (status, out.splitlines()[0].startswith("well: 0 fail, 0 warn,")) == (0, True), out
    host.path(ACCESS).chmod(0o666)
    status, out, _ = doctor(host, capfd)
    lines = out.splitlines()
    assert (status, lines[0].startswith("NOT open to logins: 1 fail,")) == (1, True), out
    assert lines[1].startswith("fail  map.owner: /etc/mail/access.db: any user may write it")
    assert "        fix:      chmod o-rwx /etc/mail/access.db" in lines
    assert "\x1b" not in out


def test_the_verdict_says_that_grants_stay_where_no_more_than_their_end_is_missing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    host = Host(tmp_path, WITH_SENDMAIL)
    os.utime(host.path(f"{STAMPS}/.expire"), (0, 0))
    status, out, _ = doctor(host, capfd)
    assert (status, out.startswith("open, and STAYS open: 1 fail,")) == (1, True), out
    host.path(ACCESS).chmod(0o666)
    assert doctor(host, capfd)[1].startswith("NOT open, grants stay: 2 fail,")


def test_no_way_by_which_logins_come_is_a_failure() -> None:
    here = Patient(Machine(), CONF, Settings(), 0.0)
    said = {
        "pam": [Check("dovecot.hook", SKIP, ""), Check("pam.pop3", OK, "")],
        "Dovecot": [Check("dovecot.hook", OK, ""), Check("pam.pop3", SKIP, "")],
        "none": [Check("dovecot.hook", SKIP, ""), Check("pam.pop3", SKIP, ""), Check("pam.imap", FAIL, "")],
        "broken": [Check("dovecot.hook", FAIL, "")],
    }
    found = {name: next(ways.look(here, checks)) for name, checks in said.items()}
    assert {name: check.status for name, check in found.items()} == {
        "pam": OK,
        "Dovecot": OK,
        "none": FAIL,
        "broken": SKIP,
    }
    dropped = replace(here, settings=Settings().replace(drop="/srv/drop"))
    assert next(ways.look(dropped, said["none"])).found == "logins come to popips by the folder /srv/drop"


UNUSED: dict[str, tuple[Files, bool]] = {  # what there is beside a stock Postfix, and whether nothing is set up there
    "nothing": ({}, True),
    "the package's settings": ({CONF: "# window = 15m\n"}, True),
    "a setting": ({CONF: "window = 5m\n"}, False),
    "a login": ({f"{STAMPS}/192.0.2.1": ""}, False),
    "a login that waits": ({f"{STAMPS}/.requests/192.0.2.1-1": ""}, False),
    "sendmail's map": ({ACCESS: ""}, False),
    "sendmail": ({"/etc/mail/sendmail.cf": SENDMAIL_CF}, False),
}


@pytest.mark.parametrize("what", UNUSED)
def test_where_nothing_is_set_up_one_check_says_so_and_none_judges_what_a_set_up_makes(
    tmp_path: Path, what: str
) -> None:
    files, is_unused = UNUSED[what]
    stock = {**WITH_POSTFIX, "/etc/dovecot/dovecot.conf": "protocols = imap\n"}
    host = Host(tmp_path, stock, without=(CONF, *OF_EXPIRER, f"{CONF}.lane"))
    for path, text in files.items():
        host.write(path, text)
    found = host.checks()
    told = {check.found for check in found.values() if check.status == FAIL}
    assert (told == {"popips is not set up"}) == is_unused, found
    if is_unused:
        assert found["mta.asks"].fix.endswith("popips-db setup --apply")
        skips = {id for id, check in found.items() if check.found == "popips is not set up, see mta.asks"}
        assert {"map.there", "stamps.room", "mta.order", "dovecot.hook", "expirer.started", "hook.logins"} <= skips
        assert (found["dovecot.proxies"].status, found["conf"].status) == (OK, OK), "that is no part of a set-up"


def test_the_map_of_an_mta_that_is_not_here_is_not_judged(tmp_path: Path) -> None:
    found = Host(tmp_path, {**WITH_POSTFIX, CONF: "window = 5m\n"}).checks()
    assert (found["mta.asks"].status, found["mta.asks"].found) == (
        FAIL,
        f"postfix is the MTA here, and {CONF} says mta = sendmail",
    )
    assert {found[id].status for id in found if id.startswith("map.")} == {SKIP}
    assert (found["stamps.room"].status, "/etc/mail" in found["stamps.room"].found) == (OK, False)
    ids = [id for id in found if id.startswith(("mta.", "map."))]
    assert ids[0] == "mta.asks", "what the others hang on comes first"


def test_its_json_is_the_contracts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    host = Host(tmp_path, WITH_SENDMAIL)
    host.path(ACCESS).chmod(0o666)
    status, out, _ = doctor(host, capfd, "--json")
    said = json.loads(out)
    assert (status, said["schema"], said["host"], said["ok"]) == (1, 1, "mx.example.test", False)
    assert {frozenset(check) for check in said["checks"]} == {
        frozenset(("id", "status", "found", "wanted", "evidence", "fix"))
    }
    assert {check["status"] for check in said["checks"]} <= {OK, WARN, FAIL, SKIP}
    (owner,) = [check for check in said["checks"] if check["id"] == "map.owner"]
    assert (owner["status"], owner["fix"]) == (FAIL, "chmod o-rwx /etc/mail/access.db")
    host.write(CONF, "nonsense\n")
    status, out, _ = doctor(host, capfd, "--json")
    assert (status, [check["id"] for check in json.loads(out)["checks"]]) == (1, ["conf"])


def test_only_and_strict(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    host = Host(tmp_path, WITH_SENDMAIL)
    host.path(ACCESS).chmod(0o644)
    assert doctor(host, capfd, "--only", "map.owner")[0] == 0
    assert doctor(host, capfd, "--only", "map.owner", "--strict")[0] == 1
    assert doctor(host, capfd, "--only", "stamps", "--strict")[0] == 0
    status, out, err = doctor(host, capfd, "--only", "map.nosuch")
    assert (status, out, "there is no such check" in err) == (64, "", True)
    assert doctor(host, capfd, "--root", "/nosuch")[0] == 64


def test_a_host_with_a_map_of_its_own(tmp_path: Path) -> None:
    files = {"/etc/mail/sendmail.cf": DRAC_CF, CONF: OWN_CONF}
    found = Host(tmp_path, WITH_SENDMAIL | files).checks()
    assert {check.status for id, check in found.items() if not id.startswith(("dovecot.", "pam."))} == {OK, SKIP}


def test_a_line_of_crons_that_does_not_count_is_named_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    host = Host(tmp_path, {**WITH_SENDMAIL, "/etc/cron.d/popips": f"@often root true\n{CRON_LINE}"})
    gone(UNITS)(host)
    evidence = host.checks()["expirer.started"].evidence
    assert evidence.startswith("/etc/cron.d/popips:2 does not count, line 1 of the table may be one")


def test_the_cure_of_a_second_expirer_leaves_all_other_lines_as_they_are(tmp_path: Path) -> None:
    others = (
        "# popips-expire: by the timer\n5 4 * * * root popips-expire -n; /opt/backup\n{}0 3 * * * root /opt/report\n"
    )
    host = Host(tmp_path, {**WITH_SENDMAIL, "/etc/crontab": others.format(CRON_LINE)})
    fix = host.checks()["expirer.started"].fix
    subprocess.run(["sh", "-ec", fix.replace("/etc/", f"{tmp_path}/etc/")], check=True)
    assert host.path("/etc/crontab").read_text() == others.format(f"#{CRON_LINE}")
    assert host.checks()["expirer.started"].status == OK
