"""`ten-trio why`: who waits for what in the graphs of an app that runs somewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

import click

from ..network import Client
from ..network.watching import EXPLAIN
from ..runtime import Explanation
from .talking import OK, ask, talk_to

Form = Literal["text", "json", "mermaid"]


def why(uri: str, graph: str, token: str, form: Form) -> int:
    """Ask the app, and print what it says of all its graphs or of one; returns the exit code."""
    as_json = form == "json"

    async def talk(client: Client) -> int:
        read = Explanation.from_dict
        found = await ask(
            client, EXPLAIN, "explanation", read, uri=uri, graph=graph, as_json=as_json
        )
        _print(found, form)
        return OK

    return talk_to(talk, uri, "", token, as_json)


def _print(found: Sequence[Explanation], form: Form) -> None:
    if form == "json":
        for each in found:
            click.echo(json.dumps(each.to_dict(), ensure_ascii=False))
    elif form == "mermaid":
        click.echo("\n".join(each.to_mermaid() for each in found), nl=False)
    else:
        click.echo("\n\n".join(map(str, found)) or "no graph runs there")


__all__ = ["Form", "why"]
