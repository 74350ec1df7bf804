"""`ten-trio fuzz`: trials of a graph, until one breaks a rule, or all are over."""

from __future__ import annotations

import json
import logging
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InvalidArgument, TenError
from .given import SOURCE, give_up
from .running import FAILED, OK

if TYPE_CHECKING:
    from ..testing import Finding
    from ..testing.subjects import Phrase

_KINDS = ("cmd", "data", "audio_frame", "video_frame")


def read_message(text: str) -> Phrase:
    """`KIND:NAME`, `KIND:NAME@EXTENSION`, either with `=JSON` after it. Raises `InvalidArgument`."""
    from ..testing.subjects import Phrase  # noqa: PLC0415 - not every command tests something

    head, equals, content = text.partition("=")
    kind, colon, rest = head.partition(":")
    name, _, to = rest.partition("@")
    if kind not in _KINDS or not colon or not name:
        raise InvalidArgument(f"{text!r} is no KIND:NAME[@EXTENSION][=JSON]; kinds: {_KINDS}")
    properties: Any = None
    if equals:
        try:
            properties = json.loads(content)
        except ValueError as error:
            raise InvalidArgument(f"{text!r}: what follows the = is no JSON: {error}") from None
        if not isinstance(properties, dict):
            raise InvalidArgument(f"{text!r}: what follows the = is no JSON object")
    named: Any = kind
    return Phrase(named, name, to, properties)


def read_check(text: str) -> Callable[[Any], object]:
    """The function of `MODULE:FUNCTION`; the module may be here. Raises `InvalidArgument`."""
    module, _, name = text.partition(":")
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        check: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidArgument(f"no MODULE:FUNCTION {text!r}: {error}") from None
    finally:
        sys.path.remove(here)
    if not callable(check):
        raise InvalidArgument(f"no MODULE:FUNCTION {text!r}: it can't be called")
    found: Callable[[Any], object] = check
    return found


def _read(reader: Callable[[str], Any]) -> Callable[..., Any]:
    def callback(_: click.Context, param: click.Parameter, given: Any) -> Any:
        try:
            if isinstance(given, tuple):
                return tuple(reader(each) for each in given)
            return None if given is None else (given, reader(given))
        except InvalidArgument as error:
            raise click.BadParameter(str(error), param=param) from None

    return callback


@click.command()
@click.argument("source", metavar="GRAPH.json", type=SOURCE)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=200, show_default=True, metavar="N",
    help="How many trials.",
)  # fmt: skip
@click.option("--seed", type=int, help="Begin there, to get the same trials again; else anywhere.")
@click.option("--graph", metavar="NAME", help="Which predefined graph, if there are several.")
@click.option(
    "--message", "messages", multiple=True, metavar="KIND:NAME[@EXTENSION][=JSON]",
    callback=_read(read_message),
    help='Say this too, such as cmd:ask@llm={"text": "hi"}. May be repeated.',
)  # fmt: skip
@click.option(
    "--check", metavar="MODULE:FUNCTION", callback=_read(read_check),
    help="Called with what has happened in each trial; raises AssertionError if that is wrong.",
)  # fmt: skip
@click.option("--crashes/--no-crashes", default=True, help="Let extensions crash, or not.")
@click.option(
    "--clients", type=click.IntRange(0, 8), default=2, show_default=True,
    help="At most so many clients, whose connections fail.",
)  # fmt: skip
@click.option("--cancels/--no-cancels", default=True, help="Cancel everything somewhere, or not.")
@click.option(
    "--grace", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="How long closing may take; 5 by default.",
)  # fmt: skip
@click.option(
    "--patience", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="How long an answer may take; 120 by default.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
    help="Where the pytest case goes; else stdout.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, on stdout.")
def fuzz(
    source: Path,
    seeds: int,
    seed: int | None,
    graph: str | None,
    messages: tuple[Phrase, ...],
    check: tuple[str, Callable[[Any], object]] | None,
    crashes: bool,
    clients: int,
    cancels: bool,
    grace: float | None,
    patience: float | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Try a graph in many ways, and print the shortest that it doesn't stand, as a pytest case.

    GRAPH.json is a JSON file with a graph, a property.json or an app folder. The graph is told what it
    exposes and what goes along its edges, in some order of its tasks; extensions are slow or crash,
    connections are cut, stall or are half-open, and somewhere everything is cancelled. All the same,
    every command has to be answered, nothing may raise, and the graph has to close within its
    grace and leave nothing behind. Time is virtual.
    """
    from ..testing import Bounds  # noqa: PLC0415 - not every command tests something

    bounds = Bounds()
    bounds = Bounds(grace=grace or bounds.grace, patience=patience or bounds.patience)
    start = random.SystemRandom().randrange(2**32) if seed is None else seed
    tried = 0

    def one_more() -> None:
        nonlocal tried
        tried += 1

    try:
        from ..testing.fuzzing import fuzz as search  # noqa: PLC0415 - it needs Hypothesis

        with _no_logs():
            found = search(
                source,
                graph=graph,
                seeds=seeds,
                seed=start,
                messages=messages,
                check=None if check is None else check[1],
                bounds=bounds,
                on_trial=one_more,
                crashes=crashes,
                clients=clients,
                cancels=cancels,
            )
    except TenError as error:
        give_up(error, as_json, source)
    test = ""
    if found is not None:
        named = None if check is None else check[0]
        test = found.as_test(source.resolve(), graph, bounds, named)
    if as_json:
        _print_json(source, found, test, start, tried)
    else:
        _print(source, found, start, tried)
    if test and output is not None:
        try:
            output.write_text(test, encoding="utf-8")
        except OSError as error:
            raise click.FileError(str(output), error.strerror or str(error)) from error
        click.echo(f"ten-trio: {output} has it as a test", err=True)
    elif test and not as_json:
        click.echo(test, nl=False)
    raise SystemExit(OK if found is None else FAILED)


def _print_json(source: Path, found: Finding | None, test: str, seed: int, tried: int) -> None:
    content: dict[str, Any] = {
        "file": str(source),
        "ok": found is None,
        "seed": seed,
        "tried": tried,
    }
    if found is not None:
        content["rule"] = found.problem.rule
        content["problem"] = str(found.problem)
        content["repeats"] = found.repeats
        content["test"] = test
    click.echo(json.dumps(content, ensure_ascii=False))


def _print(source: Path, found: Finding | None, seed: int, tried: int) -> None:
    if found is None:
        click.echo(f"{source}: {tried} trials, and nothing found (--seed {seed})", err=True)
        return
    click.echo(f"{source}: found in {tried} trials, shrinking included (--seed {seed})", err=True)
    click.echo(f"{found.problem}\n", err=True)
    if not found.repeats:
        click.echo(
            "The same trial doesn't find it every time: something in the graph depends on threads,"
            " on real time, on sockets, or on the order of a set.\n",
            err=True,
        )


@contextmanager
def _no_logs() -> Iterator[None]:
    """In there hundreds of graphs fail on purpose."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


__all__ = ["fuzz", "read_check", "read_message"]
