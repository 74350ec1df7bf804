"""A running extension: its two lines, what its handlers start with, and what happens at its ends."""

from __future__ import annotations

import logging
from contextvars import copy_context
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import trio

from ..errors import HandlerLeak, InvalidArgument, SchemaError
from ..messages import (
    EMPTY_LOC,
    AudioFrame,
    CloseApp,
    Cmd,
    CmdResult,
    Data,
    Loc,
    Msg,
    StartGraph,
    StatusCode,
    StopGraph,
    Timeout,
    Timer,
    TriggerLifeCycle,
    VideoFrame,
)
from .budgets import clocked_table
from .calls import Call
from .current import Background, Hand, with_hand
from .endpoint import Endpoint
from .lines import Diverted, Line, Starter
from .paths import InPath, OutPath, State, Unasked
from .settings import Settings
from .supervision import blame, split

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ..graphs import Conversion
    from ..schemas import ApiSchemas
    from .engine import EngineCore
    from .env import TenEnv
    from .extension import Extension
    from .lanes import Group, Worker
    from .lifecycle import Life
    from .turns import Turn

logger = logging.getLogger("ten_trio.runtime")

GOING = "The destination extension is in its de-initialization phase."
_COMMANDS = (Cmd, StartGraph, StopGraph, CloseApp, Timer, Timeout, TriggerLifeCycle)


_NONE_HELD: list[Msg] = []
"""Shared by everything that holds nothing back; never added to."""


