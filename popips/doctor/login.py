"""doctor --login: a real login, a wrong one, and what became of the grant in between.

Where the hook is PAM's, Dovecot's auth is asked with an address of a documentation network for the client's: the whole
stack runs, and no mailbox is opened. Where it is the post-login script, nothing less than a login will do: from an
address of this host's own to that same address, which Dovecot takes for secured, and which relays anyhow.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from popips import fate, policy, revoke
from popips.command import UsageError
from popips.doctor import dovecot as looks
from popips.doctor import mta
from popips.doctor.check import FAIL, OK, Check, Patient, skipped
from popips.maps import MapError
from popips.probe import dovecot
from popips.probe.dovecot import Dovecot
from popips.site import site
from popips.stamps import StampError

CLIENTS = ("198.51.100.253", "203.0.113.253", "192.0.2.253")  # RFC 5737; not the strangers whom the MTA must refuse
IDS = ("login.right", "login.grant", "login.mta", "login.end", "login.wrong")
if TYPE_CHECKING:
    import ssl
PATIENCE = 20.0  # seconds: Dovecot takes its time with a wrong password
PORTS = {"imap": (143, 993), "pop3": (110, 995)}


@dataclass(frozen=True)
class _Way:
    """How to log in: a name for it, the client's address, and what logs in with a password; "" if that passes."""

    name: str
    client: str
    log_in: Callable[[str], str]


def look(patient: Patient, user: str, password: str) -> Iterator[Check]:
    """Log in with the password, and with a wrong one; end the grant that came of it. Raise UsageError."""
    found = dovecot.dovecot(patient.machine)
    if found is None or found.error:
        yield from (skipped(id, "no Dovecot that could be asked") for id in IDS)
        return
    way = _way(patient, found, user)
    if way is None:
        yield from (skipped(id, "see dovecot.hook: no hook runs at a login") for id in IDS)
        return
    try:
        yield from _tried(patient, way, user, password)
    finally:  # whoever is interrupted leaves no relay open
        if _grant(patient, way.client):
            _end(patient, way.client)


def _tried(patient: Patient, way: _Way, user: str, password: str) -> Iterator[Check]:
    said = way.log_in(password)
    yield _judged("login.right", not said, f"{user} logs in: {way.name}", f"{way.name}: {said}", "the login succeeds")
    state = _grant(patient, way.client)
    yield _judged(
        "login.grant", state == "open", f"it opened the relay for {way.client}", state or "no grant", "a grant"
    )
    yield _mta(patient) if state else skipped("login.mta", "there is no grant to ask the MTA about")
    yield _end(patient, way.client)
    said = way.log_in(secrets.token_hex())  # Dovecot may log a wrong one: nothing of the right one is in it
    state = _grant(patient, way.client)
    is_well = bool(said) and not state
    wrong = "a wrong password logs in" if not said else f"a wrong password opens the relay: {state}"
    yield _judged("login.wrong", is_well, "a wrong password is refused, and opens nothing", wrong, "no grant")


def _judged(id: str, is_well: bool, well: str, wrong: str, wanted: str) -> Check:
    return Check(id, OK if is_well else FAIL, well if is_well else wrong, wanted)


def _way(patient: Patient, found: Dovecot, user: str) -> _Way | None:
    """Return how a login comes to the hook, None if it does not; raise UsageError if no address of use is free."""
    after = looks.by_postlogin(found)
    if after:
        protocol, client = after[-1], _free(patient, _own_addresses(patient))
        name = f"by {protocol.upper()} from {client} to itself"
        return _Way(name, client, lambda password: _session(protocol, client, user, password))
    if not looks.by_pam(patient, found):
        return None
    service, stranger = found.protocols[-1], _free(patient, CLIENTS)

    def ask(password: str) -> str:
        words = ("doveadm", "auth", "test", "-x", f"service={service}", "-x", f"rip={stranger}", user)
        said = patient.machine.ask(*words, typed=f"{password}\n", patience=PATIENCE)
        return "" if said.status == 0 else _last(said.out + said.err)

    return _Way(f"by Dovecot's auth for {service}, as if from {stranger}", stranger, ask)


