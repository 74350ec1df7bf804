"""The pytest plugin that comes with ten_trio: fixtures for tests of extensions, graphs and apps.

pytest finds it by itself (its name is `ten_trio`).  It is a module beside the package, so that to load it
loads nothing of ten_trio, nor Trio, before a test asks for one of its fixtures.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from trio.testing import MockClock

    from ten_trio import App
    from ten_trio.testing import ExtensionTester, MemoryNetwork


@pytest.fixture
def extension_tester() -> Callable[..., AbstractAsyncContextManager[ExtensionTester]]:
    """`async with extension_tester(MyExtension, ...) as tester: …`, see `ten_trio.testing.open_tester`."""
    from ten_trio.testing import open_tester  # noqa: PLC0415 - here as below: not before it is used

    return open_tester


@pytest.fixture
def memory_network() -> MemoryNetwork:
    """Connections in memory, whose links a test can cut, see `ten_trio.testing.MemoryNetwork`."""
    from ten_trio.testing import MemoryNetwork  # noqa: PLC0415

    return MemoryNetwork()


@pytest.fixture
def ten_app(memory_network: MemoryNetwork) -> Callable[..., AbstractAsyncContextManager[App]]:
    """`async with ten_app(...) as app: …`: `ten_trio.open_app`, which also knows `memory://` URIs."""
    from ten_trio import open_app  # noqa: PLC0415

    return partial(open_app, protocols=[memory_network.protocol])


@pytest.fixture
def ten_connect(
    memory_network: MemoryNetwork,
) -> Callable[..., AbstractAsyncContextManager[object]]:
    """`async with ten_connect("memory://…") as client: …`: `ten_trio.connect`, likewise."""
    from ten_trio import connect  # noqa: PLC0415

    return partial(connect, protocols=[memory_network.protocol])


@pytest.fixture
def ten_clock(request: pytest.FixtureRequest) -> MockClock:
    """Virtual time: the clock jumps to the next deadline when all tasks wait. Needs pytest-trio.

    Threads and sockets work in real time: with these, set its `autojump_threshold` to some seconds.
    """
    if not request.config.pluginmanager.hasplugin("trio"):
        pytest.fail("ten_clock needs pytest-trio: pip install pytest-trio", pytrace=False)
    from trio.testing import MockClock  # noqa: PLC0415

    return MockClock(autojump_threshold=0)


__all__ = ["extension_tester", "memory_network", "ten_app", "ten_clock", "ten_connect"]
