"""What arrives in a graph from outside of it: from another graph, another app, or a client."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import TenError
from ..graphs import GRAPH_PROXY
from ..messages import StatusCode
from .current import NOTHING
from .directory import HOST, NOT_FOUND
from .endpoint import CANCELLED, Hop, Routes
from .passing import Home, PassedOn

if TYPE_CHECKING:
    from ..messages import Cmd, Msg
    from .engine import EngineCore
    from .lines import Line

logger = logging.getLogger("ten_trio.runtime")


def admit_cmd(core: EngineCore, extension: str | None, cmd: Cmd, path: Any) -> None:
    """A command from another graph, for one of the extensions or along the exposed messages."""
    if path.closed:
        return  # its caller has gone while this graph was being created
    if cmd._turn is not None and cmd._turn.is_cancelled:
        path.answer(StatusCode.ERROR, CANCELLED)
        return
    if core.closing:
        path.answer(StatusCode.ERROR, core.closed_detail())
        return
    hops = _admitted(core, extension, cmd, core.host.cmd_routes)
    if len(hops) == 1:
        hop = hops[0]
        if hop.conversion is not None and cmd.is_plain:
            try:
                converted = hop.conversion.apply(cmd)
            except TenError as error:
                path.answer(StatusCode.ERROR, str(error))
                return
            converted._src, converted._id = cmd._src, path.id
            cmd = converted
        hop.receiver.take_cmd(cmd, path, hop.result_conversion)
    elif hops:
        # Exposed by several: it goes to all of them, as one of the host's own would.
        cmd._dests = ()
        path.in_path = PassedOn(core.host.start(cmd, Home(path), NOTHING))
    else:
        path.answer(StatusCode.ERROR, NOT_FOUND)


def await_data(core: EngineCore, extension: str | None, msg: Msg) -> None:
    """Admit data as soon as the extensions exist."""
    if core.takes_now:
        admit_data(core, extension, msg)
    else:
        core.when_created(partial(admit_data, core, extension, msg))


def admit_data(core: EngineCore, extension: str | None, msg: Msg) -> Line | None:
    """Data or a frame from another graph or app; a line that is over its bound now, if one is."""
    full = None
    if msg._turn is not None and msg._turn.is_cancelled:
        core.turns.dropped += 1
        return None
    if core.closing:  # as for commands
        if not core.is_over:
            core.host.data_line.drop("closing")
        return None
    for hop in _admitted(core, extension, msg, core.host.flow_routes[msg.kind]):
        shell = msg._shell()
        if hop.conversion is not None:
            try:
                shell = hop.conversion.apply(shell)
                shell._src = msg._src
            except TenError as error:
                hop.line.drop("conversion")
                logger.warning("%s: %r from %s dropped: %s", core.loc, msg, msg._src, error)
                continue
        shell._line = line = hop.line
        if line.count >= line.hard and not line.owner.make_room(line):
            continue
        line.count += 1
        if line.count > line.cap:
            full = line
        line.entry.put(shell)
    return full


def _admitted(core: EngineCore, extension: str | None, msg: Msg, exposed: Routes) -> Sequence[Hop]:
    if extension == HOST:
        return (Hop(core.host),)
    if extension and extension != GRAPH_PROXY:
        if core.inward:
            src = msg._src
            key = (src.app_uri, src.extension_name, msg.kind, msg.name, extension)
            hop = core.inward.get(key)  # type: ignore[arg-type]
            if hop is not None:
                return (hop,)
        return (Hop(core.directory.extension(extension)),)
    return exposed.get(msg.name, ())


__all__ = ["admit_cmd", "admit_data", "await_data"]
