"""A real Postfix in a box, from its unpacked .debs: nothing is installed, and all of it is gone with the box."""

from __future__ import annotations

from pathlib import Path

from tests.box import ROOT, Box

UNPACKED = ROOT / ".venv" / "postfix" / "root"  # by tests/lab/postfix.sh
HOME = Path("/run/postfix")  # the box's own /run: what is written in /etc, the queue
# Lays the packages over the box's /usr, and puts them into a copy of its /etc: /etc is an overlay already, and Linux
# stacks but two. The files that box.sh mounted in /etc are mounted there again.
OVERLAY = r"""
root=$1 box_etc=$2 home=$3
mkdir -p "$home/queue"
cp -a /etc "$home/"
cp -a "$root/etc/postfix" "$home/etc/"
grep -E '^(cdb|lmdb)\s' "$root/usr/share/postfix/dynamicmaps.cf" > "$home/etc/postfix/dynamicmaps.cf"
mount -t overlay -o "lowerdir=$root/usr:/usr" overlay /usr
mount --bind "$home/etc" /etc
for file in "$box_etc"/*; do mount --bind "$file" "/etc/${file##*/}"; done
install -d -o postfix "$home/data"
"""
MAIN_CF = {
    "compatibility_level": "3.6",
    "inet_interfaces": "192.0.2.1, 2001:db8::1",
    "inet_protocols": "all",
    "myhostname": "mx.example.test",
    "mydestination": "example.test",
    "queue_directory": str(HOME / "queue"),
    "data_directory": str(HOME / "data"),
    "alias_maps": "",
    "local_recipient_maps": "",
    "smtp_dns_support_level": "disabled",
    "smtpd_peername_lookup": "no",
    "in_flow_delay": "0",  # cleanup would wait for a word from qmgr, which does not run
}
MASTER_CF = """\
smtp inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
"""


def start_postfix(box: Box, maps: str, **settings: str) -> None:
    """Start Postfix, with these settings; it asks `maps`, "hash:/file" for instance, who may send outside."""
    relay = f"check_client_access {maps}, reject_unauth_destination"
    unpack_postfix(box, smtpd_relay_restrictions=relay, **settings)
    box.daemon(["postfix", "start-fg"])
    box.until("Postfix", lambda: box.listens(25))


def unpack_postfix(box: Box, **settings: str) -> None:
    """Have Postfix's programs in the box, with these settings in its main.cf."""
    _add_user(box.scratch / "etc")
    box.do(["sh", "-euc", OVERLAY, "sh", str(UNPACKED), str(box.scratch / "etc"), str(HOME)])
    lines = (f"{name} = {text}\n" for name, text in (MAIN_CF | settings).items())
    box.do(["tee", "/etc/postfix/main.cf"], "".join(lines))
    box.do(["tee", "/etc/postfix/master.cf"], MASTER_CF)


def _add_user(etc: Path) -> None:
    """Add what Debian's postinst adds, under ids that are free."""
    lines = [line.split(":") for name in ("passwd", "group") for line in (etc / name).read_text().splitlines()]
    free = 1 + max(int(line[2]) for line in lines if int(line[2]) < 60000)
    if not any(line[0] == "postfix" for line in lines):
        with (etc / "passwd").open("a") as passwd, (etc / "group").open("a") as group:
            passwd.write(f"postfix:x:{free}:{free}::{HOME}/queue:/usr/sbin/nologin\n")
            group.write(f"postfix:x:{free}:\npostdrop:x:{free + 1}:\n")
