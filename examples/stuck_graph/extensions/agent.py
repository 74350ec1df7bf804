"""The agent: answers one question after another, with what the memory knows."""

from __future__ import annotations

import ten_trio as ten


@ten.addon("agent")
class Agent(ten.Extension):
    """Answers `question` {who} and `who`.

    It takes its commands one by one, since it answers one person at a time.  That is half of the trap.
    """

    cmd_handlers = "serial"

    def __init__(self) -> None:
        self._who = ""
        self._says_who = False

    async def on_init(self, env: ten.TenEnv) -> None:
        self._says_who = env.get("says_who", False)

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "who":
            await env.return_result(cmd.ok(who=self._who))
            return
        self._who = cmd["who"]
        await env.send_data(ten.Data("sentence", {"text": "Let me see."}))
        recall = ten.Cmd("recall", {"who": self._who} if self._says_who else {})
        result = await env.send_cmd(recall)
        await env.return_result(
            cmd.ok(result.properties) if result.ok else cmd.error(result.detail)
        )
