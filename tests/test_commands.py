"""Each command that README, docs, man pages and contrib show is typed by a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.box import ROOT, Box
from tests.commands import NO_COMMANDS, Shown, shown
from tests.host import readme, test_commands
from tests.postfix import unpack_postfix

# typed by a test that has them from the page, or in a form of its own: the command, or how it begins, and the test
ELSEWHERE = {
    "make demo": "tests/test_mailhost.py::test_a_login_opens_the_relay_for_its_address_and_the_expirer_closes_it",
    "make test": "tests/test_cover.py",
    "make torture": "tests/test_torture.py::test_killed_at_system_calls",
    "make deb": "tests/host/test_package.py::test_make_deb_installs_what_it_builds_with",
    ".venv/bin/pytest tests/test_docs.py tests/test_package.py": "tests/test_docs.py",
    "make dist": "tests/test_release.py::test_source_and_wheel_are_the_same_to_the_byte_each_time",
    "sha256sum build/popips*": "tests/test_release.py::test_source_and_wheel_are_the_same_to_the_byte_each_time",
    "popips-push HOST": "tests/test_ssh.py::test_the_clients_script_pushes_its_address",
    "popips-expire --metrics": "tests/test_metrics.py::test_each_metric_is_said_by_promtool_to_be_well",
    "promtool test rules popips.test.yml": "tests/test_metrics.py::test_each_alert_is_raised_by_what_it_is_for",
    "postconf -m": "tests/test_commands.py::test_postconf_tells_which_types_of_map_there_are",
    "sendmail -d0.1 -bt": "tests/test_commands.py::test_sendmail_tells_whether_it_has_socket_maps",
}
OF_PAGE = ("man/popips-mapd.8", "man/popips-share.8")  # tests/host/test_mapd.py and test_share.py type all of them
TYPED_BY = [*sorted((ROOT / "tests/host").glob("test_*.py")), ROOT / "tests/test_ssh.py"]


def headings() -> set[str]:
    """Return the texts in tests that type what the pages show below a heading."""
    nodes = (node for path in TYPED_BY for node in ast.walk(ast.parse(path.read_text())))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


PAGES = {str(page.relative_to(ROOT)) for page in readme.PAGES}
HEADINGS = headings()
ROWS = {(row.page, row.heading) for row in test_commands.ROWS}
FOLLOW = {*test_commands.LOOKS, *test_commands.FOLLOWS}


def is_typed_from_the_page(one: Shown) -> bool:
    return (
        (one.page in PAGES and one.heading in HEADINGS) or (one.page, one.heading) in ROWS or one.page in OF_PAGE
    ) or one.command in FOLLOW


TYPED = [one.command for one in shown() if is_typed_from_the_page(one)]


@pytest.mark.parametrize("one", [one for one in shown() if not is_typed_from_the_page(one)], ids=str)
def test_a_command_is_typed_by_a_test(one: Shown) -> None:
    by_another = any(one.command in command for command in TYPED)
    assert by_another or any(one.command.startswith(begin) for begin in ELSEWHERE), f"{one}: no test types it"


def test_the_tests_that_are_named_are_there() -> None:
    for command, test in ELSEWHERE.items():
        path, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / path).read_text(), test
        assert any(one.command.startswith(command) for one in shown()), f"nobody shows {command}"


def test_what_is_said_to_be_no_command_is_shown_somewhere() -> None:
    for page, heading in NO_COMMANDS:
        assert re.search(rf"^(?:\.SH|#+) {re.escape(heading)}$", (ROOT / page).read_text(), re.M), (page, heading)


def test_postconf_tells_which_types_of_map_there_are(box: Box) -> None:
    unpack_postfix(box)
    assert {"hash", "btree", "lmdb", "cdb"} <= set(box.run(["postconf", "-m"]).stdout.split())


def test_sendmail_tells_whether_it_has_socket_maps(box: Box) -> None:
    command = ["/usr/libexec/sendmail/sendmail", "-d0.1", "-bt", "-C/dev/null"]
    assert "SOCKETMAP" in box.run(command).stdout


def test_a_command_that_no_test_types_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "README.md").write_text("# A heading\n\n    popips-db frobnicate\n")
    monkeypatch.setattr("tests.commands.ROOT", tmp_path)
    (found,) = shown()
    assert found == Shown("README.md", "A heading", "popips-db frobnicate")
    assert not is_typed_from_the_page(found)
    with pytest.raises(AssertionError, match="no test types it"):
        test_a_command_is_typed_by_a_test(found)
