"""make demo: the main job on a private mail host, as a transcript. Exits 1 if a step does not go as it must."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.box import Box, install

WINDOW = 20  # seconds: the expirer finds it over at cron's next minute, or the one after
CLIENTS = (("192.0.2.10", "pop3"), ("2001:db8::10", "imap"))


class WentWrong(Exception):
    """A step did not go as it must."""


def say(text: str = "") -> None:
    print(text, flush=True)


def must(shown: str, got: str, wanted: str) -> None:
    say(f"  {shown:<58} {got}")
    if wanted not in got:
        raise WentWrong(f"{shown}: expected {wanted}, got {got}")


def rcpt(box: Box, address: str, wanted: str) -> None:
    reply = box.client("smtp", address, "2001:db8::1" if ":" in address else "192.0.2.1")
    must(f"{address}: RCPT TO:<bob@outside.example>", reply, wanted)


def everybody_is_denied(box: Box) -> None:
    for address, _ in CLIENTS:
        rcpt(box, address, "550")


def show_grants(box: Box) -> None:
    say("  # popips-db lst --grants")
    for line in box.popips("popips-db", "lst", "--grants").stdout.splitlines():
        say("  " + line.expandtabs(16))


def transcript(box: Box) -> None:
    say("1. Nobody has logged in: nobody may relay.")
    everybody_is_denied(box)
    say("\n2. A wrong password changes nothing.")
    for address, protocol in CLIENTS:
        must(f"{address}: {protocol} login, wrong", box.login(protocol, address, password="wrong"), "failed")
    everybody_is_denied(box)
    say("\n3. The right one opens the relay to this address, at once, and to no other.")
    for address, protocol in CLIENTS:
        must(f"{address}: {protocol} login as alice", box.login(protocol, address), "ok")
        rcpt(box, address, "250")
    for address in ("192.0.2.11", "2001:db8::11"):
        rcpt(box, address, "550")
    say("\n4. The admin sees why, and for how long.")
    show_grants(box)
    say("\n5. The admin rebuilds the map, with a REJECT of his own; one run of the expirer, and the grants are back.")
    box.rename_access("198.51.100.66\tREJECT\n")
    box.popips("popips-expire")
    for address, _ in CLIENTS:
        rcpt(box, address, "250")
    say(f"\n6. The window of {WINDOW} seconds goes by; cron runs popips-expire every minute.")
    start = time.monotonic()
    while box.records().keys() - {"198.51.100.66"}:
        if time.monotonic() - start > 60 + WINDOW + 20:
            raise WentWrong("cron has not expired the grants")
        time.sleep(1)
    say(f"  ... after {time.monotonic() - start:.0f} seconds the map is the admin's alone:")
    for key, value in box.records().items():
        say(f"  {key}  {value}")
    everybody_is_denied(box)
    say("\n7. What the log says:")
    for line in box.logged():
        say("  " + line.partition(" map=")[0])


def main() -> int:
    say("popips on a private mail host: real sendmail, Dovecot, PAM and cron, in namespaces of their own.\n")
    with tempfile.TemporaryDirectory(prefix="popips-") as folder:
        Path(folder).chmod(0o755)
        try:
            with Box(install(Path(folder) / "prefix"), Path(folder) / "host") as box:
                box.configure(window=f"{WINDOW}s")
                box.start_sendmail()
                box.start_dovecot()
                box.start_cron()
                try:
                    transcript(box)
                except WentWrong as error:
                    raise WentWrong(f"{error}\n{box.said()}") from None
        except (WentWrong, RuntimeError, TimeoutError) as error:
            say(f"\nNOT AS IT MUST BE: {error}")
            return 1
    say("\nAll as it must be; nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
