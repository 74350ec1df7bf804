"""The commands that an app itself carries out: start_graph, stop_graph and close_app."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from ..errors import TenError
from ..messages import StartGraph, StatusCode, StopGraph
from .loops import ask
from .own_loop import CoreLink

if TYPE_CHECKING:
    from ..messages import Cmd
    from .app import App
    from .engine import EngineCore

logger = logging.getLogger("ten_trio.runtime")


def carry_out(app: App, cmd: Cmd, path: Any, engine: EngineCore | CoreLink | None) -> None:
    """start_graph, stop_graph or close_app from one of the graphs, or (None) from outside."""
    if isinstance(cmd, StartGraph):
        assert engine is not None
        app._spawn(_start, app, cmd, path)
    elif isinstance(cmd, StopGraph):
        own = "" if engine is None else engine.graph_id
        core = app.engines.get(app.graph_id_of(cmd.graph_id) if cmd.graph_id else own)
        if core is None:
            path.answer(StatusCode.ERROR, "Failed to find the engine to be shut down.")
        elif core is engine:
            # Its sender would be gone by the time it is done: the answer comes first.
            path.answer(StatusCode.OK, "close engine begins")
            app._spawn(_close_after_answer, core)
        else:
            core.request_close("stop_graph")
            app._spawn(_answer_when_closed, core, path)
    else:
        path.answer(StatusCode.OK, "close app begins")
        app._spawn(_close_app_after_answer, app, engine)


async def _start(app: App, cmd: StartGraph, path: Any) -> None:
    with trio.CancelScope(shield=True):
        try:
            core = app.graph_for(cmd)
            await app._run_unattended(core)
        except TenError as error:
            path.answer(StatusCode.ERROR, str(error))
        except BaseExceptionGroup as group:
            path.answer(StatusCode.ERROR, "; ".join(str(error) for error in group.exceptions))
        except Exception as error:
            # Of the app's own tasks none may end the app, and every command ends.
            logger.exception("a start_graph command of %s fails", cmd._src)
            path.answer(StatusCode.ERROR, f"{type(error).__name__}: {error}")
        else:
            path.answer(StatusCode.OK, "", graph_id=core.graph_id)


async def _close_app_after_answer(app: App, engine: EngineCore | CoreLink | None) -> None:
    with trio.CancelScope(shield=True):
        if engine is not None:
            await _answer_handled(engine)
        app.request_close("close_app")


async def _close_after_answer(core: EngineCore | CoreLink) -> None:
    with trio.CancelScope(shield=True):
        await _answer_handled(core)
        core.request_close("stop_graph")


async def _answer_handled(core: EngineCore | CoreLink) -> None:
    # The answer is in the sender's line: let it be handled there first.
    if isinstance(core, CoreLink):
        if core.core_or_none is None:
            return  # its loop isn't known here yet, and hears of the close after the answer anyway
        with suppress(trio.RunFinishedError):
            await ask(core.loop, core.core.start_soon, trio.lowlevel.checkpoint)
    else:
        await trio.lowlevel.checkpoint()


async def _answer_when_closed(core: EngineCore | CoreLink, path: Any) -> None:
    with trio.CancelScope(shield=True):
        await core.closed.wait()
        path.answer(StatusCode.OK, "close engine done")
