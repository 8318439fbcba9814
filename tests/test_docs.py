"""README, man pages, --help, contrib and code say the same thing."""

from __future__ import annotations

import ast
import configparser
import graphlib
import html
import os
import re
import subprocess
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

import popips
from expirer.metrics import METRICS, OF_LOG
from follower import formats
from man import pages
from popips import command
from popips.configuration import load
from popips.db.main import VERBS
from popips.settings import ROWS, Settings
from tests.conftest import Installed
from tests.doctor.hosts import WITH_SENDMAIL, Host

ROOT = Path(__file__).parent.parent
MANDOC = ROOT / ".venv/tools/root/usr/bin/mandoc"  # by tests/lab/unpack.sh
PAGES = sorted(ROOT.glob("man/*.[578]"))
PROGRAMS = (
    "popips-db",
    "popips-expire",
    "popips-follow",
    "popips-hook",
    "popips-mapd",
    "popips-postlogin",
    "popips-share",
)


def plain(page: Path) -> str:
    """A man page as a reader sees it, in one line."""
    text = subprocess.run(["man", "-l", str(page)], check=True, capture_output=True, text=True, env=MAN).stdout
    return re.sub(r"\s+", " ", text)


MAN = {"PATH": "/usr/bin:/bin", "MANWIDTH": "9999", "MANPAGER": "cat", "LC_ALL": "C", "MAN_KEEP_FORMATTING": ""}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_pages_are_clean_and_have_their_sections(page: Path) -> None:
    for lint in (["groff", "-man", "-ww", "-z"], ["man", "--warnings", "-l"], [str(MANDOC), "-T", "lint"]):
        said = subprocess.run([*lint, str(page)], capture_output=True, text=True, env=MAN)
        assert said.stderr + (said.stdout if lint[0] == str(MANDOC) else "") == "", lint
    text = page.read_text()
    assert f'"popips {popips.__version__}"' in text
    wanted = ["CAVEATS"] + (["SYNOPSIS", "EXIT STATUS", "EXAMPLES"] if page.suffix == ".8" else [])
    assert [section for section in wanted if f"\n.SH {section}\n" not in text] == []
    sections = re.findall(r"^\.SH (.*)$", text, re.MULTILINE)
    assert page.suffix == ".7" or sections[sections.index("DESCRIPTION") + 1] == "EXAMPLES", (
        "what it is, and how to use it"
    )
    assert "SMTP AUTH" in text or page.suffix == ".5"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_man_page_names_the_options_that_help_names(installed: Installed, program: str) -> None:
    told = installed.run(program, "--help", conf=False).stdout
    for verb in VERBS if program == "popips-db" else ():
        told += installed.run(program, verb, "--help").stdout
    options = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", told)) - {"-h"}
    page = plain(ROOT / "man" / f"{program}.8").replace("\u2010", "-").partition(" EXIT STATUS ")[0]
    page = re.sub(r" EXAMPLES .*? (?=DETAILS|VERBS|OPTIONS)", " ", page)  # other programs' options are there, too
    page = re.sub(r" openssl req .*? -out \S+", " ", page)
    assert options == set(re.findall(r"(?<![\w/.-])--?[a-z][a-z-]*(?![\w.])", page))


@pytest.mark.parametrize(
    ("path", "made"), [(pages.PAGE, pages.page), (pages.SAMPLE, pages.sample)], ids=["page", "sample"]
)
def test_page_and_sample_have_each_setting_as_its_row_says(path: Path, made: Callable[[str], str]) -> None:
    assert path.read_text() == made(path.read_text()), "make pages"
    assert all(f"\n#{name} = " in path.read_text() or f"\n.BR {name} " in path.read_text() for name in ROWS)


def test_the_samples_settings_are_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "popips.conf"
    path.write_text(re.sub(r"^#(?=\w+ = )", "", pages.SAMPLE.read_text(), flags=re.MULTILINE))
    loaded = load(str(path))
    for name in set(ROWS) - {"never"}:
        assert getattr(loaded, name) == getattr(Settings(), name), name
    assert [(n.first, n.bits) for n in loaded.never] == [(n.first, n.bits) for n in Settings().never]


