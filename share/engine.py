"""The Valkey or Redis server: what this host asks of it, and what is wrong when it does not answer, with the cure."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from popips.settings import Settings
from share.entry import FIELD

COUNT = 1000  # entries to read at once
BLOCK = 1.0  # seconds to wait for the next entry, then it is asked again
TIMEOUT = 3.0  # seconds for an answer
CONNECT = 1.0  # seconds for a connection
PAUSE = 0.01  # seconds between two reads: what comes meanwhile comes in one answer
WAITING = 4  # answers that are read ahead

# what an answer or its absence means: a part of its text, and the cure; the first that fits
CURES = (
    ("NOAUTH", "it wants a password: write it into a file, and name that as share_password_file"),
    ("WRONGPASS", "put its password into share_password_file, and the user, if it is not `default`, into share"),
    ("invalid username-password", "put its password into share_password_file, and the user into share"),
    ("invalid password", "put its password into share_password_file"),
    ("without any password configured", "it has no password: leave share_password_file out, or have it ask for one"),
    ("NOPERM", "its ACL keeps this user from it: popips-share(8) has the line that lets him"),
    ("OOM ", "its memory is full (maxmemory): give it more, or look what else it holds"),
    ("MISCONF", "it cannot write to its disk: see its log, and make room there"),
    ("READONLY", "it is a replica: name its master in share"),
    ("WRONGTYPE", "another program uses a key of that name: name another stream in share_stream"),
    ("LOADING", "it is reading its data yet: wait"),
    ("certificate verify failed", "{certificate}"),
    ("WRONG_VERSION_NUMBER", "it speaks no TLS on that port: write redis:// in share, or name its port for TLS"),
    ("wrong version number", "it speaks no TLS on that port: write redis:// in share, or name its port for TLS"),
    ("record layer failure", "it speaks no TLS on that port: write redis:// in share, or name its port for TLS"),
    ("unexpected eof", "it speaks no TLS on that port: write redis:// in share, or name its port for TLS"),
    ("Connection closed by server", "does it run, and if it speaks TLS on that port, does share say rediss://?"),
    ("Connection reset by peer", "does it run, and if it speaks TLS on that port, does share say rediss://?"),
    ("unknown command", "it is too old: Redis 6.2 or Valkey has what is needed"),
    ("", "does it run, and is there a way to it? share names its host and port"),
)
CERTIFICATE = (
    "its certificate must be for the name in share, and of an authority that this host trusts: put that one's into "
    "/usr/local/share/ca-certificates, then update-ca-certificates"
)
Entries = Sequence["tuple[bytes, object]"]  # ID and fields of each


class EngineError(Exception):
    """The server does not do what it is asked; str() says why, with the cure. is_lost: it has to be connected anew."""

    def __init__(self, text: str, is_lost: bool) -> None:
        super().__init__(text)
        self.is_lost = is_lost


class Engine:
    """A connection to the server that popips.conf names; the constructor makes it. All of it raises EngineError."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.stream, self.denials = settings.share_stream, f"{settings.share_stream}:denied"
        self._client = self._connected()
        try:
            self.time()
        except EngineError:
            self.close()
            raise

    def _connected(self) -> Any:
        url = urlsplit(self._settings.share)
        options: dict[str, Any] = {}
        if url.scheme == "rediss":
            options.update(ssl=True, ssl_cert_reqs="required", ssl_check_hostname=True)
        if int(redis.__version__.partition(".")[0]) > 4:
            options.update(protocol=2)  # answers have another shape by the third, which older ones do not speak
        return redis.Redis(
            host=url.hostname or "",
            port=url.port or 0,
            db=int(url.path.strip("/") or 0),
            username=url.username,
            password=_password(self._settings.share_password_file),
            socket_timeout=TIMEOUT,
            socket_connect_timeout=CONNECT,
            retry=Retry(NoBackoff(), 0),
            **options,
        )

    def close(self) -> None:
        """Leave the server."""
        self._client.connection_pool.disconnect()

    @contextmanager
    def asking(self) -> Iterator[Any]:
        """In a `with`: the client; what fails becomes an EngineError."""
        try:
            yield self._client
        except (redis.RedisError, OSError, ValueError) as error:
            raise explained(error, self._settings.share) from error

    def time(self) -> float:
        """Return the server's time in seconds since the epoch."""
        with self.asking() as client:
            seconds, micros = client.time()
        return float(seconds) + float(micros) / 1e6

    def has(self, number: bytes) -> bool:
        """Whether the entry with this ID is in the stream."""
        with self.asking() as client:
            return bool(client.xrange(self.stream, number, number))

    def add(self, lines: Sequence[bytes], since: float) -> bytes:
        """Write entries, and drop those from before (seconds, server's clock); return the ID of the last one."""
        with self.asking() as client, client.pipeline(transaction=False) as pipe:
            for line in lines:
                pipe.xadd(self.stream, {FIELD: line}, minid=max(0, int(since * 1000)))
            numbers = pipe.execute()
        return bytes(numbers[-1])

    def denied(self) -> dict[bytes, bytes]:
        """Return whom each host keeps out."""
        with self.asking() as client:
            return dict(client.hgetall(self.denials))

    def deny(self, host: str, data: bytes) -> None:
        """Note whom this host keeps out."""
        with self.asking() as client:
            if data:
                client.hset(self.denials, host, data)
            else:
                client.hdel(self.denials, host)

    def reader(self, cursor: bytes, wake: Callable[[], object]) -> Reader:
        """Return what reads the entries behind this ID, started."""
        made = Reader(self._connected(), self, cursor, wake)
        made.start()
        return made

    def explain(self, error: Exception) -> EngineError:
        """Return what an error of the library means."""
        return explained(error, self._settings.share)


