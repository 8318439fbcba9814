"""popips.conf: a missing or empty file is the defaults, and a mistake is named by file, line and cure."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popips import config

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
    "only_services": (),
    "only_group": "",
    "renew": "logins",
    "doveadm": "doveadm",
    "drop": "",
    "follow_pattern": "",
    "static_source": None,
}


def load(folder: Path, text: str) -> config.Config:
    path = folder / "popips.conf"
    path.write_text(text)
    return config.load(str(path))


@pytest.mark.parametrize("text", [None, "", "\n\n", "# nothing but a comment\n   # and another\n"])
def test_without_settings_every_key_has_its_default(tmp_path: Path, text: str | None) -> None:
    loaded = config.load(str(tmp_path / "missing")) if text is None else load(tmp_path, text)
    assert {key: getattr(loaded, key) if key != "map" else str(loaded.map) for key in DEFAULTS} == DEFAULTS
    assert set(DEFAULTS) | {"never"} == set(config.PARSERS)


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
        ("max_per_user = 3", "max_per_user", 3),
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
        ("window = 15", "write a number and a unit, s m h or d"),
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
        ("max_per_user = all", "write a number, 0 for no limit"),
        ("only_services = pop3;imap", "pop3;imap: write the names of PAM services"),
        ("only_group = a b", "write the name of one group, or all"),
        ("renew = imap", "write logins or sessions"),
        ("drop = drop", "write an absolute path"),
        ("mta = exim", "write sendmail or postfix"),
        ("value = REL\x01AY", "write one line of ASCII"),
        (f"value = {'x' * 3001}", "of at most 3000 characters"),
        ("value = RELAY\nvalue = OK", "set twice"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_cure(tmp_path: Path, line: str, cure: str) -> None:
    with pytest.raises(config.ConfigError) as error:
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
        ("map = cdb:/x\nown_map = yes", "mta = postfix"),
    ],
)
def test_settings_that_do_not_go_together_are_named(tmp_path: Path, lines: str, cure: str) -> None:
    with pytest.raises(config.ConfigError) as error:
        load(tmp_path, lines)
    assert str(error.value).startswith(f"{tmp_path}/popips.conf: ")
    assert cure in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match="cannot be read"):
        config.load(str(tmp_path))


def test_a_byte_that_is_no_text_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "popips.conf").write_bytes(b"# ok\n\nvalue = \xff\n")
    with pytest.raises(config.ConfigError, match=r"popips.conf:3: not UTF-8"):
        config.load(str(tmp_path / "popips.conf"))


def test_a_configuration_is_a_value() -> None:
    with pytest.raises(AttributeError):
        config.Config().window = 1.0


@given(st.binary(max_size=200))
def test_any_bytes_are_settings_or_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.conf"
    path.write_bytes(data)
    try:
        config.load(str(path))
    except config.ConfigError as error:
        assert str(error).startswith(str(path))
