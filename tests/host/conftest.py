"""Booted hosts for tests, by release and by what was installed on them with apt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests import checkout
from tests.host import roots
from tests.host.machine import Host

Boot = Callable[[str], AbstractContextManager[Host]]


@pytest.fixture(params=roots.RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    """One of Debian's releases."""
    return str(request.param)


@pytest.fixture
def boot(release: str) -> Boot:
    """Boots a host of the release with a layer of packages, sendmail or postfix; /root/popips is a clone."""

    @contextmanager
    def booted(layer: str) -> Iterator[Host]:
        with Host(f"{release}-{layer}", roots.layers(release, layer)) as host:
            checkout.copy(host.path("/root/popips"))
            yield host

    return booted
