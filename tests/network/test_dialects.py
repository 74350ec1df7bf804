"""What is said to whom: frames of text, frames of bytes, or both."""

from __future__ import annotations

import json

import pytest

import ten_trio as ten
from ten_trio.network import CodecError, Malformed, MsgpackCodec
from ten_trio.network.codec import CodecLimits, WireMsg
from ten_trio.network.dialects import JSON_ONLY, MIXED, OURS, FrameDialect, StreamDialect

MESSAGES = {
    "command": ten.Cmd("c", {"n": 1}),
    "result": ten.Cmd("c").ok(),
    "data without bytes": ten.Data("d", {"n": 1}),
    "data with bytes": ten.Data("d", buf=b"\x00\xff"),
    "sound": ten.AudioFrame("a", buf=b"\x00\xff" * 8),
}
WITH_BYTES = {"data with bytes", "sound"}


def kinds(subprotocol: str) -> dict[str, type]:
    """Which kind of frame carries each of them."""
    dialect = FrameDialect(CodecLimits(), subprotocol)
    found = {}
    for name, msg in MESSAGES.items():
        (frame,) = dialect.encode([WireMsg(msg, "1" if isinstance(msg, ten.Cmd) else "")])
        found[name] = type(frame)
    return found


def test_a_browser_gets_bytes_as_bytes_and_all_else_as_text() -> None:
    assert kinds(MIXED) == {name: bytes if name in WITH_BYTES else str for name in MESSAGES}


@pytest.mark.parametrize(("subprotocol", "kind"), [(JSON_ONLY, str), (OURS, bytes)])
def test_others_get_one_kind_only(subprotocol: str, kind: type) -> None:
    assert set(kinds(subprotocol).values()) == {kind}


def test_several_are_frames_in_their_order() -> None:
    dialect = FrameDialect(CodecLimits(), MIXED)
    frames = dialect.encode([WireMsg(ten.Data(str(number))) for number in range(3)])
    assert [json.loads(frame)["ten"]["name"] for frame in frames] == ["0", "1", "2"]


def test_what_comes_in_the_wrong_kind_of_frame_is_malformed() -> None:
    (frame,) = FrameDialect(CodecLimits(), OURS).encode([WireMsg(ten.Data("d"))])
    strict = FrameDialect(CodecLimits(), JSON_ONLY)
    strict.receive(frame)
    with pytest.raises(Malformed, match="agreed upon"):
        strict.next_message()
    with pytest.raises(Malformed, match="carries bytes"):
        StreamDialect(MsgpackCodec()).receive("{}")


def test_which_of_several_can_not_be_sent_is_said() -> None:
    dialect = FrameDialect(CodecLimits(max_message=100), MIXED)
    with pytest.raises(CodecError) as caught:
        dialect.encode([WireMsg(ten.Data("short")), WireMsg(ten.Data("long" * 100))])
    assert caught.value.index == 1
