"""What an extension logs: its name, the place of the call, category and fields, from any thread."""

from __future__ import annotations

import logging

import pytest

import ten_trio as ten


async def test_the_lines_of_an_extension(caplog: pytest.LogCaptureFixture) -> None:
    class Chatty(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            env.log_debug("100%")
            env.log_info("{}", "cat")
            env.log_warn("w", fields={"n": 1})
            env.log_error("e")
            env.log(ten.LogLevel.INFO, "level of TEN")
            env.log(logging.ERROR, "level of logging", "cat", {"n": 2})
            await env.to_thread(env.log_info, "from a thread")

    graph = ten.Graph()
    graph.node("chatty", Chatty)
    with caplog.at_level(logging.DEBUG, "ten_trio.extension"):
        async with ten.open_app() as app, app.open_graph(graph):
            pass
    records = [record for record in caplog.records if record.name == "ten_trio.extension"]
    assert [(record.levelname, record.getMessage()) for record in records] == [
        ("DEBUG", "[chatty] 100%"),
        ("INFO", "[chatty] {}"),
        ("WARNING", "[chatty] w"),
        ("ERROR", "[chatty] e"),
        ("INFO", "[chatty] level of TEN"),
        ("ERROR", "[chatty] level of logging"),
        ("INFO", "[chatty] from a thread"),
    ]
    details = [(vars(record)["category"], vars(record)["fields"]) for record in records]
    assert details[1:6] == [("cat", {}), ("", {"n": 1}), ("", {}), ("", {}), ("cat", {"n": 2})]
    first = records[0].lineno
    assert [record.lineno for record in records[:6]] == [first + n for n in range(6)]
    assert {(record.filename, record.funcName) for record in records[:6]} == {
        ("test_log.py", "on_start")
    }