GOES_ON = {os.EX_NOINPUT, os.EX_CANTCREAT, os.EX_TEMPFAIL}  # of a map or a stamp folder: popips-follow waits for that


@pytest.mark.parametrize(("program", "never"), [("popips-db", ()), ("popips-expire", ()), ("popips-follow", GOES_ON)])
def test_exit_statuses_of_the_code_are_in_the_page(program: str, never: Collection[int]) -> None:
    page = (ROOT / "man" / f"{program}.8").read_text().partition("EXIT STATUS")[2]
    for _, status in command.STATUS:
        assert (f".B {status}\n" in page) == (status not in never), status


TEXTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_the_texts_name_what_there_is(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, place = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        assert not place or place in map(anchor, re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)), target
    for path in re.findall(r"\btests/test_\w+\.py|\bcontrib/[\w./-]+", text):
        assert (ROOT / path.rstrip(".")).exists(), path
    for target in re.findall(r"(?:^ {4}|`)make (\w+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def test_the_checks_that_the_texts_name_are_doctors(tmp_path: Path) -> None:
    texts = "".join(text.read_text() for text in TEXTS)
    named = set(re.findall(r"`((?:map|stamps|mta|dovecot|expirer|hook)\.[a-z_]+)`", texts))
    assert named, "docs/trouble.md goes by them"
    assert named <= set(Host(tmp_path, WITH_SENDMAIL).checks())


@pytest.mark.parametrize("drawn", sorted(ROOT.glob("docs/pictures/*.dot")), ids=lambda path: path.stem)
def test_a_picture_is_of_its_source(drawn: Path) -> None:
    words = [
        line.strip()
        for label in re.findall(r'label="([^"]*)"', drawn.read_text())
        for line in label.split("\\n")
        if line
    ]
    picture = html.unescape(drawn.with_suffix(".svg").read_text()).replace("\xa0", " ")
    assert [line for line in words if line.replace("  ", " ") not in picture.replace("  ", " ")] == [], "make pictures"


def test_the_demos_picture_is_of_the_demo_of_today() -> None:
    picture = html.unescape((ROOT / "docs/pictures/demo.svg").read_text())
    headings = re.findall(r'say\(f?"(?:\\n)?(\d\. [^"{]*)', (ROOT / "tests/demo.py").read_text())
    assert len(headings) == 7
    assert [heading for heading in headings if heading not in picture] == [], "make pictures"


def anchor(heading: str) -> str:
    """The name that a forge gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_readme_names_each_program_and_each_text() -> None:
    readme = TEXTS[0].read_text()
    assert [program for program in PROGRAMS if f"`{program}" not in readme] == []
    assert [page.name for page in TEXTS[1:] if f"(docs/{page.name})" not in readme] == []


def test_readmes_words_are_those_of_the_manual() -> None:
    page = re.sub(r"(?<=[^.\n])\n(?=[^.])", " ", (ROOT / "man/popips.7").read_text().replace("\n.", "\n\n."))
    in_page = re.findall(r"^\.B (\w+)\n+(.*\.)$", re.sub(r"(?m)^(\.B \w+) ", r"\1\n", page), re.MULTILINE)
    in_readme = re.findall(r"^- \*(\w+)\*: (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [word for word, _ in in_readme] == ["address", "grant", "stamp", "map", "record", "window", "request"]
    assert set(in_readme) <= set(in_page)


def test_docs_and_contrib_put_the_same_lines_in_the_same_place_of_main_cf() -> None:
    def words(path: str) -> str:
        return re.sub(r"[\s#`]+", " ", (ROOT / path).read_text())

    place = "directly in front of reject_unauth_destination or defer_unauth_destination, and so behind a"
    place += " check_client_access of your own, whose REJECT then wins"
    for path in ("docs/by-hand.md", "contrib/postfix/main.cf"):
        assert place in words(path).replace(" ,", ","), path


def test_contrib_names_the_programs_where_they_are_installed(installed: Installed) -> None:
    for path in (path for path in (ROOT / "contrib").rglob("*") if path.is_file()):
        for named in re.findall(r"/usr/local(/\S*popips\S*)", path.read_text()):
            assert (installed.programs / named.lstrip("/")).exists(), (path, named)


def test_the_page_of_popips_follow_names_each_format() -> None:
    page = plain(ROOT / "man/popips-follow.8").replace("\u2010", "-").partition("--format NAME")[2]
    for name in [*formats.names(), "own"]:
        assert re.search(rf"\b{name}\b", page), name


def test_the_pam_stack_is_the_same_for_pop3_imap_and_the_page() -> None:
    def stack(path: str) -> list[list[str]]:
        lines = (ROOT / path).read_text().splitlines()
        return [line.split() for line in lines if line.startswith(("auth", "account"))]

    assert stack("contrib/pam.d/pop3") == stack("contrib/pam.d/imap") == stack("man/popips-hook.8")


def test_debians_own_stack_has_the_line_of_the_hook_behind_the_account_checks() -> None:
    lines = (ROOT / "contrib/pam.d/dovecot").read_text().splitlines()
    stack = [line.split() for line in lines if line and not line.startswith("#")]
    checks = stack.index(["@include", "common-account"])
    hook = stack[checks + 1]
    assert hook in [line.split() for line in (ROOT / "man/popips-hook.8").read_text().splitlines()]
    theirs = [["@include", f"common-{phase}"] for phase in ("auth", "account", "session")]
    assert [line for line in stack if line != hook] == theirs


def test_the_page_of_popips_expire_names_each_metric() -> None:
    page = (ROOT / "man/popips-expire.8").read_text().partition("\n.SH METRICS\n")[2].partition("\n.SH ")[0]
    assert set(re.findall(r"\bpopips_\w+", page)) == set(METRICS)
    of_log = set(re.findall(r'^\.BR (popips_\w+) "[^"]*\*"', page, re.MULTILINE))
    assert of_log == {name for name in METRICS if name.startswith(OF_LOG)}
    for name, (_, _, label) in METRICS.items():
        for value in label[1] if label and name != "popips_info" else ():
            assert re.search(rf"\b{value}\b", page), (name, value)


def test_version_changelog_and_entry_points_agree() -> None:
    assert f"## {popips.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].split("\n")
    assert {script.partition(" = ")[0] for script in scripts if script} == {
        "popips-db",
        "popips-expire",
        "popips-follow",
        "popips-mapd",
        "popips-share",
    }


@pytest.mark.parametrize("name", ["follow", "mapd", "share"])
def test_systemd_never_gives_a_daemon_up(name: str) -> None:
    """It does so after five starts within ten seconds: systemd-system.conf(5), DefaultStartLimitBurst."""
    unit = configparser.RawConfigParser(strict=False)
    unit.read(ROOT / f"contrib/systemd/popips-{name}.service")
    assert unit["Service"]["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"


TOOL = ("popips.db", "popips.doctor", "popips.setup", "popips.probe")  # the rooms of popips-db


def test_the_rooms_stand_on_each_other_in_one_direction() -> None:
    """Nothing in popips/ but the admin's tool knows a program, and no two modules need each other."""
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.glob("popips/**/*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    needs = {name: set(imported(path)) for name, path in modules.items()}
    for name, needed in needs.items():
        if name.startswith(TOOL):
            continue
        assert not {room.partition(".")[0] for room in needed} & {"pam_hook", "expirer", "follower", "mapd", "share"}, (
            name
        )
        assert not any(room.startswith(TOOL) for room in needed), name
    list(graphlib.TopologicalSorter({name: needed & set(modules) for name, needed in needs.items()}).static_order())


def imported(path: Path) -> Iterator[str]:
    """The modules that a module needs to be imported itself."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_room_is_too_big_to_be_read_at_once() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in ROOT.glob("popips/**/*.py")}
    assert {path: count for path, count in lines.items() if count > 300} == {}
