"""`check_protocol`: ours keep to its rules, and it finds what is broken."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest

from ten_trio.network import (
    Buffer,
    CodecError,
    CodecLimits,
    JsonCodec,
    MsgpackCodec,
    NetworkSettings,
    WireMsg,
    WireProtocol,
)
from ten_trio.network.protocols import JSON_LINES, MSGPACK, WEBSOCKET
from ten_trio.network.transport import TransportOptions
from ten_trio.network.transports import transport
from ten_trio.testing import check_protocol
from ten_trio.testing.codecs import RULES


@pytest.mark.parametrize("make", [MsgpackCodec, JsonCodec])
@pytest.mark.parametrize("rule", RULES)
def test_our_codecs(make: Callable[[CodecLimits], Any], rule: str) -> None:
    RULES[rule](make)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [MSGPACK, JSON_LINES, WEBSOCKET], ids=lambda p: p.name)
async def test_our_protocols(protocol: WireProtocol) -> None:
    await check_protocol(lambda: protocol)


@pytest.mark.slow
async def test_the_other_websocket_driver() -> None:
    await check_protocol(lambda: WEBSOCKET, network=NetworkSettings(websocket_driver="websockets"))


@pytest.mark.slow
async def test_a_transport_of_ones_own(tmp_path: Path) -> None:
    own = transport("unix", TransportOptions())
    protocol = WireProtocol("mine", {"mine": own}, JsonCodec)
    await check_protocol(lambda: protocol, uris=[f"mine://{tmp_path}/check.sock"])
    with pytest.raises(AssertionError, match="say where mine is to be tried"):
        await check_protocol(lambda: protocol)


# The checks find what is broken ---------------------------------------------------------------------


class Forgetful(JsonCodec):
    """Takes every piece for the beginning of a message."""

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        self.__init__(self.limits)  # type: ignore[misc]
        super().receive_data(data)


class Late(JsonCodec):
    """Sees the end of a message only when the next begins."""

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        kept = getattr(self, "kept", b"")
        super().receive_data(kept + bytes(data[:-1]))
        self.kept = bytes(data[-1:])


class Stationary(JsonCodec):
    """Leaves behind what it hasn't read."""

    @property
    def trailing_data(self) -> bytes:
        return b""


class Sharing(JsonCodec):
    """All of its kind have one queue of bytes."""

    def __init__(self, limits: CodecLimits | None = None) -> None:
        super().__init__(limits)
        self._received = self.__class__.__dict__.get("common") or self._received
        if not hasattr(type(self), "common"):
            type(self).common = self._received  # type: ignore[attr-defined]


class Trusting(JsonCodec):
    """Expects everybody to be well-behaved."""

    def next_message(self) -> WireMsg | None:
        try:
            return super().next_message()
        except Exception as error:
            raise ValueError("who would send this?") from error


class Boundless(JsonCodec):
    """Whatever the limits are."""

    def __init__(self, limits: CodecLimits | None = None) -> None:
        super().__init__(CodecLimits(max_message=2**30))


class Lossy(JsonCodec):
    """Has no place for the number by which a client knows its answers."""

    def encode(self, messages: Iterable[WireMsg]) -> list[Buffer]:
        lines = bytes(b"".join(super().encode(messages))).splitlines()
        written = []
        for line in lines:
            read = json.loads(line)
            read["ten"].pop("seq_id", None)
            written.append(json.dumps(read).encode() + b"\n")
        return [b"".join(written)]


class Wordy(JsonCodec):
    """Never comes to an end."""

    def next_message(self) -> WireMsg | None:
        found = super().next_message()
        self.last = found or getattr(self, "last", None)
        return self.last


@pytest.mark.parametrize(
    ("make", "broken"),
    [
        (Forgetful, "any split of the bytes gives the same messages"),
        (Late, "a message is there with its last byte"),
        (Stationary, "trailing_data is what the next codec goes on with"),
        (Sharing, "codecs share nothing"),
        (Trusting, "bytes that are no message raise CodecError, and nothing else"),
        (Boundless, "nothing passes that is beyond the limits"),
        (Lossy, "every message comes back"),
        (Wordy, "every message comes back"),
    ],
)
def test_broken_codecs(make: Callable[[CodecLimits], Any], broken: str) -> None:
    with pytest.raises((AssertionError, CodecError)):  # the checker names the rule in either case
        RULES[broken](make)


async def test_the_rule_is_named() -> None:
    with pytest.raises(AssertionError, match=r"every message comes back: .*seq_id was 'seq 0'"):
        await check_protocol(lambda: WireProtocol("lossy", {"lossy": "tcp"}, Lossy))


class Muddled(WireProtocol):
    """Its codec is fine, but not what it does with a connection: it answers nobody twice."""

    def dialect(self, limits: CodecLimits, wire: Any) -> Any:
        dialect = super().dialect(limits, wire)
        encode = dialect.encode
        sent = 0

        def once(messages: Any) -> Any:
            nonlocal sent
            sent += 1
            return encode(messages) if sent == 1 else []

        dialect.encode = once  # type: ignore[method-assign]
        return dialect


@pytest.mark.slow
async def test_what_shows_over_connections_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ten_trio.testing.protocols._PATIENCE", 2)
    protocol = Muddled("muddled", {"muddled": "tcp"}, JsonCodec)
    with pytest.raises(AssertionError, match=r"muddled://.* a client and an app talk: it hangs"):
        await check_protocol(lambda: attrs.evolve(protocol))
