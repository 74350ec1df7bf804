"""Timers: an extension sends `Timer` to its engine, and gets `Timeout` commands back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ..messages import Loc, StatusCode, Timeout, Timer
from .outlet import Outlet
from .paths import Unasked, new_id

if TYPE_CHECKING:
    from ..graphs import Conversion
    from ..messages import Cmd
    from .engine import EngineCore

CANCEL = -1
FOR_EVER = 0


class Timers(Outlet):
    """The timers of one graph. Ids belong to whoever set the timer."""

    __slots__ = ("_closed", "_engine", "_running")

    def __init__(self, engine: EngineCore) -> None:
        super().__init__("timers")
        self._engine = engine
        self._running: dict[tuple[str | None, int], trio.CancelScope] = {}
        self._closed = False

    def take_cmd(self, cmd: Cmd, path: Any, result_conversion: Conversion | None) -> None:
        """Set or cancel a timer."""
        if not isinstance(cmd, Timer):
            path.answer(StatusCode.ERROR, f"the engine doesn't know the command {cmd.name!r}")
            return
        key = (cmd._src.extension_name, cmd.timer_id)
        if cmd.times == CANCEL:
            scope = self._running.pop(key, None)
            if scope is None:
                path.answer(StatusCode.ERROR, "Failed to cancel an un-existed timer.")
                return
            scope.cancel("the timer is cancelled")
        elif self._closed:
            path.answer(StatusCode.ERROR, self._engine.closed_detail())
            return
        elif key in self._running:
            path.answer(StatusCode.ERROR, f"Timer {cmd.timer_id} is already running.")
            return
        elif cmd.times < CANCEL:
            path.answer(StatusCode.ERROR, f"Timer.times must be -1, 0 or more, not {cmd.times}")
            return
        elif cmd.times == FOR_EVER and cmd.timeout_us <= 0:
            path.answer(StatusCode.ERROR, "A timer without end needs a timeout_us above 0.")
            return
        else:
            scope = self._running[key] = trio.CancelScope(shield=True)
            self._engine.start_soon(self._run, key, scope, cmd)
        path.answer(StatusCode.OK, "Operation is success.")

    def close(self) -> None:
        """Stop them all, and set no more: they would outlive their extensions."""
        self._closed = True
        for scope in self._running.values():
            scope.cancel("the graph closes")

    async def _run(
        self, key: tuple[str | None, int], scope: trio.CancelScope, timer: Timer
    ) -> None:
        period = timer.timeout_us / 1_000_000
        due = trio.current_time()
        done = 0
        with scope:
            while timer.times == FOR_EVER or done < timer.times:
                due += period
                await trio.sleep_until(due)
                done += 1
                if not self._fire(timer):
                    break
        if self._running.get(key) is scope:
            del self._running[key]

    def _fire(self, timer: Timer) -> bool:
        engine = self._engine
        name = timer._src.extension_name
        receiver = engine.instances.get(
            name or "", engine.host if name not in engine.removed else None
        )
        if receiver is None:
            return False
        timeout = Timeout(timer_id=timer.timer_id)
        timeout._id = new_id()
        timeout._src = Loc(engine.loc.app_uri, engine.graph_id, None)
        receiver.take_timeout(timeout, Unasked())
        return True
