"""Hypothesis strategies: values and messages, graphs, conversations with a graph, trials of one.

Everything that is drawn is legal: what a runtime, a protocol or an extension has to get on with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ten_trio.errors import MissingExtra
from ten_trio.graphs import KINDS, Conversion, Graph, Kind, Rule
from ten_trio.messages import AudioFrame, Cmd, Data, Msg, ValueType, VideoFrame
from ten_trio.schemas import ArraySchema, ObjectSchema, Schema
from ten_trio.testing.subjects import Phrase, Subject
from ten_trio.testing.trials import Crash, Delay, Fault, Link, Reply, Say, Trial

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as problem:  # pragma: no cover
    raise MissingExtra("strategies need Hypothesis: pip install 'ten-trio[test]'") from problem

_INTEGERS: Final[Mapping[ValueType, tuple[int, int]]] = {
    **{
        kind: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        for kind, bits in (
            (ValueType.INT8, 8),
            (ValueType.INT16, 16),
            (ValueType.INT32, 32),
            (ValueType.INT64, 64),
        )
    },
    **{
        kind: (0, 2**bits - 1)
        for kind, bits in (
            (ValueType.UINT8, 8),
            (ValueType.UINT16, 16),
            (ValueType.UINT32, 32),
            (ValueType.UINT64, 64),
        )
    },
}
_MESSAGES: Final[Mapping[Kind, Callable[..., Msg]]] = {
    "cmd": Cmd,
    "data": Data,
    "audio_frame": AudioFrame,
    "video_frame": VideoFrame,
}


# Values and messages --------------------------------------------------------------------------------


def names() -> st.SearchStrategy[str]:
    """Names of messages and properties; none is one of the runtime's own."""
    text = st.text(st.characters(exclude_characters=".[]", codec="utf-8"), min_size=1, max_size=6)
    return text.filter(lambda name: not name.startswith("ten"))


def atoms() -> st.SearchStrategy[Any]:
    """What a property may be that has no parts, and that JSON has too."""
    numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    return st.none() | st.booleans() | numbers | st.text(st.characters(codec="utf-8"), max_size=6)


def values(
    leaves: st.SearchStrategy[Any] | None = None, keys: st.SearchStrategy[str] | None = None
) -> st.SearchStrategy[Any]:
    """What a property may be: trees of `leaves`, by default `atoms`, under `keys`, by default any text."""
    atomic = atoms() if leaves is None else leaves
    text = st.text(st.characters(codec="utf-8"), max_size=6) if keys is None else keys
    return st.recursive(
        atomic,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=8,
    )


def properties() -> st.SearchStrategy[dict[str, Any]]:
    """The properties of a message."""
    return st.dictionaries(names(), values(), max_size=4)


