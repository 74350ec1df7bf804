"""The tools as an extension: a command in, a stream of results out."""

from __future__ import annotations

from itertools import chain, pairwise

import ten_trio as ten

from .compute import run


@ten.addon("tools")
class Tools(ten.Extension):
    """Answers the command `tool_call` {name, arguments} with one result for each sentence."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        try:
            sentences = list(run(cmd["name"], cmd["arguments"]))
        except LookupError as problem:
            await env.return_result(cmd.error(f"{cmd['name']}: I know nothing about {problem}"))
            return
        for sentence, following in pairwise(chain(sentences, [None])):
            is_last = following is None
            await env.return_result(
                cmd.ok(text=sentence) if is_last else cmd.partial(text=sentence)
            )