class Reader(threading.Thread):
    """Reads the stream, by a connection of its own, for another thread takes what there is; wake tells that one."""

    def __init__(self, client: Any, engine: Engine, cursor: bytes, wake: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._client, self._engine, self._cursor, self._wake = client, engine, cursor, wake
        self._read: queue.Queue[tuple[Entries, bool] | EngineError] = queue.Queue(WAITING)
        self._stopped = threading.Event()

    def run(self) -> None:
        """Read until stop(), or until the server is lost."""
        try:
            block: int | None = None  # first, what there is
            while not self._stopped.is_set():
                streams = {self._engine.stream: self._cursor}
                found = [its for _, entries in self._client.xread(streams, COUNT, block) or () for its in entries]
                is_all = len(found) < COUNT
                if found:
                    self._cursor = found[-1][0]
                if found or block is None:
                    self._put((found, is_all))
                block = int(BLOCK * 1000) if is_all else None
                if is_all:
                    self._stopped.wait(PAUSE)
        except (redis.RedisError, OSError, ValueError) as error:
            self._put(EngineError(str(self._engine.explain(error)), is_lost=True))
        finally:
            self._client.connection_pool.disconnect()

    def _put(self, thing: tuple[Entries, bool] | EngineError) -> None:
        while not self._stopped.is_set():
            try:
                self._read.put(thing, timeout=BLOCK)
            except queue.Full:
                continue
            self._wake()
            return

    def take(self) -> tuple[Entries, bool] | None:
        """Return the next entries, and whether they are the last for now; None if none have come. Raise EngineError."""
        try:
            thing = self._read.get_nowait()
        except queue.Empty:
            return None
        if isinstance(thing, EngineError):
            raise thing
        return thing

    def stop(self) -> None:
        """Have it end, and do not wait for that."""
        self._stopped.set()


def _password(path: str) -> str | None:
    """Return the password in the file; raise EngineError."""
    if not path:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o007:
                raise EngineError(f"{path}: everybody may read the password: chmod o= {path}", is_lost=True)
            return file.readline().rstrip("\n")
    except (OSError, ValueError) as error:
        raise EngineError(f"{path}: cannot be read ({error}): share_password_file names it", is_lost=True) from error


def explained(error: Exception, place: str) -> EngineError:
    """Return what an error of the library means; place: where the server is."""
    if isinstance(error, EngineError):
        return error
    text = " ".join(str(error).split())
    causes = [text, *(str(its) for its in _causes(error))]
    cure = next(cure for part, cure in CURES if any(part in its for its in causes))
    is_lost = not isinstance(error, redis.ResponseError) or "NOAUTH" in text
    return EngineError(f"{place}: {text}: {cure.format(certificate=CERTIFICATE)}", is_lost)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause:
        yield cause
        cause = cause.__cause__ or cause.__context__