def fitting(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that a compiled schema takes."""
    if isinstance(schema, ObjectSchema):
        parts = {name: fitting(part) for name, part in schema.properties.items()}
        needed = {name: part for name, part in parts.items() if name in schema.required}
        rest = {name: part for name, part in parts.items() if name not in schema.required}
        return st.fixed_dictionaries(needed, optional=rest)
    if isinstance(schema, ArraySchema):
        return st.lists(fitting(schema.item), max_size=3)
    if schema.type in _INTEGERS:
        return st.integers(*_INTEGERS[schema.type])
    if schema.type is ValueType.FLOAT32:
        return st.floats(width=32, allow_nan=False, allow_infinity=False)
    if schema.type is ValueType.FLOAT64:
        return st.floats(allow_nan=False, allow_infinity=False)
    if schema.type is ValueType.BOOL:
        return st.booleans()
    if schema.type is ValueType.BUF:
        return st.binary(max_size=8)
    return st.text(st.characters(codec="utf-8"), max_size=6)


@st.composite
def messages(
    draw: st.DrawFn,
    kinds: Sequence[Kind] = KINDS,
    name: st.SearchStrategy[str] | None = None,
    content: st.SearchStrategy[dict[str, Any]] | None = None,
) -> Any:
    """Messages of some kinds, of any name and with any properties unless you say which."""
    kind = draw(st.sampled_from(list(kinds)))
    called = draw(names() if name is None else name)
    given = draw(properties() if content is None else content)
    if kind == "cmd":
        return Cmd(called, given)
    return _MESSAGES[kind](called, given, buf=draw(st.binary(max_size=20)))


# Graphs ---------------------------------------------------------------------------------------------

node_names = st.sampled_from(["a", "b", "c", "rtc", "asr", "main_control"])
message_names = st.sampled_from(["m", "n", "flush", "pcm"])
scalars = st.one_of(st.booleans(), st.integers(-9, 9), st.text(max_size=5))
small_properties = st.dictionaries(
    st.text(max_size=5),
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3)),
    max_size=3,
)


@st.composite
def _rules(draw: st.DrawFn) -> Rule:
    path = draw(st.sampled_from(["p", "p.q", "r[1]", "ten.name"]))
    if path == "ten.name" or draw(st.booleans()):
        return Rule.fixed(path, draw(st.text(max_size=3) if path == "ten.name" else scalars))
    return Rule.copied(path, draw(st.sampled_from(["p", "q.x", "list[0]"])))


def conversions(kind: str) -> st.SearchStrategy[Conversion]:
    """Conversions of messages of a kind: of commands perhaps with one for their results."""
    plain = st.builds(Conversion, st.lists(_rules(), min_size=1, max_size=3), st.booleans())
    result = st.none() | plain if kind == "cmd" else st.none()
    return st.builds(
        lambda made, back: Conversion(made.rules, made.keep_original, back), plain, result
    )


@st.composite
def graphs(
    draw: st.DrawFn, depth: int = 2, addons: Sequence[Any] = ("addon_x", "addon_y")
) -> Graph:
    """A graph without problems, of these addons, with subgraphs down to `depth`."""
    graph = Graph()
    extensions = draw(st.lists(node_names, min_size=1, max_size=4, unique=True))
    for name in extensions:
        graph.node(
            name,
            draw(st.sampled_from(list(addons))),
            group=draw(st.sampled_from(["", "g"])),
            property=draw(small_properties),
        )
    places: list[str] = list(extensions)
    if depth and draw(st.booleans()):
        inner = draw(graphs(depth - 1, addons))
        for kind in KINDS:
            for direction in ("in", "out"):
                for message in ("m", "n", "flush", "pcm"):
                    inner.expose(f"{kind}_{direction}", message, inner.nodes[0].name)
        places.append(graph.subgraph("sub", inner))
        places.append(f"sub:{inner.nodes[0].name}")
    if draw(st.booleans()):
        places.append(graph.selector("everything", type=""))
    used: set[tuple[str, ...]] = set()
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(KINDS))
        source, dest = draw(st.sampled_from(places)), draw(st.sampled_from(places))
        name = draw(message_names)
        # A message that reaches one node over two ways may be converted on neither. (What the
        # graph around this one adds goes from its first extension to that itself.)
        plain = source in extensions and dest in extensions and "everything" not in places
        alone = plain and source != dest
        key = (kind, source, dest, name)
        convert = draw(st.none() | conversions(kind)) if alone and key not in used else None
        if key in used:
            continue
        used.add(key)
        named: dict[str, Any] = {kind: name}
        graph.connect(source, dest, convert=convert, **named)
    return graph


# Conversations and trials ---------------------------------------------------------------------------

_waits = st.sampled_from([0, 0, 0, 0.01, 1, 10])
# Mostly patient: who gives up hides what isn't answered.
_PATIENCES: Final = (None, None, None, None, 0.01, 1)
_REPLIES: Final[tuple[Reply, ...]] = ("ok", "error", "late")
_replies = st.lists(st.sampled_from(_REPLIES), max_size=4).map(lambda drawn: tuple(drawn))


@st.composite
def _says(draw: st.DrawFn, phrases: Sequence[Phrase], clients: int) -> Say:
    phrase = draw(st.sampled_from(list(phrases)))
    given: Mapping[str, Any] = phrase.properties or {}
    if phrase.properties is None and phrase.schema is not None:
        given = draw(fitting(phrase.schema))
    size = phrase.size
    if phrase.kind != "cmd" and size is None:
        size = draw(st.sampled_from([0, 1, 320, 5_000]))
    return Say(
        phrase.kind,
        phrase.name,
        phrase.to,
        properties=given,
        size=size or 0,
        wait=draw(_waits),
        patience=draw(st.sampled_from(_PATIENCES)) if phrase.kind == "cmd" else None,
        client=draw(st.integers(0, clients)) if clients else 0,
    )


def conversations(
    what: Subject | Graph | Iterable[Phrase | Msg], *, max_size: int = 8, clients: int = 0
) -> st.SearchStrategy[tuple[Say, ...]]:
    """What may be said to a graph, one after the other: see `Say`.

    `what`: the graph, of which everything is said that it exposes and that goes along its edges; or
    examples of the messages.  Some of those who ask lose patience.
    """
    if isinstance(what, Graph):
        what = Subject(what)
    given = what.phrases() if isinstance(what, Subject) else what
    phrases = [each if isinstance(each, Phrase) else Phrase.of(each) for each in given]
    if not phrases:
        return st.just(())
    return st.lists(_says(phrases, clients), max_size=max_size).map(lambda says: tuple(says))


@st.composite
def trials(
    draw: st.DrawFn,
    subject: Subject,
    phrases: Sequence[Phrase] = (),
    *,
    crashes: bool = True,
    clients: int = 2,
    cancels: bool = True,
) -> Trial:
    """Trials of a graph: a conversation, in some order of the tasks, and what goes wrong meanwhile.

    `phrases` are to be said besides what the graph itself says may be; with those of the same name
    and place instead.  Without `crashes`, `clients` or `cancels` none of that happens.
    """
    own = {(each.kind, each.name, each.to): each for each in subject.phrases()}
    own.update({(each.kind, each.name, each.to): each for each in phrases})
    extensions = st.sampled_from(list(subject.extensions))
    nth = st.integers(0, 6)
    faults: tuple[Fault, ...] = ("none", "cut", "stall", "half-open")
    link = st.builds(Link, st.sampled_from(faults), st.integers(0, 2_000))
    delays = st.builds(Delay, extensions, nth, st.sampled_from([0, 0.01, 1]))
    # Mostly none: where the graph has stopped, nothing else is found.
    crash = st.tuples(st.builds(Crash, extensions, nth))
    return Trial(
        says=draw(conversations(list(own.values()), clients=clients)),
        links=tuple(draw(st.lists(link, max_size=clients))) if clients else (),
        delays=tuple(draw(st.lists(delays, max_size=3))),
        crashes=draw(st.one_of(st.just(()), st.just(()), crash)) if crashes else (),
        replies=draw(_replies) if subject.redirects else (),
        linger=draw(st.sampled_from([10, 0])),
        cancel_at=draw(st.one_of(st.none(), st.none(), st.integers(0, 400))) if cancels else None,
        order=draw(st.integers(0, 2**16)),
    )


__all__ = [
    "atoms",
    "conversations",
    "conversions",
    "fitting",
    "graphs",
    "messages",
    "names",
    "properties",
    "trials",
    "values",
]
