"""What `explain` tells: who waits for what, since when; as text, as JSON, and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs
import cattrs

from ..display import Displayed
from ..errors import InvalidType

Kind = Literal["result", "room", "held", "handler", "stage"]

_MOST = 40
"""Waits that the text lists; of more it says how many there are."""
_FRAMES = 12
_COLOURS = {"result": "#2563eb", "room": "#0f8a5f", "held": "#8a8fa3"}
_DEADLOCK = "#d92d20"


@attrs.frozen(kw_only=True)
class Wait:
    """One thing that waits."""

    who: str
    """The extension, or `the host`."""
    doing: str
    """What of it waits: a handler, a stage of its life, a task."""
    kind: Kind
    """For a command's `result`, for `room` at a receiver, for what holds queued messages (`held`) up;
    a `handler` or a `stage` that waits for something which the runtime can't see."""
    what: str = ""
    """The command, or what is queued."""
    on: str = ""
    """The extension, or other place, that is waited for."""
    seconds: float | None = None
    """Since when; None if that isn't known."""
    at: str = ""
    """The line of code, `file:line in function`."""
    why: str = ""
    """How far the other side is."""

    @property
    def target(self) -> str:
        """What is waited for."""
        if self.kind == "result":
            return f"the result of {self.what}" + (f" from {self.on}" if self.on else "")
        if self.kind == "room":
            return f"room at {self.on}"
        return ""

    @property
    def lines(self) -> tuple[str, ...]:
        """The same in words: what waits for what; then, if that is known, where and why."""
        if self.kind == "held":
            first = f"{self.what} queued"
        else:
            first = f"{self.doing} waits" + (f" for {self.target}" if self.target else "")
        more = (f"at {self.at}" if self.at else "", self.why)
        return (first, *(line for line in more if line))

    def __str__(self) -> str:
        first, *more = self.lines
        since = "" if self.seconds is None else f" ({_time(self.seconds)})"
        return "; ".join([f"{self.who}: {first}{since}", *more])


@attrs.frozen(kw_only=True)
class Block:
    """Who has kept a loop from running anything else, as the watchdog has seen it."""

    who: str
    """The extension; a task's name, or empty if it was no handler."""
    doing: str
    at: str
    """The line of code where it was seen last."""
    seconds: float
    """The longest, or how long it has lasted so far."""
    times: int = 1

    def __str__(self) -> str:
        text = f"loop blocked {_time(self.seconds)} by {self.who or 'no handler'}"
        text += f" ({self.doing})" if self.doing else ""
        text += f" at {self.at}" if self.at else ""
        return f"{text}, {self.times} times" if self.times > 1 else text


