"""The commands that run something in this process: `run` and `conformance-app`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..errors import GraphError, Problem, TenError
from ..graphs import AppProperty, load_app_property
from .conformance import serve as serve_conformance
from .documents import Document
from .given import SOURCE, checked_uri, document_of, give_up
from .problems import tell_problems
from .running import FAILED, Plan, run as run_plan
from .screens import JsonScreen, PersonScreen, lines_of, tell_error


@click.command()
@click.argument("source", metavar="APP_FOLDER_OR_JSON", type=SOURCE)
@click.option(
    "--listen", multiple=True, metavar="URI", callback=checked_uri,
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
    document = document_of(source, as_json)
    problems, _ = document.inspect(())
    if problems:
        tell_problems(document, problems, [], as_json)
        raise SystemExit(FAILED)
    try:
        plan = _plan(document, listen, names, grace, as_json)
        raise SystemExit(run_plan(plan, _screen(as_json)))
    except OSError as error:
        tell_error(error.strerror or str(error), as_json=as_json, file=str(source))
        raise SystemExit(FAILED) from None
    except TenError as error:
        give_up(error, as_json, source, FAILED)


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
            give_up(error, as_json, document.given)
    chosen = names or tuple(graph.name for graph in document.graphs if graph.auto_start)
    if not (chosen or app.long_running_mode or listen or _listens(app)):
        known = ", ".join(graph.name for graph in document.graphs)
        hint = f"name one with --graph: {known}" if known else "it has no predefined graphs"
        nothing = Problem("", f"nothing to run: no graph of {document.given} has auto_start", hint)
        give_up(GraphError(nothing), as_json, document.given)
    # What is given to `open_app` takes the place of what the file says.
    more = (*app.listen, *listen) if listen else ()
    return Plan(app, predefined=chosen, listen=more, grace=grace)


def _listens(app: AppProperty) -> bool:
    uris = (app.uri or "", *app.listen)
    return any(uri and not uri.startswith("client:") for uri in uris)


@click.command("conformance-app")
@click.option(
    "--listen", multiple=True, required=True, metavar="URI", callback=checked_uri,
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


__all__ = ["conformance_app", "run"]
