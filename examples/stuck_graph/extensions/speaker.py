"""The speaker: says what it gets, a tenth of a second per sentence. It has no part in the trap."""

from __future__ import annotations

import trio

import ten_trio as ten


@ten.addon("speaker")
class Speaker(ten.Extension):
    """Takes the data `sentence` {text}."""

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await trio.sleep(0.1)
