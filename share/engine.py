"""The Valkey or Redis server: what this host asks of it, and what is wrong when it does not answer, with the cure."""

from __future__ import annotations

import inspect
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

from popips import denials
from popips.paste import quoted
from popips.settings import Settings
from share.entry import FIELD

COUNT = 1000  # entries to read at once
BLOCK = 1.0  # seconds to wait for the next entry, then it is asked again
TIMEOUT = 3.0  # seconds for an answer
CONNECT = 1.0  # seconds for a connection
PAUSE = 0.01  # seconds between two reads: what comes meanwhile comes in one answer
WAITING = 4  # answers that are read ahead
LARGEST = 4 * denials.LARGEST  # bytes at the server of all that hosts deny, with what it needs besides

CERTIFICATE = (
    "its certificate must be for the name in share, and of an authority that this host trusts: put that one's into "
    "/usr/local/share/ca-certificates, then update-ca-certificates"
)
NO_TLS = "does it run, and does it speak TLS on that port? If not, write redis:// in share"
TLS = "does it run, and does it want TLS on that port? If so, write rediss:// in share"
# what an error of the library means: its kind, a part of its text (for their versions do not agree), and the cure; the
# first that fits
CURES = (
    ("", "Authentication required", "write its password into a file, and name that as share_password_file"),
    ("", "NOAUTH", "write its password into a file, and name that as share_password_file"),
    ("", "without any password", "it asks for no password: leave share_password_file out, or have it ask for one"),
    ("", "WRONGPASS", "share_password_file must hold its password, and share name the user, if there is one"),
    ("AuthenticationError", "", "share_password_file must hold its password, and share name the user, if there is one"),
    ("NoPermissionError", "", "its ACL keeps this user from it: popips-share(8) has what he needs"),
    ("OutOfMemoryError", "", "its memory is full (maxmemory): give it more, or see what else it holds"),
    ("", "used memory", "its memory is full (maxmemory): give it more, or see what else it holds"),
    ("", "MISCONF", "it cannot write to its disk: see its log, and make room there"),
    ("ReadOnlyError", "", "it is a replica: name its master in share"),
    ("", "WRONGTYPE", "another program uses a key of that name: name another in share_stream"),
    ("BusyLoadingError", "", "it is reading its data: wait"),
    ("", "unknown command", "it is a Sentinel, or too old: it has to be Valkey, or Redis 6.2 or later"),
    ("", "certificate verify failed", CERTIFICATE),
    ("SSLError", "", NO_TLS),
    ("", "closed by server", TLS),
    ("", "reset by peer", TLS),
    ("", "", "on its host: does it run, and listen on that port (ss -ltn)? And does no firewall keep this host out?"),
)
FULL = "last possible ID"
Entries = Sequence["tuple[bytes, object]"]  # ID and fields of each


class EngineError(Exception):
    """The server does not do what it is asked; str() says why, with the cure. is_lost: it has to be connected anew."""

    def __init__(self, text: str, is_lost: bool) -> None:
        super().__init__(text)
        self.is_lost = is_lost


class TooLarge(EngineError):
    """What is there takes more memory than hosts have for it."""


class Full(EngineError):
    """The stream takes no more entries, for its last one has the last ID that there can be."""


class Engine:
    """The server that popips.conf names, connected with the first question. All of it raises EngineError."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.stream, self.denials = settings.share_stream, f"{settings.share_stream}:denied"
        self._client = self._connected()

    def _connected(self) -> Any:
        url = urlsplit(self._settings.share)
        options: dict[str, Any] = {}
        if url.scheme == "rediss":
            options.update(ssl=True, ssl_cert_reqs="required", ssl_check_hostname=True)
        if "protocol" in inspect.signature(redis.Redis).parameters:
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

    def begin_anew(self) -> None:
        """Take the stream away, so that all hosts tell again what they know."""
        with self.asking() as client:
            client.delete(self.stream)

    def denied(self) -> dict[bytes, bytes]:
        """Return whom each host keeps out; raise TooLarge before any of it is read."""
        with self.asking() as client:
            size = client.memory_usage(self.denials, samples=0) or 0
            if size > LARGEST:
                cure = "see who has written what there, and take it out by HSET, as popips-share(8) has it"
                raise TooLarge(f"they take {size} bytes at the server, hosts read {LARGEST}: {cure}", is_lost=False)
            return dict(client.hgetall(self.denials))

    def deny(self, host: str, data: bytes) -> None:
        """Note whom this host keeps out, be it nobody: who has no field has not said."""
        with self.asking() as client:
            client.hset(self.denials, host, data)

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
                raise EngineError(f"{path}: everybody may read the password: chmod o= {quoted(path)}", is_lost=True)
            return file.readline().rstrip("\n")
    except (OSError, ValueError) as error:
        raise EngineError(f"{path}: cannot be read ({error}): share_password_file names it", is_lost=True) from error


def explained(error: Exception, place: str) -> EngineError:
    """Return what an error of the library means; place: where the server is."""
    if isinstance(error, EngineError):
        return error
    text = " ".join(str(error).rpartition("of pipeline caused error: ")[2].split()).rstrip(".")
    found = [error, *_causes(error)]
    if FULL in text:
        return Full(f"{place}: {text}", is_lost=False)
    cure = next(cure for kind, part, cure in CURES if any(kind in _kinds(its) and part in str(its) for its in found))
    if cure == CURES[-1][2] and place.startswith("rediss:"):
        cure = NO_TLS  # what speaks none waits for more
    # the name or address in share may lead to the master by now, if it is asked again
    is_lost = isinstance(error, redis.ReadOnlyError) or not isinstance(error, redis.ResponseError)
    return EngineError(f"{place}: {text}: {cure}", is_lost)


def _kinds(error: BaseException) -> list[str]:
    return ["", *(its.__name__ for its in type(error).__mro__)]


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause:
        yield cause
        cause = cause.__cause__ or cause.__context__
