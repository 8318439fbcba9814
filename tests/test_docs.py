"""README, man pages, --help, contrib and code say the same thing."""

from __future__ import annotations

import configparser
import graphlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import popips
from follower import formats
from man import pages
from popips import command
from popips.settings import ROWS, Settings, load
from tests.conftest import Installed

ROOT = Path(__file__).parent.parent
PAGES = sorted(ROOT.glob("man/*.[578]"))
PROGRAMS = ("popips-db", "popips-expire", "popips-follow", "popips-hook", "popips-postlogin")


def plain(page: Path) -> str:
    """A man page as a reader sees it, in one line."""
    text = subprocess.run(["man", "-l", str(page)], check=True, capture_output=True, text=True, env=MAN).stdout
    return re.sub(r"\s+", " ", text)


MAN = {"PATH": "/usr/bin:/bin", "MANWIDTH": "9999", "MANPAGER": "cat", "LC_ALL": "C", "MAN_KEEP_FORMATTING": ""}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_pages_are_clean_and_have_their_sections(page: Path) -> None:
    warned = subprocess.run(["groff", "-man", "-ww", "-z", str(page)], capture_output=True, text=True)
    assert warned.stderr == ""
    text = page.read_text()
    assert f'"popips {popips.__version__}"' in text
    wanted = ["CAVEATS"] + (["SYNOPSIS", "EXIT STATUS", "EXAMPLES"] if page.suffix == ".8" else [])
    assert [section for section in wanted if f"\n.SH {section}\n" not in text] == []
    assert "SMTP AUTH" in text or page.suffix == ".5"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_man_page_names_the_options_that_help_names(installed: Installed, program: str) -> None:
    told = installed.run(program, "--help", conf=False).stdout
    for verb in ("lst", "ins", "del", "end", "deny", "undeny", "why") if program == "popips-db" else ():
        told += installed.run(program, verb, "--help").stdout
    options = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", told)) - {"-h"}
    page = plain(ROOT / "man" / f"{program}.8").replace("\u2010", "-")
    assert options == set(re.findall(r"(?<![\w/.-])--?[a-z][a-z-]*(?![\w.])", page.partition("EXAMPLES")[0]))


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


@pytest.mark.parametrize("program", ["popips-db", "popips-expire", "popips-follow"])
def test_exit_statuses_of_the_code_are_in_the_page(program: str) -> None:
    page = (ROOT / "man" / f"{program}.8").read_text().partition("EXIT STATUS")[2]
    for _, status in command.STATUS:
        assert f".B {status}\n" in page


def test_readme_names_what_there_is() -> None:
    readme = (ROOT / "README.md").read_text()
    for path in re.findall(r"\]\(([\w./]+)\)", readme):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\btests/test_\w+\.py|\bcontrib/[\w./-]+", readme):
        assert (ROOT / path).exists(), path
    for program in PROGRAMS:
        assert f"`{program}" in readme
    for target in re.findall(r"(?:^ {4}|`)make (\w+)", readme, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


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


def test_version_changelog_and_entry_points_agree() -> None:
    assert f"## {popips.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].split("\n")
    assert {script.partition(" = ")[0] for script in scripts if script} == {
        "popips-db",
        "popips-expire",
        "popips-follow",
    }


def test_modules_are_imported_in_one_direction() -> None:
    """No circles, and nothing in popips/ knows a program."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / "popips").rglob("*.py")}
    graph = {}
    for name, path in modules.items():
        text = path.read_text()
        assert not re.search(r"(?m)^\s*(import|from) (pam_hook|expirer|follower)", text), path
        used = re.findall(r"^from (popips[\w.]*) import (.*)$", text, re.MULTILINE)
        named = [(room, f"{room}.{word.strip()}") for room, words in used for word in words.strip("()").split(",")]
        graph[name] = {full if full in modules else room for room, full in named}
    list(graphlib.TopologicalSorter(graph).static_order())