def _free(patient: Patient, names: Sequence[str]) -> str:
    """Return the first address that a login would open the relay for; raise UsageError if there is none."""
    try:
        with site(patient.settings, time.time()) as host, host.reader() as records:
            barred, said = policy.bars(host), host.text.records()
            for name in names:
                if fate.fate(host.case(records, said, name, True, bool(barred(name)))) == fate.PUT:
                    return name
    except (MapError, StampError) as error:
        raise UsageError(f"doctor --login: {error}") from error
    told = "popips-db why tells what each has: a grant of now, a record of yours, or a network of never"
    raise UsageError(f"doctor --login: a login from {', '.join(names)} would get no new grant: {told}")


def _last(text: str) -> str:
    """Return the first line that says why; doveadm prints the user's fields behind it."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "no answer")


def _own_addresses(patient: Patient) -> list[str]:
    """Return the addresses of this host's that are not its loopback; raise UsageError if it has none."""
    own = patient.machine.ask("hostname", "-I").out.split()
    if not own:
        raise UsageError("doctor --login: this host has no address but its loopback, from which no login counts")
    return own


def _session(protocol: str, own: str, user: str, password: str) -> str:
    """Log in and out; return why that did not work, "" if it did. Without TLS first: it never leaves the host."""
    said = ""
    for port, is_tls in zip(PORTS[protocol], (False, True)):
        try:
            (_imap if protocol == "imap" else _pop3)(own, port, is_tls, (user, password))
            return ""
        except UnicodeError:  # whose text has a letter of the password
            return "the user's name or the password is not UTF-8"
        except Exception as error:  # imaplib and poplib raise errors of their own, and all that sockets and ssl do
            told = str(error) or repr(error)
            said = f"{said}; port {port}: {told}" if said else f"port {port}: {told}"
    return said


def _imap(own: str, port: int, is_tls: bool, who: tuple[str, str]) -> None:
    import imaplib

    context = _any_certificate()
    over_tls = is_tls and imaplib.IMAP4_SSL(own, port, ssl_context=context, timeout=PATIENCE)
    with over_tls or imaplib.IMAP4(own, port, PATIENCE) as client:
        client.authenticate("PLAIN", lambda _: "\0".join(("", *who)).encode())  # LOGIN knows but ASCII


def _pop3(own: str, port: int, is_tls: bool, who: tuple[str, str]) -> None:
    import poplib

    context = _any_certificate()
    over_tls = is_tls and poplib.POP3_SSL(own, port, context=context, timeout=PATIENCE)
    client = over_tls or poplib.POP3(own, port, PATIENCE)
    try:
        client.user(who[0])
        client.pass_(who[1])
    finally:
        client.quit()


def _any_certificate() -> ssl.SSLContext:
    """Return a TLS context for this host itself, whose certificate names its name and not its address."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _grant(patient: Patient, name: str) -> str:
    """Return "open" if the address has a stamp and its record, "" if it has neither, else what is missing."""
    try:
        with site(patient.settings, time.time()) as host, host.reader() as records:
            key, value = host.form.record(name)
            stamp, record = host.folder.get(name), records.get(key)
    except (MapError, StampError) as error:
        return str(error)
    if record is not None and record.rstrip(b"\0") == value and stamp:
        return "open"
    return "" if not stamp else f"{name} has a stamp, and no record in {patient.settings.map}"


def _mta(patient: Patient) -> Check:
    """Return what the MTA says while the grant is there."""
    here = Patient(patient.machine, patient.conf, patient.settings, time.time())
    asked = next(check for check in mta.look(here) if check.id == "mta.asks")
    return Check("login.mta", asked.status, asked.found, asked.wanted, asked.evidence, asked.fix)


def _end(patient: Patient, name: str) -> Check:
    """End the grant again."""
    try:
        with site(patient.settings, time.time()) as host:
            ended = [one for batch in revoke.end(host, [name]) for one in batch]
    except (MapError, StampError) as error:
        return Check("login.end", FAIL, str(error), "the grant taken away again", fix=f"popips-db end {name}")
    return Check("login.end", OK, f"the grant of {name} is ended" if ended else "there was no grant to end")
