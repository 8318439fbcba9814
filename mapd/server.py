"""The server: one process, one epoll(7), and for each connection no more than a request and its answers in memory."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mapd.answer import Answer
from mapd.wire import Garbage

MOST = 2000  # connections: more than an MTA has processes
CHUNK = 4096  # bytes to read at once
TURN = 64  # connections that are served until it is looked again at all else, the watchdog among it
FULL = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
PAUSE = 0.1  # seconds
Split = Callable[[bytes], "tuple[list[bytes], bytes]"]


@dataclass(frozen=True)
class Protocol:
    """How requests are found in what comes, and what answers one."""

    split: Split
    answer: Answer


class _Connection:
    """A client's: what has come of its next request, and what it has not yet taken of the answers."""

    __slots__ = ("data", "left", "protocol", "socket")

    def __init__(self, its: socket.socket, protocol: Protocol) -> None:
        self.socket, self.protocol = its, protocol
        self.data = self.left = b""


class Server:
    """Answers whoever connects. Those that have been idle for the longest time make way when there are too many."""

    def __init__(self, listeners: dict[socket.socket, Protocol], wake: socket.socket, most: int = MOST) -> None:
        """wake: what has something to be read as soon as the caller wants to have a turn()'s end."""
        self._listeners = {its.fileno(): (its, protocol) for its, protocol in listeners.items()}
        self._there: OrderedDict[int, _Connection] = OrderedDict()  # by descriptor, the longest idle first
        self._most, self._wake = most, wake
        self._poll = select.epoll()
        for its in (*listeners, wake):
            its.setblocking(False)
            self._poll.register(its, select.EPOLLIN)

    def turn(self, before: Callable[[], None], timeout: float | None) -> None:
        """Answer what there is; return after so many seconds at the latest. before: called in front of any answer."""
        ready = self._poll.poll(timeout, TURN)
        before()
        for fd, events in ready:
            if fd == self._wake.fileno():
                self._drain()
            elif fd in self._listeners:
                self._accept(*self._listeners[fd])
            elif fd in self._there:
                self._serve(fd, events)

    def _drain(self) -> None:
        try:
            self._wake.recv(CHUNK)
        except BlockingIOError:
            pass

    def _accept(self, listener: socket.socket, protocol: Protocol) -> None:
        """Take up one connection: accept(2) fails for want of a descriptor before it looks whether anybody waits."""
        try:
            its, _ = listener.accept()
        except OSError as error:
            if error.errno in FULL and not self._make_way():
                time.sleep(PAUSE)  # or it would be tried again at once, and for ever
            return
        its.setblocking(False)
        self._there[its.fileno()] = _Connection(its, protocol)
        self._poll.register(its, select.EPOLLIN)
        if len(self._there) > self._most:
            self._make_way()

    def _make_way(self) -> bool:
        """Close the connection that has been idle for the longest time; return whether there was one."""
        if self._there:
            self._close(next(iter(self._there)))
            return True
        return False

    def _close(self, fd: int) -> None:
        self._there.pop(fd).socket.close()  # which takes it out of the epoll, too

    def _serve(self, fd: int, events: int) -> None:
        one = self._there[fd]
        self._there.move_to_end(fd)
        try:
            if not one.left:
                data = one.socket.recv(CHUNK)
                if not data:
                    raise Garbage  # its end
                requests, one.data = one.protocol.split(one.data + data)
                one.left = b"".join(one.protocol.answer(request, time.time()) for request in requests)
            was_full = bool(events & select.EPOLLOUT)
            if one.left:
                one.left = one.left[one.socket.send(one.left) :]
        except BlockingIOError:
            was_full = bool(events & select.EPOLLOUT)
        except (Garbage, OSError):
            self._close(fd)
            return
        if bool(one.left) != was_full:  # who does not take its answers is not read from
            self._poll.modify(fd, select.EPOLLOUT if one.left else select.EPOLLIN)
