"""Mistakes of somebody who is new here: they are named where they are made."""

from __future__ import annotations

import asyncio
import re

import pytest

import ten_trio as ten


@pytest.mark.parametrize(
    ("name", "meant"),
    [("on_dat", "on_data"), ("on_deint", "on_deinit"), ("on_audioframe", "on_audio_frame")],
)
def test_a_misspelt_callback(name: str, meant: str) -> None:
    async def callback(self: ten.Extension, env: ten.TenEnv, msg: object = None) -> None: ...

    text = rf"^Wrong\.{name} is called by nobody; did you mean {meant}\?$"
    with pytest.raises(TypeError, match=text):
        type("Wrong", (ten.Extension,), {name: callback})


def test_names_of_ones_own_are_let_through() -> None:
    class Fine(ten.Extension):
        async def on_answer(self, text: str) -> None: ...

        async def on_start_of_speech(self) -> None: ...

        async def on_command(self) -> None: ...

        def on_dat(self) -> None:
            """Nothing that is awaited: whatever it is for, it is no callback."""

    assert Fine


def test_another_event_loop() -> None:
    async def main() -> None:
        async with ten.open_app():
            raise AssertionError

    with pytest.raises(RuntimeError, match=re.escape("trio.run(main), not asyncio.run(main())")):
        asyncio.run(main())
