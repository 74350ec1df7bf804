"""What HTTP clients can do, a function for each; see docs/http.md.

Whatever result a command has, ERROR included, the response is 200: the request has been carried out,
and how it went is in the body. Whoever reads results as they come has to be told the status before the
first one is there, and no proxy may repeat a command because it took a result for a failure of
the server.
"""

from __future__ import annotations

import json
from hmac import compare_digest
from secrets import randbits
from typing import TYPE_CHECKING, Any, Final

from ...errors import ConnectFailed, EngineClosed, GraphError, TenError
from ...messages import CloseApp, Cmd, CmdResult, Loc, Msg, StartGraph, StatusCode, StopGraph
from ...runtime.app import failure_data
from ...runtime.own_loop import CoreLink
from ...runtime.paths import made_result
from ..admission import Busy, NotAllowed
from .bodies import destination, problems_of
from .calls import Core, EachResult, Exposed, Lines, OneResult, send_data
from .server import Refusal

if TYPE_CHECKING:
    from .front import Visit

KEY: Final = "ten-graph-key"
"""The header by which whoever has started a graph shows that it is theirs."""
STATUS: Final = "ten-status"
"""The header of a response with one result: its `status_code`."""

_GONE: Final = "the HTTP client that has started it is gone"


# The app ------------------------------------------------------------------------------------------


async def about(visit: Visit) -> None:
    """GET /: the app."""
    app = visit.front.app
    told: dict[str, Any] = {"app": app.uri}
    if visit.trusted:
        told["predefined"] = [graph.name for graph in app.property.predefined_graphs]
    await _tell(visit, told)


async def close_app(visit: Visit) -> None:
    """POST /close: close the app."""
    cmd = CloseApp()
    if not visit.front.admission.may_control(cmd, visit.trusted):
        raise Refusal(403, f"not allowed: {cmd.name} from outside")
    result = made_result(StatusCode.OK, "close app begins")
    await _return(visit, cmd, result, 202)
    visit.front.app.request_close("close_app")


# Graphs -------------------------------------------------------------------------------------------


async def graphs(visit: Visit) -> None:
    """GET /graphs: those that run."""
    if not visit.trusted:
        raise Refusal(403, "not allowed: a list of the graphs")
    await _tell(visit, {"graphs": list(map(_described, visit.front.app.engines.values()))})


async def graph(visit: Visit) -> None:
    """GET /graphs/ID: one of them."""
    await _tell(visit, _described(_own_graph(visit, "to look at a graph")))


async def start(visit: Visit) -> None:
    """POST /graphs: start one, which lives until it is stopped, or as long as the client reads."""
    front, request = visit.front, visit.request
    app = front.app
    try:
        cmd = front.bodies.start_graph(request)
        front.admission.check_start(cmd, visit.trusted)
        core = _new_engine(visit, cmd)
    except NotAllowed as error:
        raise Refusal(403, str(error)) from None
    except Busy as error:
        raise Refusal(429, str(error)) from None
    except EngineClosed as error:
        raise Refusal(503, str(error)) from None
    except (TenError, ExceptionGroup, OSError) as error:
        raise Refusal(400, str(error), **problems_of(error)) from None
    key = front.keys[core] = f"{randbits(128):032x}"
    exposed = _exposed(visit, core) if request.wants_lines else None
    stays = False
    try:
        if exposed is not None:
            exposed.begin()
        app.run_in_background(core)
        await core.created.wait()
        if not core.is_created:
            await core.closed.wait()
            raise _not_started(core)
        result = made_result(StatusCode.OK, "", graph_id=core.graph_id, key=key)
        where = f"/graphs/{core.graph_id}"
        stays = cmd.long_running_mode
        if exposed is None:
            await _return(visit, cmd, result, 201, location=where)
            stays = True
        else:
            await visit.exchange.begin(200, location=where)
            await visit.exchange.write(front.bodies.result(_answer(cmd, result)))
            await _write_all(visit, exposed.lines)
            if core.failures:
                told = failure_data(core.graph_id, core.failures)
                await visit.exchange.write(front.bodies.line(told))
    finally:
        if exposed is not None:
            exposed.stop()
        if not stays:
            core.request_close(_GONE)


def _new_engine(visit: Visit, cmd: StartGraph) -> Core:
    app = visit.front.app
    if cmd.predefined_graph_name:
        try:
            app.predefined(cmd.predefined_graph_name)
        except GraphError as error:
            raise Refusal(404, str(error), **problems_of(error)) from None
    core = app.graph_for(cmd)
    # What it exposes isn't sent to anybody, but read by whoever asks for it.
    core.starter = None
    visit.front.admission.started(core)
    return core


def _not_started(core: Core) -> Refusal:
    """What a client is told whose graph is all right as a graph, and couldn't be started all the same."""
    status = 422
    for failure in core.failures:
        if isinstance(failure, ConnectFailed):
            status = 502
        elif not isinstance(failure, TenError):
            status = 500
    told = [f"{type(failure).__name__}: {failure}" for failure in core.failures]
    return Refusal(status, "; ".join(told) or core.closed_detail())


async def stop(visit: Visit) -> None:
    """DELETE /graphs/ID: stop one, and wait until it is closed."""
    core = _own_graph(visit, "stop_graph")
    core.request_close("stop_graph")
    await core.closed.wait()
    result = made_result(StatusCode.OK, "close engine done")
    await _return(visit, StopGraph(graph_id=core.graph_id), result)


