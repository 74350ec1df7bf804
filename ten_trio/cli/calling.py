"""`ten-trio call` and `ten-trio stop`: one command to an app that runs somewhere, and its results."""

from __future__ import annotations

import json
from typing import Any, Final

import attrs
import click
import trio

from ..errors import CmdFailed, InvalidArgument
from ..graphs import Graph
from ..messages import CloseApp, Cmd, CmdResult, Loc, StatusCode, StopGraph
from ..messages.json_form import plain
from ..network import Client
from .talking import ERROR, OK, talk_to

_CLOSING: Final = 30.0
"""Seconds until nobody waits any more for an app that has said that it closes."""


@attrs.define
class Request:
    """A command, and the graph that it is for: one that runs, or `start`.

    `every`: all of its results are wanted.  Raises `InvalidPath`, `InvalidType` for properties that
    can't be.
    """

    uri: str
    name: str
    properties: list[tuple[str, Any]]
    graph: str = ""
    start: Graph | str | None = None
    to: str | None = None
    every: bool = False
    token: str = attrs.field(default="", repr=False)

    def __attrs_post_init__(self) -> None:
        self.cmd("")

    def cmd(self, graph_id: str) -> Cmd:
        """The command, for a graph of that id."""
        cmd = Cmd(self.name)
        for path, value in self.properties:
            cmd[path] = value
        if self.to is not None:
            cmd.set_dest(Loc("", graph_id, self.to))
        return cmd


def read_property(text: str) -> tuple[str, Any]:
    """`PATH=VALUE`, taken apart; a value that isn't JSON is a text. Raises `InvalidArgument`."""
    path, equals, value = text.partition("=")
    if not equals:
        raise InvalidArgument(f"{text!r} has no '=': write PATH=VALUE")
    try:
        return path, json.loads(value)
    except ValueError:
        return path, value


def call(request: Request, as_json: bool) -> int:
    """Send it, and print what comes back; returns the exit code."""

    async def talk(client: Client) -> int:
        if request.start is not None:
            try:
                await client.start_graph(request.start)
            except CmdFailed as error:
                return _tell(error.result, as_json)
        cmd = request.cmd(client.graph_id)
        code = OK
        if not request.every:
            return _tell(await client.send_cmd(cmd), as_json)
        async with client.send_cmd_ex(cmd) as results:
            async for result in results:
                code = max(code, _tell(result, as_json))
        return code

    return talk_to(talk, request.uri, request.graph, request.token, as_json)


def stop(uri: str, graph: str, token: str, as_json: bool) -> int:
    """Close a graph there, or (empty) the app; returns the exit code when it is closed."""

    async def talk(client: Client) -> int:
        if graph:
            return _tell(await client.send_cmd(StopGraph(graph_id=graph, dest=Loc(""))), as_json)
        code = _tell(await client.send_cmd(CloseApp(dest=Loc(""))), as_json)
        if code == OK:
            with trio.move_on_after(_CLOSING):
                await client.wait_closed()
        return code

    return talk_to(talk, uri, "", token, as_json)


def _tell(result: CmdResult, as_json: bool) -> int:
    properties = plain(result.properties)
    is_ok = result.status is StatusCode.OK
    if as_json:
        told = {
            "status": result.status.name.lower(),
            "is_final": result.is_final,
            "is_completed": result.is_completed,
            "properties": properties,
        }
        click.echo(json.dumps(told, ensure_ascii=False))
    elif is_ok or set(properties) - {"detail"}:
        click.echo(json.dumps(properties, ensure_ascii=False))
    if not is_ok and not as_json:
        click.echo(f"ten-trio: ERROR: {result.detail or 'without a detail'}", err=True)
    return OK if is_ok else ERROR


__all__ = ["Request", "call", "read_property", "stop"]
