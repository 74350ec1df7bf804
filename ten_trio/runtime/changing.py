"""Extensions that come into a running graph, or are taken out of it: all of that or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from ..errors import GraphError, Problem
from ..graphs import GRAPH_PROXY
from .routing import compile_routes

if TYPE_CHECKING:
    from ..graphs import FlatNode
    from .engine import EngineCore
    from .lifecycle import Life


async def add_extension(core: EngineCore, node: FlatNode) -> None:
    """Create and start one more extension.

    Raises `GraphError` if there is one of that name, and what creating and starting it raises.
    """
    _check_new(core, node.name)
    made = await core.make(node)
    _check_new(core, node.name)
    life = core.place(node, *made)
    failures: list[Exception] = []
    life.trial = failures
    core.graph = attrs.evolve(core.graph, nodes=(*core.graph.nodes, node))
    compile_routes(core)
    has_started = False
    life.go_on()
    try:
        await life.ready.wait()
        has_started = not failures
    finally:
        if not has_started:
            with trio.CancelScope(shield=True):
                await _take_away(core, life)
    if failures:
        raise (
            failures[0]
            if len(failures) == 1
            else ExceptionGroup(f"{node.name} could not be started", failures)
        )
    core.check_open()
    life.trial = None


async def remove_extension(core: EngineCore, name: str) -> None:
    """Stop one extension in order and take it and its edges out of the graph.

    Nothing is sent to it from now on, what it sends goes its way until it has ended.  Raises
    `GraphError`.
    """
    core.check_open()
    if name not in core.instances or name in core.removed:
        raise GraphError([Problem("nodes", f"the graph has no node {name!r}")])
    await _take_away(core, core.lives[name])


def _check_new(core: EngineCore, name: str) -> None:
    core.check_open()
    if name in core.instances or name == GRAPH_PROXY:
        raise GraphError([Problem("nodes", f"the graph already has a node {name!r}")])


async def _take_away(core: EngineCore, life: Life) -> None:
    name = life.instance.name
    core.removed.add(name)
    if life.done.is_set():
        core.forget(life)
    elif not core.closing:
        inward = [e for e in core.edges if (e.dest_app, e.dest) == (core.app.uri, name)]
        core.routes.disconnect(inward)
        compile_routes(core)
        life.stop()
        core.start_soon(_end, core, life)
    await life.done.wait()


async def _end(core: EngineCore, life: Life) -> None:
    # In a task of its own: whoever has asked for the removal may be cancelled.
    life.go_on()
    with trio.move_on_after(core.grace) as scope:
        await life.done.wait()
    if scope.cancelled_caught:
        life.cancel("the grace of its removal ran out")
