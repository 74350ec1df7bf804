"""The life of one extension: its callbacks, in one task of its own as long as there is one to run.

The order of all that happens is written down once, as a generator of steps: it goes on by itself as
long as nothing takes time, and yields what does, to be awaited in a task.  So an extension without
callbacks begins and ends without a task, and one without callbacks for its end has none while it runs.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from ..errors import TenError
from ..messages import StatusCode
from .current import current
from .extension import Extension, Lifespan, lifespan_of
from .flag import Flag
from .supervision import blame, split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..graphs import FlatNode
    from ..messages import TriggerLifeCycle
    from .instance import Instance
    from .metadata import Metadata
    from .paths import InPath

logger = logging.getLogger("ten_trio.runtime")

T = TypeVar("T")

Callback = Callable[[Any], Awaitable[object]]
"""Of an extension: called with its env."""
Step = Callable[[], Awaitable[Any]]
"""Something that takes time."""
Steps = Generator[Step, Any, T]
"""A part of a life: goes on as far as it can, and yields what has to be awaited."""

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
        "_is_parked",
        "_manual",
        "_metadata",
        "_node",
        "_past",
        "_poked",
        "_restarting",
        "_restarts",
        "_scope",
        "_steps",
        "_stop_begun",
        "_triggers",
        "done",
        "durations",
        "failed",
        "instance",
        "ready",
        "since",
        "stage",
        "stop_wanted",
        "stopped",
        "task",
        "trial",
        "waits_for_others",
    )

    def __init__(self, instance: Instance, node: FlatNode, metadata: Metadata) -> None:
        self.instance = instance
        instance.life = self
        self._node = node
        self._metadata = metadata
        self.stage = "created"
        self.since = 0.0
        """When that stage began, if it is one that may take time."""
        self._scope: trio.CancelScope | None = None
        """Of its task, from before it has begun on."""
        self.task: trio.lowlevel.Task | None = None
        """What it runs in, if there is anything to run."""
        self.ready = Flag()
        """It has come back from `on_start`, waits to be triggered, or is over."""
        self.stop_wanted = Flag()
        self.stopped = False
        """It is back from `on_stop`, for good."""
        self.waits_for_others = False
        """It is at the barrier before `on_deinit`."""
        self.done = Flag()
        self.durations: Mapping[str, float] = _NOTHING
        self.failed = False
        self.trial: list[Exception] | None = None
        """Takes its failures while the error policy doesn't apply yet: it is just being added."""
        self._steps = self._course()
        self._is_parked = True
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
        """Go to `on_stop` as soon as the current stage has come back; without a task, at `go_on`."""
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
        self.go_on()
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
        if self._scope is not None:
            self._scope.cancel(reason)
        self.instance.cancel_handlers(reason)
        self.instance.env._cancel(reason)

    # Its course -------------------------------------------------------------------------------

    # Ctrl-C comes before or after: nobody would go on with a life that has stopped in the middle.
    @trio.lowlevel.enable_ki_protection
    def go_on(self) -> None:
        """Begin to live, or, once a stop has come, end: in a task from the first step that takes time.

        Does nothing if it has its task, which goes on by itself.
        """
        if self._is_parked:
            self._is_parked = False
            step = self._next()
            if step is not None:
                self._scope = scope = trio.CancelScope(shield=True)
                self.instance.engine.start_soon(self._run, step, scope)

    async def _run(self, step: Step | None, scope: trio.CancelScope) -> None:
        """The task: as long as there is something to wait for, or something may lie open in it."""
        self.task = trio.lowlevel.current_task()
        current.set(self.instance.background)
        try:
            with scope:
                while step is not None:
                    step = self._next(await step())
        finally:
            self.task = None
            if step is not None:
                self._steps.close()

    def _next(self, result: object = None) -> Step | None:
        """Go on to what has to be awaited next; None if there is no need of a task for now."""
        try:
            step = self._steps.send(result)
        except StopIteration:
            return None
        return None if self._is_parked else step

    def _course(self) -> Steps[None]:
        """Live, once or (with `on_error="restart"`) several times."""
        try:
            while True:
                if (yield from self._initialise()):
                    lifespan = lifespan_of(self.instance.extension)
                    if lifespan is not None:
                        yield partial(self._serve_within, lifespan)
                    elif (yield from self._open()) and not self.stop_wanted.is_set():
                        # Here, and no deeper, is where an extension spends its life.
                        self._is_parked = not self._ends_in_task()
                        yield self.stop_wanted.wait
                if not self._stop_begun:
                    yield from self._stop()
                yield from self._leave()
                if not self._restarting or not (yield self._rebuild):
                    return
        finally:
            self._end()

    def _end(self) -> None:
        """Nothing of it goes on, however it has ended."""
        instance = self.instance
        self.stage = "closed"
        self.stopped = True
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

    def _initialise(self) -> Steps[bool]:
        """Up to the return of `on_init`; whether that has come, and all is well."""
        extension = self.instance.extension
        yield from self._begin("on_configure", extension.on_configure)
        if not self.failed:
            self._configure()
        return (yield from self._begin("on_init", extension.on_init))

    async def _serve_within(self, lifespan: Lifespan) -> None:
        """From `on_init` to `on_stop`, inside the extension's lifespan."""
        with _Supervised(self, "lifespan"):
            entered = False
            async with AsyncExitStack() as stack:
                entered = await _follow(
                    self._begin("lifespan", lambda env: stack.enter_async_context(lifespan(env)))
                )
                if entered:
                    if await _follow(self._open()):
                        await self.stop_wanted.wait()
                    await _follow(self._stop())
                    self.stage = "lifespan"
                    self.since = trio.current_time()
            if entered and not self._stop_begun and not self.failed:
                # What the lifespan had opened was cancelled, and it has swallowed that.
                raise TenError(f"{self.instance.name}: its lifespan ended before on_stop")

    def _open(self) -> Steps[bool]:
        """Let messages in, and start; whether all is well."""
        instance = self.instance
        self._use_context()
        instance.flow()
        yield from self._wait_trigger("start")
        if (yield from self._begin("on_start", instance.extension.on_start)):
            self._use_context()
        self._answer("start")
        if self.failed:
            return False
        self._is_ready()
        self.stage = "running"
        return True

    def _use_context(self) -> None:
        # Without a task there were no callbacks so far that could have changed it.
        if self.task is not None:
            self.instance.use_context()

    def _ends_in_task(self) -> bool:
        """Whether some callback is still to run, which has to be in the task of those before it."""
        extension = self.instance.extension
        return not (_is_default(extension.on_stop) and _is_default(extension.on_deinit))

    def _stop(self) -> Steps[None]:
        self._stop_begun = True
        if not self._restarting and not self.failed:
            yield from self._wait_trigger("stop")
        yield from self._stage("on_stop", self.instance.extension.on_stop)
        self._answer("stop")
        yield from self._close_tasks()

    def _leave(self) -> Steps[None]:
        """From `on_stop` on to the end."""
        instance = self.instance
        yield from self._close_tasks()
        if not self._restarting:
            self.stopped = True
            barrier = instance.engine.life_stopped()
            if barrier is not None:
                self.waits_for_others = True
                yield barrier.wait
                self.waits_for_others = False
            instance.refuse()
        yield from self._stage("on_deinit", instance.extension.on_deinit)
        instance.env._close()

    def _close_tasks(self) -> Iterable[Step]:
        close = self.instance.env._stop_tasks()
        return () if close is None else (close,)

    def _is_ready(self) -> None:
        self.ready.set()
        self.instance.engine.life_ready()

    # One stage --------------------------------------------------------------------------------

    def _begin(self, name: str, callback: Callback) -> Steps[bool]:
        """Run a stage unless a stop has come or an earlier one has failed; whether it went well."""
        if self.stop_wanted.is_set() or self.failed:
            return False
        yield from self._stage(name, callback)
        return not self.failed

    def _stage(self, name: str, callback: Callback) -> Iterable[Step]:
        self.stage = name
        if _is_default(callback):
            self._took(name, 0.0)
            return ()
        return (partial(self._call, name, callback),)

    async def _call(self, name: str, callback: Callback) -> None:
        self.since = began = trio.current_time()
        with _Supervised(self, name):
            try:
                await callback(self.instance.env)
            finally:
                self._took(name, trio.current_time() - began)

    def _took(self, name: str, seconds: float) -> None:
        if name in _REPORTED:
            self.durations = {**self.durations, name: seconds}

    def _configure(self) -> None:
        with _Supervised(self, "the properties"):
            instance = self.instance
            self._metadata.load_into(instance, self._node)
            self._manual = instance.env._manual_stages()
            early, self._early = self._early, ()
            for cmd in early:
                self.trigger(cmd)

    def _failed_in(self, name: str, error: BaseException) -> BaseException | None:
        """Deal with what has left a stage; what has to go on rising of it."""
        instance = self.instance
        rising, failure = split(error, closing=instance.engine.closing)
        if failure is not None:
            self.failed = True
            blame(failure, f"in {name} of {instance.name!r}", instance.engine)
            if self.trial is None:
                instance.engine.extension_failed(instance, failure)
            else:
                self.trial.append(failure)
        return rising

    # Manual control ---------------------------------------------------------------------------

    def _wait_trigger(self, stage: str) -> Steps[None]:
        if self._manual is None or stage not in self._manual:
            return
        self.stage = f"waiting for the trigger of {stage}"
        self.since = trio.current_time()
        self._is_ready()
        while stage not in self._triggers:
            if stage == "start" and self.stop_wanted.is_set():
                return
            poked = self._poked = Flag()
            yield poked.wait

    def _answer(self, stage: str) -> None:
        self._past += (stage,)
        cmd = self._triggers.get(stage)
        if cmd is not None:
            self._triggers = {s: c for s, c in self._triggers.items() if s != stage}
            cmd._path.answer(StatusCode.OK, TRIGGERED)


class _Supervised:
    """`with _Supervised(life, name)`: what leaves this block is a failure of the extension's."""

    __slots__ = ("_life", "_name")

    def __init__(self, life: Life, name: str) -> None:
        self._life = life
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if error is None:
            return False
        rising = self._life._failed_in(self._name, error)
        if rising is not None and rising is not error:
            raise rising from None
        return rising is None


_REPORTED = ("on_stop", "on_deinit")

_DEFAULTS = frozenset(
    {
        Extension.on_configure,
        Extension.on_init,
        Extension.on_start,
        Extension.on_stop,
        Extension.on_deinit,
    }
)


def _is_default(callback: Callback) -> bool:
    """Whether an extension doesn't override it: then it does nothing, and needn't be called."""
    return getattr(callback, "__func__", None) in _DEFAULTS


async def _follow(steps: Steps[T]) -> T:
    """Take some steps in the task that is running."""
    result = None
    while True:
        try:
            step = steps.send(result)
        except StopIteration as end:
            found: T = end.value
            return found
        result = await step()
