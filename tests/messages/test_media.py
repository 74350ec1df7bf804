"""Buffers (locking, lending, sharing) and the fields of audio and video frames."""

from __future__ import annotations

from ctypes import c_uint8
from typing import Any

import pytest

from ten_trio.errors import InvalidArgument, InvalidType, MessageLocked, PropertyRangeError
from ten_trio.messages import AudioFrame, AudioFrameDataFmt, Data, PixelFmt, VideoFrame

KINDS: list[Any] = [Data, AudioFrame, VideoFrame]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_no_buffer(kind: Any) -> None:
    msg = kind("x")
    assert msg.buf == msg.get_buf() == b""
    assert len(msg.view_buf()) == 0
    with pytest.raises(InvalidArgument, match="no buffer"):
        msg.lock_buf()


def test_bytes_by_reference_others_copied(kind: Any) -> None:
    content = b"abc"
    assert kind("x", buf=content).buf is content
    msg = kind("x")
    msg.buf = content
    assert msg.get_buf() is content
    for changing in (bytearray(content), memoryview(bytearray(content))):
        msg = kind("x", buf=changing)
        other = kind("x")
        other.buf = changing
        changing[0] = 0
        assert msg.buf == other.buf == content
        assert type(msg.buf) is bytes
    for wrong in ("abc", None, [1], 5):
        with pytest.raises(InvalidType):
            kind("x", buf=wrong)
        with pytest.raises(InvalidType):
            msg.buf = wrong
    assert msg.buf == content


def test_alloc(kind: Any) -> None:
    msg = kind("x")
    for wrong in (0, -1, 1.0, "1", True):
        with pytest.raises(InvalidArgument):
            msg.alloc_buf(wrong)
    msg.alloc_buf(4)
    assert msg.buf == bytes(4)
    if kind is AudioFrame:
        msg.alloc_buf(8)
        assert msg.buf == bytes(8)
    else:
        with pytest.raises(InvalidArgument, match="has a buffer already"):
            msg.alloc_buf(8)
        assert msg.buf == bytes(4)


def test_writing_through_a_lock(kind: Any) -> None:
    msg = kind("x")
    msg.alloc_buf(3)
    view = msg.lock_buf()
    assert msg._locks
    view[:] = b"abc"
    assert msg.buf == b"abc"
    msg.unlock_buf(view)
    assert not msg._locks
    assert msg.buf == b"abc"
    with pytest.raises(ValueError, match="released"):
        view[0] = 0


def test_two_locks(kind: Any) -> None:
    msg = kind("x", buf=b"ab")
    one, other = msg.lock_buf(), msg.lock_buf()
    one[0] = other[1] = 0
    assert msg.buf == bytes(2)
    msg.unlock_buf(one)
    assert msg._locks
    other[0] = 1
    msg.unlock_buf(other)
    assert not msg._locks
    assert msg.buf == b"\1\0"


def test_wrong_unlocks(kind: Any) -> None:
    msg, other = kind("x", buf=b"ab"), kind("y", buf=b"ab")
    view = msg.lock_buf()
    for wrong in (memoryview(b"ab"), other.lock_buf(), None, view[:]):
        with pytest.raises(InvalidArgument, match="isn't locked by this view"):
            msg.unlock_buf(wrong)
    del wrong
    msg.unlock_buf(view)
    with pytest.raises(InvalidArgument):
        msg.unlock_buf(view)


@pytest.mark.parametrize(
    "export", [lambda view: view[:1], lambda view: (c_uint8 * 2).from_buffer(view)]
)
@pytest.mark.parametrize("locks", [1, 2])
def test_what_was_made_from_a_view_stays_harmless(kind: Any, export: Any, locks: int) -> None:
    msg = kind("x", buf=b"ab")
    views = [msg.lock_buf() for _ in range(locks)]
    leaked = export(views[0])
    leaked[0] = ord("x")
    for view in views:
        assert msg._locks
        msg.unlock_buf(view)
    assert not msg._locks
    leaked[0] = ord("y")
    assert msg.buf == b"xb"
    assert msg._shell().buf == b"xb"


def test_what_a_lock_forbids(kind: Any) -> None:
    msg = kind("x", buf=b"ab")
    view = msg.lock_buf()
    with pytest.raises(MessageLocked):
        msg.buf = b"c"
    with pytest.raises(MessageLocked):
        msg.lend_buf(b"c")
    if kind is AudioFrame:
        with pytest.raises(MessageLocked):
            msg.alloc_buf(1)
    msg.unlock_buf(view)
    msg.buf = b"c"
    assert msg.buf == b"c"


def test_locking_never_changes_what_others_see(kind: Any) -> None:
    content = b"abc"
    msg = kind("x", buf=content)
    view = msg.lock_buf()
    view[0] = 0
    msg.unlock_buf(view)
    assert content == b"abc"
    shell, clone = msg._shell(), msg.clone()
    # Whoever of them writes, writes into a buffer of its own.
    for writer, byte in ((msg, 1), (shell, 2), (clone, 3)):
        view = writer.lock_buf()
        view[0] = byte
        writer.unlock_buf(view)
    assert [each.buf[0] for each in (msg, shell, clone)] == [1, 2, 3]


def test_writing_twice_copies_once(kind: Any) -> None:
    msg = kind("x", buf=b"abc")
    msg.unlock_buf(msg.lock_buf())
    memory = msg._buf
    msg.unlock_buf(msg.lock_buf())
    assert msg._buf is memory


