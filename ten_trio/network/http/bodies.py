"""From the body of a request to a message, and back: the JSON of docs/protocol.md.

The path already says of what kind a message is and what it is called, so `ten` may be left out, and a
body may be empty.
"""

from __future__ import annotations

from typing import Any, Final

from ...errors import GraphError, TenError
from ...graphs import Graph
from ...messages import CmdResult, Msg, StartGraph, StatusCode, TriggerLifeCycle
from ...messages.properties import FIELDS
from ..codec import CodecError, CodecLimits, TooLong, WireMsg
from ..codecs.json import JsonCodec
from .server import Refusal, Request

KINDS: Final = ("cmd", "data", "audio_frame", "video_frame")
"""What can be sent to a graph."""


class Bodies:
    """Reads and writes bodies, within the limits of messages."""

    def __init__(self, limits: CodecLimits) -> None:
        self._codec = JsonCodec(limits)

    def message(self, kind: str, name: str, body: bytes) -> Msg:
        """Return the message of a request: `kind` is one of `KINDS`. Raises `Refusal`."""
        read = self._object(body)
        ten = _ten(read)
        if ten.setdefault("type", kind) != kind:
            raise Refusal(400, f"ten.type is {ten['type']!r}, but the path says {kind!r}")
        if name and ten.setdefault("name", name) != name:
            raise Refusal(400, f"ten.name is {ten['name']!r}, but the path says {name!r}")
        if isinstance(dests := ten.get("dest"), list):
            # Which graph is said by the path, and a place wants to be whole.
            here = {"app": "", "graph": ""}
            ten["dest"] = [here | each if isinstance(each, dict) else each for each in dests]
        if not ten.get("name"):
            raise Refusal(400, f"a {kind} needs a name: send it to …/{kind}/NAME")
        msg = self._message({**read, FIELDS: ten})
        if not msg.is_plain and not isinstance(msg, TriggerLifeCycle):
            raise Refusal(400, f"{msg.name} isn't sent as a command here: see docs/http.md")
        return msg  # type: ignore[no-any-return]

    def start_graph(self, request: Request) -> StartGraph:
        """Return the command that a request for a new graph stands for.

        The body is a graph, or a `start_graph` message; without one, the query names a predefined
        graph.  Raises `Refusal`, `GraphError`.
        """
        read = self._object(request.body)
        cmd: Any
        if read and FIELDS not in read:
            cmd = StartGraph(graph=Graph.from_json(read))
        else:
            ten = _ten(read)
            if ten.setdefault("type", "start_graph") != "start_graph":
                raise Refusal(400, f"ten.type is {ten['type']!r}, not 'start_graph'")
            cmd = self._message({**read, FIELDS: ten})
        for name in request.query.get("predefined", ()):
            cmd.predefined_graph_name = name
        if flag(request, "long_running"):
            cmd.long_running_mode = True
        if cmd.graph is None and not cmd.graph_json and not cmd.predefined_graph_name:
            raise Refusal(
                400, "which graph? Send one as JSON, or name one: /graphs?predefined=NAME"
            )
        if isinstance(cmd, StartGraph) and cmd.graph is None and not cmd.predefined_graph_name:
            cmd.graph = Graph.from_json(cmd.graph_json)
        return cmd  # type: ignore[no-any-return]

    def line(self, msg: Msg) -> bytes:
        """Return `msg` as a line of JSON. Raises `CodecError`."""
        return b"".join(bytes(piece) for piece in self._codec.encode((WireMsg(msg),)))

    def result(self, result: CmdResult) -> bytes:
        """Return `result` as a line; what can't be written is an ERROR that says so."""
        try:
            return self.line(result)
        except TenError as error:
            refused = CmdResult(StatusCode.ERROR, {"detail": f"the result can't be sent: {error}"})
            refused.is_final, refused.is_completed = result.is_final, result.is_completed
            refused.seq_id = result.seq_id
            return self.line(refused)

    def _object(self, body: bytes) -> dict[str, Any]:
        if not body.strip():
            return {}
        try:
            read = self._codec.parse(body)
        except CodecError as error:
            raise _refused(error) from None
        if not isinstance(read, dict):
            raise Refusal(400, f"the body has to be a JSON object, not {type(read).__name__}")
        return read

    def _message(self, read: object) -> Any:
        try:
            return self._codec.message(read).msg
        except CodecError as error:
            raise _refused(error) from None


def _ten(read: dict[str, Any]) -> dict[str, Any]:
    ten = read.get(FIELDS, {})
    if not isinstance(ten, dict):
        raise Refusal(400, f"{FIELDS!r} has to be an object")
    return dict(ten)


def _refused(error: CodecError) -> Refusal:
    more: dict[str, Any] = {} if error.offset is None else {"offset": error.offset}
    return Refusal(413 if isinstance(error, TooLong) else 400, str(error), **more)


def destination(msg: Msg) -> str | None:
    """Take the extension that `msg` names as its destination, if it does. Raises `Refusal`."""
    dests, msg._dests = msg._dests, ()
    if not dests:
        return None
    if len(dests) > 1 or dests[0].app_uri or dests[0].graph_id:
        raise Refusal(
            400, 'ten.dest names one extension of the graph in the path: [{"extension": NAME}]'
        )
    return dests[0].extension_name


def flag(request: Request, name: str) -> bool:
    """Return whether the query has `name`, and not as `0` or `false`."""
    return any(value not in ("0", "false") for value in request.query.get(name, ()))


def problems_of(error: Exception) -> dict[str, Any]:
    """Return what an answer says about a graph that can't be run, besides the text."""
    if not isinstance(error, GraphError):
        return {}
    return {
        "problems": [
            {"path": each.path, "message": each.message, "hint": each.hint}
            for each in error.problems
        ]
    }
