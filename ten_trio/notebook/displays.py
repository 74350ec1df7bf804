"""How the values of ten_trio look in a notebook: one function per type, found by `bundle`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import singledispatch
from typing import Any

from ..errors import GraphError, InvalidArgument, MissingExtra, TenError
from ..graphs import Graph, PredefinedGraph, to_mermaid, to_svg
from ..graphs.drawing import Drawable, draw
from ..messages import AudioFrame, Cmd, CmdResult, Msg, StatusCode, VideoFrame
from ..runtime.explanation import Explanation
from ..runtime.report import ShutdownReport
from . import html, media

Bundle = dict[str, Any]
"""MIME type → content; a frontend shows the richest that it can."""


@singledispatch
def bundle(value: Any) -> Bundle:
    """What a notebook is given to show `value`."""
    return {"text/plain": repr(value)}


@bundle.register(Msg)
def _message(msg: Msg) -> Bundle:
    extra = ""
    result: Bundle = {"text/plain": repr(msg)}
    colour = html.COLOURS.get(msg.kind, html.MUTED)
    if isinstance(msg, CmdResult):
        ok = msg.status is StatusCode.OK
        colour = html.GOOD if ok else html.BAD
        title = html.coloured(msg.status.name, colour)
        title += html.muted(f" result of {msg.original_cmd_name or 'a command'}")
        if not msg.is_final:
            title += html.muted(", more follow")
    else:
        title = html.coloured(msg.name, colour) + html.muted(f" {msg.kind.replace('_', ' ')}")
        if isinstance(msg, Cmd) and msg.cmd_id:
            title += html.muted(f" {msg.cmd_id}")
    title += _way(msg)
    if isinstance(msg, AudioFrame):
        form = f"{msg.sample_rate} Hz, {media.channels(msg.number_of_channels)}, "
        extra = html.muted(f"{form}{8 * msg.bytes_per_sample} bits, {len(msg.buf)} bytes")
        extra += f"<div>{media.playable(msg)}</div>"
    elif isinstance(msg, VideoFrame):
        extra = html.muted(f"{msg.width} x {msg.height}, {msg.pixel_fmt.name}")
        try:
            picture = b64encode(media.to_png(msg)).decode()
        except InvalidArgument:
            extra += html.muted(f", {len(msg.buf)} bytes: no picture")
        else:
            style = "max-width:100%;image-rendering:pixelated"
            least = ' width="160"' if msg.width < 160 else ""
            source = f"data:image/png;base64,{picture}"
            extra += f'<div><img{least} style="{style}" src="{source}"/></div>'
    elif size := len(getattr(msg, "buf", b"")):
        extra = html.muted(f"{size} bytes")
    result["text/html"] = html.box(title, extra, html.properties(msg._props), colour=colour)
    return result


def _way(msg: Msg) -> str:
    source = msg.get_source().extension_name
    dests = ", ".join(str(dest.extension_name or dest) for dest in msg.get_dests())
    way = (f" from {source}" if source else "") + (f" to {dests}" if dests else "")
    turn = f", turn {msg.turn.id}" if msg.turn else ""
    return html.muted(way + turn) if way or turn else ""


@bundle.register(TenError)
def _error(error: TenError) -> Bundle:
    title = html.coloured(type(error).__name__, html.BAD)
    if isinstance(error, GraphError) and error.problems:
        rows = [
            (f"<code>{html.text(problem.path)}</code>", html.text(problem.message))
            for problem in error.problems
        ]
        content = html.table(("where", "what"), rows)
    else:
        content = f"<div>{html.text(error)}</div>"
    if error.__cause__ is not None:
        content += _causes(html.leaves(error.__cause__))
    notes = "".join(f"<div>{html.muted(note)}</div>" for note in getattr(error, "__notes__", ()))
    return {
        "text/plain": f"{type(error).__name__}: {error}",
        "text/html": html.box(title, content, notes, colour=html.BAD),
    }


@bundle.register(ShutdownReport)
def _report(report: ShutdownReport) -> Bundle:
    good = not report.grace_exhausted and not report.failures
    colour = html.GOOD if good else html.BAD
    state = "in order" if good else "the grace ran out" if report.grace_exhausted else "it failed"
    title = html.coloured(f"closed, {state}", colour)
    title += html.muted(
        f" graph {report.graph_name or report.graph_id}: {report.reason}, "
        f"in {1_000 * report.duration:.0f} ms"
    )
    rows = []
    for name, each in report.extensions.items():
        dropped = ", ".join(f"{number} {cause}" for cause, number in each.dropped.items())
        rows.append(
            (
                html.text(name),
                _milliseconds(each.on_stop),
                _milliseconds(each.on_deinit),
                str(each.answered_with_error or ""),
                html.text(dropped),
                html.text(each.slow),
            )
        )
    head = ["extension", "on_stop", "on_deinit", "answered with ERROR", "dropped", "was late at"]
    # What nobody has anything to say about isn't worth a column.
    kept = [index for index in range(len(head)) if index == 0 or any(row[index] for row in rows)]
    table = html.table([head[i] for i in kept], [[row[i] for i in kept] for row in rows])
    failures = "".join(_causes(html.leaves(failure)) for failure in report.failures)
    return {
        "text/plain": str(report),
        "text/html": html.box(title, failures, table, colour=colour),
    }


def _causes(errors: Iterable[BaseException]) -> str:
    return "".join(
        f"<div><code>{html.text(f'{type(error).__name__}: {error}')}</code></div>"
        for error in errors
    )


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1_000 * seconds:.1f} ms"


@bundle.register(Graph)
@bundle.register(PredefinedGraph)
def _graph(graph: Graph | PredefinedGraph) -> Bundle:
    mermaid = to_mermaid(graph)
    result: Bundle = {"text/plain": _listing(graph)}
    try:
        result["image/svg+xml"] = html.fitting(to_svg(graph))
    except MissingExtra:
        result["text/vnd.mermaid"] = mermaid
        result["text/markdown"] = f"```mermaid\n{mermaid}```\n"
    return result


class Reports(tuple[ShutdownReport, ...]):
    """The reports of several graphs, shown one below the other."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Bundle:
        shown = "".join(_report(report)["text/html"] for report in self)
        lines = "\n".join(map(str, self))
        return {
            "text/plain": lines or "closed, no graph was running",
            "text/html": shown or html.muted("closed, no graph was running"),
        }


