"""A private mail host: real sendmail, Dovecot, PAM and cron in namespaces of their own, gone with the object."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

LAB = Path(__file__).parent / "lab"
ROOT = LAB.parent.parent
USERS = {"alice": "", "bob": "", "carol": "1"}  # name: the day, since 1970, on which the account expired
PASSWORD = "correct horse"
ACCESS = "FEATURE(`access_db', `hash -T<TMPF> -o @SCRATCH@/access.db')dnl\n"
WAYS = ["own-drac.mc", "own-check-rcpt.mc", "own-sequence.mc"]  # of contrib: how sendmail asks a map of popips' own
SENDERS = {"": "250", "alice@example.test": "250", "alice@elsewhere.example": "250", "alice": "553"}  # with a grant
PATIENCE = 60  # seconds, at most, until a daemon answers


def install(prefix: Path) -> Path:
    """Install popips under the prefix, as an admin would, with the stamp folder inside it."""
    command = ["make", "-s", "-C", str(ROOT), "install", f"PREFIX={prefix}", f"STAMPS={prefix}/popips"]
    subprocess.run(command, check=True)
    return prefix


class Box:
    """The host. `programs` is the prefix of an installation; `scratch` a folder for all that the host writes."""

    def __init__(self, programs: Path, scratch: Path) -> None:
        self.programs, self.scratch = programs, scratch
        self.access, self.stamps, self.conf = scratch / "access", scratch / "popips", scratch / "popips.conf"
        self.log = scratch / "syslog"
        scratch.mkdir(exist_ok=True)
        scratch.chmod(0o755)
        self.stamps.mkdir(mode=0o700)
        (self.stamps / ".expire").touch(0o600)  # the expirer is alive
        self.configure()
        self.write_access("")
        self._write_etc()

    # ---- what the admin does

    def configure(self, **settings: str) -> None:
        lines = {"map": f"hash:{self.access}", "stamps": str(self.stamps)} | settings
        self.conf.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))

    def write_access(self, text: str) -> None:
        """Edit the access map's text, and build the map in place, as makemap does."""
        self.access.write_text(text)
        with self.access.open() as source:
            subprocess.run(
                ["makemap", "hash", f"{self.access}.db"], stdin=source, check=True, stderr=subprocess.DEVNULL
            )

    def rename_access(self, text: str) -> None:
        """Edit the text, build a new map and rename it over the old one, as `make -C /etc/mail` does on Debian."""
        self.access.write_text(text)
        with self.access.open() as source:
            subprocess.run(
                ["makemap", "hash", f"{self.access}.new.db"], stdin=source, check=True, stderr=subprocess.DEVNULL
            )
        shutil.move(f"{self.access}.new.db", f"{self.access}.db")

    def records(self) -> dict[str, str]:
        """What sendmail's own makemap reads in the map."""
        done = subprocess.run(
            ["makemap", "-u", "hash", f"{self.access}.db"], check=True, capture_output=True, text=True
        )
        return dict(line.split("\t", 1) for line in done.stdout.splitlines())

    # ---- the host

    def _write_etc(self) -> None:
        etc = self.scratch / "etc"
        shutil.copytree(LAB / "etc", etc)
        for name in ("passwd", "group", "shadow"):
            shutil.copy(f"/etc/{name}", etc / name)
        hashed = (
            subprocess.run(
                ["doveadm", "pw", "-s", "SHA512-CRYPT", "-p", PASSWORD], check=True, capture_output=True, text=True
            )
            .stdout.strip()
            .removeprefix("{SHA512-CRYPT}")
        )
        free = 2000 + max((u.pw_uid for u in pwd.getpwall() if u.pw_uid < 10000), default=0)
        with (
            (etc / "passwd").open("a") as passwd,
            (etc / "group").open("a") as group,
            (etc / "shadow").open("a") as shadow,
        ):
            for uid, (user, expired) in enumerate(USERS.items(), free):
                home = self.scratch / "mail" / user
                home.mkdir(parents=True)
                os.chown(home, uid, uid)
                passwd.write(f"{user}:x:{uid}:{uid}::{home}:/bin/false\n")
                group.write(f"{user}:x:{uid}:\n")
                shadow.write(f"{user}:{hashed}:19000:0:99999:7::{expired}:\n")
        (etc / "crontab").write_text("")
        (etc / "cron.d").mkdir()

    def start(self) -> Box:
        self._shell = subprocess.Popen(
            [LAB / "box.sh", "sh", "-c", "echo up; exec sleep infinity >&2"],
            env={**os.environ, "BOX_ETC": str(self.scratch / "etc")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._shell.stdout
        if self._shell.stdout.readline() != b"up\n":
            raise RuntimeError("the box did not come up")
        self._inside = Path(f"/proc/{self._shell.pid}/task/{self._shell.pid}/children").read_text().split()[0]
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.daemon([sys.executable, LAB / "syslogd.py", self.log])
        self.until("a log", lambda: self.run(["test", "-S", "/dev/log"]).returncode == 0)
        return self

    def stop(self) -> None:
        self._shell.kill()
        self._shell.communicate()
        for daemon in self._daemons:
            daemon.wait()

    __enter__ = start

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def _entered(self, command: Sequence[str | Path]) -> list[str]:
        spaces = ["--net", "--mount", "--pid", "--uts", "--ipc", "--root", "--wd"]
        return ["nsenter", "--target", self._inside, *spaces, "--", *map(str, command)]

    def run(
        self, command: Sequence[str | Path], env: dict[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the box, with the environment of a cron job and what `env` adds."""
        return subprocess.run(
            self._entered(command), env=CRON_ENVIRONMENT | (env or {}), input=stdin, capture_output=True, text=True
        )

    def do(self, command: Sequence[str | Path], stdin: str = "") -> None:
        """Run a command in the box that must succeed."""
        done = self.run(command, stdin=stdin)
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stderr}")

    def spawn(self, command: Sequence[str | Path], env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command in the box; the caller waits for it."""
        return subprocess.Popen(
            self._entered(command),
            env=CRON_ENVIRONMENT | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def daemon(self, command: Sequence[str | Path]) -> None:
        """Start a command in the box that goes on until the box ends."""
        out = (self.scratch / "daemons.out").open("ab")
        self._daemons.append(
            subprocess.Popen(
                self._entered(command), env=CRON_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        )

    def until(self, what: str, true: Callable[[], bool]) -> None:
        """Wait for what another process does; it is an error if that takes very long."""
        end = time.monotonic() + PATIENCE
        while not true():
            if time.monotonic() > end:
                raise TimeoutError(f"no {what} after {PATIENCE} s\n{self.said()}")
            time.sleep(0.02)

    def said(self) -> str:
        """Return the end of what each daemon has written and logged."""
        logs = [self.scratch / name for name in ("daemons.out", "dovecot.log", "syslog")]
        ends = ((path.name, path.read_text(errors="replace").splitlines()[-20:]) for path in logs if path.exists())
        return "\n".join(f"---- the end of {name}:\n" + "\n".join(lines) for name, lines in ends)

    # ---- its servers

    def start_sendmail(self, *options: str, access: str = ACCESS, before: str = "") -> None:
        """Start sendmail; access: the lines for its access map, the name of a file of contrib/ for instance.

        before: lines of sendmail.mc in front of these.
        """
        if access.endswith(".mc"):
            theirs = "" if access == "own-sequence.mc" else self.contrib("sendmail/access.mc")
            access = theirs + self.contrib(f"sendmail/{access}")
            access = access.replace("/etc/mail", "@SCRATCH@").replace("/var/lib/popips", "@SCRATCH@")
        text = (
            (LAB / "sendmail.mc.in")
            .read_text()
            .replace("@ACCESS@", before + access)
            .replace("@SCRATCH@", str(self.scratch))
        )
        made = subprocess.run(["m4"], input=text, check=True, capture_output=True, text=True)
        (self.scratch / "sendmail.cf").write_text(made.stdout)
        (self.scratch / "mqueue").mkdir(mode=0o700)
        for name, content in (("aliases", ""), ("service.switch", "hosts files\n"), ("hosts", "")):
            (self.scratch / name).write_text(content)
        self.daemon(["/usr/libexec/sendmail/sendmail", "-bD", f"-C{self.scratch}/sendmail.cf", *options])
        self.until("sendmail", lambda: self.listens(25))

    def start_dovecot(self, by: str = "pam", more: str = "") -> None:
        """Start Dovecot with the files of contrib/: the hook run by PAM ("pam") or by Dovecot itself ("postlogin").

        more: lines behind those of its configuration.
        """
        for protocol in ("pop3", "imap"):
            stack = self.contrib(f"pam.d/{protocol}")
            if by != "pam":
                stack = "".join(line for line in stack.splitlines(True) if "popips-hook" not in line)
            (self.scratch / "etc" / "pam.d" / protocol).write_text(stack)
        text = (LAB / f"dovecot-{dovecot_version()}.conf.in").read_text()
        text = text.replace("@PASSDB@", self.contrib("dovecot/pam-2.4.conf"))
        text = text.replace("@POSTLOGIN@", self.contrib("dovecot/postlogin.conf") if by == "postlogin" else "")
        (self.scratch / "dovecot.conf").write_text(text.replace("@SCRATCH@", str(self.scratch)) + more)
        self.daemon(["dovecot", "-F", "-c", self.scratch / "dovecot.conf"])
        self.until("Dovecot", lambda: self.listens(110) and self.listens(143))

    def contrib(self, name: str) -> str:
        """A file of contrib/, with the programs and the configuration of this host."""
        text = (ROOT / "contrib" / name).read_text().replace("/usr/local", str(self.programs))
        return re.sub(r"(?m)^([^#\n]*/popips-(?:hook|postlogin|expire))$", rf"\1 -c {self.conf}", text)

    def start_cron(self) -> None:
        (self.scratch / "etc" / "cron.d" / "popips").write_text(self.contrib("cron.d/popips"))
        self.daemon(["cron", "-f"])

    def listens(self, port: int) -> bool:
        sockets = self.run(["ss", "-Hltn", f"sport = :{port}"]).stdout
        return "192.0.2.1:" in sockets and "[2001:db8::1]:" in sockets

    # ---- its clients

    def client(self, *words: str) -> str:
        """Have a session of client.py from the clients' network; give what it prints."""
        done = self.run(["ip", "netns", "exec", "cli", sys.executable, LAB / "client.py", *words])
        if done.returncode:
            raise RuntimeError(f"no session: {' '.join(words)}\n{done.stderr}\n{self.said()}")
        return done.stdout.strip()

    def login(self, protocol: str, source: str, user: str = "alice", password: str = PASSWORD) -> str:
        return self.client(protocol, source, server_for(source), user, password)

    @contextmanager
    def idling(self, source: str) -> Iterator[None]:
        """Keep an IMAP session of alice's from that address in a `with`."""
        client = self._client_in_touch("idle", source, server_for(source), "alice", PASSWORD)
        assert client.stdout and client.stdout.readline() == "there\n"
        yield
        assert client.communicate()[0] == "ok\n"

    def _client_in_touch(self, *words: str) -> subprocess.Popen[str]:
        command = self._entered(["ip", "netns", "exec", "cli", sys.executable, LAB / "client.py", *words])
        return subprocess.Popen(command, env=CRON_ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def rcpt(self, source: str, *sender: str) -> str:
        """Return the code of sendmail's reply to a RCPT from that address to a domain outside."""
        return self.client("smtp", source, server_for(source), *sender)[:3]

    @contextmanager
    def session(self, source: str) -> Iterator[Callable[[], str]]:
        """Keep an SMTP session from that address in a `with`; return what asks for a RCPT to a domain outside in it."""
        client = self._client_in_touch("session", source, server_for(source))
        typed, told = client.stdin, client.stdout
        assert typed and told

        def rcpt() -> str:
            typed.write("\n")
            typed.flush()
            return told.readline().strip()

        yield rcpt
        assert client.communicate()[0] == "ok\n"

    # ---- popips in it

    def popips(
        self, program: str, *words: str, env: dict[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return self.run([self.path(program), "-c", self.conf, *words], env, stdin)

    def path(self, program: str) -> Path:
        folder = "libexec/popips" if program in ("popips-hook", "popips-postlogin") else "sbin"
        return self.programs / folder / program

    def pam_login(self, address: str, user: str = "alice", **more: str) -> None:
        """Start the hook as pam_exec does."""
        env = {"PAM_RHOST": address, "PAM_USER": user, "PAM_SERVICE": "pop3", "PAM_TYPE": "account"} | more
        done = self.popips("popips-hook", env=env)
        assert (done.returncode, done.stdout) == (0, ""), done

    def let_the_window_pass(self, *addresses: str) -> None:
        """Make the stamps of these addresses, or all, as old as if their window had gone by."""
        then = time.time() - 3600
        for stamp in self.stamps.iterdir():
            if stamp.name in addresses or not (addresses or stamp.name.startswith(".")):
                os.utime(stamp, (then, then))

    def logged(self, program: str = "popips-") -> list[str]:
        """The messages that programs of popips sent to syslog."""
        mark = f"mark {time.monotonic_ns()}"
        self.run(["logger", "--socket", "/dev/log", mark])  # behind all that was sent before
        self.until("log", lambda: mark in self.log.read_text())
        lines = self.log.read_text().splitlines()
        return [line.partition("]: ")[2] for line in lines if f" {program}" in line]


CRON_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C"}


def dovecot_version() -> str:
    """Return the form of Dovecot's configuration here, 2.3 or 2.4."""
    told = subprocess.run(["dovecot", "--version"], check=True, capture_output=True, text=True).stdout
    return "2.3" if told.startswith("2.3.") else "2.4"


def server_for(source: str) -> str:
    return "2001:db8::1" if ":" in source else "192.0.2.1"
