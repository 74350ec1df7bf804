"""A test of an agent that waits for an hour, in no time, and with the same outcome every time.

    python -m examples.virtual_time         # or: pytest examples/virtual_time.py

The agent asks "are you still there?" after 20 minutes of silence, and hangs up after another 40.
"""

from __future__ import annotations

import time

import trio

import ten_trio as ten
from ten_trio.testing import open_tester, run_extension_test


class Agent(ten.Extension):
    """Answers, and minds silence."""

    async def on_start(self, env: ten.TenEnv) -> None:
        self.heard = trio.Event()
        env.nursery.start_soon(self.mind, env)

    async def mind(self, env: ten.TenEnv) -> None:
        while True:
            with trio.move_on_after(20 * 60):
                await self.heard.wait()
                continue
            await env.send_data(ten.Data("say", {"text": "Are you still there?"}))
            with trio.move_on_after(40 * 60):
                await self.heard.wait()
                continue
            await env.send_data(ten.Data("say", {"text": "Good-bye."}))
            return

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        self.heard.set()
        self.heard = trio.Event()
        answer = await env.send_cmd(ten.Cmd("complete", {"text": data["text"]}))
        await env.send_data(ten.Data("say", {"text": answer["text"]}))


async def a_slow_model(cmd: ten.Cmd) -> dict[str, str]:
    await trio.sleep(5)
    return {"text": f"You said {cmd['text']!r}."}


async def scenario() -> None:
    async with open_tester(Agent, mocks={"complete": a_slow_model}, timeout=7200) as tester:
        began = trio.current_time()

        async def said() -> str:
            text = (await tester.expect_data("say"))["text"]
            print(f"{trio.current_time() - began:6.0f} s  {text}")
            return str(text)

        await tester.send_data(ten.Data("text", {"text": "hello"}))
        assert await said() == "You said 'hello'."
        assert trio.current_time() - began == 5

        assert await said() == "Are you still there?"
        await tester.send_data(ten.Data("text", {"text": "yes"}))
        assert await said() == "You said 'yes'."

        assert await said() == "Are you still there?"
        assert await said() == "Good-bye."
        await tester.assert_no_data(during=3600)


def test_silence() -> None:
    run_extension_test(scenario)


def main() -> None:
    began = time.perf_counter()
    run_extension_test(scenario)
    print(f"two hours and twenty minutes, in {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