def running_graph(graph: Any) -> Bundle:
    """A graph that runs, or did: its picture, and how it is."""
    colour = html.BAD if graph.failures else html.GOOD if graph.is_running else html.MUTED
    state = "failed" if graph.failures else "running" if graph.is_running else "closed"
    number = len(graph.definition.nodes) if graph.definition is not None else 0
    title = html.coloured(state, colour) + html.muted(f" graph {graph.graph_id}, {number} nodes")
    picture = ""
    if graph.definition is not None:
        try:
            picture = html.fitting(to_svg(graph.definition))
        except MissingExtra:
            picture = f"<pre>{html.text(_listing(graph.definition))}</pre>"
    return {
        "text/plain": repr(graph),
        "text/html": html.box(title, picture, colour=colour),
    }


def _listing(graph: Drawable) -> str:
    drawing = draw(graph)
    titles = {node.id: node.title for node in drawing.nodes}
    lines = [f"graph of {len(drawing.nodes)} nodes"]
    lines += [
        f"  {node.title}{f' ({node.subtitle})' if node.subtitle else ''}" for node in drawing.nodes
    ]
    lines += [
        f"  {titles[link.source]} → {titles[link.dest]}  {link.kind} {', '.join(link.labels)}"
        for link in drawing.links
    ]
    return "\n".join(lines)


@bundle.register(Explanation)
def _explanation(explanation: Explanation) -> Bundle:
    stuck = explanation.is_deadlocked or explanation.silent is not None
    colour = html.BAD if stuck else html.MUTED
    state = "deadlock" if explanation.is_deadlocked else "stuck" if stuck else explanation.state
    title = html.coloured(state, colour)
    title += html.muted(f" graph {explanation.name or explanation.graph_id}")
    circles = "".join(
        f"<div>{html.coloured(' → '.join([*(w.who for w in circle), circle[0].who]), html.BAD)}</div>"
        for circle in explanation.deadlocks
    )
    in_circles = {wait for circle in explanation.deadlocks for wait in circle}
    rows = []
    for wait in explanation.waits[:40]:
        first, *more = wait.lines
        since = "" if wait.seconds is None else f"{wait.seconds:.1f} s"
        detail = "".join(f"<div>{html.muted(line)}</div>" for line in more)
        who = html.coloured(wait.who, html.BAD) if wait in in_circles else html.text(wait.who)
        rows.append((who, since, f"{html.text(first)}{detail}"))
    table = html.table(("who", "since", "waits"), rows, numbers=(1,)) if rows else ""
    return {
        "text/plain": str(explanation),
        "text/html": html.box(title, circles, table or html.muted("nothing waits"), colour=colour),
    }


__all__ = ["bundle"]
