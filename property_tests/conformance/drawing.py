"""What the properties draw from: executors with the results that they must give, chains, branches, values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from hypothesis import strategies as st

import ten_trio as ten
from ten_trio.testing.conformance import Answer, Node
from ten_trio.testing.strategies import values

GROUPS = st.sampled_from(["", "side"])
"""Of extensions: with most of the others, or apart."""

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
"""The original cuts strings at a NUL."""
NAMES = st.text("abcé_ 1", min_size=1, max_size=5)
SIZED = st.sampled_from(
    [ten.Int8, ten.Int16, ten.Int32, ten.UInt8, ten.UInt16, ten.UInt32, ten.UInt64]
)
ATOMS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | SIZED.flatmap(lambda kind: st.integers(kind.low, kind.high).map(kind))
    | st.floats(allow_nan=False)
    | st.floats(width=32, allow_nan=False).map(ten.Float32)
    | TEXTS
    | st.binary(min_size=1, max_size=6)
)
VALUES = values(ATOMS, NAMES)
PROPERTIES = st.dictionaries(NAMES, VALUES, max_size=4)


@attrs.frozen
class Executor:
    """An extension that answers every command in the same way."""

    node: Node

    def answers(self, properties: Mapping[str, Any]) -> Sequence[Answer]:
        """The results of a command with these properties."""
        node = self.node
        own = {"from": node.name}
        if node.addon == "echo":
            return [Answer(properties)]
        if node.addon == "failer":
            return [Answer({**own, "detail": "failed"}, ok=False)]
        count = node.property["count"]
        parts = [Answer({**own, "n": n}, final=False) for n in range(1, count)]
        last = {**own, "n": count}
        if node.property["fail"]:
            return [*parts, Answer({**last, "detail": "failed"}, ok=False)]
        return [*parts, Answer(last)]


@st.composite
def executors(draw: st.DrawFn, name: str) -> Executor:
    """One that echoes, fails, or answers in several parts."""
    addon = draw(st.sampled_from(["echo", "failer", "streamer"]))
    told: dict[str, Any] = {}
    if addon == "streamer":
        told = {"count": draw(st.integers(1, 4)), "fail": draw(st.booleans())}
    return Executor(Node(name, addon, told, draw(GROUPS)))


@st.composite
def crews(draw: st.DrawFn, least: int = 1, most: int = 4) -> list[Executor]:
    """Several of them, and a schedule of the tasks that are in this process."""
    draw(st.random_module())
    return [draw(executors(f"e{n}")) for n in range(draw(st.integers(least, most)))]


def in_one_process(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The same, each example on a schedule of its own."""
    return st.random_module().flatmap(lambda _: strategy)
