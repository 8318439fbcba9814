"""What the MTA says to a client, as `popips-db why` tells it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from popips.db import report
from popips.probe import mapd, postfix, sendmail
from popips.probe.machine import Machine
from popips.probe.postfix import Restriction
from popips.probe.postfix_walk import walk
from popips.settings import Settings

IN_WORDS = {True: "relays for it", False: "does not relay for it", None: "could not be asked"}
IF_IT_RAN = {
    True: "does not run; if it did, it would relay for it",
    False: "does not run; if it did, it would not relay for it",
    None: "does not run, and could not be asked",
}


@dataclass(frozen=True)
class Answer:
    """What an MTA says to a client that wants to send somewhere else. relays: None if it could not be asked.

    asked: the records that it found on the way, as its own maps name them; runs: whether it runs at all: it can be
    asked also if it does not.
    """

    program: str
    relays: bool | None
    text: str
    asked: tuple[str, ...] = ()
    runs: bool = True

    def document(self) -> dict[str, object]:
        """Return it for JSON."""
        return {
            "program": self.program,
            "relays": self.relays,
            "answer": self.text,
            "found": list(self.asked),
            "runs": self.runs,
        }

    def lines(self) -> Iterator[str]:
        """Return it in words."""
        verdict = (IN_WORDS if self.runs else IF_IT_RAN)[self.relays]
        found = f"; it found {', '.join(self.asked)}" if self.asked else ""
        yield report.printable(f"{self.program}: {verdict}{': ' if self.text else ''}{self.text}{found}".encode())


def answer(settings: Settings, name: str) -> Answer:
    """Ask the MTA of this host, as it is configured now, about a canonical address."""
    machine = Machine()
    if settings.mta == "postfix":
        return replace(_of_postfix(machine, settings, name), runs=postfix.runs(machine))
    cf = sendmail.cf(machine)
    runs = cf is not None and sendmail.began(machine, cf) is not None
    return replace(_of_sendmail(machine, settings, name), runs=runs)


def _of_sendmail(machine: Machine, settings: Settings, name: str) -> Answer:
    cf = sendmail.cf(machine)
    if cf is None:
        return Answer("sendmail", None, f"there is no {sendmail.CF}")
    said = sendmail.ask(machine, [name])
    verdict = said.verdicts.get(name)
    if verdict is None:
        return Answer("sendmail", None, said.error.partition("\n")[0])
    ours = [map_name for map_name in cf.names_of(settings.map.path) if cf.maps[map_name].path]
    found = [
        f"{map_name} {key}: {value}{f' ({map_name} is {settings.map})' if map_name in ours else ''}"
        for map_name, key, value in verdict.asked
        if value not in ("NOT FOUND", "")
    ]
    return Answer("sendmail", verdict.relays, "" if verdict.relays else verdict.text, tuple(dict.fromkeys(found)))


def _of_postfix(machine: Machine, settings: Settings, name: str) -> Answer:
    if not postfix.is_there(machine):
        return Answer("Postfix", None, f"there is no {postfix.MAIN}")
    config = postfix.config(machine)
    if config.error:
        return Answer("Postfix", None, config.error.partition("\n")[0])

    def query(entry: Restriction, keys: Sequence[str]) -> tuple[dict[str, str], str]:
        if not mapd.is_asked(settings, entry):
            return postfix.query(machine, entry.of, keys)
        try:
            return ({keys[0]: "OK"} if mapd.relays(settings, name) else {}), ""
        except OSError as error:
            return {}, f"popips-mapd: {error.strerror or error}"

    said = walk(config, name, query)
    if said.complaint:
        return Answer("Postfix", None, said.complaint.partition("\n")[0])
    return Answer("Postfix", said.relays, said.by, said.found)
