"""A hundred conversations at once in one process: one app, a graph for each.

    python -m examples.sessions

Each has five extensions of its own. One of them crashes in the middle of its conversation, and the
others don't notice. Afterwards nothing is left.
"""

from __future__ import annotations

import itertools
import logging
import time

import trio

import ten_trio as ten

SESSIONS = 100
FAULTY = 42


class Stage(ten.Extension):
    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        if data["text"] == "crash":
            raise RuntimeError("no such word")
        data["stages"] += 1
        await env.send_data(data)


def agent() -> ten.Graph:
    graph = ten.Graph()
    names = ["vad", "asr", "llm", "tts", "sink"]
    for name in names:
        graph.node(name, Stage)
    for name, following in itertools.pairwise(names):
        graph.connect(name, following, data="speech")
    graph.expose("data_in", "speech", names[0])
    graph.expose("data_out", "speech", names[-1])
    return graph


async def session(app: ten.App, number: int, opened: Barrier, answers: dict[int, int]) -> None:
    async with app.open_graph(agent()) as engine, engine.messages("speech") as heard:
        await opened.wait()
        for turn in range(10):
            text = "crash" if (number, turn) == (FAULTY, 5) else "hello"
            await engine.send_data(ten.Data("speech", {"text": text, "stages": 0}))
            assert (await heard.receive())["stages"] == 5
            answers[number] += 1


class Barrier:
    """Everybody waits here until all are here."""

    def __init__(self, parties: int) -> None:
        self.missing = parties
        self.full = trio.Event()

    async def wait(self) -> None:
        self.missing -= 1
        if not self.missing:
            self.full.set()
        await self.full.wait()


async def main() -> None:
    logging.getLogger("ten_trio").setLevel(logging.CRITICAL)  # the crash is logged too
    tasks = trio.lowlevel.current_statistics().tasks_living
    answers = dict.fromkeys(range(SESSIONS), 0)
    opened = Barrier(SESSIONS)
    failed = []

    async def one(number: int) -> None:
        try:
            await session(app, number, opened, answers)
        except* RuntimeError as group:
            failed.append(f"session {number} failed: {group.exceptions[0]}")

    began = time.perf_counter()
    async with ten.open_app() as app, trio.open_nursery() as nursery:
        for number in range(SESSIONS):
            nursery.start_soon(one, number)
    seconds = time.perf_counter() - began

    print(*failed, sep="\n")
    print(sum(n == 10 for n in answers.values()), "sessions had all their answers")
    print(
        f"{sum(answers.values())} answers over 5 stages each, with opening and closing: {seconds:.1f} s"
    )
    print(trio.lowlevel.current_statistics().tasks_living - tasks, "tasks left")


if __name__ == "__main__":
    trio.run(main)
