"""The conversation: what was asked, which tool knows it, and who is allowed to speak."""

from __future__ import annotations

import trio

import ten_trio as ten

from .intents import ToolCall, parse

NOT_UNDERSTOOD = "Sorry, I did not understand that."


@ten.addon("dialogue")
class Dialogue(ten.Extension):
    """Answers each `text` in a task of its own, so that a `speech_start` can interrupt it at once.

    Every answer is a turn. An interruption cancels that: the task, the tool call, and whatever is still
    on its way to be spoken.  With the property `interrupt_by` set to `flush` it is done as in graphs
    of the original runtime: only the task is cancelled here, and the command `flush` goes to
    whoever still holds something of this answer, by its number, or of an earlier one.
    """

    async def on_init(self, env: ten.TenEnv) -> None:
        self._answer = 0
        self._speaking = False
        self._by_flush = env.get_property_string("interrupt_by") == "flush"
        self._turn = env.new_turn()
        self._thinking = trio.CancelScope()
        self._said = trio.Event()
        self._said.set()

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        match data.name:
            case "speech_start" if self._speaking:
                await self._interrupt(env, data["detected_at"])
            case "text":
                if self._speaking:
                    await self._interrupt(env, trio.current_time())
                self._answer += 1
                self._speaking = True
                self._said = trio.Event()
                self._turn = env.new_turn()
                env.nursery.start_soon(self._reply, env, self._answer, data["text"], self._turn)
            case "playback_end" if data["answer"] == self._answer:
                self._speaking = False
            case "end_of_input":
                await self._said.wait()
                await env.send_data(data)

    async def _interrupt(self, env: ten.TenEnv, detected_at: float) -> None:
        self._speaking = False
        if self._by_flush:
            await self._flush(env, detected_at)
            return
        report = await env.cancel_turn(self._turn, "interrupted")
        heard = report and report.acknowledged.get("sink")
        if heard:
            left, silent_at = heard
            measured = {
                "ms": max(0.0, silent_at - detected_at) * 1000,
                "frames_after": sum(when > detected_at for when in left),
                "dropped": report.dropped,
            }
            await env.send_data(ten.Data("interrupted", measured))

    async def _flush(self, env: ten.TenEnv, detected_at: float) -> None:
        self._thinking.cancel("interrupted")
        flush = ten.Cmd("flush", {"answer": self._answer, "detected_at": detected_at})
        (await env.send_cmd(flush)).unwrap()

    async def _reply(self, env: ten.TenEnv, answer: int, text: str, turn: ten.Turn) -> None:
        """Say the answer to `text`: each sentence as soon as the tool has it."""
        with env.turn_scope(turn) as self._thinking:
            call = parse(text)
            if call is None:
                await self._say(env, answer, NOT_UNDERSTOOD)
            else:
                await self._call(env, answer, call)
            await env.send_data(ten.Data("answer_end", {"answer": answer}))
        self._said.set()

    async def _call(self, env: ten.TenEnv, answer: int, call: ToolCall) -> None:
        await env.send_data(ten.Data("tool_call", {"text": str(call)}))
        cmd = ten.Cmd("tool_call", {"name": call.name, "arguments": call.arguments})
        async with env.send_cmd_ex(cmd) as results:
            async for result in results:
                is_ok = result.status is ten.StatusCode.OK
                await self._say(env, answer, result["text"] if is_ok else NOT_UNDERSTOOD)

    async def _say(self, env: ten.TenEnv, answer: int, text: str) -> None:
        await env.send_data(ten.Data("sentence", {"text": text, "answer": answer}))