async def messages(visit: Visit) -> None:
    """GET /graphs/ID/messages: what a graph exposes from now on, in lines."""
    core = _own_graph(visit, "to read what a graph exposes")
    exposed = _exposed(visit, core, *visit.request.query.get("name", ()))
    exposed.begin()
    try:
        await visit.exchange.begin()
        await _write_all(visit, exposed.lines)
    finally:
        exposed.stop()


# Messages to a graph ------------------------------------------------------------------------------


async def cmd(visit: Visit) -> None:
    """POST /graphs/ID/cmd/NAME: send a command; its result, or its results in lines."""
    front = visit.front
    command: Any = _message(visit)
    extension = destination(command)
    if not command.is_plain and not extension:
        raise Refusal(400, f"{command.name} is for one extension: ten.dest has to name it")
    core = _graph_to_use(visit)
    command._src = _client(core)
    if visit.request.wants_lines:
        each = EachResult(front.bodies, front.settings.out_bytes)
        path = front.callers.send(core, extension, command, each, True)
        each.abandon = path.abandon
        try:
            await visit.exchange.begin()
            await _write_all(visit, each.lines)
        finally:
            path.abandon()
        return
    one = OneResult()
    path = front.callers.send(core, extension, command, one, False)
    try:
        await one.completed.wait()
    finally:
        path.abandon()
    assert one.result is not None
    await _return(visit, command, one.result)


async def data(visit: Visit) -> None:
    """POST /graphs/ID/data/NAME and the like: send data or a frame."""
    msg = _message(visit)
    extension = destination(msg)
    core = _graph_to_use(visit)
    msg._src = _client(core)
    if not await send_data(core, extension, msg, visit.front.settings.send_timeout):
        raise Refusal(409, core.closed_detail())
    await visit.exchange.respond(202)


def _message(visit: Visit) -> Msg:
    path = visit.request.path
    name = path[3] if len(path) > 3 else ""
    return visit.front.bodies.message(path[2], name, visit.request.body)


def _client(core: Core) -> Loc:
    """Where a message comes from: a new client for each, since HTTP knows of no longer ones."""
    return Loc(f"{randbits(128):032x}", core.graph_id, None)


# Which graph --------------------------------------------------------------------------------------


def _graph_to_use(visit: Visit) -> Core:
    """The graph in the path, started if it is a singleton that isn't there yet. Raises `Refusal`."""
    core = visit.front.app._graph_for(visit.graph)
    if core is None:
        raise Refusal(404, "Graph not found.")
    if core.closing:
        raise Refusal(409, core.closed_detail())
    return core


def _own_graph(visit: Visit, what: str) -> Core:
    """The graph in the path, if it is the client's own or the client may do anything."""
    front = visit.front
    core = front.app.engines.get(front.app.graph_id_of(visit.graph))
    if visit.trusted:
        if core is None:
            raise Refusal(404, "Graph not found.")
        return core
    shown, key = visit.request.headers.get(KEY, ""), front.keys.get(core) if core else None
    if core is None or key is None or not compare_digest(shown.encode(), key.encode()):
        # Whether there is such a graph is nothing for everybody.
        raise Refusal(403, f"not allowed: {what}, without the key ({KEY}) of a graph of your own")
    return core


def _described(core: Core) -> dict[str, Any]:
    engine = core
    if isinstance(core, CoreLink):
        started = core.started.is_set()
        engine = core.core if started else core
    else:
        started = core.created.is_set() and not core.late_starters
    here = core._app.is_here if isinstance(core, CoreLink) else core.app.is_here
    planned = core._graph if isinstance(core, CoreLink) else core.graph
    names = [node.name for node in planned.nodes if not node.app or here(node.app)]
    return {
        "id": core.graph_id,
        "name": core.graph_name,
        "state": "closing" if core.closing else "running" if started else "starting",
        "extensions": names if isinstance(engine, CoreLink) else list(engine.instances) or names,
    }


# Responses ----------------------------------------------------------------------------------------


async def _tell(visit: Visit, told: object) -> None:
    text = json.dumps(told, ensure_ascii=False)
    await visit.exchange.respond(200, text.encode("utf-8", "replace") + b"\n")


def _answer(cmd: Cmd, result: CmdResult) -> CmdResult:
    """Say which command `result` answers; for those that never were on their way."""
    result.seq_id = cmd.seq_id
    result.original_cmd_name = cmd.name
    result.original_cmd_type = cmd.type
    result.is_completed = True
    return result


async def _return(
    visit: Visit, cmd: Cmd, result: CmdResult, status: int = 200, **headers: str
) -> None:
    told = visit.front.bodies.result(_answer(cmd, result))
    headers[STATUS] = result.status.name.lower()
    await visit.exchange.respond(status, told, **headers)


def _exposed(visit: Visit, core: Core, *names: str) -> Exposed:
    app, settings = visit.front.app, visit.front.settings
    most = app.limits.host_queue
    return Exposed(core, app.loop, visit.front.bodies, names, most, settings.out_bytes)


async def _write_all(visit: Visit, lines: Lines) -> None:
    while taken := await lines.take():
        await visit.exchange.write(taken)
