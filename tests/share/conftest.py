"""A server, and hosts that share by it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.share import Host, Server, wait

Servers = Callable[..., Server]
Hosts = Callable[..., list[Host]]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Starts a server with such options."""
    with ExitStack() as stack:

        def made(*options: str) -> Server:
            folder = tmp_path / f"server{len(list(tmp_path.glob('server*')))}"
            folder.mkdir()
            server = Server(folder, *options)
            stack.callback(server.end, signal.SIGKILL)
            return server

        yield made


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers()


@pytest.fixture
def hosts(programs: Path, tmp_path: Path) -> Iterator[Hosts]:
    """Makes hosts of these names that share by a server, and starts popips-share on each."""
    with ExitStack() as stack:

        def made(url: str, *names: str, **settings: str) -> list[Host]:
            found = []
            for name in names:
                host = Host(tmp_path, programs, name, url)
                host.configure(**settings)
                host.start()
                stack.callback(host.kill)
                found.append(host)
            return found

        yield made


@pytest.fixture
def pair(server: Server, hosts: Hosts) -> list[Host]:
    """Two hosts, connected."""
    found = hosts(server.url, "pop1", "pop2")
    wait(lambda: all(host.fleet["connected"] for host in found))
    return found