class Instance(Endpoint):
    """One extension in one graph."""

    __slots__ = (
        "__weakref__",
        "answered_with_error",
        "background",
        "cmd_line",
        "context",
        "data_line",
        "env",
        "extension",
        "group",
        "hand",
        "held",
        "life",
        "result_line",
        "settings",
        "workers",
    )

    is_near = True

    def __init__(
        self,
        engine: EngineCore,
        name: str,
        group: Group,
        extension: Extension,
        settings: Settings,
    ) -> None:
        super().__init__(engine, name, Loc(engine.loc.app_uri, engine.graph_id, name))
        self.life: Life
        self.group = group
        self.workers: dict[Worker, Msg] = {}
        self.background = Background()
        """What the lifecycle callbacks run as."""
        self.held: list[Msg] = _NONE_HELD
        self.answered_with_error = 0
        limits = engine.limits
        self.data_line = Line(
            "data",
            self,
            None,
            serial=settings.data_handlers == "serial",
            inline=settings.inline,
            cap=limits.queue,
            hard=limits.hard_queue,
        )
        self.cmd_line = Line(
            "commands",
            self,
            None,
            serial=settings.cmd_handlers == "serial",
            inline=settings.inline,
            cap=limits.pending_cmds,
            hard=limits.pending_cmds,
        )
        # Results pass whatever the handlers of commands do, or none of these could wait for one.
        self.result_line = Line(
            "results",
            self,
            None,
            serial=False,
            inline=settings.inline,
            cap=limits.pending_cmds,
            hard=limits.pending_cmds,
        )
        self.result_line.open(group.shared)
        self.data_line.companions = (self.cmd_line, self.result_line)
        self.cmd_line.companions = (self.data_line, self.result_line)
        self.equip(extension, settings)
        self.hold()

    def equip(self, extension: Extension, settings: Settings) -> None:
        """Let `extension` be what runs here; also after a restart."""
        from .env import TenEnv  # noqa: PLC0415 - the env needs the instance, as the instance the env

        self.extension = extension
        self.settings = settings
        extension.name = self.name
        self.env: TenEnv = TenEnv(self)
        self.use_schemas(None)
        for line in (self.data_line, self.cmd_line, self.result_line):
            line.env = self.env
            line.inline = settings.inline
        self.use_context()

    def use_context(self) -> None:
        """Handlers start in copies of the context that is current now."""
        self.context = copy_context()
        self.part_with_hand()

    def part_with_hand(self) -> None:
        """A handler waits, and keeps the hand that it has: the next ones get another."""
        self.hand = Hand()
        self.context = with_hand(self.context, self.hand)

    def use_schemas(self, schemas: ApiSchemas | None) -> None:
        """Check messages against `schemas`; without any, handlers are called directly."""
        self.schemas = schemas
        self.fit()

    def fit(self) -> None:
        """Let handlers start through whatever wants to be asked or told of that now."""
        engine, line = self.engine, self.data_line
        flow, filed = _CHECKED, _FILED
        line.target = self.cmd_line.target = self.result_line.target = self
        if self.schemas is None:
            kind: Any = type(self.extension)
            line.target = self.extension
            flow = _handlers(kind.on_data, kind.on_audio_frame, kind.on_video_frame)
        if engine.taps is not None:
            flow, filed = engine.taps.table(flow), engine.taps.table(filed)
        if line.passage is not None:
            flow = line.passage.table(flow)
        self.result_line.table = filed
        if engine.measures:
            flow, filed = clocked_table(flow), clocked_table(filed)
        line.table, self.cmd_line.table = flow, filed

    def measure(self) -> None:
        """From now on there are turns with a budget: let handlers start through a clock."""
        for line in (self.data_line, self.cmd_line):
            line.table = clocked_table(line.table)

    # States of the lines ----------------------------------------------------------------------

    def hold(self) -> None:
        """Keep what comes, except results, until `flow`; also what is queued already."""
        self.held = [*self.held, *self._take_queued()]
        for line in (self.data_line, self.cmd_line):
            line.entry = Diverted(self.held.append)
            line.lane = line.lane or self.group.shared
        # The stages until `flow` hold the data up, as a handler that waits does.
        self.background._line = self.data_line if self.data_line.serial else None

    def flow(self) -> None:
        """Let messages through: first those that were kept, in the order of their arrival."""
        self.background._line = None
        for line in (self.data_line, self.cmd_line):
            assert line.lane is not None
            line.open(line.lane)
        held, self.held = self.held, _NONE_HELD
        for msg in held:
            msg._line.entry.put(msg)

    def refuse(self) -> None:
        """From `on_deinit` on: commands are answered with ERROR, data is dropped, results pass."""
        self.background._line = None
        held = [*self.held, *self._take_queued()]
        self.held = _NONE_HELD
        self.data_line.entry = self.cmd_line.entry = Diverted(self._refuse)
        for msg in held:
            self._refuse(msg)
        self.data_line.release()
        if self.data_line.passage is not None:
            self.data_line.passage.release()

    def _take_queued(self) -> list[Msg]:
        lines = (self.data_line, self.cmd_line)
        if not any(line.count for line in lines):
            return []
        lanes = dict.fromkeys(line.lane for line in lines if line.lane is not None)
        return [msg for lane in lanes for msg in lane.take(*lines)]

    def _refuse(self, msg: Msg) -> None:
        msg._line.count -= 1
        msg._line.popped += 1
        self._turn_away(msg)

    def _ignore(self, msg: Msg) -> None:
        msg._line.count -= 1

    def _turn_away(self, msg: Msg) -> None:
        if isinstance(msg, Cmd):
            if isinstance(msg._path, InPath) and msg._path.state is State.OPEN:
                self.answered_with_error += 1
                msg._path.answer(StatusCode.ERROR, GOING)
        else:
            msg._line.drop("closing")
            self._lost(msg, "closing")

    def _lost(self, msg: Msg, cause: str) -> None:
        """Data was dropped that waited: the edge that it has come by may count it too."""
        if self.data_line.passage is not None:
            self.data_line.passage.lost(msg, cause)

    def make_room(self, line: Line) -> bool:
        """Beyond the hard bound: whether one more message may come in."""
        if self.engine.limits.overflow != "drop_oldest":
            line.drop("overflow")
            return False
        assert line.lane is not None
        queued = line.lane.take_all()
        for queue in (queued, self.held):
            oldest = next((msg for msg in queue if msg._line is line), None)
            if oldest is not None:
                queue.remove(oldest)
                line.count -= 1
                line.popped += 1
                line.drop("overflow")
                self._lost(oldest, "overflow")
                break
        for msg in queued:
            line.lane.put(msg)
        return True

    # Receiving --------------------------------------------------------------------------------

    def take_cmd(self, cmd: Cmd, path: OutPath | Any, result_conversion: Conversion | None) -> None:
        """File a command: from now on it has to be answered through `path`."""
        line = self.cmd_line
        if len(self.in_paths) >= line.hard:
            path.answer(
                StatusCode.ERROR, f"busy: {self.name} has {len(self.in_paths)} commands to answer"
            )
            return
        cmd._path = path.in_path = in_path = InPath(self, path, result_conversion)
        if cmd.__class__ is TriggerLifeCycle:
            self.engine.trigger(self, cmd)
            return
        data_line = self.data_line
        in_path.mark = data_line.popped + data_line.count
        cmd._line = line
        line.count += 1
        line.entry.put(cmd)

    def take_timeout(self, timeout: Timeout, path: Any) -> None:
        """File a timer's command, which wants no answer."""
        timeout._path = path
        timeout._line = line = self.cmd_line
        line.count += 1
        line.entry.put(timeout)

    def take_result(self, result: CmdResult) -> None:
        """File a result of a command that was sent from here.

        Nothing needs to be filed for a call that somebody waits for, if nothing is queued here that
        the result would overtake: the call takes it, and its task is woken.  The runtime's own
        answers, which come from no place, are filed all the same: who cancels or restarts a handler
        answers its commands first, and that must not be what wakes it; and some are given before
        the sender has begun to wait.
        """
        line = self.result_line
        if (
            result._path.sink.__class__ is Call
            and result._src is not EMPTY_LOC
            and not (line.count or self.cmd_line.count or self.data_line.count)
            and line.table is _FILED
            and not self.closed
        ):
            line.popped += 1
            self._start_result(self.env, result)
            return
        result._line = line
        line.count += 1
        line.entry.put(result)

    def _start_cmd(self, env: TenEnv, cmd: Cmd) -> Coroutine[Any, Any, None] | None:
        path = cmd._path
        if path.__class__ is Unasked:
            return self.extension.on_cmd(env, cmd)
        path.started = True
        if self.settings.cancel_abandoned:
            if path.is_abandoned:
                return None
            path.on_abandon = lambda: self._cancel_handler(cmd)
        if self.schemas is not None:
            try:
                self._check_in(cmd)
            except SchemaError as error:
                path.answer(StatusCode.ERROR, str(error))
                return None
        return self.extension.on_cmd(env, cmd)

    def _cancel_handler(self, cmd: Cmd, *, again: bool = False) -> None:
        for worker, msg in self.workers.items():
            if msg is cmd:
                worker.cancel("the caller is gone")
                return
        if not again:
            # It may be on its way to its first wait.
            self.engine.start_soon(self._cancel_soon, cmd)

    async def _cancel_soon(self, cmd: Cmd) -> None:
        await trio.lowlevel.checkpoint()
        self._cancel_handler(cmd, again=True)

    def _start_checked_data(self, env: TenEnv, data: Any) -> Coroutine[Any, Any, None] | None:
        try:
            self._check_in(data)
        except SchemaError as error:
            self.data_line.drop("schema")
            logger.warning("%s: %r dropped: %s", self.loc, data, error)
            return None
        if data.__class__ is Data:
            return self.extension.on_data(env, data)
        if data.__class__ is AudioFrame:
            return self.extension.on_audio_frame(env, data)
        return self.extension.on_video_frame(env, data)

    def _check_in(self, msg: Msg) -> None:
        assert self.schemas is not None
        schema = self.schemas.message("in", msg.kind, msg.name)
        if schema is not None:
            _adjust(msg, schema)

    def _start_result(self, _: object, result: CmdResult) -> Any:
        path: OutPath = result._path
        if path.closed:
            self.late_results += 1
            return None
        if self.schemas is not None and result.status is StatusCode.OK:
            schema = self.schemas.result("out", path.cmd_name)
            if schema is not None:
                try:
                    _adjust(result, schema)
                except SchemaError as error:
                    logger.warning("%s: result of %r: %s", self.loc, path.cmd_name, error)
                    result.status = StatusCode.ERROR
        return path.arrive(result)

    def discard_queued(self, sent_before: Cmd | None) -> int:
        """Drop queued data: all of it, or what was sent before this command; how many it was."""
        line = self.data_line
        most = line.count
        if sent_before is not None:
            path = sent_before._path
            if not isinstance(path, InPath) or path.owner is not self:
                raise InvalidArgument(f"{self.name}: {sent_before!r} wasn't received here")
            most = max(0, path.mark + path.behind - line.popped)
        assert line.lane is not None
        queued = line.lane.take_all()
        dropped = 0
        for msg in queued:
            if msg._line is line and dropped < most:
                dropped += 1
                self._lost(msg, "discarded")
            else:
                line.lane.put(msg)
        for msg in [msg for msg in self.held if msg._line is line][: most - dropped]:
            self.held.remove(msg)
            dropped += 1
            self._lost(msg, "discarded")
        line.count -= dropped
        line.popped += dropped
        if line.waiters is not None and line.count <= line.low:
            line.release()
        if dropped:
            line.drop("discarded", dropped)
        return dropped

    # Sending ----------------------------------------------------------------------------------

    def check_out(self, msg: Any) -> Any:
        """Check a message against the manifest before it is sent. Raises `SchemaError`."""
        assert self.schemas is not None
        schema = self.schemas.message("out", msg.kind, msg.name)
        return msg if schema is None else _adjust(msg, schema, copy=True)

    def check_result_out(self, path: InPath, result: CmdResult) -> CmdResult:
        """Check a result against the manifest before it is returned. Raises `SchemaError`.

        An ERROR is let through: it says why there is no result of the declared form.
        """
        assert self.schemas is not None
        if result.status is not StatusCode.OK:
            return result
        schema = self.schemas.result("in", path.out.cmd_name)
        return result if schema is None else _adjust(result, schema, copy=True)

    # Errors -----------------------------------------------------------------------------------

    def handler_failed(self, msg: Msg, error: BaseException) -> BaseException | None:
        """Answer the command, apply the error policy; what is left has to go on rising."""
        path = msg._path
        overdue = isinstance(path, InPath) and not path.time_left
        closing = self.closed or self.engine.closing
        rising, failure = split(error, closing=closing, overdue=overdue)
        if failure is not None:
            blame(failure, f"while {self.name!r} handled {msg!r}", self.engine)
            self.handler_raised(msg, failure)
        return rising

    def handler_raised(self, msg: Msg, failure: Exception) -> None:
        """A handler of `msg` raised `failure`: no caller hangs, and the policy is applied."""
        # Of a result it is that of the received command that was sent on, if it answers one.
        path = msg._path if isinstance(msg, Cmd | CmdResult) else None
        if isinstance(path, InPath):
            path.answer(StatusCode.ERROR, f"{self.name}: {type(failure).__name__}: {failure}")
        self.engine.extension_failed(self, failure)

    def handler_cancelled(self) -> None:
        """A handler has ended that was cancelled."""
        self.engine.turns.changed()

    def is_over(self, turn: Turn) -> bool:
        """Whether the step that cancels this turn has been taken here."""
        # It may have been cancelled elsewhere, and the step has yet to come.
        return turn.is_cancelled and turn in self.engine.turns.over

    def handler_leaked(self, msg: Msg) -> None:
        """A handler left a nursery of its own open."""
        failure = HandlerLeak(
            f"{self.name}: the handler of {msg!r} returned inside a nursery it had opened; "
            f"close it in the handler, or use env.nursery or lifespan"
        )
        blame(failure, f"while {self.name!r} handled {msg!r}", self.engine)
        self.handler_raised(msg, failure)

    # Ends -------------------------------------------------------------------------------------

    def cancel_handlers(self, reason: str) -> None:
        """Cancel the handlers that are waiting."""
        for worker in tuple(self.workers):
            worker.cancel(reason)

    def end(self, detail: str) -> None:
        """After `on_deinit`: nothing may stay unanswered, nobody may wait."""
        self.refuse()
        self.closed = True
        self.answered_with_error += self.answer_all(detail)
        self.end_calls(f"The extension {self.name} has been closed.")
        self.result_line.entry = Diverted(self._ignore)
        self.cancel_handlers("the extension is closed")


@lru_cache(maxsize=1_024)
def _handlers(on_data: Starter, on_audio: Starter, on_video: Starter) -> dict[type[Msg], Starter]:
    return {Data: on_data, AudioFrame: on_audio, VideoFrame: on_video}


_CHECKED: dict[type[Msg], Starter] = dict.fromkeys(
    (Data, AudioFrame, VideoFrame), Instance._start_checked_data
)
_FILED: dict[type[Msg], Starter] = {
    **dict.fromkeys(_COMMANDS, Instance._start_cmd),
    CmdResult: Instance._start_result,
}


def _adjust(msg: Any, schema: Any, *, copy: bool = False) -> Any:
    """`msg` with its properties as `schema` wants them. Raises `SchemaError`."""
    try:
        properties = schema.check(msg._props)
    except SchemaError as error:
        raise SchemaError(f"{msg.kind} {msg.name!r}: {error}") from error
    if properties is msg._props:
        return msg
    if copy:
        keep = msg
        msg = keep._shell()
        msg._dests = keep._dests
        if isinstance(msg, Cmd | CmdResult):
            msg._id, msg._path = keep._id, keep._path
    msg._props = properties
    msg._shared = False
    return msg


__all__ = ["GOING", "Instance", "Settings"]
