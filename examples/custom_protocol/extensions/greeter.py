"""Somebody to talk to."""

from __future__ import annotations

import ten_trio as ten


@ten.addon("greeter")
class Greeter(ten.Extension):
    """Answers `greet` {name}."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(text=f"Hello, {cmd['name']}!"))
