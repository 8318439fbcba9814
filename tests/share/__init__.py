"""Hosts that share their logins by a real server: each has stamps, a popips.conf and a share_from of its own."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from popips import denials
from popips.login import Login
from popips.stamps.folder import Folder
from tests.box import CRON_ENVIRONMENT

LIMIT = 60.0  # seconds for what should come at once
STREAM = "popips:log"
A, B, C, V6 = "192.0.2.10", "192.0.2.11", "192.0.2.12", "2001:db8::10"


def wait(condition: Callable[[], object]) -> None:
    """Wait until it holds, however slow the machine is."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, inspect.getsource(condition)
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as its:
        its.bind(("127.0.0.1", 0))
        return int(its.getsockname()[1])


class Server:
    """A server in a folder, on a port of its own of the loopback interface."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options, self.port = folder, options, free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.program = self.folder / "redis-server"
        # redis-tools has the server, too: it is told from the tools by the name that it is called by
        tools = ("redis-check-rdb", "valkey-check-rdb")
        self.program.symlink_to(next(found for name in tools if (found := shutil.which(name))))
        self.start()

    def start(self) -> None:
        ports = ["--port", "0", "--tls-port"] if self._is_tls else ["--port"]
        words = [*ports, str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "", *self.options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([str(self.program), *words], stdout=log, stderr=log)
        wait(self.is_up)

    @property
    def _is_tls(self) -> bool:
        return "--tls-cert-file" in self.options

    def is_up(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                pass
            return self._is_tls or "--requirepass" in self.options or bool(self.client.ping())
        except (OSError, redis.RedisError):
            return False

    @property
    def client(self) -> Any:
        return redis.Redis(port=self.port, decode_responses=True, encoding_errors="replace")

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait(LIMIT)
            self.process = None

    def lines(self) -> list[str]:
        """What the stream tells of logins, without the ages, and which of the hosts of a name it is."""
        words = [fields.get("e", "").split(" ") for _, fields in self.client.xrange(STREAM)]
        return [" ".join((*its[:2], *its[3:])).partition("/")[0] for its in words if its[0] != "!"]

    def lines_of(self, host: str) -> list[str]:
        """What a host has written."""
        return [line for line in self.lines() if line.endswith(f" {host}")]


class Host:
    """One host: popips-share as it is installed, or nothing yet."""

    def __init__(self, folder: Path, programs: Path, name: str, url: str) -> None:
        self.name, self.folder, self.url = name, folder / name, url
        self.program = programs / "sbin/popips-share"
        self.stamps, self.told, self.conf = self.folder / "stamps", self.folder / "from", self.folder / "popips.conf"
        self.folder.mkdir(mode=0o755)
        self.stamps.mkdir(mode=0o700)
        self.process: subprocess.Popen[bytes] | None = None
        self.configure()

    def configure(self, **settings: str) -> None:
        lines = {"stamps": str(self.stamps), "share": self.url, "share_name": self.name, "share_from": str(self.told)}
        text = "".join(f"{key} = {value}\n" for key, value in (lines | settings).items())
        new = self.folder / "popips.conf.new"
        new.write_text(text)
        new.rename(self.conf)

    def start(self, **environment: str) -> None:
        command = [str(self.program), "-c", str(self.conf)]
        self.process = subprocess.Popen(command, env=CRON_ENVIRONMENT | environment, stderr=subprocess.PIPE)
        wait(lambda: (self.told / ".fleet").exists() or self.is_over())

    def is_over(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(number)
        status = self.process.wait(LIMIT)
        self.process = None
        return status

    def kill(self) -> None:
        if self.process:
            self.end(signal.SIGKILL)

    # ---- what happens on it

    def login(self, name: str, user: str = "alice", age: float = 0, writer: str = "popips-hook") -> float:
        """Log in, as the hook writes it; return when that was."""
        then = time.time() - age
        with Folder(str(self.stamps)) as folder:
            folder.make(name, Login(user, "pop3", writer), then)
            folder.settle(name)
        return then

    def end_grant(self, name: str) -> None:
        (self.stamps / name).unlink()

    def deny(self, text: str, until: float = denials.FOR_EVER) -> None:
        with Folder(str(self.stamps)) as folder:
            denials.add(folder, denials.Denial(text, until, "root"), time.time())

    def lift(self, text: str) -> None:
        with Folder(str(self.stamps)) as folder:
            denials.lift(folder, text)

    # ---- what it was told

    def hears(self, name: str) -> str:
        """What it was told of an address: live, ended, or nothing."""
        try:
            return "live" if os.stat(self.told / name).st_mode & 0o100 else "ended"
        except FileNotFoundError:
            return ""

    def time(self, name: str) -> float:
        return os.stat(self.told / name).st_mtime

    def denied(self) -> list[str]:
        try:
            return (self.told / ".denied").read_text().splitlines()
        except FileNotFoundError:
            return []

    @property
    def fleet(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.told / ".fleet").read_text())
        return found

    @property
    def error(self) -> str:
        return str(self.fleet["error"])


class Cut:
    """A way to a server that can be cut; to: its port, from the next connection on."""

    def __init__(self, port: int) -> None:
        self.to, self.is_cut = port, False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                its, _ = self._listener.accept()
                if self.is_cut:
                    its.close()
                    continue
                other = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self._open |= {its, other}
            for one, two in ((its, other), (other, its)):
                threading.Thread(target=self._carry, args=(one, two), daemon=True).start()

    def _carry(self, one: socket.socket, two: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                two.sendall(data)
        except OSError:
            pass
        for its in (one, two):
            its.close()

    def cut(self) -> None:
        self.is_cut = True
        for its in self._open:
            try:
                its.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._open.clear()

    def heal(self) -> None:
        self.is_cut = False

    def close(self) -> None:
        self._listener.close()
        self.cut()
