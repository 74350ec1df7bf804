"""The commands to an app that runs somewhere: `call`, `stop`, `why`, `top` and `tap`."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import GraphError, TenError
from ..graphs import Graph
from ..runtime.tap import KINDS
from .calling import Request, call as call_app, read_property, stop as stop_app
from .explaining import Form, why as explain_app
from .given import checked_uri, document_of, give_up
from .problems import tell_problems
from .running import UNUSABLE
from .watching import Filter, Watch, tap as tap_app, top as watch_app

_TOKEN = click.option(
    "--token", default="", envvar="TEN_TRIO_TOKEN", metavar="TOKEN",
    help="What the app wants to see, if it wants anything; else TEN_TRIO_TOKEN.",
)  # fmt: skip
_OF_GRAPH = click.option(
    "--graph", metavar="NAME_OR_ID", default="", help="Only this one of its graphs."
)
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object per result.")


@click.command()
@click.argument("uri", callback=checked_uri)
@click.argument("name")
@click.option("--graph", metavar="NAME_OR_ID", help="The graph, running or a singleton, to ask.")
@click.option(
    "--start", metavar="GRAPH",
    help="Start this graph there and ask it: the name of a predefined one, or a JSON file here.",
)  # fmt: skip
@click.option(
    "--to", metavar="EXTENSION", help="Whom to ask; else the graph's exposed messages say."
)
@click.option(
    "--set", "settings", multiple=True, metavar="PATH=VALUE",
    help="A property of the command: JSON, or else a text. May be repeated.",
)  # fmt: skip
@click.option("--stream", is_flag=True, help="Print every result, as it comes.")
@_AS_JSON
@_TOKEN
def call(
    uri: str,
    name: str,
    graph: str | None,
    start: str | None,
    to: str | None,
    settings: tuple[str, ...],
    stream: bool,
    as_json: bool,
    token: str,
) -> None:
    """Send the command NAME to a graph of the app at URI, and print its result.

    What is printed are the properties of the result, as JSON. A graph that was started for the command
    ends with it.
    """
    if (graph is None) == (start is None):
        raise click.UsageError("say which graph: --graph NAME_OR_ID or --start GRAPH")
    try:
        properties = [read_property(each) for each in settings]
        request = Request(
            uri, name, properties, graph=graph or "", to=to, every=stream, token=token
        )
    except TenError as error:
        raise click.BadParameter(str(error), param_hint="--set") from None
    if start is not None:
        request.start = _graph_to_start(start, as_json)
    raise SystemExit(call_app(request, as_json))


def _graph_to_start(start: str, as_json: bool) -> Graph | str:
    file = Path(start)
    if not file.is_file():
        return start
    document = document_of(file, as_json)
    if document.problems:
        tell_problems(document, document.problems, [], as_json)
        raise SystemExit(UNUSABLE)
    try:
        return document.choose(None).graph
    except GraphError as error:
        give_up(error, as_json, file)


@click.command()
@click.argument("uri", callback=checked_uri)
@click.argument("graph", metavar="[GRAPH_NAME_OR_ID]", default="")
@_AS_JSON
@_TOKEN
def stop(uri: str, graph: str, as_json: bool, token: str) -> None:
    """Close a graph of the app at URI in order, or the whole app, and wait until it is closed."""
    raise SystemExit(stop_app(uri, graph, token, as_json))


# why --------------------------------------------------------------------------------------------


@click.command()
@click.argument("uri", callback=checked_uri)
@_OF_GRAPH
@click.option("--json", "form", flag_value="json", help="One JSON object per graph.")
@click.option("--mermaid", "form", flag_value="mermaid", help="A picture, as Mermaid text.")
@_TOKEN
def why(uri: str, graph: str, form: Form | None, token: str) -> None:
    """Say why the graphs of the app at URI don't get on: who waits for what, since when.

    Those that wait for each other in a circle are named as a deadlock. It works although a graph is
    stuck; of one with a loop of its own that is blocked it shows by whom. Only for those whom the app
    trusts: on the same machine, or with a certificate or the token.
    """
    raise SystemExit(explain_app(uri, graph, token, form or "text"))


# top and tap ------------------------------------------------------------------------------------


@click.command()
@click.argument("uri", callback=checked_uri)
@_OF_GRAPH
@click.option(
    "--interval", type=click.FloatRange(min=0.1), default=1.0, metavar="SECONDS",
    help="Between two looks; 1 by default.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Only one table: of two looks, for the rates.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per graph and look.")
@_TOKEN
def top(uri: str, graph: str, interval: float, once: bool, as_json: bool, token: str) -> None:
    """Show what goes on in the graphs of the app at URI, again and again, until Ctrl-C.

    How much goes through each extension, what waits there and along which edges, since when, what was
    dropped and why, which commands aren't answered, what failed last. It costs the app nothing but the
    looks. Only for those whom the app trusts: on the same machine, or with a certificate or the token.
    """
    watch = Watch(uri=uri, graph=graph, interval=interval, once=once, as_json=as_json, token=token)
    raise SystemExit(watch_app(watch))


@click.command()
@click.argument("uri", callback=checked_uri)
@_OF_GRAPH
@click.option(
    "--name", "names", multiple=True, metavar="NAME",
    help="Only messages of this name, and results of such commands. May be repeated.",
)  # fmt: skip
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(KINDS),
    help="Only messages of this kind. May be repeated.",
)  # fmt: skip
@click.option(
    "--ext", "extensions", multiple=True, metavar="EXTENSION",
    help="Only what this one sends or gets. May be repeated.",
)  # fmt: skip
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after so many messages.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per message.")
@_TOKEN
def tap(
    uri: str,
    graph: str,
    names: tuple[str, ...],
    kinds: tuple[str, ...],
    extensions: tuple[str, ...],
    count: int | None,
    as_json: bool,
    token: str,
) -> None:
    """Print the messages in the graphs of the app at URI as they pass, until these are closed.

    A message passes when its receiver's handler starts, when the host gets it, or when it leaves for
    another app. Who reads slowly misses some, and is told how many; nothing in the graph waits for it.
    Only for those whom the app trusts: on the same machine, or with a certificate or the token.
    """
    wanted = Filter(
        uri=uri, graph=graph, kinds=kinds, names=names, extensions=extensions,
        count=count, as_json=as_json, token=token,
    )  # fmt: skip
    raise SystemExit(tap_app(wanted))


__all__ = ["call", "stop", "tap", "top", "why"]
