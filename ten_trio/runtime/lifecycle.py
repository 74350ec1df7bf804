"""The life of one extension, in one task of its own."""

from __future__ import annotations

import logging
import os.path
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import trio

from ..errors import TenError
from ..messages import StatusCode
from .current import current
from .extension import Extension, Lifespan, lifespan_of
from .flag import Flag
from .supervision import blame, split

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
    from types import FrameType

    from ..messages import TriggerLifeCycle
    from .env import TenEnv
    from .instance import Instance
    from .paths import InPath

logger = logging.getLogger("ten_trio.runtime")

TRIGGERED = "Life cycle triggered successfully"
OVER = "The extension has been closed."

_NOTHING: Mapping[str, Any] = {}
"""For mappings that mostly stay empty; replaced rather than changed."""


class Life:
    """Runs the lifecycle callbacks of an instance, from `on_configure` to `on_deinit`.

    A stage that hasn't begun when the stop comes is skipped, and so are the others once one has
    failed; `on_stop` and `on_deinit` are called all the same.
    """

    __slots__ = (
        "_early",
        "_load",
        "_manual",
        "_past",
        "_poked",
        "_restarting",
        "_restarts",
        "_stop_begun",
        "_triggers",
        "done",
        "durations",
        "failed",
        "instance",
        "ready",
        "scope",
        "since",
        "stage",
        "stop_wanted",
        "stopped",
        "task",
        "trial",
        "waits_for_others",
    )

    def __init__(self, instance: Instance, load: Callable[[], None]) -> None:
        self.instance = instance
        instance.life = self
        self._load = load
        self.stage = "created"
        self.since = 0.0
        """When that stage began, if it is one that may take time."""
        self.scope = trio.CancelScope(shield=True)
        self.ready = Flag()
        """It has come back from `on_start`, waits to be triggered, or is over."""
        self.stop_wanted = Flag()
        self.stopped = False
        """It is back from `on_stop`, for good."""
        self.waits_for_others = False
        """It is at the barrier before `on_deinit`."""
        self.done = Flag()
        self.durations: Mapping[str, float] = _NOTHING
        self.task: trio.lowlevel.Task | None = None
        self.failed = False
        self.trial: list[Exception] | None = None
        """Takes its failures while the error policy doesn't apply yet: it is just being added."""
        self._stop_begun = False
        self._restarting = False
        self._restarts: tuple[float, ...] = ()
        # Manual control: stages that wait for a trigger, and the triggers that have come.
        self._manual: tuple[str, ...] | None = None
        self._triggers: Mapping[str, TriggerLifeCycle] = _NOTHING
        self._early: tuple[TriggerLifeCycle, ...] = ()
        self._past: tuple[str, ...] = ()
        self._poked: Flag | None = None

    # Asked from outside -----------------------------------------------------------------------

    def stop(self) -> None:
        """Go to `on_stop` as soon as the current stage has come back."""
        self._restarting = False
        self.stop_wanted.set()
        self._poke()

    def restart(self) -> bool:
        """Stop, build a new extension, start that. False if that has been done too often."""
        limits = self.instance.engine.limits
        now = trio.current_time()
        if self._restarting or self.stop_wanted.is_set():
            return True
        self._restarts = tuple(t for t in self._restarts if t > now - limits.restart_window)
        if len(self._restarts) >= limits.restarts:
            return False
        self._restarts += (now,)
        self._restarting = True
        instance = self.instance
        instance.hold()
        for path in list(instance.in_paths.values()):
            if path.started:
                path.answer(StatusCode.ERROR, "restarting")
        instance.end_calls("restarting")
        instance.cancel_handlers("the extension is restarted")
        self.stop_wanted.set()
        self._poke()
        instance.engine.start_soon(self._bound_restart, self._restarts)
        return True

    async def _bound_restart(self, restarts: tuple[float, ...]) -> None:
        # What is held for the extension mustn't wait for ever.
        engine = self.instance.engine
        await trio.sleep(engine.grace)
        if self._restarting and self._restarts is restarts:
            name = self.instance.name
            engine.fail(
                TenError(
                    f"{name} could not be restarted within {engine.grace:g} s: "
                    f"it was still in {self.stage}"
                )
            )

    def _poke(self) -> None:
        if self._poked is not None:
            self._poked.set()

    def trigger(self, cmd: TriggerLifeCycle) -> None:
        """A `trigger_life_cycle` command for this extension."""
        path: InPath = cmd._path
        stage = cmd.stage
        if self.done.is_set():
            path.answer(StatusCode.ERROR, OVER)
        elif not stage:
            path.answer(StatusCode.ERROR, "Missing stage field")
        elif stage not in ("start", "stop"):
            path.answer(StatusCode.ERROR, "Unsupported stage")
        elif self._manual is None:
            self._early += (cmd,)
        elif stage not in self._manual:
            path.answer(StatusCode.ERROR, f"Extension not configured for manual {stage} control")
        elif stage in self._past or stage in self._triggers:
            path.answer(StatusCode.ERROR, f"Extension already past {stage} stage")
        else:
            self._triggers = {**self._triggers, stage: cmd}
            self._poke()

    def cancel(self, reason: str) -> None:
        """End now, wherever it is, with its handlers and its tasks."""
        self.scope.cancel(reason)
        self.instance.cancel_handlers(reason)
        self.instance.env._cancel(reason)

    # The task ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live, once or (with `on_error="restart"`) several times."""
        instance = self.instance
        self.task = trio.lowlevel.current_task()
        current.set(instance.background)
        try:
            with self.scope:
                await self._live()
                while self._restarting and await self._rebuild():
                    await self._live()
        finally:
            self.stage = "closed"
            self.stopped = True
            # Nothing of it goes on, however it has ended.
            instance.env._cancel("the extension is closed")
            instance.env._close()
            instance.end(instance.engine.closed_detail())
            for cmd in (*self._early, *self._triggers.values()):
                cmd._path.answer(StatusCode.ERROR, OVER)
            self.ready.set()
            self.done.set()
            instance.engine.life_ended(self)

    async def _rebuild(self) -> bool:
        """Put a new extension in the place of the old one; False if there is none to live."""
        instance = self.instance
        logger.warning("%s: restarting", instance.loc)
        self.stage = "rebuilding"
        self.since = trio.current_time()
        try:
            extension, settings = await instance.engine.rebuild(instance)
        except Exception as error:  # noqa: BLE001 - an addon is user code; Cancelled isn't an Exception
            blame(error, f"while {instance.name!r} was built again", instance.engine)
            instance.engine.fail(error)
            return False
        if not self._restarting:
            return False  # a stop has come in the meantime
        self._restarting = self._stop_begun = self.failed = False
        self.stop_wanted = Flag()
        self._past = ()
        instance.equip(extension, settings)
        return True

    async def _live(self) -> None:
        instance = self.instance
        extension, env = instance.extension, instance.env
        await self._begin("on_configure", extension.on_configure)
        if not self.failed:
            self._configure()
        if await self._begin("on_init", extension.on_init):
            lifespan = lifespan_of(extension)
            if lifespan is not None:
                await self._serve_within(lifespan)
            elif await self._open():
                # Here, and no deeper, is where an extension spends its life.
                await self.stop_wanted.wait()
        if not self._stop_begun:
            await self._stop()
        await env._close_tasks()
        if not self._restarting:
            self.stopped = True
            self.waits_for_others = True
            await instance.engine.life_stopped()
            self.waits_for_others = False
            instance.refuse()
        await self._stage("on_deinit", extension.on_deinit)
        env._close()

    async def _serve_within(self, lifespan: Lifespan) -> None:
        """From `on_init` to `on_stop`, inside the extension's lifespan."""
        with self._supervised("lifespan"):
            entered = False
            async with AsyncExitStack() as stack:
                entered = await self._begin(
                    "lifespan", lambda env: stack.enter_async_context(lifespan(env))
                )
                if entered:
                    if await self._open():
                        await self.stop_wanted.wait()
                    await self._stop()
                    self.stage = "lifespan"
                    self.since = trio.current_time()
            if entered and not self._stop_begun and not self.failed:
                # What the lifespan had opened was cancelled, and it has swallowed that.
                raise TenError(f"{self.instance.name}: its lifespan ended before on_stop")

    async def _open(self) -> bool:
        """Let messages in, and start; whether all is well."""
        instance = self.instance
        instance.use_context()
        instance.flow()
        await self._wait_trigger("start")
        if await self._begin("on_start", instance.extension.on_start):
            instance.use_context()
        self._answer("start")
        if self.failed:
            return False
        self._is_ready()
        self.stage = "running"
        return True

    async def _stop(self) -> None:
        self._stop_begun = True
        if not self._restarting and not self.failed:
            await self._wait_trigger("stop")
        instance = self.instance
        await self._stage("on_stop", instance.extension.on_stop)
        self._answer("stop")
        await instance.env._close_tasks()

    def _is_ready(self) -> None:
        self.ready.set()
        self.instance.engine.life_ready()

    # One stage --------------------------------------------------------------------------------

    async def _begin(self, name: str, callback: Callable[[TenEnv], Awaitable[object]]) -> bool:
        """Run a stage unless a stop has come or an earlier one has failed; whether it went well."""
        if self.stop_wanted.is_set() or self.failed:
            return False
        await self._stage(name, callback)
        return not self.failed

    async def _stage(self, name: str, callback: Callable[[TenEnv], Awaitable[object]]) -> None:
        self.stage = name
        if getattr(callback, "__func__", None) in _DEFAULTS:
            self._took(name, 0.0)
            return
        self.since = began = trio.current_time()
        with self._supervised(name):
            try:
                await callback(self.instance.env)
            finally:
                self._took(name, trio.current_time() - began)

    def _took(self, name: str, seconds: float) -> None:
        if name in _REPORTED:
            self.durations = {**self.durations, name: seconds}

    def _configure(self) -> None:
        with self._supervised("the properties"):
            self._load()
            self._manual = self.instance.env._manual_stages()
            early, self._early = self._early, ()
            for cmd in early:
                self.trigger(cmd)

    @contextmanager
    def _supervised(self, name: str) -> Iterator[None]:
        """Deal with what leaves a stage, except for what has to go on rising."""
        instance = self.instance
        try:
            yield
        except BaseException as error:
            rising, failure = split(error, closing=instance.engine.closing)
            if failure is not None:
                self.failed = True
                blame(failure, f"in {name} of {instance.name!r}", instance.engine)
                if self.trial is None:
                    instance.engine.extension_failed(instance, failure)
                else:
                    self.trial.append(failure)
            if rising is error:
                raise
            if rising is not None:
                raise rising from None

    # Manual control ---------------------------------------------------------------------------

    async def _wait_trigger(self, stage: str) -> None:
        if self._manual is None or stage not in self._manual:
            return
        self.stage = f"waiting for the trigger of {stage}"
        self.since = trio.current_time()
        self._is_ready()
        while stage not in self._triggers:
            if stage == "start" and self.stop_wanted.is_set():
                return
            poked = self._poked = Flag()
            await poked.wait()

    def _answer(self, stage: str) -> None:
        self._past += (stage,)
        cmd = self._triggers.get(stage)
        if cmd is not None:
            self._triggers = {s: c for s, c in self._triggers.items() if s != stage}
            cmd._path.answer(StatusCode.OK, TRIGGERED)