def test_a_clone_of_a_locked_message(kind: Any) -> None:
    msg = kind("x", buf=b"abc")
    view = msg.lock_buf()
    view[0] = ord("x")
    clone = msg.clone()
    assert not clone._locks
    view[1] = ord("y")
    assert clone.buf == b"xbc"
    msg.unlock_buf(view)
    assert msg.buf == b"xyc"


def test_get_buf_is_independent_of_later_writes(kind: Any) -> None:
    msg = kind("x", buf=b"abc")
    before = msg.get_buf()
    view = msg.lock_buf()
    while_locked = msg.get_buf()
    view[0] = 0
    msg.unlock_buf(view)
    assert before == while_locked == b"abc"
    assert msg.get_buf() is msg.get_buf()


def test_lending(kind: Any) -> None:
    content = bytearray(b"abcd")
    for lent in (content, memoryview(content)):
        msg = kind("x")
        msg.lend_buf(lent)
        shell = msg._shell()
        view = shell.view_buf()
        assert view.readonly
        content[0] = ord("x")
        assert bytes(view) == b"xbcd"  # no copy on the way
        content[0] = ord("a")
        assert not msg._locks
        # Who writes doesn't write into what was lent.
        view = shell.lock_buf()
        view[0] = 0
        shell.unlock_buf(view)
        assert content == msg.buf == b"abcd"
    msg.lend_buf(b"xyz")
    assert msg.buf == b"xyz"
    for wrong in ("abc", None, 5):
        with pytest.raises(InvalidType):
            msg.lend_buf(wrong)
    with pytest.raises(InvalidArgument, match="contiguous"):
        msg.lend_buf(memoryview(content)[::2])
    msg.lend_buf(memoryview(content).cast("H"))
    assert msg.view_buf() == b"abcd"
    assert repr(msg).endswith("buf=4 B)")
    view = msg.lock_buf()
    assert len(view) == 4
    msg.unlock_buf(view)


def test_views_are_read_only(kind: Any) -> None:
    msg = kind("x")
    msg.alloc_buf(2)
    with pytest.raises(TypeError):
        msg.view_buf()[0] = 1


# Fields ---------------------------------------------------------------------------------------------

AUDIO = {
    "timestamp": (-(2**63), 2**63 - 1),
    "sample_rate": (-(2**31), 2**31 - 1),
    "bytes_per_sample": (-(2**31), 2**31 - 1),
    "samples_per_channel": (-(2**31), 2**31 - 1),
    "number_of_channels": (-(2**31), 2**31 - 1),
    "channel_layout": (0, 2**64 - 1),
    "line_size": (-(2**31), 2**31 - 1),
}
VIDEO = {
    "timestamp": (-(2**63), 2**63 - 1),
    "width": (-(2**31), 2**31 - 1),
    "height": (-(2**31), 2**31 - 1),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [*((AudioFrame, name) for name in AUDIO), *((VideoFrame, name) for name in VIDEO)],
)
def test_numbers(kind: Any, name: str) -> None:
    low, high = (AUDIO if kind is AudioFrame else VIDEO)[name]
    frame = kind("f")
    set_it = getattr(frame, f"set_{name}")
    get_it = getattr(frame, f"get_{name}")
    assert get_it() == getattr(frame, name) == 0
    for number in (low, high):
        set_it(number)
        assert get_it() == getattr(frame, name) == number
        assert getattr(kind("f", **{name: number}), name) == number
    for beyond in (low - 1, high + 1):
        with pytest.raises(PropertyRangeError):
            set_it(beyond)
        with pytest.raises(PropertyRangeError):
            kind("f", **{name: beyond})
    for wrong in ("1", 1.0, None, True):
        with pytest.raises(InvalidType):
            set_it(wrong)
    assert get_it() == high


def test_enums() -> None:
    assert [(each.name, each.value) for each in AudioFrameDataFmt] == [
        ("INVALID", 0),
        ("INTERLEAVE", 1),
        ("NON_INTERLEAVE", 2),
    ]
    names = ["INVALID", "RGB24", "RGBA", "BGR24", "BGRA", "I422", "I420", "NV21", "NV12"]
    assert [each.name for each in PixelFmt] == names
    assert [each.value for each in PixelFmt] == list(range(9))


@pytest.mark.parametrize(
    ("kind", "name", "enum", "default"),
    [
        (AudioFrame, "data_fmt", AudioFrameDataFmt, AudioFrameDataFmt.INTERLEAVE),
        (VideoFrame, "pixel_fmt", PixelFmt, PixelFmt.RGBA),
    ],
)
def test_formats(kind: Any, name: str, enum: Any, default: Any) -> None:
    frame = kind("f")
    set_it, get_it = getattr(frame, f"set_{name}"), getattr(frame, f"get_{name}")
    assert get_it() is getattr(frame, name) is default
    for member in enum:
        for given in (member, member.value, member.name.lower()):
            set_it(given)
            assert get_it() is member
        assert frame.get_property(f"ten.{name}") == member.name.lower()
    for beyond in (99, -1, "RGBA", "other"):
        with pytest.raises(PropertyRangeError):
            set_it(beyond)
    for wrong in (None, True, 1.0, []):
        with pytest.raises(InvalidType):
            set_it(wrong)


@pytest.mark.parametrize("kind", [AudioFrame, VideoFrame])
def test_eof(kind: Any) -> None:
    frame = kind("f")
    assert frame.is_eof is False
    frame.set_eof(True)
    assert frame.is_eof is True
    with pytest.raises(InvalidType):
        frame.set_eof(1)
    assert kind("f", is_eof=True)._shell().is_eof
