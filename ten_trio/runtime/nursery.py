"""`env.nursery`: an extension's own nursery, which exists from its first use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from ..errors import EnvClosed
from .current import Background, current
from .supervision import blame, split

if TYPE_CHECKING:
    from .instance import Instance


class ExtensionNursery:
    """The tasks of one extension: used like a `trio.Nursery`.

    Opened by its first task, cancelled after `on_stop`.  An exception in one of its tasks cancels the
    others and is the extension's failure, dealt with by its `on_error`.  (A real `trio.Nursery` can
    only be opened by awaiting; where one is needed, open it in `lifespan`.)
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._nursery: trio.Nursery | None = None
        self._opened = trio.Event()
        self._done = trio.Event()
        self._pending: list[tuple[Context, Callable[[trio.Nursery], object]]] = []
        self._scope = trio.CancelScope()
        self._shield = trio.CancelScope(shield=True)
        self._closed = False
        instance.engine.start_soon(self._run)

    @property
    def cancel_scope(self) -> trio.CancelScope:
        """Cancelling it ends every task of this nursery, and the nursery."""
        return self._scope

    @property
    def is_closed(self) -> bool:
        """Whether it takes no tasks any more: it was cancelled, or one of them has failed."""
        return self._closed

    @property
    def child_tasks(self) -> frozenset[trio.lowlevel.Task]:
        """The tasks that are running now."""
        return frozenset() if self._nursery is None else self._nursery.child_tasks

    def start_soon(
        self, async_fn: Callable[..., Awaitable[object]], /, *args: Any, name: object = None
    ) -> None:
        """Start a task and return at once. Raises `EnvClosed` if the nursery is closed."""
        if self._closed:
            raise EnvClosed(f"{self._instance.name}: env.nursery is closed")
        context = copy_context()
        context.run(current.set, Background(current.get().msg))

        def begin(nursery: trio.Nursery) -> None:
            nursery.start_soon(partial(async_fn, *args), name=name or async_fn)

        if self._nursery is None:
            self._pending.append((context, begin))
        else:
            context.run(begin, self._nursery)

    async def start(
        self, async_fn: Callable[..., Awaitable[object]], /, *args: Any, name: object = None
    ) -> Any:
        """Start a task and wait for its `task_status.started(value)`; that value is returned."""
        await self._opened.wait()
        if self._closed or self._nursery is None:
            raise EnvClosed(f"{self._instance.name}: env.nursery is closed")
        # The task inherits the context of this one.
        token = current.set(Background(current.get().msg))
        try:
            return await self._nursery.start(async_fn, *args, name=name)
        finally:
            current.reset(token)

    async def aclose(self) -> None:
        """Cancel the tasks and wait for them."""
        self._scope.cancel("the extension has stopped")
        await self._done.wait()

    def cancel(self, reason: str) -> None:
        """End without regard to shields of ours."""
        self._shield.cancel(reason)

    async def _run(self) -> None:
        instance = self._instance
        try:
            with self._shield:
                try:
                    with self._scope:
                        async with trio.open_nursery() as nursery:
                            self._nursery = nursery
                            pending, self._pending = self._pending, []
                            for context, begin in pending:
                                context.run(begin, nursery)
                            self._opened.set()
                            await trio.sleep_forever()
                except BaseException as error:
                    rising, failure = split(error, closing=instance.engine.closing)
                    if failure is not None:
                        blame(failure, f"in a task of {instance.name!r}'s nursery", instance.engine)
                        instance.engine.extension_failed(instance, failure)
                    if rising is error:
                        raise
                    if rising is not None:
                        raise rising from None
        finally:
            self._closed = True
            self._opened.set()
            self._done.set()
