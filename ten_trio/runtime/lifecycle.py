"""The life of one extension, in one task of its own."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import trio

from ..messages import StatusCode
from .extension import lifespan_of
from .supervision import blame, split

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..messages import TriggerLifeCycle
    from .env import TenEnv
    from .instance import Instance
    from .paths import InPath

logger = logging.getLogger("ten_trio.runtime")

TRIGGERED = "Life cycle triggered successfully"


class Life:
    """Runs the lifecycle callbacks of an instance, from `on_configure` to `on_deinit`.

    A stage that hasn't begun when the stop comes is skipped, `on_stop` and `on_deinit` never are.
    """

    def __init__(self, instance: Instance, load: Callable[[], None]) -> None:
        self.instance = instance
        self._load = load
        self.stage = "created"
        self.scope = trio.CancelScope(shield=True)
        self.started = trio.Event()
        self.stop_wanted = trio.Event()
        self.done = trio.Event()
        self.durations: dict[str, float] = {}
        self.task: trio.lowlevel.Task | None = None
        self.failed = False
        self._restarting = False
        self._restarts: deque[float] = deque()
        # Manual control: stages that wait for a trigger, and the triggers that have come.
        self._manual: frozenset[str] | None = None
        self._triggers: dict[str, TriggerLifeCycle] = {}
        self._early: list[TriggerLifeCycle] = []
        self._past: set[str] = set()
        self._poked = trio.Event()
        self.awaits_trigger = False

    # Asked from outside -----------------------------------------------------------------------

    def stop(self) -> None:
        """Go to `on_stop` as soon as the current stage has come back."""
        self._restarting = False
        self.stop_wanted.set()
        self._poked.set()

    def restart(self) -> bool:
        """Stop, build a new extension, start that. False if that has been done too often."""
        limits = self.instance.engine.limits
        now = trio.current_time()
        if self._restarting or self.stop_wanted.is_set():
            return True
        while self._restarts and self._restarts[0] <= now - limits.restart_window:
            self._restarts.popleft()
        if len(self._restarts) >= limits.restarts:
            return False
        self._restarts.append(now)
        self._restarting = True
        instance = self.instance
        instance.hold()
        for path in list(instance.in_paths.values()):
            if path.started:
                path.answer(StatusCode.ERROR, "restarting")
        instance.end_calls("restarting")
        instance.cancel_handlers("the extension is restarted")
        self.stop_wanted.set()
        self._poked.set()
        return True

    def trigger(self, cmd: TriggerLifeCycle) -> None:
        """A `trigger_life_cycle` command for this extension."""
        path: InPath = cmd._path
        stage = cmd.stage
        if not stage:
            path.answer(StatusCode.ERROR, "Missing stage field")
        elif stage not in ("start", "stop"):
            path.answer(StatusCode.ERROR, "Unsupported stage")
        elif self._manual is None:
            self._early.append(cmd)
        elif stage not in self._manual:
            path.answer(StatusCode.ERROR, f"Extension not configured for manual {stage} control")
        elif stage in self._past or stage in self._triggers:
            path.answer(StatusCode.ERROR, f"Extension already past {stage} stage")
        else:
            self._triggers[stage] = cmd
            self._poked.set()

    # The task ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live, once or (with `on_error="restart"`) several times."""
        engine = self.instance.engine
        self.task = trio.lowlevel.current_task()
        try:
            with self.scope:
                while True:
                    await self._live()
                    if not self._restarting:
                        break
                    await self._rebuild()
        finally:
            self.stage = "closed"
            self.instance.end(engine.closed_detail())
            self._answer_triggers()
            self.started.set()
            self.done.set()
            engine.life_ended(self)

    async def _rebuild(self) -> None:
        instance = self.instance
        logger.warning("%s: restarting", instance.loc)
        try:
            extension, settings = await instance.engine.rebuild(instance)
        except Exception as error:  # noqa: BLE001 - an addon is user code; Cancelled isn't an Exception
            blame(error, f"while {instance.name!r} was built again", instance.engine)
            instance.engine.fail(error)
            self._restarting = False
            self.stop_wanted.set()
            return
        self._restarting = False
        self.failed = False
        self.stop_wanted = trio.Event()
        self._past.clear()
        instance.equip(extension, settings)

    async def _live(self) -> None:
        instance = self.instance
        extension, env = instance.extension, instance.env
        if not self.stop_wanted.is_set():
            await self._stage("on_configure", extension.on_configure)
        if not self.failed:
            self._call("load", self._load)
            self._configured()
        if not self.stop_wanted.is_set() and not self.failed:
            await self._stage("on_init", extension.on_init)
        async with AsyncExitStack() as stack:
            if not self.stop_wanted.is_set() and not self.failed:
                lifespan = lifespan_of(extension, env)
                if lifespan is not None:
                    await self._stage("lifespan", lambda _: stack.enter_async_context(lifespan))
            if not self.failed:
                instance.use_context()
                instance.flow()
                await self._wait_trigger("start")
                if not self.stop_wanted.is_set():
                    await self._stage("on_start", extension.on_start)
                    instance.use_context()
            self._answer("start")
            if self.failed and not instance.engine.closing:
                self.stop_wanted.set()
            self.stage = "running"
            self.started.set()
            instance.engine.started_one()
            await self.stop_wanted.wait()
            if not self._restarting and not self.failed:
                await self._wait_trigger("stop")
            await self._stage("on_stop", extension.on_stop)
            self._answer("stop")
            await env._close_tasks()
            try:
                await stack.aclose()
            except BaseException as error:
                self._failure("lifespan", error)
        if not self._restarting:
            await instance.engine.stopped_one()
            instance.refuse()
        await self._stage("on_deinit", extension.on_deinit)
        env._close()

    async def _stage(self, name: str, callback: Callable[[TenEnv], Awaitable[object]]) -> None:
        self.stage = name
        began = trio.current_time()
        try:
            await callback(self.instance.env)
        except BaseException as error:
            self._failure(name, error)
        finally:
            self.durations[name] = trio.current_time() - began

    def _call(self, name: str, function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:
            self._failure(name, error)

    def _failure(self, name: str, error: BaseException) -> None:
        instance = self.instance
        rising, failure = split(error, closing=instance.engine.closing)
        if failure is not None:
            self.failed = self.failed or name not in ("on_stop", "on_deinit")
            blame(failure, f"in {name} of {instance.name!r}", instance.engine)
            instance.engine.extension_failed(instance, failure)
        if rising is error:
            raise error
        if rising is not None:
            raise rising from None

    # Manual control ---------------------------------------------------------------------------

    def _configured(self) -> None:
        self._manual = self.instance.env._manual_stages()
        early, self._early = self._early, []
        for cmd in early:
            self.trigger(cmd)

    async def _wait_trigger(self, stage: str) -> None:
        if self._manual is None or stage not in self._manual:
            return
        self.awaits_trigger = True
        self.instance.engine.started_one()
        try:
            while stage not in self._triggers:
                if stage == "start" and self.stop_wanted.is_set():
                    return
                self._poked = trio.Event()
                await self._poked.wait()
        finally:
            self.awaits_trigger = False

    def _answer(self, stage: str) -> None:
        self._past.add(stage)
        cmd = self._triggers.pop(stage, None)
        if cmd is not None:
            cmd._path.answer(StatusCode.OK, TRIGGERED)

    def _answer_triggers(self) -> None:
        for cmd in (*self._early, *self._triggers.values()):
            cmd._path.answer(StatusCode.ERROR, "The extension has been closed.")


def slow_line(task_frames: Any) -> str:
    """The innermost line of a suspended task, `file:line in function`."""
    last = ""
    for frame, line in task_frames:
        last = f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
    return last
