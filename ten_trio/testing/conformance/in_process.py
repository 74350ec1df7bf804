"""Ourselves under test: an app in the suite's own Trio run, with its whole network, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ...network import open_app
from ..memory import MemoryNetwork
from .addons import ADDONS
from .wire import WireRuntime, opened_wire

URI = "memory://conformance"
PATIENCE = 100.0
"""Virtual seconds, which cost nothing."""


class InProcessTarget:
    """This installation. Messages cross it as bytes, as they do between processes."""

    virtual_time = True

    def __init__(self) -> None:
        self.name = "ten_trio, in this process"
        self.patience = PATIENCE

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[WireRuntime, None]:
        """See `Target.open`."""
        protocol = MemoryNetwork().protocol
        app_property = {"ten": {"long_running_mode": True}}
        async with open_app(app_property, listen=[URI], protocols=[protocol]) as app:
            for name, factory in ADDONS.items():
                app.addons.register(name, factory)
            async with opened_wire(URI, protocol) as runtime:
                yield runtime


__all__ = ["InProcessTarget"]
