"""How long a run's commands took, and when in a turn who first spoke: as numbers and as a plot."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from importlib import import_module
from io import BytesIO
from statistics import median
from typing import Any

import attrs

from ..errors import MissingExtra
from . import html
from .recording import HOST, Event


@attrs.frozen(kw_only=True)
class Latencies:
    """In seconds. Shown as a plot if matplotlib is there, else as a table."""

    commands: Mapping[str, tuple[float, ...]]
    """From sending a command to each of its final results, by "source → dest name"."""
    turns: Mapping[str, Mapping[str, float]]
    """By turn: from its first message to the first that each extension sent for it."""

    def __str__(self) -> str:
        lines = [
            f"{name}: {len(times)} times, median {_ms(median(times))}, at most {_ms(max(times))}"
            for name, times in self.commands.items()
        ]
        for turn, firsts in self.turns.items():
            steps = ", ".join(f"{name} {_ms(at)}" for name, at in firsts.items())
            lines.append(f"turn {turn}: {steps}")
        return "\n".join(lines) or "no command was answered, and nothing belongs to a turn"

    def figure(self) -> Any:
        """A `matplotlib.figure.Figure`. Raises `MissingExtra` without matplotlib."""
        try:
            figures: Any = import_module("matplotlib.figure")
        except ImportError as problem:
            raise MissingExtra(
                "plots need matplotlib: pip install 'ten-trio[notebook]'"
            ) from problem
        parts = [part for part in (self.commands, self.turns) if part]
        rows = [max(len(part), 1) for part in parts] or [1]
        figure = figures.Figure(
            figsize=(8, 0.9 * len(rows) + 0.4 * sum(rows)), layout="constrained", facecolor="white"
        )
        axes = figure.subplots(
            len(rows), 1, squeeze=False, gridspec_kw={"height_ratios": [n + 1 for n in rows]}
        )[:, 0]
        for axis, part in zip(axes, parts, strict=False):
            if part is self.commands:
                self._plot_commands(axis)
            else:
                self._plot_turns(axis)
        return figure

    def _plot_commands(self, axis: Any) -> None:
        names = list(self.commands)[::-1]
        for row, name in enumerate(names):
            times = [1_000 * each for each in self.commands[name]]
            axis.scatter(times, [row] * len(times), s=22, alpha=0.45, color="#2563eb", lw=0)
            axis.plot([median(times)] * 2, [row - 0.3, row + 0.3], color="#1f2430", lw=1.5)
        _dress(axis, names, "commands, ms from sending to the final result (line: median)")
        # What is a thousand times slower than the rest would squeeze that into a line.
        values = [each for times in self.commands.values() for each in times if each > 0]
        if values and max(values) > 50 * min(values):
            axis.set_xscale("log")
            axis.set_xlim(1_000 * min(values) / 2, 1_000 * max(values) * 2)

    def _plot_turns(self, axis: Any) -> None:
        names = list(self.turns)[::-1]
        speakers = list(dict.fromkeys(name for firsts in self.turns.values() for name in firsts))
        for number, speaker in enumerate(speakers):
            rows = [row for row, turn in enumerate(names) if speaker in self.turns[turn]]
            times = [1_000 * self.turns[names[row]][speaker] for row in rows]
            axis.scatter(times, rows, s=45, color=f"C{number % 10}", label=speaker, zorder=3)
        for row, turn in enumerate(names):
            axis.plot(
                [0, 1_000 * max(self.turns[turn].values())], [row, row], color="#c9ccd6", zorder=1
            )
        labels = [f"turn {number}" for number in range(len(names), 0, -1)]
        _dress(axis, labels, "turns, ms until each extension first sent something")
        axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": str(self)}
        try:
            figure = self.figure()
        except MissingExtra:
            rows = [
                (html.text(name), str(len(times)), _ms(median(times)), _ms(max(times)))
                for name, times in self.commands.items()
            ]
            head = ("command", "times", "median", "at most")
            return bundle | {"text/html": html.table(head, rows, numbers=(1, 2, 3))}
        if self.commands or self.turns:
            picture = BytesIO()
            figure.savefig(picture, format="png", dpi=110)
            bundle["image/png"] = b64encode(picture.getvalue()).decode()
        return bundle


def _dress(axis: Any, names: list[str], title: str) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.set_xlim(left=0)
    axis.set_title(title, fontsize=10, loc="left")
    axis.grid(axis="x", color="#ececf1")
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _ms(seconds: float) -> str:
    return f"{1_000 * seconds:.1f} ms" if seconds < 0.1 else f"{1_000 * seconds:.0f} ms"


def latencies(events: Iterable[Event]) -> Latencies:
    """What these messages tell of latencies."""
    began: dict[int, Event] = {}
    commands: dict[str, list[float]] = {}
    starts: dict[str, float] = {}
    turns: dict[str, dict[str, float]] = {}
    for event in events:
        if event.kind == "cmd":
            began[event.cmd_id] = event
        elif event.kind == "result" and event.final and event.cmd_id in began:
            cmd = began.pop(event.cmd_id)
            name = f"{cmd.source} → {cmd.dest} {cmd.name}"
            commands.setdefault(name, []).append(event.at - cmd.at)
        if event.turn:
            start = starts.setdefault(event.turn, event.at)
            if event.source != HOST:
                turns.setdefault(event.turn, {}).setdefault(event.source, event.at - start)
    return Latencies(
        commands={name: tuple(times) for name, times in commands.items()},
        turns=turns,
    )


__all__ = ["Latencies", "latencies"]
