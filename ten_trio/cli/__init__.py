"""The command line: `ten-trio run`, `call`, `stop`, `why`, `top`, `tap`, `check`, `fuzz`, `draw` and `version`.

Also as `python -m ten_trio`.
"""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.table import Table
from rich.text import Text

from .. import __version__
from ..errors import (
    ConfigError,
    GraphError,
    InvalidArgument,
    InvalidJson,
    MissingExtra,
    Problem,
    TenError,
)
from ..graphs import AppProperty, Graph, flatten, load_app_property, to_mermaid, to_png, to_svg
from ..network import Address
from ..runtime.addons import AppAddons
from ..runtime.tap import KINDS
from .calling import Request, call as call_app, read_property, stop as stop_app
from .conformance import serve as serve_conformance
from .documents import Document, read_document
from .explaining import Form, why as explain_app
from .fuzzing import fuzz
from .running import FAILED, OK, UNUSABLE, Plan, run as run_plan
from .screens import JsonScreen, PersonScreen, console, lines_of, tell_error
from .watching import Filter, Watch, tap as tap_app, top as watch_app

EXIT_CODES = """\b
Exit codes of `run`:
  0      every graph ended in order, also when a signal asked for it
  1      a graph failed or could not be started, the app can't listen,
         or the file has problems
  2      wrong usage, or a file that can't be read
  3      closed, but something had to be cancelled when the grace ran out
  128+N  cancelled by a second signal N: 130 for SIGINT, 143 for SIGTERM
\b
Exit codes of `call`, `stop`, `why`, `top` and `tap`:
  0      the answer is OK
  1      the answer is ERROR
  2      wrong usage, or nobody can be reached there
  130    ended by SIGINT: the command is abandoned
\b
Exit codes of the other commands:
  0      all right
  1      the file has problems; fuzz: something was found
  2      wrong usage, or a file that can't be read or written
"""

