"""What one look at the host found, and what all looks start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from popips.elsewhere import closed
from popips.form import of
from popips.maps import Place, exists
from popips.maps.kinds import KINDS
from popips.paste import echoed, ended, quoted, replacement
from popips.probe import postfix, sendmail
from popips.probe.machine import Machine
from popips.settings import Settings
from popips.site import site
from popips.stamps import Stamp, StampError
from popips.stamps.folder import Folder

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"
STRANGERS = ("198.51.100.254", "2001:db8:ffff::fe")  # RFC 5737, RFC 3849: addresses that nobody has
# what is wanted of whichever MTA there is
ASKED = "relays for addresses that have a grant, and for no others"
ORDER = "no check in front of the map rejects a granted address"
MOST_LOOKED_AT = 5000  # stamps, in search of one that is live


@dataclass(frozen=True)
class Check:
    """One look. id: its name, which never changes its meaning; fix: a command or a line to paste."""

    id: str
    status: str
    found: str
    wanted: str = ""
    evidence: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: WARN or FAIL, in words, how it was seen, and what to paste against it."""

    status: str
    found: str
    evidence: str = ""
    fix: str = ""


def judged(id: str, wanted: str, well: str, findings: list[Finding]) -> Check:
    """Return the check that findings amount to, as bad as the worst; well: what is found where there are none."""
    if not findings:
        return Check(id, OK, well, wanted)
    worst = [each for each in findings if each.status == FAIL] or findings
    told = {
        part: list(dict.fromkeys(getattr(each, part) for each in findings if getattr(each, part)))
        for part in ("found", "evidence", "fix")
    }
    return Check(
        id, worst[0].status, "; ".join(told["found"]), wanted, "; ".join(told["evidence"]), "\n".join(told["fix"])
    )


def added(machine: Machine, path: str, command: str) -> str:
    """Return the command that adds what another one prints to a file of the admin's. Raise OSError."""
    return f"{ended(path, machine.read(path))}{command} >> {quoted(path)}"


def skipped(id: str, why: str) -> Check:
    """Return the check of what cannot be looked at here."""
    return Check(id, SKIP, why)


@dataclass(frozen=True)
class Patient:
    """The host under examination. conf: the path of popips.conf; now: seconds since the epoch."""

    machine: Machine
    conf: str
    settings: Settings
    now: float

    @property
    def here(self) -> Settings:
        """The settings with the paths by which map and stamps are found from here."""
        of, path = self.settings, self.machine.path
        there = {"map": replace(of.map, path=path(of.map.path)), "stamps": path(of.stamps)}
        if of.static_source:
            there["static_source"] = path(of.static_source)
        return of.replace(**there)

    @cached_property
    def cf(self) -> sendmail.Cf | None:
        """What sendmail.cf says, None if there is none."""
        return sendmail.cf(self.machine)

    @cached_property
    def bt(self) -> sendmail.Answers:
        """What sendmail says to who has a grant and to strangers, and finds by the keys of grants; asked once."""
        if self.cf is None or self.settings.mta != "sendmail":
            return sendmail.Answers()
        form = of(self.settings)
        keys = [form.record(name)[0].decode() for name in (*self.live, *STRANGERS)]
        lookups = [(name, key) for name in self.cf.names_of(self.settings.map.path) for key in keys]
        is_compressed = self.cf.says_yes("UseCompressedIPv6Addresses")
        return sendmail.ask(self.machine, [*self.live, *STRANGERS], lookups, is_compressed)

    @cached_property
    def live(self) -> list[str]:
        """One address of each family that has a grant whose record was put, as far as there are any.

        None that popips-mapd refuses by now: the next run ends its grant.
        """
        found: dict[bool, str] = {}
        for name, stamp in self.stamps(MOST_LOOKED_AT):
            if (
                stamp.settled
                and self.now - self.settings.window + 60 < stamp.time <= self.now + 60
                and not self._closed(name, stamp.time)
            ):
                found.setdefault(":" in name, name)
            if len(found) == 2:
                break
        return [found[family] for family in sorted(found)]

    @cached_property
    def _closed(self) -> Callable[[str, float], bool]:
        """Whether popips-mapd refuses an address that has logged in here then, by what other hosts tell."""
        if self.settings.share and not self.settings.map.row.has_file:
            try:
                with site(self.here, self.now) as there:
                    return closed(there)
            except StampError:
                pass
        return lambda *_: False

    def stamps(self, most: int) -> Iterator[tuple[str, Stamp]]:
        """Return the first stamps of the folder, none if it cannot be read."""
        try:
            with Folder(self.here.stamps) as folder:
                for number, entry in enumerate(folder.scan()):
                    if number == most:
                        return
                    yield entry
        except StampError:
            return

    @cached_property
    def postfix(self) -> postfix.Config:
        """What Postfix goes by; asked once."""
        return postfix.config(self.machine)

    @property
    def asked_instead(self) -> str:
        """The command that has popips.conf name the access map that sendmail asks, "" if it does, or there is none."""
        access = self.cf.maps.get("access") if self.cf and self.settings.mta == "sendmail" else None
        if not access or not access.path or access.path == self.settings.map.path or access.kind not in KINDS:
            return ""
        if not exists(self.machine.path(access.path)):
            return ""
        return f"{self.set_line('map', Place(access.kind, access.path).name)} && popips-expire"

    def set_line(self, name: str, value: str) -> str:
        """Return the command that makes a line of popips.conf say so, whether it is there or not."""
        if name in vars(self.settings):
            edit = f"s|^[ \\t]*{name}[ \\t]*=.*|{replacement(f'{name} = {value}')}|"
            return f"sed -i {quoted(edit)} {quoted(self.conf)}"
        return self.add(f"{name} = {value}")

    def add(self, *lines: str) -> str:
        """Return the command that adds lines to popips.conf."""
        return added(self.machine, self.conf, echoed(*lines))


Look = Callable[[Patient], Iterator[Check]]
