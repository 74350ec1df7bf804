"""What messages hold, where chance alone seldom looks: buffers written to after copies were made, objects
merged deep inside, numbers of every width on the wire, and containers nested as deep as they may be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from ten_trio.messages import AudioFrame, Cmd, Data, VideoFrame
from ten_trio.messages.values import freeze, merge, type_of
from ten_trio.network import CodecLimits, JsonCodec, MsgpackCodec, WireMsg
from ten_trio.network.codec import TooDeep

KINDS = st.sampled_from([Data, AudioFrame, VideoFrame])


@given(
    KINDS,
    st.sampled_from(["bytes", "bytearray", "alloc", "locked before"]),
    st.lists(st.sampled_from(["shell", "clone"]), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 255)), min_size=1, max_size=6),
)
def test_whoever_writes_into_a_buffer_writes_into_their_own(
    kind: Any, way: str, copies: list[str], writes: list[tuple[int, int]]
) -> None:
    first = kind("x", buf=b"" if way == "alloc" else bytes(4))
    if way == "bytearray":
        first.buf = bytearray(4)
    elif way == "alloc":
        first.alloc_buf(4)
    elif way == "locked before":
        first.unlock_buf(first.lock_buf())
    all_of_them = [first]
    for how in copies:
        last = all_of_them[-1]
        all_of_them.append(last.clone() if how == "clone" else last._shell())
    model = [bytearray(4) for _ in all_of_them]
    for number, (at, byte) in enumerate(writes):
        which = (number + at) % len(all_of_them)
        view = all_of_them[which].lock_buf()
        view[at] = model[which][at] = byte
        all_of_them[which].unlock_buf(view)
        assert [each.get_buf() for each in all_of_them] == model


@given(
    KINDS,
    st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from(["a", "b", "c.d", "c.e", "l[1]"]), st.integers(0, 9)
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_whoever_sets_a_property_sets_their_own(
    kind: Any, writes: list[tuple[int, str, int]]
) -> None:
    first = kind("x", {"a": 0, "c": {"d": 0}})
    all_of_them = [first, first._shell(), first.clone()]
    model: list[dict[str, int]] = [{"a": 0, "c.d": 0} for _ in all_of_them]
    for which, path, value in writes:
        all_of_them[which].set_property(path, value)
        model[which][path] = value
        for msg, wanted in zip(all_of_them, model, strict=True):
            assert {path: msg.get_property(path, None) for path in wanted} == wanted
            others = {"a", "b", "c.d", "c.e", "l[1]"} - set(wanted)
            assert not any(msg.is_property_exist(path) for path in others)


LEAVES = st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2)
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from("ab"), LEAVES, max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("ab"), LEAVES | inner, max_size=2),
    max_leaves=6,
)


def merged(old: Any, new: Any) -> Any:
    """What merging means: objects key by key, anything else is replaced."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    keys = [*old, *(key for key in new if key not in old)]
    return {
        key: merged(old[key], new[key]) if key in old and key in new else {**old, **new}[key]
        for key in keys
    }


@given(OBJECTS, OBJECTS)
def test_merging_goes_as_deep_as_both_are_objects(old: Any, new: Any) -> None:
    assert merge(freeze(old), freeze(new)) == merged(old, new)


edges = st.builds(
    lambda bits, by, sign: sign * 2**bits + by,
    st.sampled_from([7, 8, 15, 16, 31, 32, 62]),
    st.integers(-2, 2),
    st.sampled_from([-1, 1]),
)


@given(
    st.sampled_from([MsgpackCodec, JsonCodec]),
    st.lists(
        edges
        | st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, -(2**63)])
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.booleans(),
        min_size=1,
        max_size=5,
    ),
)
def test_numbers_at_the_edges_of_what_there_is(codec: Any, numbers: list[Any]) -> None:
    cmd = Cmd("x", {f"n{at}": number for at, number in enumerate(numbers)} | {"all": numbers})
    reader = codec()
    reader.receive_data(b"".join(codec().encode([WireMsg(cmd)])))
    found = reader.next_message().msg
    assert found.properties == cmd.properties
    for at in range(len(numbers)):
        assert type_of(found[f"n{at}"]) == type_of(cmd[f"n{at}"])


@given(
    st.sampled_from([MsgpackCodec, JsonCodec]),
    st.integers(1, 8),
    st.lists(st.booleans(), max_size=10),
)
def test_nested_as_deep_as_it_may_be_and_no_deeper(
    codec: Any, most: int, containers: list[bool]
) -> None:
    value: Any = 1
    for is_list in containers:
        value = [value] if is_list else {"inner": value}
    wire = WireMsg(Cmd("x", {"value": value}))
    data = b"".join(codec(CodecLimits(max_depth=100)).encode([wire]))
    reader, writer = codec(CodecLimits(max_depth=most)), codec(CodecLimits(max_depth=most))
    reader.receive_data(data)
    # The whole message is an object of JSON, too, and counts when it is read.
    slack = codec is JsonCodec
    if most < len(containers) <= most + slack:
        return
    if len(containers) <= most:
        assert reader.next_message().msg["value"] == value
        assert b"".join(writer.encode([wire])) == data
    else:
        with pytest.raises(TooDeep):
            reader.next_message()
        with pytest.raises(TooDeep):
            writer.encode([wire])
