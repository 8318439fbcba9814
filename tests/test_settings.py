"""popips.conf: a missing or empty file is the defaults, and a mistake is named by file, line and cure."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popips import configuration
from popips.configuration import SettingsError
from popips.settings import ROWS, Settings

DEFAULTS = {
    "mta": "sendmail",
    "map": "hash:/etc/mail/access.db",
    "stamps": "/var/lib/popips/stamps",
    "window": 900.0,
    "value": "RELAY",
    "key": "bare",
    "compressed_ipv6": False,
    "lock_timeout": 2.0,
    "log_renewals": False,
    "own_map": False,
    "max_per_user": 0,
    "max_per_network": 0,
    "only_services": (),
    "only_group": "",
    "renew": "logins",
    "doveadm": "doveadm",
    "drop": "",
    "follow_pattern": "",
    "static_source": None,
    "mapd_socket": "/run/popips/mapd.sock",
    "mapd_policy": "/run/popips/policy.sock",
    "share": "",
    "share_name": "",
    "share_stream": "popips:log",
    "share_password_file": "",
    "share_from": "/run/popips/from",
}


def load(folder: Path, text: str) -> Settings:
    path = folder / "popips.conf"
    path.write_text(text)
    return configuration.load(str(path))


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a comment\n   # and another\n"])
def test_without_settings_every_key_has_its_default(tmp_path: Path, text: str) -> None:
    loaded = load(tmp_path, text)
    assert {key: getattr(loaded, key) if key != "map" else str(loaded.map) for key in DEFAULTS} == DEFAULTS
    assert set(DEFAULTS) | {"never"} == set(ROWS)


def test_the_usual_file_need_not_be_there_but_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login by a file that was moved away must not write into the default map."""
    missing = str(tmp_path / "missing")
    with pytest.raises(SettingsError, match="missing: there is no such file"):
        configuration.load(missing)
    monkeypatch.setattr(configuration, "PATH", missing)
    assert configuration.load(missing).window == 900


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("window = 90s", "window", 90.0),
        ("window=2h", "window", 7200.0),
        ("  window   =  1d  ", "window", 86400.0),
        ("lock_timeout = 0.5s", "lock_timeout", 0.5),
        ("value = OK", "value", "OK"),
        ("key = connect", "key", "connect"),
        ("compressed_ipv6 = yes", "compressed_ipv6", True),
        ("log_renewals = yes", "log_renewals", True),
        ("static_source = /etc/mail/access.txt", "static_source", "/etc/mail/access.txt"),
        ("static_source = none", "static_source", ""),
        ("static_source = auto", "static_source", None),
        ("max_per_user = 3", "max_per_user", 3),
        ("max_per_network = 40", "max_per_network", 40),
        ("only_services = pop3, imap sshd", "only_services", ("pop3", "imap", "sshd")),
        ("only_services = all", "only_services", ()),
        ("never = none", "never", ()),
        ("only_group = roamers", "only_group", "roamers"),
        ("only_group = all", "only_group", ""),
        ("renew = sessions", "renew", "sessions"),
        ("doveadm = doveadm -c /etc/dovecot.conf", "doveadm", "doveadm -c /etc/dovecot.conf"),
        ("drop = /var/lib/popips/drop", "drop", "/var/lib/popips/drop"),
        ("drop = none", "drop", ""),
        ("stamps = /var/lib/popips/", "stamps", "/var/lib/popips"),
        ("share = redis://192.0.2.9:6379", "share", "redis://192.0.2.9:6379"),
        ("share = rediss://pop@engine.example.test:6380/2", "share", "rediss://pop@engine.example.test:6380/2"),
        ("share = redis://[2001:db8::9]:6379", "share", "redis://[2001:db8::9]:6379"),
        ("share = none", "share", ""),
        ("share_name = pop-1.example.test", "share_name", "pop-1.example.test"),
        ("share_name = auto", "share_name", ""),
        ("share_stream = {mail}:log", "share_stream", "{mail}:log"),
        ("share_password_file = /etc/popips.password", "share_password_file", "/etc/popips.password"),
    ],
)
def test_a_setting_is_read(tmp_path: Path, line: str, key: str, value: object) -> None:
    assert getattr(load(tmp_path, f"# first\n{line}\n"), key) == value