_REPORTED = ("on_stop", "on_deinit")

# Callbacks that an extension doesn't override do nothing, so they needn't be called either.
_DEFAULTS = frozenset(
    {
        Extension.on_configure,
        Extension.on_init,
        Extension.on_start,
        Extension.on_stop,
        Extension.on_deinit,
    }
)

_MACHINERY = tuple(
    os.path.dirname(file) + os.sep for file in (trio.__file__, os.path.dirname(__file__))
)
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_INSTALLED = ("site-packages" + os.sep, "dist-packages" + os.sep)


def slow_line(frames: Iterable[tuple[FrameType, int]], *, anywhere: bool = True) -> str:
    """The line of user code at which a suspended task is, `file:line in function`.

    If it has no such frame, that of the innermost, or (not `anywhere`) nothing.
    """
    at = last = ""
    for frame, line in frames:
        code = frame.f_code
        last = f"{code.co_filename}:{line} in {code.co_name}"
        if not is_machinery(frame):
            at = last
    return at or (last if anywhere else "")


def is_machinery(frame: FrameType) -> bool:
    """Whether a frame is Trio's, ours, or of Python's own library: not what somebody has to mend."""
    file = frame.f_code.co_filename
    if file.startswith(_MACHINERY):
        return True
    return file.startswith(_LIBRARY) and not file.removeprefix(_LIBRARY).startswith(_INSTALLED)
