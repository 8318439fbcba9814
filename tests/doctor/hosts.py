"""Hosts that are only files, for popips-db doctor --root: what each test changes of a healthy one."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from popips.doctor.check import OK, Check
from popips.doctor.looks import examine
from popips.probe.machine import Machine

Files = dict[str, str]
STAMPS = "/var/lib/popips/stamps"
OWN = "hash:/var/lib/popips/popips"
OWN_CONF = f"map = {OWN}\nown_map = yes\n"
ASKS = f"check_client_access {OWN}"
TIMER = "[Timer]\nOnCalendar=minutely\n"
UNITS = "/etc/systemd/system"
EXPIRE = "/usr/local/sbin/popips-expire"
CRON_LINE = f"* * * * * root {EXPIRE}\n"
SENDMAIL_CF = """
O TrustedUser=smmta
O DaemonPortOptions=Family=inet6, Name=MTA, Port=smtp
O DaemonPortOptions=Family=inet,  Name=MSP-v4, Port=submission, M=Ea, Addr=127.0.0.1
Kaccess hash -T<TMPF> /etc/mail/access
SA
R<$+> <$+> <$- $-> <$*>\t\t$: < $(access $4:$1 $: ? $) > <$1> <$2> <$3 $4> <$5>
Scheck_rcpt
R$* $| $*\t\t$: $1 $| $>checkrelay $&{client_name} $| $&{client_addr}
SLocal_check_rcpt
"""
DRAC_CF = SENDMAIL_CF + "Kdrac hash -o /var/lib/popips/popips.db\nSRelay_ok\nR$*\t\t$: <> $(drac $1 $: <?> $1 $)\n"
WITH_SENDMAIL = {
    "/etc/mail/sendmail.cf": SENDMAIL_CF,
    "/etc/mail/sendmail.mc": "FEATURE(`access_db', , `skip')dnl\nMAILER_DEFINITIONS\n",
    "/etc/mail/access": "Connect:192.0.2\tREJECT\n",
    "/usr/share/sendmail/cf/feature/drac.m4": "",
}
WITH_POSTFIX = {
    "/usr/sbin/postconf": "",
    "/etc/postfix/main.cf": f"smtpd_relay_restrictions = permit_mynetworks,\n  {ASKS},\n  reject_unauth_destination\n",
    "/etc/popips.conf": f"mta = postfix\n{OWN_CONF}",
}
OF_ALL = {
    "/etc/hostname": "mx.example.test\n",
    EXPIRE: "",
    f"{UNITS}/popips-expire.timer": TIMER,
    f"{UNITS}/popips-expire.service": "",
    f"{UNITS}/timers.target.wants/popips-expire.timer": TIMER,
}


class Host:
    """The files of a healthy host, changed."""

    def __init__(self, folder: Path, files: Files, without: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.machine = Machine(str(folder))
        for path, text in {**OF_ALL, **files}.items():
            if path not in without:
                self.write(path, text)
        if self.path(EXPIRE).exists():
            self.path(EXPIRE).chmod(0o755)
        self.path(STAMPS).mkdir(parents=True, mode=0o700)
        self.path(f"{STAMPS}/.expire").touch()
        if "/etc/popips.conf.lane" not in without:
            self.path("/etc/popips.conf.lane").symlink_to(f"{STAMPS}/.lane")
        for place, text in (("/etc/mail/access", files.get("/etc/mail/access", "")), (OWN[5:], "")):
            if self.path(os.path.dirname(place)).is_dir():
                makemap = ["makemap", "hash", str(self.path(place))]
                subprocess.run(makemap, input=text, text=True, check=True, env={"PATH": "/usr/sbin:/usr/bin"})
                os.chown(self.path(f"{place}.db"), 0, -1)

    def path(self, path: str) -> Path:
        """Return where a file of the host is."""
        return self.folder / path.lstrip("/")

    def write(self, path: str, text: str) -> None:
        """Write one."""
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text)

    def checks(self) -> dict[str, Check]:
        """Return what doctor says, by id."""
        found = examine(self.machine, "/etc/popips.conf", time.time())
        assert len({check.id for check in found}) == len(found)
        echoes = [check for check in found if check.status == OK and check.found in ("", check.wanted)]
        assert not echoes, "what is well was found, and not only wanted"
        hasty = [check.fix for check in found if "; " in check.fix and "postmap -q" not in check.fix]
        assert not hasty, "a step goes on although the one before it has failed"
        return {check.id: check for check in found}
