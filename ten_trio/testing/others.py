"""What an extension that is tried by itself takes for the rest of its graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from ..messages import Cmd
from ..runtime import Extension, TenEnv
from .mocks import answer


class Others(Extension):
    """All the other extensions of one that is tried by itself: takes everything, answers commands."""

    data_handlers = "concurrent"

    def __init__(self, peer: str, answers: Mapping[str, Any]) -> None:
        self.peer = peer
        self.answers = answers
        self.replies: list[str] = []

    async def on_cmd(self, env: TenEnv, cmd: Cmd) -> None:
        """Answer as the mocks say, else as the trial does, else with OK."""
        reply = self.replies.pop(0) if self.replies else "ok"
        if reply == "late":
            await trio.sleep(1)
        if reply == "error":
            await env.return_result(cmd.error("on purpose"))
        else:
            await answer(env, cmd, self.answers.get(cmd.name))

    async def on_stop(self, env: TenEnv) -> None:
        """Stay reachable until the other one has said its last word."""
        life = env._instance.engine.lives.get(self.peer)
        if life is not None:
            await life.done.wait()


__all__ = ["Others"]
