"""`ten-trio why`: who waits for what in the graphs of an app that runs somewhere."""

from __future__ import annotations

import json
from typing import Final, Literal

import click
import trio

from ..errors import InvalidType, TenError
from ..messages import Cmd, CmdResult, Loc, StatusCode
from ..network import Client
from ..runtime import Explanation
from ..runtime.app_commands import EXPLAIN
from .calling import ERROR, OK, UNREACHABLE, talk_to
from .screens import tell_error

Form = Literal["text", "json", "mermaid"]

_PATIENCE: Final = 10.0
"""Seconds for an app to answer. One that doesn't has a loop that something blocks."""


def why(uri: str, graph: str, token: str, form: Form) -> int:
    """Ask the app, and print what it says of all its graphs or of one; returns the exit code."""

    async def talk(client: Client) -> int:
        cmd = Cmd(EXPLAIN, {"graph_id": graph} if graph else {}, dest=Loc(""))
        with trio.move_on_after(_PATIENCE):
            return _tell(await client.send_cmd(cmd), form)
        what = f"{uri} doesn't answer for {_PATIENCE:g} s: its own loop may be blocked"
        tell_error(what, as_json=form == "json", uri=uri)
        return UNREACHABLE

    return talk_to(talk, uri, "", token, form == "json")


def _tell(result: CmdResult, form: Form) -> int:
    as_json = form == "json"
    if result.status is not StatusCode.OK:
        tell_error(result.detail or "ERROR without a detail", as_json=as_json)
        return ERROR
    try:
        found = _read(result)
    except TenError as error:
        tell_error(f"the answer can't be understood: {error}", as_json=as_json)
        return ERROR
    if as_json:
        for each in found:
            click.echo(json.dumps(each.to_dict(), ensure_ascii=False))
    elif form == "mermaid":
        click.echo("\n".join(each.to_mermaid() for each in found), nl=False)
    else:
        click.echo("\n\n".join(map(str, found)) or "no graph runs there")
    return OK


def _read(result: CmdResult) -> list[Explanation]:
    try:
        content = json.loads(result.get_property_string("explanation"))
    except ValueError as error:
        raise InvalidType(f"no JSON: {error}") from None
    if not isinstance(content, list):
        raise InvalidType("no list of graphs")
    return [Explanation.from_dict(each) for each in content]


__all__ = ["Form", "why"]
