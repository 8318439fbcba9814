"""The log lines are a contract: popips(7) has each, the code writes no other, and contrib's rules know them."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mapd.answer import AGAIN
from popips import fate, grant, login, policy
from popips.grant import Outcome
from popips.login import Login
from popips.run import LOGGED, Run

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / ".venv/tools/root"
ROOMS = ("popips", "expirer", "follower", "pam_hook", "mapd", "share")
TEXTS = ("R", "V")  # in a template, what is no word
PAGE = (ROOT / "man/popips.7").read_text().partition("\n.SH LOG LINES\n")[2].partition("\n.SH ")[0]
FORMS = re.findall(r"^\.B (\w+: .*)$", PAGE, re.MULTILINE)


def pattern(form: str) -> re.Pattern[str]:
    """The regular expression for a form of a line, as the page has it."""
    made = ""
    for part in re.split(r"(\[|\]|[A-Z]+)", form.replace(" [", "[ ")):
        if part in ("[", "]"):
            made += "(?:" if part == "[" else ")?"
        elif part in TEXTS:
            made += r".+"
        elif part == "N":
            made += r"\d+"
        elif part.isupper():
            made += r"\S+"
        else:
            made += re.escape(part)
    return re.compile(made)


PATTERNS = {form: pattern(form) for form in FORMS}


def forms_of(line: str) -> list[str]:
    """The forms that a line fits, but for those of mere text."""
    return [form for form, its in PATTERNS.items() if its.fullmatch(line)]


# ---- what the code writes: every call that logs, with a sample of the line that it writes

LOGGING = ("line", "say", "_say", "note")
OTHERS = {  # calls whose line is made elsewhere: see the tests below
    ("popips/grant.py", "outcome.describe(login, str(settings.map))"),
    ("popips/db/report.py", "f'{event} user={word(admin())} map={place}'"),
    ("expirer/expire.py", "text"),  # of Run.describe(), and what say() itself hands on
    ("pam_hook/login.py", "text"),  # of Run.describe()
    ("pam_hook/login.py", "grant.Outcome(grant.REFUSED, '', reason).describe(who, '-')"),
    ("follower/follow.py", "use.useless(time.monotonic(), lines.ended)"),  # what _say() puts behind warning:
    ("follower/follow.py", "use.end()"),
    ("follower/follow.py", "use.late(good, now, of.window)"),
    ("follower/follow.py", '"no line has come on standard input: is that the server\'s unit, or its log?"'),
}


def calls() -> Iterator[tuple[str, str, ast.expr]]:
    """Each call that logs: the file, what is called, and the expression for the line, or for lines."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or not node.args:
                    continue
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name == "note" and ast.unparse(node.func) != "report.note":
                    continue
                if name in LOGGING and len(node.args) > 1:
                    where = path.relative_to(ROOT).as_posix()
                    yield where, name, node.args[0] if name == "note" else node.args[-1]


def samples(expression: ast.expr) -> list[str]:
    """The lines that an expression may make, an x for each of their fields; none if it has no literal."""
    if isinstance(expression, (ast.List, ast.Tuple)):
        return [line for part in expression.elts for line in samples(part)]
    if isinstance(expression, ast.GeneratorExp):
        return samples(expression.elt)
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        return [expression.value]
    if isinstance(expression, ast.JoinedStr):
        return ["".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in expression.values)]
    return []


def test_each_call_that_logs_writes_a_line_of_the_page() -> None:
    found: set[str] = set()
    for where, name, expression in calls():
        if (where, ast.unparse(expression)) in OTHERS:
            continue
        lines = [f"{line} user=x map=x" if name == "note" else line for line in samples(expression)]
        assert lines, f"{where}: {ast.unparse(expression)}: what line is this?"
        for line in lines:
            forms = forms_of(line)
            assert len(forms) == 1, f"{where}: {line}: {forms}: a line that popips(7) has not"
            found.update(forms)
    assert {"error: R", "warning: R", "deleted: key=K user=U map=M"} <= found


