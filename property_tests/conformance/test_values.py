"""Values of every type, through the wire and an extension and back."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

import ten_trio as ten
from property_tests.conformance.drawing import NAMES, PROPERTIES, in_one_process
from ten_trio.testing.conformance import (
    Answer,
    Blueprint,
    Talk,
    Target,
    check,
    exactly,
    typed,
)
from ten_trio.testing.conformance.graphs import PROBE

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
BUFFERS = st.binary(max_size=20) | st.sampled_from([5_000, 70_000]).map(bytes)
AUDIO = st.builds(
    ten.AudioFrame, NAMES, PROPERTIES, buf=BUFFERS, timestamp=INT64, sample_rate=INT32,
    bytes_per_sample=INT32, samples_per_channel=INT32, number_of_channels=INT32, line_size=INT32,
    data_fmt=st.sampled_from(ten.AudioFrameDataFmt),
)  # fmt: skip
VIDEO = st.builds(
    ten.VideoFrame, NAMES, PROPERTIES, buf=BUFFERS, timestamp=INT64, width=INT32, height=INT32,
    pixel_fmt=st.sampled_from(ten.PixelFmt),
)  # fmt: skip
DATA = st.builds(ten.Data, NAMES, PROPERTIES, buf=BUFFERS)
ALL_PROPERTIES = in_one_process(st.lists(PROPERTIES, min_size=1, max_size=4))
ALL_MESSAGES = in_one_process(st.lists(DATA | AUDIO | VIDEO, min_size=1, max_size=4))

# Only between two ten_trio do these travel.
_UNSAID = {"is_eof", "channel_layout"}


def content(msg: Any) -> dict[str, Any]:
    """All that a message says, but for where from and where to."""
    said = {"kind": msg.kind, "name": msg.name, "properties": typed(msg.properties)}
    for name, field in msg._fields.items():
        value = getattr(msg, field.attribute)
        if name not in _UNSAID:
            said[name] = bytes(value) if field.is_buffer else value
    return said


@given(all_properties=ALL_PROPERTIES)
def test_commands_keep_values(target: Target, all_properties: list[dict[str, Any]]) -> None:
    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint())
        for properties in all_properties:
            await client.ask(PROBE, exactly(Answer(properties)), properties=properties)

    check(target, "commands-keep-values", example)


@given(messages=ALL_MESSAGES)
def test_data_keeps_values(target: Target, messages: list[Any]) -> None:
    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint())
        for number, msg in enumerate(messages):
            await client.tell(PROBE, msg)
            await client.hear(number + 1)
            got, wanted = content(client.heard[number]), content(msg)
            differ = [key for key, value in wanted.items() if got.get(key) != value]
            if differ:
                talk.fail(f"it came back as {client.heard[number]!r}: {', '.join(differ)} changed")

    check(target, "data-keeps-values", example)