@attrs.frozen(kw_only=True)
class Explanation(Displayed):
    """Why a graph doesn't get on: everything that waits in it at one moment."""

    graph_id: str
    name: str = ""
    state: str = "running"
    """Or `starting`, or `closing` and why."""
    waits: tuple[Wait, ...] = ()
    """The longest first, at most 1,000; besides those that are in a circle."""
    more: int = 0
    """Waits that were left out."""
    deadlocks: tuple[tuple[Wait, ...], ...] = ()
    """Circles: each waits for the next, and the last for the first. Nothing inside can end them."""
    blocks: tuple[Block, ...] = ()
    """With `Limits.watchdog`: who has blocked the loop. The latest last."""
    silent: float | None = None
    """Seconds since which a graph with a loop of its own hasn't answered: that loop is blocked."""
    blocked_by: Block | None = None
    """By whom."""
    stack: tuple[str, ...] = ()
    """Where its thread is, the innermost call last."""

    @property
    def is_deadlocked(self) -> bool:
        """Whether some wait in a circle."""
        return bool(self.deadlocks)

    # Text -------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        title = f"{self.name} ({self.graph_id})" if self.name else self.graph_id
        number = len(self.waits) + self.more
        found = "1 wait" if number == 1 else f"{number} waits" if number else "nothing waits"
        yield f"graph {title}, {self.state}: {found}"
        if self.silent is not None:
            yield f"its loop doesn't answer since {_time(self.silent)}"
            if self.blocked_by is not None:
                yield f"  {self.blocked_by}"
            yield from (f"    {frame}" for frame in self.stack[-_FRAMES:])
        for circle in self.deadlocks:
            yield f"DEADLOCK: {' -> '.join([*(wait.who for wait in circle), circle[0].who])}"
            yield from self._grouped(circle)
        in_circles = {id(wait) for circle in self.deadlocks for wait in circle}
        others = [wait for wait in self.waits if id(wait) not in in_circles]
        if others and self.deadlocks:
            yield "besides:"
        yield from self._grouped(others[:_MOST])
        rest = max(0, len(others) - _MOST) + self.more
        if rest:
            yield f"  and {rest} more"
        yield from map(str, self.blocks)

    def _grouped(self, waits: Sequence[Wait]) -> Iterator[str]:
        width = max((len(wait.who) for wait in waits), default=0)
        for wait in waits:
            since = "?" if wait.seconds is None else _time(wait.seconds)
            first, *more = wait.lines
            yield f"  {wait.who:{width}} {since:>7}  {first}"
            yield from (f"  {'':{width + 8}}    {line}" for line in more)

    # JSON -------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """What `json.dumps` takes; times are in seconds."""
        content: dict[str, Any] = _converter.unstructure(self)
        return content

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> Explanation:
        """What `to_dict` was called on. Raises `InvalidType` for anything else."""
        try:
            found = _converter.structure(content, Explanation)
        except Exception as error:
            raise InvalidType(f"this is no explanation: {error}") from error
        # The waits in a circle are some of the others: the same objects, as they were.
        known = {wait: wait for wait in found.waits}
        circles = tuple(
            tuple(known.get(wait, wait) for wait in circle) for circle in found.deadlocks
        )
        return attrs.evolve(found, deadlocks=circles)

    # A picture --------------------------------------------------------------------------------

    def to_mermaid(self) -> str:
        """A Mermaid flowchart: an arrow from who waits to whom it waits for, red in a deadlock."""
        ids: dict[str, str] = {}
        boxes: dict[str, list[str]] = {}
        arrows: list[tuple[str, str, str, str]] = []
        in_circles = {wait for circle in self.deadlocks for wait in circle}
        for wait in self.waits:
            label = f"{wait.what or wait.kind}"
            if wait.kind == "room":
                label = "room"
            elif wait.kind == "result":
                label = f"result of {wait.what}"
            since = "" if wait.seconds is None else f", {_time(wait.seconds)}"
            ids.setdefault(wait.who, f"n{len(ids)}")
            if wait.on and wait.kind != "held":
                ids.setdefault(wait.on, f"n{len(ids)}")
                colour = _DEADLOCK if wait in in_circles else _COLOURS[wait.kind]
                arrows.append((ids[wait.who], ids[wait.on], label + since, colour))
            else:
                what = f"{wait.what} queued" if wait.kind == "held" else wait.doing
                boxes.setdefault(wait.who, []).append(what + since)
        blocked = self.blocked_by.who if self.blocked_by is not None else None
        if blocked is not None:
            who = blocked or "no handler"
            ids.setdefault(who, f"n{len(ids)}")
            boxes.setdefault(who, []).append(f"blocks the loop, {_time(self.silent or 0.0)}")
        lines = ["flowchart LR"]
        for name, node in ids.items():
            text = "<br/>".join(map(_escaped, (name, *boxes.get(name, ()))))
            lines.append(f'  {node}["{text}"]')
        lines += [f'  {a} -->|"{_escaped(label)}"| {b}' for a, b, label, _ in arrows]
        for index, (_, _, _, colour) in enumerate(arrows):
            lines.append(f"  linkStyle {index} stroke:{colour},color:{colour}")
        stuck = {wait.who for wait in in_circles} | ({blocked} if blocked else set())
        for name in sorted(stuck & ids.keys()):
            lines.append(f"  style {ids[name]} fill:#fde2e4,stroke:{_DEADLOCK}")
        return "\n".join(lines) + "\n"


_converter = cattrs.Converter(unstruct_collection_overrides={tuple: list})


def _time(seconds: float) -> str:
    return f"{seconds * 1_000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def _escaped(text: str) -> str:
    for mark, entity in (("&", "&amp;"), ('"', "&quot;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(mark, entity)
    return text.replace("\n", " ")


__all__ = ["Block", "Explanation", "Wait"]