def test_other_calls_are_there() -> None:
    there = {(where, ast.unparse(expression)) for where, _, expression in calls()}
    assert {(where, text) for where, text in OTHERS} <= there


def described() -> dict[str, str]:
    """Lines of logins and runs of each kind, made by the code, with their forms."""
    lines = {}
    for verdict in (grant.GRANTED, grant.RENEWED, grant.STATIC, grant.REFUSED, grant.DEFERRED):
        for reason in ("", 'x "quoted" y') if verdict in (grant.GRANTED, grant.RENEWED) else ("because",):
            line = Outcome(verdict, "192.0.2.1", reason).describe(Login("alice", "pop3", "x"), "hash:/x.db")
            lines[line] = f"{verdict}: address=A user=U service=S map=M " + (
                'reason="R"' if verdict not in (grant.GRANTED, grant.RENEWED) else '[reason="R"]'
            )
    every = Run(foreign=["x y"], stuck=["192.0.2.1"], orphans=["192.0.2.1"])
    for what in vars(fate).values():
        if isinstance(what, str) and what in (fate.EXPIRE, fate.BAR, fate.PUT, fate.YIELD, fate.LEAVE, fate.STUCK):
            every.note({f"192.0.2.{number}": what for number in range(LOGGED + 1)})
    for _, line in every.describe("hash:/x.db"):
        (lines[line],) = forms_of(line)
    return lines


def test_lines_of_logins_and_runs_are_those_of_the_page() -> None:
    lines = described()
    assert {line: forms_of(line) for line in lines} == {line: [form] for line, form in lines.items()}
    of_db = {form for form in FORMS if re.search(r" user=U map=M$", form)}
    assert set(lines.values()) == set(FORMS) - of_db - {"error: R", "warning: R", "connected: R", "mended: R"}


def test_what_sh_logs_is_a_line_of_the_page() -> None:
    (line,) = re.findall(r'^ *line="(.*)"$', (ROOT / "pam_hook/long_way.sh").read_text(), re.MULTILINE)
    for verdict in ("refused", "deferred"):
        said = line.replace("$verdict", verdict).replace('\\"', '"')
        assert forms_of(said) == [f'{verdict}: address=A user=U service=S map=M reason="R"']


def test_a_user_cannot_write_a_field_by_his_name() -> None:
    name = 'x service=pop3 map=y reason="z"\n'
    line = Outcome(grant.GRANTED, "192.0.2.1").describe(Login(name, name, "x"), "hash:/x.db")
    found = re.fullmatch(r"granted: address=(\S+) user=(\S+) service=(\S+) map=(\S+)", line)
    assert found and login.plain(found[2]) == login.plain(found[3]) == name


# ---- contrib

STAMPS = {"old": "Nov 28 07:05:09", "new": "2026-11-28T07:05:09.123456+00:00"}
A = "203.0.113.9"


def refused(reason: str, user: str = "alice") -> str:
    return f'refused: address={A} user={user} service=imap map=hash:/etc/mail/access.db reason="{reason}"'


BANNED = [  # lines of an address that fail2ban is to count
    refused("an anonymous login: everybody could open the relay by it", "anonymous"),
    refused("203.0.113.0/24 is denied by root: popips-db undeny 203.0.113.0/24"),
    refused("203.0.113.9 is denied by root@mx2: popips-db undeny 203.0.113.9 on mx2"),
    refused(grant.VERDICTS[fate.BAR][1]),
]
SPARED = [  # lines of an address that it must leave alone
    refused(policy.NEVER),
    refused("max_per_user: alice"),
    refused("alice is not in the group mail (only_group), or there is none"),
    refused("smtp is not one of only_services: add it"),
    refused("/var/lib/popips/stamps: Read-only file system; Dovecot's unit has ProtectSystem"),
    refused("x", f'x%20reason="an%20anonymous%20login:{A}'),
    f"granted: address={A} user=alice service=imap map=hash:/etc/mail/access.db",
    f'error: x refused: address={A} user=x service=x map=x reason="{grant.VERDICTS[fate.BAR][1]}"',
]


