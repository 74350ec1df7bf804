"""Messages against pure models: copies stay independent, JSON and paths give back what went in."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ten_trio.errors import TenError
from ten_trio.messages import INVALID, AudioFrame, Cmd, Data, Loc, Msg, VideoFrame
from ten_trio.messages.paths import delete_at, get_at, parse, set_at, to_text
from ten_trio.messages.values import freeze, freeze_items, from_json, merge, to_json, type_of
from ten_trio.testing.strategies import atoms, names, properties, values

NAMES = st.text(st.characters(exclude_characters=".[]", codec="utf-8"), min_size=1, max_size=6)
FEW_NAMES = st.sampled_from(["a", "b", "c d", "é"])
VALUES = values(atoms() | st.binary(max_size=4), FEW_NAMES)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)
JSON_VALUES = values()
PROPERTY_NAMES = names()
PROPERTIES = properties()
PATHS = st.builds(
    lambda first, rest: (first, *rest),
    FEW_NAMES,
    st.lists(FEW_NAMES | st.integers(0, 4), max_size=3),
)


# A model of the properties: plain dicts and lists, changed in place ------------------------------


def model_set(tree: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    """Do what `set_property` promises, the simplest way."""
    here: Any = tree
    for at, part in enumerate(path):
        last = at + 1 == len(path)
        if isinstance(part, int):
            here.extend([INVALID] * (part + 1 - len(here)))
        if last:
            here[part] = copy.deepcopy(value)
            return
        wanted = list if isinstance(path[at + 1], int) else dict
        there = here.get(part) if isinstance(here, dict) else here[part]
        if not isinstance(there, wanted):
            here[part] = wanted()
        here = here[part]


def model_find(tree: Any, path: tuple[str | int, ...]) -> list[Any]:
    """Return what is at `path` in a list, or an empty one."""
    for part in path:
        if isinstance(part, int):
            if not isinstance(tree, list) or part >= len(tree):
                return []
        elif not isinstance(tree, dict) or part not in tree:
            return []
        tree = tree[part]
    return [tree]


def plain(value: Any) -> Any:
    """Return a deep copy that is made of plain dicts and lists."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


class Twin:
    """A message, and the model of what it has to say."""

    def __init__(self, msg: Any, properties: dict[str, Any], buf: bytes) -> None:
        self.msg = msg
        self.properties = properties
        self.buf = bytearray(buf)
        self.views: list[memoryview] = []

    def twin(self, msg: Any) -> Twin:
        return Twin(msg, copy.deepcopy(self.properties), bytes(self.buf))


class Copies(RuleBasedStateMachine):
    """Originals, shells and clones of each other: whatever one does, no other one notices."""

    twins: Bundle[Twin] = Bundle("twins")
    locked: Bundle[tuple[Twin, memoryview]] = Bundle("locked")

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Twin] = []

    def known(self, twin: Twin) -> Twin:
        self.all.append(twin)
        return twin

    @rule(
        target=twins,
        kind=st.sampled_from([Data, AudioFrame, VideoFrame]),
        properties=st.dictionaries(FEW_NAMES, VALUES, max_size=3),
        buf=st.binary(min_size=1, max_size=4),
        way=st.sampled_from(["bytes", "bytearray", "lent", "alloc"]),
    )
    def make(self, kind: Any, properties: dict[str, Any], buf: bytes, way: str) -> Twin:
        msg = kind("x", properties, buf=buf if way == "bytes" else b"")
        if way == "bytearray":
            msg.buf = changing = bytearray(buf)
            changing[:] = bytes(len(buf))
        elif way == "lent":
            msg.lend_buf(bytearray(buf))
        elif way == "alloc":
            msg.alloc_buf(len(buf))
            buf = bytes(len(buf))
        model = copy.deepcopy(properties)
        properties.clear()
        return self.known(Twin(msg, model, buf))

    @rule(target=twins, twin=twins)
    def shell(self, twin: Twin) -> Twin:
        # The runtime refuses to send a locked message.
        return self.known(twin.twin(twin.msg.clone() if twin.views else twin.msg._shell()))

    @rule(target=twins, twin=twins)
    def clone(self, twin: Twin) -> Twin:
        return self.known(twin.twin(twin.msg.clone()))

    @rule(twin=twins, path=PATHS, value=VALUES)
    def write(self, twin: Twin, path: tuple[str | int, ...], value: Any) -> None:
        model_set(twin.properties, path, value)
        twin.msg.set_property(to_text(path), value)

    @rule(twin=twins, other=twins, path=PATHS, source=PATHS)
    def write_what_another_holds(
        self, twin: Twin, other: Twin, path: tuple[str | int, ...], source: tuple[str | int, ...]
    ) -> None:
        found = other.msg.get_property(to_text(source), None)
        model_set(twin.properties, path, plain(found))
        twin.msg.set_property(to_text(path), found)

    @rule(twin=twins, properties=st.dictionaries(FEW_NAMES, VALUES, max_size=2))
    def replace_all(self, twin: Twin, properties: dict[str, Any]) -> None:
        twin.msg.set_property("", properties)
        twin.properties = copy.deepcopy(properties)

    @rule(twin=twins, path=PATHS)
    def delete(self, twin: Twin, path: tuple[str | int, ...]) -> None:
        if model_find(twin.properties, path):
            (holder,) = model_find(twin.properties, path[:-1])
            del holder[path[-1]]
            del twin.msg[to_text(path)]
        else:
            with pytest.raises(KeyError):
                del twin.msg[to_text(path)]

    @rule(target=locked, twin=twins)
    def lock(self, twin: Twin) -> tuple[Twin, memoryview]:
        view = twin.msg.lock_buf()
        twin.views.append(view)
        return twin, view

    @rule(lock=locked, at=st.integers(0, 3), byte=st.integers(0, 255))
    def write_through(self, lock: tuple[Twin, memoryview], at: int, byte: int) -> None:
        twin, view = lock
        view[at % len(view)] = byte
        twin.buf[at % len(view)] = byte

    @rule(lock=consumes(locked))
    def unlock(self, lock: tuple[Twin, memoryview]) -> None:
        twin, view = lock
        twin.msg.unlock_buf(view)
        twin.views = [each for each in twin.views if each is not view]

    @rule(twin=twins, path=PATHS)
    def read(self, twin: Twin, path: tuple[str | int, ...]) -> None:
        found = model_find(twin.properties, path)
        assert twin.msg.is_property_exist(to_text(path)) == bool(found)
        if found:
            assert twin.msg.get_property(to_text(path)) == found[0]

    @rule(twin=twins)
    def read_buf(self, twin: Twin) -> None:
        # Not an invariant: reading decides what the message keeps.
        assert twin.msg.get_buf() == twin.buf

    @invariant()
    def everything_is_as_in_the_models(self) -> None:
        for twin in self.all:
            assert twin.msg.properties == twin.properties
            assert list(twin.msg) == list(twin.properties)
            assert twin.msg.view_buf() == twin.buf
            assert len(twin.msg._locks or ()) == len(twin.views)


