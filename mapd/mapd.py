"""popips-mapd: sendmail and Postfix ask it whom to relay for; it looks at the stamps. In the foreground, for ever."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping

from mapd import systemd, wire
from mapd.answer import Answers
from mapd.server import MOST, Protocol, Server
from mapd.sockets import SocketError, identity, listening, remove
from popips import command
from popips.log import ERROR, Log

PROGRAM = "popips-mapd"
POLICY = "policy"  # FileDescriptorName= of the socket on which Postfix's policy protocol is spoken
OWN_FILES = 64  # descriptors besides those of connections


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments after the program's name, until SIGTERM; return the exit status."""
    options = parser().parse_args(argv)
    log = Log(PROGRAM)
    try:
        return _work(options.conf, log, os.environ)
    except SocketError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        log.line(ERROR, f"error: {error}")
        return os.EX_CANTCREAT


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    return command.parser(
        PROGRAM,
        "Tell sendmail or Postfix which addresses may relay, until it gets SIGTERM; on SIGHUP it reads its "
        "configuration again. See popips-mapd(8) for the lines of sendmail.mc and main.cf, and the units of systemd.",
    )


def _work(conf: str, log: Log, environment: Mapping[str, str]) -> int:
    conf = os.path.abspath(conf)
    answers = Answers(conf, log)
    answers.look()
    listeners, made = _listeners(answers, systemd.handed(environment))
    asked: list[int] = []
    wake, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: asked.append(number))

    pause = systemd.watchdog(environment)

    def before() -> None:
        answers.look(anew=signal.SIGHUP in asked)
        asked[:] = [number for number in asked if number != signal.SIGHUP]
        if pause:
            systemd.notify(environment, "WATCHDOG=1")

    server = Server(listeners, wake, _most())
    systemd.notify(environment, "READY=1")
    while not asked or set(asked) == {signal.SIGHUP}:
        server.turn(before, pause)
    systemd.notify(environment, "STOPPING=1")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for path, was in made.items():
        remove(path, was)
    return os.EX_OK


def _listeners(
    answers: Answers, handed: list[tuple[str, socket.socket]]
) -> tuple[dict[socket.socket, Protocol], dict[str, tuple[int, int]]]:
    """Return the sockets with what is spoken there, and the paths of those that were made here, with their identity."""
    of_map, of_policy = Protocol(wire.netstrings, answers.of_map), Protocol(wire.policies, answers.of_policy)
    if handed:
        return {its: of_policy if name == POLICY else of_map for name, its in handed}, {}
    if answers.settings is None:
        raise SocketError(f"{answers.conf}: mend it, for it says where to listen")
    wanted = {answers.settings.mapd_socket: of_map, answers.settings.mapd_policy: of_policy}
    if len(wanted) == 1:
        raise SocketError(f"{answers.settings.mapd_socket}: mapd_socket and mapd_policy must be two")
    there = {listening(path): protocol for path, protocol in wanted.items()}
    return there, {path: identity(path) for path in wanted}


def _most() -> int:
    """Return how many connections there may be, and have as many descriptors as that takes, if it is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < MOST + OWN_FILES:
        soft = min(hard, MOST + OWN_FILES) if hard != resource.RLIM_INFINITY else MOST + OWN_FILES
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(MOST, soft - OWN_FILES))