def fail2ban(tmp_path: Path, lines: list[str]) -> int:
    """How many of the lines fail2ban counts, by its own program."""
    log = tmp_path / "mail.log"
    log.write_text("".join(f"{line}\n" for line in lines))
    config = tmp_path / "fail2ban"
    shutil.copytree(TOOLS / "etc/fail2ban", config, dirs_exist_ok=True)
    shutil.copy(ROOT / "contrib/fail2ban/popips.conf", config / "filter.d/popips.conf")
    program = ["/usr/bin/python3", str(TOOLS / "usr/bin/fail2ban-regex")]
    env = {**os.environ, "PYTHONPATH": str(TOOLS / "usr/lib/python3/dist-packages")}
    done = subprocess.run([*program, "-c", str(config), str(log), "popips"], capture_output=True, text=True, env=env)
    found = re.search(r"^Lines: (\d+) lines, 0 ignored, (\d+) matched", done.stdout, re.MULTILINE)
    assert found, done
    assert int(found[1]) == len(lines)
    return int(found[2])


@pytest.mark.parametrize("stamp", STAMPS)
@pytest.mark.parametrize("program", ["popips-hook", "popips-postlogin", "popips-follow", "popips-expire"])
def test_fail2ban_bans_who_is_kept_out_and_nobody_else(tmp_path: Path, program: str, stamp: str) -> None:
    def logged(lines: list[str], name: str) -> list[str]:
        return [f"{STAMPS[stamp]} mx {name}[77]: {line}" for line in lines]

    assert fail2ban(tmp_path, logged(BANNED, program)) == len(BANNED)
    assert fail2ban(tmp_path, [*logged(SPARED, program), *logged(BANNED, "dovecot")]) == 0


def reported(lines: list[str], tmp_path: Path) -> list[str]:
    """The lines that logcheck reports: it hands its rules to grep."""
    rules = [rule for rule in (ROOT / "contrib/logcheck/popips").read_text().splitlines() if rule and rule[0] != "#"]
    (tmp_path / "rules").write_text("".join(f"{rule}\n" for rule in rules))
    command = ["grep", "--text", "-E", "-v", "-f", str(tmp_path / "rules")]
    done = subprocess.run(command, input="".join(f"{line}\n" for line in lines), capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


OF_DB = [
    "inserted: key=192.0.2.1 value=ERROR:550 go away user=root map=hash:/x.db",
    "deleted: key=192.0.2.1 user=root map=hash:/x.db",
    "denied: address=203.0.113.0/24 until=ever user=root map=hash:/x.db",
    "undenied: address=203.0.113.0/24 user=root map=hash:/x.db",
    "removed: address=203.0.113.9 user=root map=hash:/x.db",
    "removed: orphan=203.0.113.9 key=203.0.113.9 user=root map=hash:/x.db",
]


@pytest.mark.parametrize("stamp", STAMPS)
def test_logcheck_reports_what_is_to_be_looked_at(tmp_path: Path, stamp: str) -> None:
    quiet = {line for line in described() if not line.startswith(("refused", "deferred", "foreign", "stuck", "orphan"))}
    loud = [*(line for line in described() if line not in quiet), *BANNED, "error: x", "warning: x"]
    lines = [f"{STAMPS[stamp]} mx popips-expire[7]: {line}" for line in [*quiet, refused(policy.NEVER)]]
    lines += [f"{STAMPS[stamp]} mx popips-db[7]: {line}" for line in OF_DB]
    lines += [f"{STAMPS[stamp]} mx popips-share[7]: connected: redis://192.0.2.5:6379 as mx"]
    lines += [f"{STAMPS[stamp]} mx popips-mapd[7]: mended: {text}" for text in AGAIN.values()]
    assert {form for line in OF_DB for form in forms_of(line)} == {
        form for form in FORMS if re.search(r" user=U map=M$", form)
    }
    assert reported(lines, tmp_path) == []
    wanted = [f"{STAMPS[stamp]} mx popips-hook[7]: {line}" for line in loud]
    wanted += [f"{STAMPS[stamp]} mx sshd[7]: {line}" for line in quiet]
    assert reported(wanted, tmp_path) == wanted
