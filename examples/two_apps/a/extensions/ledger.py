"""The ledger: hears from the worker what it has done, and can say so."""

from __future__ import annotations

import ten_trio as ten


@ten.addon("ledger")
class Ledger(ten.Extension):
    """Counts the data `done` {number, factors}; answers `totals`."""

    def __init__(self) -> None:
        self._numbers = 0
        self._factors = 0

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        self._numbers += 1
        self._factors += data["factors"]

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(numbers=self._numbers, factors=self._factors))
