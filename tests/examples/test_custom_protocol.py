"""The protocol of examples/custom_protocol keeps to the rules, and its bytes are what they seem."""

from __future__ import annotations

import pytest

from examples.custom_protocol.ten_packages.protocol.netstring.protocol import NetstringCodec
from ten_trio.messages import Data
from ten_trio.network import CodecError, CodecLimits, Malformed, TooLong, WireMsg, WireProtocol
from ten_trio.testing import check_protocol
from tests.examples.running import run


@pytest.mark.slow
@pytest.mark.parametrize("carrier", ["tcp", "unix", "ws"])
async def test_the_rules(carrier: str) -> None:
    await check_protocol(lambda: WireProtocol("ns", {"ns": carrier}, NetstringCodec))


def test_bytes() -> None:
    codec = NetstringCodec(CodecLimits())
    (written,) = codec.encode([WireMsg(Data("hi", {"é": 1}))])
    length, _, text = bytes(written).partition(b":")
    assert int(length) == len(text) - 1
    assert text.endswith(b',"\xc3\xa9":1},')
    codec.receive_data(b"0:,0:," + bytes(written) + b"12")
    found = codec.next_message()
    assert found is not None
    assert found.msg["é"] == 1
    assert codec.next_message() is None
    assert codec.trailing_data == b"12"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b":", Malformed),
        (b"x", Malformed),
        (b"-1:,", Malformed),
        (b"2:{};", Malformed),
        (b"2:{},", Malformed),
        (b"101:", TooLong),
        (b"99999", TooLong),
    ],
)
def test_what_is_no_netstring(data: bytes, error: type[CodecError]) -> None:
    codec = NetstringCodec(CodecLimits(max_message=100))
    codec.receive_data(data)
    for _ in range(2):
        with pytest.raises(error):
            codec.next_message()


@pytest.mark.slow
def test_the_example_talks() -> None:
    assert '"text":"Hello, Blaise!"},\n' in run("-m", "examples.custom_protocol").stdout
