"""What `ten-trio run` tells about the graphs: to a person on stderr, or to a program on stdout."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import attrs
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from ..errors import GraphError
from ..observe import LogConfigError
from ..runtime import Engine, ShutdownReport

# A line of a file or a pipe has room for whatever a table holds.
WIDE = 1_000


def console(stderr: bool = True) -> Console:
    """A console that wraps and colours for terminals only."""
    out = Console(stderr=stderr, highlight=False, soft_wrap=False)
    return out if out.is_terminal else Console(stderr=stderr, highlight=False, width=WIDE)


def lines_of(error: BaseException) -> list[str]:
    """What went wrong, a line each: every problem of a graph, every exception of a group."""
    if isinstance(error, BaseExceptionGroup):
        return [line for each in error.exceptions for line in lines_of(each)]
    if isinstance(error, GraphError | LogConfigError):
        return [str(problem) for problem in error.problems]
    text = "".join(traceback.format_exception_only(error)).strip().replace("\n", " | ")
    # Ours say everything in their messages.
    return [text.removeprefix(f"{type(error).__module__}.")]


def reason_of(error: BaseException) -> str:
    """What the system says is wrong, without the addresses in it; of other errors, all they say."""
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    return "; ".join(lines_of(error))


class Screen(Protocol):
    """What happens in a run, told as it happens."""

    def listening(self, uris: Sequence[str]) -> None:
        """Others can come in, at these URIs."""

    def starting(self, name: str) -> None:
        """A graph is about to be started."""

    def started(self, name: str, engine: Engine, seconds: float) -> None:
        """Every extension is back from `on_start`."""

    def failed(self, name: str, error: BaseException) -> None:
        """A graph could not be started."""

    def signalled(self, signal: str, meaning: str) -> None:
        """A signal came: close, cancel or reopen."""

    def closed(self, name: str, report: ShutdownReport) -> None:
        """A graph is closed."""

    def ended(self, names: Mapping[str, str], reports: Sequence[ShutdownReport], code: int) -> None:
        """It is over. `names` of the graphs by their ids."""


class JsonScreen:
    """One JSON object per line and event, on stdout."""

    def listening(self, uris: Sequence[str]) -> None:
        """See `Screen`."""
        self._tell("listening", uris=list(uris))

    def starting(self, name: str) -> None:
        """See `Screen`."""
        self._tell("starting", graph=name)

    def started(self, name: str, engine: Engine, seconds: float) -> None:
        """See `Screen`."""
        extensions = list(engine.extensions)
        self._tell(
            "started", graph=name, graph_id=engine.graph_id, extensions=extensions, seconds=seconds
        )

    def failed(self, name: str, error: BaseException) -> None:
        """See `Screen`."""
        self._tell("failed", graph=name, errors=lines_of(error))

    def signalled(self, signal: str, meaning: str) -> None:
        """See `Screen`."""
        self._tell("signal", signal=signal, meaning=meaning)

    def closed(self, name: str, report: ShutdownReport) -> None:
        """See `Screen`."""
        self._tell("closed", graph=name, **report_json(report))

    def ended(self, names: Mapping[str, str], reports: Sequence[ShutdownReport], code: int) -> None:
        """See `Screen`."""
        self._tell("ended", graphs=len(reports), exit_code=code)

    def _tell(self, event: str, **content: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        print(json.dumps({"event": event, "time": now, **content}, ensure_ascii=False), flush=True)


def report_json(report: ShutdownReport) -> dict[str, Any]:
    """A report as JSON objects; times in seconds, failures as texts."""
    extensions = {
        name: attrs.asdict(each, filter=lambda field, _: field.name != "name")
        for name, each in report.extensions.items()
    }
    return {
        "graph_id": report.graph_id,
        "reason": report.reason,
        "seconds": report.duration,
        "grace_exhausted": report.grace_exhausted,
        "extensions": extensions,
        "failures": [line for failure in report.failures for line in lines_of(failure)],
        "threads": list(report.threads),
    }


class PersonScreen:
    """Lines and tables on stderr, and a spinner while graphs start, if that is a terminal."""

    def __init__(self) -> None:
        self._console = console()
        self._waiting: dict[str, None] = {}
        self._told: set[str] = set()
        self._status: Status | None = None
        self._listens = False

    def listening(self, uris: Sequence[str]) -> None:
        """See `Screen`."""
        self._listens = True
        self._say(f"listening at {', '.join(uris)}", "bold")

    def starting(self, name: str) -> None:
        """See `Screen`."""
        self._waiting[name] = None
        self._spin()
        if not self._console.is_terminal:
            self._say(f"starting {name}")

    def started(self, name: str, engine: Engine, seconds: float) -> None:
        """See `Screen`."""
        self._done(name)
        count = len(engine.extensions)
        text = (
            f"{name} is running: {count} extension{'s' * (count != 1)}, started in {seconds:.3f} s"
        )
        if self._listens and name != engine.graph_id:
            text += f"; its id is {engine.graph_id}"
        self._say(text, "green")

    def failed(self, name: str, error: BaseException) -> None:
        """See `Screen`."""
        self._done(name)
        self._told.add(name)
        self._say(f"{name} could not be started:", "bold red")
        for line in lines_of(error):
            self._say(f"  {line}", "red")

    def signalled(self, signal: str, meaning: str) -> None:
        """See `Screen`."""
        told = {
            "close": "closing in order; once more cancels what is left",
            "cancel": "cancelling at once; once more ends the process",
            "reopen": "log files reopened",
        }
        self._say(f"{signal}: {told[meaning]}", "yellow")

    def closed(self, name: str, report: ShutdownReport) -> None:
        """See `Screen`."""
        self._done(name)
        self._say(f"{name} is closed: {report.reason}")

    def ended(self, names: Mapping[str, str], reports: Sequence[ShutdownReport], code: int) -> None:
        """See `Screen`."""
        self._waiting.clear()
        self._spin()
        if not reports:
            return
        table = Table(title="How the graphs closed", title_justify="left")
        for column in ("graph", "reason"):
            table.add_column(column, overflow="fold")
        for column in ("seconds", "answered ERROR", "dropped"):
            table.add_column(column, justify="right")
        table.add_column("in order")
        for report in reports:
            table.add_row(
                Text(_called(report, names)),
                Text(report.reason),
                f"{report.duration:.3f}",
                str(report.answered_with_error),
                str(report.dropped),
                Text("grace ran out", "red") if report.grace_exhausted else Text("yes", "green"),
            )
        self._console.print(table)
        for report in reports:
            name = _called(report, names)
            for extension, at in report.slow.items():
                self._say(f"{name}: {extension} was slow: {at}", "yellow")
            for thread in report.threads:
                self._say(f"{name}: a thread still runs: {thread}", "yellow")
            for failure in report.failures if name not in self._told else ():
                for line in lines_of(failure):
                    self._say(f"{name}: {line}", "red")

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style))

    def _done(self, name: str) -> None:
        self._waiting.pop(name, None)
        self._spin()

    def _spin(self) -> None:
        if not self._console.is_terminal:
            return
        if self._waiting:
            text = Text(f"starting {', '.join(self._waiting)}")
            if self._status is None:
                self._status = self._console.status(text)
                self._status.start()
            else:
                self._status.update(text)
        elif self._status is not None:
            self._status.stop()
            self._status = None


def _called(report: ShutdownReport, names: Mapping[str, str]) -> str:
    return names.get(report.graph_id) or report.graph_name or report.graph_id


def tell_error(text: str, *, as_json: bool, **more: Any) -> None:
    """Say that nothing could be done, and why."""
    if as_json:
        print(json.dumps({"error": text, **more}, ensure_ascii=False), flush=True)
    else:
        print(f"ten-trio: {text}", file=sys.stderr, flush=True)


__all__ = [
    "JsonScreen",
    "PersonScreen",
    "Screen",
    "console",
    "lines_of",
    "reason_of",
    "report_json",
    "tell_error",
]
