"""popips-db --json: one versioned shape, as docs/json.schema.json has it, whatever happens."""

from __future__ import annotations

import calendar
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.conftest import Installed

SCHEMA = json.loads((Path(__file__).parent.parent / "docs/json.schema.json").read_text())
A, B, SIX = "192.0.2.10", "192.0.2.11", "2001:db8::10"


def strict(schema: Any) -> Any:
    """The schema without room for members that it does not name, which its readers must leave."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(part) for name, part in schema.items()}
    if "properties" in made and "$defs" not in made:
        made.setdefault("additionalProperties", False)
    return made


def of(kind: str, text: str) -> dict[str, Any]:
    """The one document in a text, which is of that kind and no other."""
    assert text.endswith("\n") and text.count("\n") == 1, text
    document: dict[str, Any] = json.loads(text)
    jsonschema.validate(document, SCHEMA)
    strictly = strict(SCHEMA)
    jsonschema.validate(document, {"$ref": f"#/$defs/{kind}", "$defs": strictly["$defs"]})
    assert document["schema"] == 1
    for name, value in moments(document):
        assert abs(calendar.timegm(time.strptime(value["iso"], "%Y-%m-%dT%H:%M:%SZ")) - value["epoch"]) < 1, name
    return document


def moments(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each time in a document in both of its forms."""
    if isinstance(document, list):
        for part in document:
            yield from moments(part)
    elif isinstance(document, dict):
        for name, value in document.items():
            if name.endswith("_iso") and value is not None:
                yield name, {"iso": value, "epoch": document[name.removesuffix("_iso")]}
            yield from moments(value)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_lists_are_there_although_they_are_empty(installed: Installed) -> None:
    for kind, *words in (("records", "lst"), ("grants", "lst", "--grants"), ("denials", "deny")):
        done = installed.run("popips-db", *words, "--json")
        document = of(kind, done.stdout)
        assert done.returncode == 0
        assert document[kind] == []


def test_records_and_grants_are_listed(installed: Installed) -> None:
    site = installed.site
    site.now = time.time()
    site.login(A, "bob", "imap")
    site.build("example.com\tERROR:550 go \xff away\n")
    (site.stamps / B).touch(mode=0o700)
    installed.age(B)
    listed = of("grants", installed.run("popips-db", "lst", "--grants", "--json").stdout)
    assert [(one["address"], one["user"], one["service"], one["by"], one["state"]) for one in listed["grants"]] == [
        (A, "bob", "imap", "test", "pending"),
        (B, None, None, None, "due"),
    ]
    assert 800 < listed["grants"][0]["left"] <= 900
    assert listed["grants"][1]["left"] == 0
    assert listed["window"] == 900
    done = installed.run("popips-db", "lst", "--grants", "--json", SIX)
    assert (done.returncode, of("grants", done.stdout)["missing"]) == (1, [SIX])
    done = installed.run("popips-db", "lst", "--json", "EXAMPLE.com", "nix")
    document = of("records", done.stdout)
    assert (done.returncode, document["missing"]) == (1, ["nix"])
    assert document["records"] == [{"key": "example.com", "value": "ERROR:550 go \xff away"}]
    assert "nix: no such record" in done.stderr


def test_why_tells_all_that_it_knows(installed: Installed) -> None:
    site = installed.site
    site.now = time.time()
    site.build("192.0.2\tREJECT\n")
    site.login(A, "bob", "imap")
    done = installed.run("popips-db", "why", "--json", A)
    document = of("why", done.stdout)
    assert (done.returncode, document["verdict"], document["open"], document["reason"]) == (0, "granted", True, "")
    assert (document["grant"]["user"], document["grant"]["service"], document["grant"]["by"]) == ("bob", "imap", "test")
    assert document["networks"] == [{"key": "192.0.2", "value": "REJECT"}]
    assert (document["records"], document["mta"]["program"], document["mta"]["runs"]) == ([], "sendmail", False)
    assert "sendmail: does not run" in installed.run("popips-db", "why", A).stdout
    done = installed.run("popips-db", "why", "--json", SIX)
    document = of("why", done.stdout)
    assert (done.returncode, document["verdict"], document["open"], document["grant"]) == (1, "closed", False, None)


def test_denials_are_listed_with_when_they_end(installed: Installed) -> None:
    installed.site.now = time.time()
    installed.site.login(A)
    done = of("denials", installed.run("popips-db", "deny", "--json", A, "for", "1w").stdout)
    assert (done["ended"], [one["network"] for one in done["denials"]]) == ([A], [A])
    installed.run("popips-db", "deny", "2001:db8::/32")
    first, second = of("denials", installed.run("popips-db", "deny", "--json").stdout)["denials"]
    assert 604700 < first["until"] - time.time() <= 604800
    assert (second["network"], second["until"], second["until_iso"]) == ("2001:db8::/32", None, None)


def test_status_is_numbers(installed: Installed) -> None:
    installed.site.now = time.time()
    installed.site.login(A, "bob", "imap")
    document = of("status", installed.run("popips-db", "status", "--json").stdout)
    assert document["grants"]["live"] == sum(bar["grants"] for bar in document["left"]) == 1
    assert (document["services"], document["users"]) == (
        [{"service": "imap", "grants": 1}],
        [{"user": "bob", "grants": 1}],
    )
    assert document["map"]["records"] == 1


def test_the_doctor_keeps_to_the_shape(installed: Installed) -> None:
    document = of("doctor", installed.run("popips-db", "doctor", "--json").stdout)
    assert document["checks"]
    assert document["ok"] == all(check["status"] != "fail" for check in document["checks"])


FAILURES = {  # the words, the exit status, and what the message has in it
    "an option that there is not": ("lst --json --nix", 64, "unrecognized arguments: --nix"),
    "a verb that does not know --json": ("undeny --json 192.0.2.1", 64, "unrecognized arguments: --json"),
    "no address": ("why --json nix", 64, "nix: not an IPv4 or IPv6 address"),
    "another map": ("-m hash:/no/such lst --json", 66, "/no/such.db: there is no such file"),
    "the wrong type": ("-m btree:{map} lst --json", 65, "a hash map; write hash:"),
    "no such settings": ("-c /no/such.conf status --json", 78, "/no/such.conf: there is no such file"),
}


@pytest.mark.parametrize("which", FAILURES)
def test_a_failure_is_json_on_standard_output_and_words_on_standard_error(installed: Installed, which: str) -> None:
    words, status, message = FAILURES[which]
    done = installed.run("popips-db", *words.format(map=installed.site.access).split())
    error = of("error", done.stdout)["error"]
    assert (done.returncode, error["status"]) == (status, status)
    assert message in error["message"]
    assert message in done.stderr


def test_a_map_that_crashes_libdb_is_an_error_too(installed: Installed) -> None:
    """Whatever the damage does, there is one document, and its status is the program's."""
    site = installed.site
    site.build("".join(f"10.0.{n // 256}.{n % 256} REJECT\n" for n in range(2000)))
    data = bytearray(site.db.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    site.db.write_bytes(data)
    done = installed.run("popips-db", "lst", "--json")
    assert done.returncode != 0
    assert of("error", done.stdout)["error"]["status"] == done.returncode
