"""The test that docs/start.md writes for it."""

from __future__ import annotations

import trio
from echo import Echo

import ten_trio as ten
from ten_trio.testing import open_tester, run_extension_test


def test_an_echo_comes_a_second_later() -> None:
    async def scenario() -> None:
        async with open_tester(Echo, property={"times": 2}) as tester:
            began = trio.current_time()
            await tester.send_data(ten.Data("shout", {"text": "hello"}))

            sound = await tester.expect_data("sound")
            assert sound["text"] == "hello"
            assert trio.current_time() - began == 1

            assert (await tester.expect_data("sound"))["text"] == "hello."
            await tester.assert_no_data(during=3600)

    run_extension_test(scenario)