TestCopies = Copies.TestCase


# Paths ----------------------------------------------------------------------------------------------


@given(st.dictionaries(FEW_NAMES, VALUES, max_size=3), PATHS, VALUES)
def test_set_then_get(properties: dict[str, Any], path: tuple[str | int, ...], value: Any) -> None:
    before = freeze_items(properties)
    after = set_at(before, path, freeze(value))
    assert get_at(after, path) == value
    assert type_of(get_at(after, path)) == type_of(value)
    assert before == properties
    model = copy.deepcopy(properties)
    model_set(model, path, value)
    assert after == model
    again = set_at(delete_at(after, path), path, freeze(value))
    assert get_at(again, path) == value


@given(NAMES, st.lists(NAMES | st.integers(0, 65_535), max_size=6))
def test_paths_as_text(first: str, rest: list[str | int]) -> None:
    path = (first, *rest)
    assert parse(to_text(path)) == path


@given(st.text("ab.[]019 -", max_size=12))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    msg = Cmd("x")
    try:
        parts = parse(text)
    except TenError:
        with pytest.raises(TenError):
            msg.set_property(text, 1)
        assert len(msg) == 0
    else:
        assert parse(to_text(parts)) == parts
        if parts:
            msg.set_property(text, 1)
            assert msg.get_property_int(text) == 1


# JSON -----------------------------------------------------------------------------------------------


@given(JSON_VALUES)
def test_json_of_values(value: Any) -> None:
    text = to_json(freeze(value))
    assert from_json(text) == value
    assert json.loads(text) == value
    assert to_json(from_json(text)) == text


@given(JSON_VALUES, JSON_VALUES)
def test_merging(old: Any, new: Any) -> None:
    merged = merge(freeze(old), freeze(new))
    if isinstance(new, dict) and isinstance(old, dict):
        assert isinstance(merged, dict)
        assert merged.keys() == old.keys() | new.keys()
    else:
        assert merged == new
    assert merge(merged, freeze(new)) == merged


@given(
    st.sampled_from([Cmd, Data, AudioFrame, VideoFrame]),
    TEXTS,
    PROPERTIES,
    st.lists(st.builds(Loc, TEXTS, TEXTS, st.none() | TEXTS), max_size=2),
    st.binary(max_size=8),
)
def test_json_of_messages(
    kind: Any, name: str, properties: dict[str, Any], dests: list[Loc], buf: bytes
) -> None:
    msg = kind(name, properties, dest=dests) if not name.startswith("ten:") else kind()
    if kind is not Cmd:
        msg.buf = buf
    again = Msg.from_json(msg.to_json())
    assert type(again) is kind
    assert again.properties == msg.properties
    assert again.name == msg.name
    assert again.get_dests() == msg.get_dests()
    assert getattr(again, "buf", b"") == (buf if kind is not Cmd else b"")
    assert again.to_json() == msg.to_json()
