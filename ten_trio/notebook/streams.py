"""What comes out of a graph over time, for cells: the results of a command, and its messages."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import trio

if TYPE_CHECKING:
    from ..messages import CmdResult
    from ..runtime import Call, Engine, Subscription
    from .graph import NotebookGraph


class NotebookCall:
    """A command in flight: `result()`, `for result in call`, `cancel()`; in this cell or a later one."""

    def __init__(self, graph: NotebookGraph, call: Call) -> None:
        self._graph = graph
        self._call = call

    def __repr__(self) -> str:
        return (
            f"<ten_trio.notebook.NotebookCall {'completed' if self.is_completed else 'in flight'}>"
        )

    @property
    def is_completed(self) -> bool:
        """Whether no further result will come."""
        return self._call.is_completed

    def result(self) -> CmdResult:
        """Wait for the result that completes it. Interrupted, the command is abandoned."""
        return self._graph.thread.call(self._call.result)

    def __iter__(self) -> Iterator[CmdResult]:
        return self

    def __next__(self) -> CmdResult:
        result = self._graph.thread.call(self._next)
        if result is None:
            raise StopIteration
        return result

    async def _next(self) -> CmdResult | None:
        try:
            return await self._call.__anext__()
        except StopAsyncIteration:
            return None

    def cancel(self) -> None:
        """Want no result any more."""
        self._graph.thread.post(self._call.cancel)


class NotebookMessages:
    """The messages that a graph sends to its host: `for message in graph.messages("text"): …`."""

    def __init__(self, graph: NotebookGraph, names: tuple[str, ...], capacity: int | None) -> None:
        self._graph = graph
        self._names = names
        kept = partial(_keep, names, capacity)

        async def subscribe(engine: Engine) -> tuple[Subscription, trio.Event]:
            found: tuple[Subscription, trio.Event] = await graph.thread.keep(kept, engine)
            return found

        self._subscription, self._over = graph.ask(subscribe)

    def __repr__(self) -> str:
        names = ", ".join(self._names) or "all"
        return f"<ten_trio.notebook.NotebookMessages {names}, {self.dropped} dropped>"

    @property
    def dropped(self) -> int:
        """Messages that came while as many waited as are kept."""
        return self._subscription.dropped

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        message = self._graph.thread.call(self._next)
        if message is None:
            self._graph.raise_failure()
            raise StopIteration
        return message

    async def _next(self) -> Any:
        try:
            return await self._subscription.receive()
        except trio.EndOfChannel:
            return None

    def take(self, number: int) -> list[Any]:
        """The next so many; fewer if the graph ends."""
        return [message for _, message in zip(range(number), self, strict=False)]

    def waiting(self) -> list[Any]:
        """What has come and wasn't read, without waiting."""
        return self._graph.thread.call(self._waiting)

    async def _waiting(self) -> list[Any]:
        await trio.lowlevel.checkpoint()
        messages = []
        try:
            while True:
                messages.append(self._subscription.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            return messages

    def close(self) -> None:
        """Read no more: commands that nobody has read are answered with ERROR. Idempotent."""
        self._graph.thread.post(self._over.set)

    def __del__(self) -> None:
        if hasattr(self, "_over"):  # a loop over it was left: nobody will ever read the rest
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _keep(
    names: tuple[str, ...],
    capacity: int | None,
    engine: Engine,
    *,
    task_status: trio.TaskStatus[tuple[Subscription, trio.Event]],
) -> None:
    # It knows nothing of the reader, whose end would else never come.
    over = trio.Event()
    async with engine.messages(*names, capacity=capacity) as subscription:
        task_status.started((subscription, over))
        await over.wait()


__all__ = ["NotebookCall", "NotebookMessages"]
