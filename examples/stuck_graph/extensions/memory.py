"""The memory: knows when somebody was here, but has to be told who asks."""

from __future__ import annotations

import ten_trio as ten

LAST = {"Ada": "on Tuesday", "Blaise": "last year"}


@ten.addon("memory")
class Memory(ten.Extension):
    """Answers `recall` {who}.  If that doesn't say who, it asks back: the other half of the trap."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        who = cmd.get("who", "")
        if not who:
            who = (await env.send_cmd(ten.Cmd("who"))).get("who", "")
        await env.return_result(cmd.ok(text=f"{who} was here {LAST.get(who, 'never')}."))