@pytest.mark.parametrize("path", ["/etc/mail/access", "/etc/mail/access.db"])
def test_a_map_is_named_with_or_without_db(tmp_path: Path, path: str) -> None:
    assert str(load(tmp_path, f"map = btree:{path}").map) == "btree:/etc/mail/access.db"


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        ("windw = 15m", "unknown key 'windw': the keys are mta, map, "),
        ("window", "write `key = value`"),
        ("window =", "write `key = value`"),
        ("window = 15", "write a number and a unit, s m h d or w"),
        ("window = 15m # long", "a comment needs a line of its own"),
        ("never =", "a value must not be empty"),
        ("window = 15 minutes", "write a number and a unit"),
        ("window = 0m", "more than 0"),
        ("window = 9999d", "at most a year"),
        ("window = -5m", "write a number and a unit"),
        ("window = \u0661m", "write a number and a unit"),
        ("lock_timeout = 3s", "at most 2s"),
        ("log_renewals = true", "write yes or no"),
        ("key = Connect", "write bare or connect"),
        ("map = /etc/mail/access", "write TYPE:/PATH with one of the types hash, btree, lmdb, cdb"),
        ("map = dbm:/etc/mail/access", "write TYPE:/PATH with one of the types hash, btree, lmdb, cdb"),
        ("map = hash:access", "write TYPE:/PATH"),
        ("stamps = popips", "write an absolute path"),
        ("never = 10.0.0.0/8 10.0.0/8", "10.0.0/8: not an address or ADDRESS/BITS"),
        ("max_per_user = -1", "write a number, 0 for no limit"),
        ("max_per_network = some", "write a number, 0 for no limit"),
        ("max_per_user = all", "write a number, 0 for no limit"),
        ("only_services = pop3;imap", "pop3;imap: write the names of PAM services"),
        ("only_group = a b", "write the name of one group, or all"),
        ("renew = imap", "write logins or sessions"),
        ("drop = drop", "write an absolute path"),
        ("mta = exim", "write sendmail or postfix"),
        ("value = REL\x01AY", "write one line of ASCII"),
        (f"value = {'x' * 3001}", "of at most 3000 characters"),
        ("value = RELAY\nvalue = OK", "set twice"),
        ("share = 192.0.2.9:6379", "write redis://HOST:PORT, or rediss://HOST:PORT for TLS"),
        ("share = redis://192.0.2.9", "write redis://HOST:PORT"),
        ("share = redis://192.0.2.9:0", "write redis://HOST:PORT"),
        ("share = redis://192.0.2.9:65536", "write redis://HOST:PORT"),
        ("share = redis://:6379", "write redis://HOST:PORT"),
        ("share = redis://[]:6379", "write redis://HOST:PORT"),
        ("share = redis://2001:db8::9:6379", "write redis://HOST:PORT"),
        ("share = redis://@192.0.2.9:6379", "write redis://HOST:PORT"),
        ("share = redis://192.0.2.9:6379/", "write redis://HOST:PORT"),
        ("share = redis://192.0.2.9:6379?db=1", "write redis://HOST:PORT"),
        ("share = http://192.0.2.9:6379", "write redis://HOST:PORT"),
        ("share = redis://pop:secret@192.0.2.9:6379", "share_password_file"),
        ("share_name = a b", "write a name of letters, digits, . _ and -"),
        ("share_name = @pop", "write a name of letters, digits, . _ and -"),
        ("share_name = .pop", "write a name of letters, digits, . _ and -"),
        (f"share_name = {'x' * 101}", "of at most 100 characters"),
        ("share_stream = a b", "write a name of letters, digits, : . _ and -"),
        ("share_password_file = secret", "write an absolute path"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_cure(tmp_path: Path, line: str, cure: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(tmp_path, f"# a comment\n\n{line}\n")
    number = 3 + line.count("\n")
    assert str(error.value).startswith(f"{tmp_path}/popips.conf:{number}: ")
    assert cure in str(error.value)


@pytest.mark.parametrize(
    ("lines", "map_", "value", "key"),
    [
        ("map = hash:/etc/postfix/clients", "hash:/etc/postfix/clients.db", "OK", "postfix"),
        ("map = lmdb:/x\nown_map = yes", "lmdb:/x.lmdb", "OK", "postfix"),
        ("map = cdb:/x.cdb\nown_map = yes\nvalue = permit", "cdb:/x.cdb", "permit", "postfix"),
    ],
)
def test_postfix_has_defaults_of_its_own(tmp_path: Path, lines: str, map_: str, value: str, key: str) -> None:
    loaded = load(tmp_path, f"mta = postfix\n{lines}\n")
    assert (str(loaded.map), loaded.value, loaded.key, loaded.map.postfix) == (map_, value, key, True)


@pytest.mark.parametrize(
    ("lines", "cure"),
    [
        ("mta = postfix", "set map"),
        ("own_map = yes", "set map"),
        ("mta = postfix\nmap = hash:/x\nkey = bare", "key is for sendmail"),
        ("mta = postfix\nmap = hash:/x\ncompressed_ipv6 = yes", "compressed_ipv6 is for sendmail"),
        ("mta = postfix\nmap = lmdb:/x", "own_map = yes"),
        ("map = lmdb:/x\nown_map = yes", "or set map = mapd where there is no Berkeley DB"),
        ("map = cdb:/x", "sendmail's cdb can only be written as a whole: set own_map = yes"),
    ],
)
def test_settings_that_do_not_go_together_are_named(tmp_path: Path, lines: str, cure: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(tmp_path, lines)
    assert str(error.value).startswith(f"{tmp_path}/popips.conf: ")
    assert cure in str(error.value)


@pytest.mark.parametrize(
    ("lines", "number", "cure"),
    [
        ("stamps = /x/y\nshare_from = /x/y", 2, "another folder as share_from, /run/popips/from"),
        ("stamps = /x/y\n\nshare_from = /x/y/z", 3, "another folder as share_from, /run/popips/from"),
        ("share_from = /x\nstamps = /x/y", 1, "another folder as share_from, /run/popips/from"),
        ("share_from = /var/lib/popips/stamps", 1, "another folder as share_from, /run/popips/from"),
        ("stamps = /run/popips/from", 1, "another folder as stamps, /var/lib/popips/stamps"),
        ("stamps = /", 1, "another folder as stamps, /var/lib/popips/stamps"),
    ],
)
def test_stamps_and_what_others_tell_are_no_folders_within_each_other(
    tmp_path: Path, lines: str, number: int, cure: str
) -> None:
    load(tmp_path, lines)  # where nothing is shared nobody tells anything
    with pytest.raises(SettingsError) as error:
        load(tmp_path, f"{lines}\nshare = redis://192.0.2.1:6379")
    assert str(error.value).startswith(f"{tmp_path}/popips.conf:{number}: ")
    assert cure in str(error.value)
    load(tmp_path, "stamps = /x/y\nshare_from = /x/yz\nshare = redis://192.0.2.1:6379")


@pytest.mark.parametrize("kind", ["a folder", "a fifo", "a link to itself"])
def test_what_is_not_a_plain_file_is_named_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "popips.conf"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(path)
    with pytest.raises(SettingsError, match=f"^{path}: cannot be read"):
        configuration.load(str(path))


SOMEBODY = 12345
# who owns the file, its mode, who owns the link to it (None: there is none), and whether it is taken
OWNERS = [
    (0, 0o644, None, True),
    (0, 0o400, None, True),
    (0, 0o644, 0, True),
    (0, 0o664, None, False),
    (0, 0o646, None, False),
    (SOMEBODY, 0o644, None, False),
    (SOMEBODY, 0o644, 0, False),
    (0, 0o644, SOMEBODY, False),
]


@pytest.mark.parametrize(("owner", "mode", "of_link", "is_taken"), OWNERS)
def test_a_file_that_others_may_write_is_refused_for_root_runs_what_it_says(
    tmp_path: Path, owner: int, mode: int, of_link: int | None, is_taken: bool
) -> None:
    path = tmp_path / "popips.conf"
    path.write_text("doveadm = /home/somebody/doveadm\n")
    path.chmod(mode)
    os.chown(path, owner, 0)
    if of_link is not None:
        path = path.rename(tmp_path / "file")
        path = tmp_path / "popips.conf"
        path.symlink_to("file")
        os.chown(path, of_link, 0, follow_symlinks=False)
    if is_taken:
        assert configuration.load(str(path)).doveadm == "/home/somebody/doveadm"
    else:
        with pytest.raises(SettingsError) as error:
            configuration.load(str(path))
        said, _, cure = str(error.value).rpartition(": ")
        assert said == f"{path}: others may write it, and root runs what it says"
        subprocess.run(["sh", "-c", cure], check=True)
        configuration.load(str(path))


def test_whoever_runs_a_program_may_own_its_file() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "popips.conf"
        path.write_text("window = 1m\n")
        os.chown(path, SOMEBODY, SOMEBODY)
        child = os.fork()
        if child == 0:
            try:
                os.setresuid(SOMEBODY, SOMEBODY, SOMEBODY)
                os._exit(configuration.load(str(path)).window != 60)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        with pytest.raises(SettingsError):
            configuration.load(str(path))


@pytest.mark.parametrize(("line", "is_closed"), [("log_renewals = yes", True), ("only_group = a", True), ("", False)])
def test_the_lane_is_closed_for_what_sh_cannot_see_to(tmp_path: Path, line: str, is_closed: bool) -> None:
    assert load(tmp_path, f"{line}\nwindow = 1m\nonly_services = pop3\nmax_per_user = 3\n").lane_is_closed == is_closed


def test_a_byte_that_is_no_text_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "popips.conf").write_bytes(b"# ok\n\nvalue = \xff\n")
    with pytest.raises(SettingsError, match=r"popips.conf:3: not UTF-8"):
        configuration.load(str(tmp_path / "popips.conf"))


def test_settings_are_a_value() -> None:
    with pytest.raises(AttributeError):
        Settings().window = 1.0
    changed = Settings(window=60.0).replace(value="OK")
    assert (changed.window, changed.value, Settings().window) == (60.0, "OK", 900.0)


@given(st.binary(max_size=200))
def test_any_bytes_are_settings_or_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.conf"
    path.write_bytes(data)
    try:
        configuration.load(str(path))
    except SettingsError as error:
        assert str(error).startswith(str(path))
