"""docs/hacking.md: its changes apply to the code as it is, and do what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETTING, KIND = re.findall(r"```diff\n(.*?)```", (ROOT / "docs/hacking.md").read_text(), re.DOTALL)
CF = """V10/Berkeley
Kpopips text -k0 -v1 -o {text}
O DontBlameSendmail=mapinunsafedirpath
Mlocal, P=/bin/true, F=ls, A=true
Mprog, P=/bin/true, F=ls, A=true
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    made = tmp_path / "copy"
    for name in ("popips", "man", "contrib", "tests"):
        shutil.copytree(ROOT / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("ruff.toml", "setup.cfg"):
        shutil.copy(ROOT / name, made)
    return made


def apply(change: str, copy: Path) -> None:
    done = subprocess.run(["patch", "-p1", "--fuzz=0", "-d", copy], input=change, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def run(copy: Path, *words: object) -> str:
    """Run a module or a program in the copy; return what it prints."""
    done = subprocess.run([sys.executable, "-B", *map(str, words)], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_style(copy: Path, *names: str) -> None:
    run(copy, "-m", "ruff", "check", "--no-cache", *names)
    run(copy, "-m", "ruff", "format", "--no-cache", "--check", *names)
    check_types(copy, *names)


def check_types(copy: Path, *names: str) -> None:
    run(copy, "-m", "mypy", "--strict", "--cache-dir", copy / ".mypy_cache", *names)


STATIC_LOGIN = """
import sys
from pathlib import Path
from popips import configuration, grant
from popips.login import Login
class Log:
    def __init__(self, program): pass
    def line(self, level, text): print(text.partition(":")[0])
grant.Log = Log
conf = Path("popips.conf")
for text in ("", "log_static = yes", "log_static = no"):
    conf.write_text(text)
    conf.chmod(0o600)
    loaded = configuration.load(str(conf))
    grant.tell(loaded, Login("a", "imap", "test"), grant.Outcome(grant.STATIC, "192.0.2.10"))
    print(loaded.log_static, loaded.lane_is_closed)
"""


def test_a_setting_is_one_row(copy: Path) -> None:
    apply(SETTING, copy)
    assert run(copy, "-c", STATIC_LOGIN) == "static\nTrue False\nstatic\nTrue False\nFalse False\n"
    assert "log_static" not in (copy / "man/popips.conf.5").read_text()
    run(copy, "-m", "man.pages")
    for path in ("man/popips.conf.5", "contrib/popips.conf"):
        assert re.search(r"^(#log_static = yes|\.BR log_static \" \(yes\)\")$", (copy / path).read_text(), re.MULTILINE)
    typed = copy / "typed.py"
    typed.write_text("from popips.settings import Settings\n\nanswer: bool = Settings().log_static\n")
    check_style(copy, "popips/settings.py", "popips/grant.py")
    check_types(copy, "typed.py")
    typed.write_text("from popips.settings import Settings\n\nanswer: str = Settings().log_static\n")
    with pytest.raises(AssertionError, match="Incompatible types"):
        check_types(copy, "typed.py")


LOGINS = """
import sys, time
from pathlib import Path
from popips import configuration, grant, revoke, run
from popips.login import Login
from popips.site import site
folder = Path(sys.argv[1])
conf, text = folder / "popips.conf", folder / "grants.text"
(folder / "stamps").mkdir(mode=0o700)
conf.write_text(f"map = text:{folder}/grants\\nown_map = yes\\nstamps = {folder}/stamps\\n")
conf.chmod(0o600)
def do(what):
    with site(configuration.load(str(conf)), time.time()) as host:
        return what(host)
def told(login, outcome): pass
def login(address):
    return do(lambda host: grant.grant(host, address, Login("alice", "pop3", "test"), told).verdict)
do(lambda host: run.run(host, told))
print(*map(login, ("192.0.2.10", "2001:db8::10", "192.0.2.10", "192.0.2.11", "192.0.2.12")))
do(lambda host: list(revoke.end(host, ["192.0.2.11"])))
text.write_text("192.0.2.66\\tRELAY\\n")
do(lambda host: run.run(host, told))
"""


def test_a_kind_of_map_is_one_module_and_two_rows(copy: Path, tmp_path: Path) -> None:
    """sendmail itself finds the grants in it, and nothing else."""
    apply(KIND, copy)
    place = tmp_path / "place"
    place.mkdir()
    assert run(copy, "-c", LOGINS, place) == "granted granted renewed granted granted\n"
    asked = {"192.0.2.10": 1, "192.0.2.12": 1, "ipv6:2001:db8:0:0:0:0:0:10": 1, "192.0.2.11": 0, "192.0.2.66": 0}
    (place / "sendmail.cf").write_text(CF.format(text=place / "grants.text"))
    sendmail = f"hostname mx.example.test; exec /usr/libexec/sendmail/sendmail -bt -C{place}/sendmail.cf"
    questions = "".join(f"/map popips {key}\n" for key in asked)
    done = subprocess.run(
        ["unshare", "--uts", "sh", "-c", sendmail], input=questions, capture_output=True, text=True, check=True
    )
    answers = re.findall(
        r"map_lookup: popips \((.*)\) (returns RELAY|no match)", re.sub("WARNING: .*\n", "", done.stdout)
    )
    assert answers == [(key, "returns RELAY" if there else "no match") for key, there in asked.items()]
    assert '"sendmail", "text", True' in (copy / "tests/test_kinds.py").read_text()
    check_style(copy, "popips/maps/kinds.py", "popips/maps/plain.py", "tests/test_kinds.py")