_SOURCE = click.Path(exists=True, path_type=Path)


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run, call, check and draw graphs of the TEN framework."""


def _document(source: Path, as_json: bool) -> Document:
    try:
        return read_document(source)
    except (ConfigError, InvalidJson) as error:
        _give_up(error, as_json, source)


def _give_up(error: TenError, as_json: bool, source: Path, code: int = UNUSABLE) -> NoReturn:
    tell_error("; ".join(lines_of(error)), as_json=as_json, file=str(source))
    raise SystemExit(code)


# run --------------------------------------------------------------------------------------------


def _checked(_: click.Context, param: click.Parameter, given: Any) -> Any:
    """Refuse what is no URI."""
    for uri in given if isinstance(given, tuple) else (given,):
        try:
            Address.parse(uri)
        except InvalidArgument as error:
            raise click.BadParameter(str(error), param=param) from None
    return given


@main.command()
@click.argument("source", metavar="APP_FOLDER_OR_JSON", type=_SOURCE)
@click.option(
    "--listen", multiple=True, metavar="URI", callback=_checked,
    help="Listen there too, such as ws://127.0.0.1:8001; port 0: any. May be repeated.",
)  # fmt: skip
@click.option(
    "--graph", "names", multiple=True, metavar="NAME",
    help="Start this predefined graph, not those with auto_start. May be repeated.",
)  # fmt: skip
@click.option(
    "--grace", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="How long closing may take before what is left is cancelled; 5 by default.",
)  # fmt: skip
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per line and event, on stdout."
)
def run(
    source: Path,
    listen: tuple[str, ...],
    names: tuple[str, ...],
    grace: float | None,
    as_json: bool,
) -> None:
    """Run an app or a graph until it ends.

    APP_FOLDER_OR_JSON is an app folder, a property.json, or a JSON file with a graph. An app ends with
    its last graph, unless its property.json says long_running_mode. One that listens, at the URIs of
    its property.json or at those given here, waits for its first graph.

    SIGINT (Ctrl-C) and SIGTERM close everything in order, a second one cancels at once, a third one
    ends the process. SIGHUP reopens the log files.
    """
    document = _document(source, as_json)
    problems, _ = document.inspect(())
    if problems:
        _tell_problems(document, problems, [], as_json)
        raise SystemExit(FAILED)
    try:
        plan = _plan(document, listen, names, grace, as_json)
        raise SystemExit(run_plan(plan, _screen(as_json)))
    except OSError as error:
        tell_error(error.strerror or str(error), as_json=as_json, file=str(source))
        raise SystemExit(FAILED) from None
    except TenError as error:
        _give_up(error, as_json, source, FAILED)


def _screen(as_json: bool) -> JsonScreen | PersonScreen:
    return JsonScreen() if as_json else PersonScreen()


def _plan(
    document: Document,
    listen: tuple[str, ...],
    names: tuple[str, ...],
    grace: float | None,
    as_json: bool,
) -> Plan:
    if document.app is None:
        if names:
            raise click.UsageError(f"--graph: {document.given} is a single graph")
        (named,) = document.graphs
        app = AppProperty(base_dir=document.base_dir)
        return Plan(app, graphs={named.name: named.graph}, listen=listen, grace=grace)
    app = load_app_property(document.file or document.given, environ=os.environ)
    for name in names:
        try:
            document.choose(name)
        except GraphError as error:
            _give_up(error, as_json, document.given)
    chosen = names or tuple(graph.name for graph in document.graphs if graph.auto_start)
    if not (chosen or app.long_running_mode or listen or _listens(app)):
        known = ", ".join(graph.name for graph in document.graphs)
        hint = f"name one with --graph: {known}" if known else "it has no predefined graphs"
        nothing = Problem("", f"nothing to run: no graph of {document.given} has auto_start", hint)
        _give_up(GraphError(nothing), as_json, document.given)
    # What is given to `open_app` takes the place of what the file says.
    more = (*app.listen, *listen) if listen else ()
    return Plan(app, predefined=chosen, listen=more, grace=grace)


def _listens(app: AppProperty) -> bool:
    uris = (app.uri or "", *app.listen)
    return any(uri and not uri.startswith("client:") for uri in uris)


# call and stop ----------------------------------------------------------------------------------

_TOKEN = click.option(
    "--token", default="", envvar="TEN_TRIO_TOKEN", metavar="TOKEN",
    help="What the app wants to see, if it wants anything; else TEN_TRIO_TOKEN.",
)  # fmt: skip
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object per result.")


@main.command()
@click.argument("uri", callback=_checked)
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
    document = _document(file, as_json)
    if document.problems:
        _tell_problems(document, document.problems, [], as_json)
        raise SystemExit(UNUSABLE)
    try:
        return document.choose(None).graph
    except GraphError as error:
        _give_up(error, as_json, file)


@main.command()
@click.argument("uri", callback=_checked)
@click.argument("graph", metavar="[GRAPH_NAME_OR_ID]", default="")
@_AS_JSON
@_TOKEN
def stop(uri: str, graph: str, as_json: bool, token: str) -> None:
    """Close a graph of the app at URI in order, or the whole app, and wait until it is closed."""
    raise SystemExit(stop_app(uri, graph, token, as_json))


# why --------------------------------------------------------------------------------------------


@main.command()
@click.argument("uri", callback=_checked)
@click.option("--graph", metavar="NAME_OR_ID", default="", help="Only this one of its graphs.")
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

_OF_GRAPH = click.option(
    "--graph", metavar="NAME_OR_ID", default="", help="Only this one of its graphs."
)


@main.command()
@click.argument("uri", callback=_checked)
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


@main.command()
@click.argument("uri", callback=_checked)
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


# conformance-app --------------------------------------------------------------------------------


@main.command("conformance-app")
@click.option(
    "--listen", multiple=True, required=True, metavar="URI", callback=_checked,
    help="Where to, such as msgpack://127.0.0.1:8001; port 0: any. May be repeated.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event, on stdout.")
def conformance_app(listen: tuple[str, ...], as_json: bool) -> None:
    """Run an app with the addons of the conformance suite, until a signal ends it.

    To test it: pytest property_tests/conformance --target URI. See docs/conformance.md.
    """
    try:
        raise SystemExit(serve_conformance(listen, _screen(as_json)))
    except OSError as error:
        tell_error(error.strerror or str(error), as_json=as_json)
        raise SystemExit(FAILED) from None
    except TenError as error:
        tell_error("; ".join(lines_of(error)), as_json=as_json)
        raise SystemExit(FAILED) from None


# check ------------------------------------------------------------------------------------------


@main.command()
@click.argument("source", metavar="GRAPH.json", type=_SOURCE)
@click.option(
    "--addons", "listed", multiple=True, metavar="NAME[,NAME...]",
    help="Addons that there are, besides those found here. May be repeated.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, on stdout.")
def check(source: Path, listed: tuple[str, ...], as_json: bool) -> None:
    """List everything that is wrong with a graph, each with its JSON path and a hint.

    GRAPH.json is a JSON file with a graph, a property.json or an app folder. Addons are looked for in the
    app folder and among those that are installed. One that isn't found is an error in an app folder
    and with --addons, else a warning.
    """
    document = _document(source, as_json)
    given = {name.strip() for names in listed for name in names.split(",") if name.strip()}
    problems, unknown = document.inspect(given | AppAddons().known(document.base_dir))
    if document.is_app or listed:
        problems, unknown = problems + unknown, []
    warnings = unknown if problems else [*unknown, *document.warnings()]
    _tell_problems(document, problems, warnings, as_json)
    raise SystemExit(FAILED if problems else OK)


def _tell_problems(
    document: Document, problems: list[Problem], warnings: list[Problem], as_json: bool
) -> None:
    found = [("error", each) for each in problems] + [("warning", each) for each in warnings]
    if as_json:
        told = [
            {"severity": severity, "path": p.path, "message": p.message, "hint": p.hint}
            for severity, p in found
        ]
        content = {
            "file": str(document.file or document.given),
            "ok": not problems,
            "graphs": [graph.name for graph in document.graphs],
            "problems": told,
        }
        click.echo(json.dumps(content, ensure_ascii=False))
        return
    out = console(stderr=False)
    if found and _width(found) > out.width:  # a folded path can't be copied
        for severity, each in found:
            style = "red" if severity == "error" else "yellow"
            out.print(Text.assemble((severity, style), " ", each.path), soft_wrap=True)
            hint = (f" ({each.hint})" if each.hint else "", "dim")
            out.print(Text.assemble("  ", each.message, hint), soft_wrap=True)
        out.print()
    elif found:
        table = Table(show_edge=False, pad_edge=False)
        for column in ("", "where", "problem", "hint"):
            table.add_column(column, overflow="fold")
        for severity, each in found:
            style = "red" if severity == "error" else "yellow"
            texts = (Text(each.path), Text(each.message), Text(each.hint, "dim"))
            table.add_row(Text(severity, style), *texts)
        out.print(table)
        out.print()
    out.print(Text(_verdict(document, len(problems), len(warnings))))


def _width(found: list[tuple[str, Problem]]) -> int:
    """How wide the table of problems would have to be."""
    rows = [(severity, p.path, p.message, p.hint) for severity, p in found]
    return sum(max(map(len, column)) + 3 for column in zip(*rows, strict=True))


def _verdict(document: Document, errors: int, warnings: int) -> str:
    graphs = ", ".join(_size(each.name, each.graph) for each in document.graphs)
    counts = [_count(errors, "error")] if errors else ["no errors"]
    if warnings:
        counts.append(_count(warnings, "warning"))
    return f"{document.given}: {', '.join(counts)}. {graphs or 'No graphs'}."


def _size(name: str, graph: Graph) -> str:
    nodes, connections = len(graph.nodes), len(graph.connections)
    return f"{name} ({_count(nodes, 'node')}, {_count(connections, 'connection')})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


# draw -------------------------------------------------------------------------------------------


@main.command()
@click.argument("source", metavar="GRAPH.json", type=_SOURCE)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to; else stdout."
)
@click.option(
    "--format", "format_", type=click.Choice(["mermaid", "svg", "png"]),
    help="By default what the output's name ends in, .svg or .png, else mermaid.",
)  # fmt: skip
@click.option(
    "--graph", "name", metavar="NAME", help="Which predefined graph, if there are several."
)
@click.option(
    "--flat", is_flag=True, help="Draw what runs: subgraphs resolved into their extensions."
)
def draw(
    source: Path, output: Path | None, format_: str | None, name: str | None, flat: bool
) -> None:
    """Draw a graph, as Mermaid text or as an SVG or PNG picture.

    GRAPH.json is a JSON file with a graph, a property.json or an app folder. A faulty graph is drawn as far
    as it can be read (not with --flat).
    """
    document = _document(source, False)
    if not document.graphs and document.problems:
        _tell_problems(document, document.problems, [], False)
        raise SystemExit(FAILED)
    try:
        named = document.choose(name)
    except GraphError as error:
        _give_up(error, False, source)
    if document.problems:
        click.echo(f"ten-trio: {source} has problems: see ten-trio check", err=True)
    if format_ is None:
        suffix = "" if output is None else output.suffix
        format_ = suffix[1:] if suffix in (".svg", ".png") else "mermaid"
    try:
        graph = flatten(named.graph, document.base_dir) if flat else named.graph
        if format_ == "png":
            drawn = to_png(graph, named.name)
        else:
            text = to_svg(graph, named.name) if format_ == "svg" else to_mermaid(graph)
            drawn = text.encode()
    except GraphError as error:
        _give_up(error, False, source, FAILED)
    except MissingExtra as error:
        _give_up(error, False, source)
    if output is None:
        click.echo(drawn if format_ == "png" else drawn.decode(), nl=False)
        return
    try:
        output.write_bytes(drawn)
    except OSError as error:
        raise click.FileError(str(output), error.strerror or str(error)) from error
    click.echo(f"drew {named.name} to {output}", err=True)


# version ----------------------------------------------------------------------------------------


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def version(as_json: bool) -> None:
    """Print the version."""
    trio, python = version_of("trio"), platform.python_version()
    if as_json:
        click.echo(json.dumps({"ten_trio": __version__, "trio": trio, "python": python}))
    else:
        click.echo(f"ten-trio {__version__} (trio {trio}, Python {python})")


main.add_command(fuzz)

__all__ = ["main"]
