"""What is under test, as the suite sees it: something to connect to, that runs graphs.

The interface is small on purpose, so that an adapter for any runtime is a page of code. Messages are
those of `ten_trio.messages`; how they get to the runtime is the adapter's business.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from ...errors import ConfigError
from ...messages import CmdResult, Msg


class Client(Protocol):
    """One client of the runtime: what it sends, and what comes back to this very client."""

    async def start_graph(self, graph: str) -> CmdResult:
        """Start a graph, given as JSON text; returns the final result.

        OK has the string property `graph_id`.  What else comes meanwhile is kept for `receive`.  Called a
        second time it asks for a second graph, which has to be answered too.  Raises as `send` and `receive` do.
        """

    async def send(self, msg: Msg) -> None:
        """Send a command, data or a frame to the destination that `msg` names.

        A command has a `seq_id`, and all of its results have to come back with it.  Two clients may
        use the same one.  Raises `trio.ClosedResourceError` or `trio.BrokenResourceError` if the client
        is cut off.
        """

    async def receive(self) -> Msg:
        """The next result or data for this client, in the order in which they come.

        Cancelling it loses nothing.  Raises `trio.EndOfChannel` once the runtime has closed the connection.
        """

    async def stop(self) -> None:
        """Leave without a word; idempotent."""


class Runtime(Protocol):
    """A runtime at work, with the addons of docs/conformance.md."""

    async def connect(self) -> Client:
        """A new client. Raises `OSError` or a `TenError` if nobody answers."""

    async def advance(self, seconds: float) -> None:
        """Let time go on, in the runtime as for the suite."""


@runtime_checkable
class Target(Protocol):
    """A runtime that can be opened, as often as there are examples."""

    name: str
    """For the report."""
    patience: float
    """After how many seconds of silence nothing more is to come."""
    virtual_time: bool
    """Whether all of it lives in the suite's own Trio run, where time may jump."""

    def open(self) -> AbstractAsyncContextManager[Runtime]:
        """The runtime, for one example; leaving the block closes what the example has left."""


@runtime_checkable
class BadBytes(Protocol):
    """A client that can also send what is no message; not every adapter has bytes at all."""

    async def send_bytes(self, data: bytes) -> None:
        """Send `data` as it is."""


def load_target(text: str, patience: float | None = None) -> Target:
    """The target that `--target` names: a URI, `package.module:factory`, or (empty) ourselves.

    `patience` overrides the target's own.  Raises `ConfigError`, and what importing and calling the
    factory raises.
    """
    # Each of them brings what the others don't need.
    if not text:
        from .in_process import InProcessTarget  # noqa: PLC0415

        target: Target = InProcessTarget()
    elif "://" in text:
        from .wire import WireTarget  # noqa: PLC0415

        target = WireTarget(text)
    else:
        target = _made(text)
    if patience is not None:
        target.patience = patience
    return target


def _made(text: str) -> Target:
    module, colon, name = text.partition(":")
    if not colon or not module or not name:
        raise ConfigError(f"{text!r} is neither a URI nor package.module:factory")
    try:
        factory: Callable[[], Any] = getattr(import_module(module), name)
    except AttributeError:
        raise ConfigError(f"module {module} has no {name!r}, which --target names") from None
    made = factory()
    if not isinstance(made, Target):
        raise ConfigError(
            f"{text} made {made!r}, which lacks some of name, patience, virtual_time, open()"
        )
    return made


__all__ = ["BadBytes", "Client", "Runtime", "Target", "load_target"]
