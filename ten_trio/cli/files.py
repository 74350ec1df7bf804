"""The commands that look at files and run nothing: `check` and `draw`."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import GraphError, MissingExtra
from ..graphs import flatten, to_mermaid, to_png, to_svg
from ..runtime.addons import AppAddons
from .given import SOURCE, document_of, give_up
from .problems import tell_problems
from .running import FAILED, OK


@click.command()
@click.argument("source", metavar="GRAPH.json", type=SOURCE)
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
    document = document_of(source, as_json)
    given = {name.strip() for names in listed for name in names.split(",") if name.strip()}
    problems, unknown = document.inspect(given | AppAddons().known(document.base_dir))
    if document.is_app or listed:
        problems, unknown = problems + unknown, []
    warnings = unknown if problems else [*unknown, *document.warnings()]
    tell_problems(document, problems, warnings, as_json)
    raise SystemExit(FAILED if problems else OK)


@click.command()
@click.argument("source", metavar="GRAPH.json", type=SOURCE)
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
    document = document_of(source, False)
    if not document.graphs and document.problems:
        tell_problems(document, document.problems, [], False)
        raise SystemExit(FAILED)
    try:
        named = document.choose(name)
    except GraphError as error:
        give_up(error, False, source)
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
        give_up(error, False, source, FAILED)
    except MissingExtra as error:
        give_up(error, False, source)
    if output is None:
        click.echo(drawn if format_ == "png" else drawn.decode(), nl=False)
        return
    try:
        output.write_bytes(drawn)
    except OSError as error:
        raise click.FileError(str(output), error.strerror or str(error)) from error
    click.echo(f"drew {named.name} to {output}", err=True)


__all__ = ["check", "draw"]
