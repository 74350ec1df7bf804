"""Real time: 100 voice sessions at their pace, and quiet ones beside one that floods.

A latency is counted from the moment just before the sending, to the moment at which the last
extension's handler has it.  What a timer is late by is not the runtime's, and isn't in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter, thread_time

import trio
import trio.testing

import ten_trio as ten

from .harness import Run, Several

SESSIONS = 100
EXTENSIONS = 5
RATE = 50
"""Frames a second, each way."""
QUIET = 20
WORK = 30e-6
"""Seconds that each flooded message keeps its handler busy."""
_SOUND = bytes(640)


class End(ten.Extension):
    """Both ends of a session are one of these: notes how long ago a frame was sent, and passes on the rest."""

    def __init__(self, kept: str, took: list[float]) -> None:
        self.kept = kept
        self.took = took

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        if frame.name == self.kept:
            self.took.append(perf_counter() - frame["sent"])
        else:
            await env.send_audio_frame(frame)


class Pass(ten.Extension):
    """Sends frames on."""

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        await env.send_audio_frame(frame)


class Flood(ten.Extension):
    """Works on each message, then sends it on."""

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        until = perf_counter() + WORK
        while perf_counter() < until:
            pass
        await env.send_data(data)


def session(took: list[float]) -> ten.Graph:
    """Five extensions; sound that is heard goes up through them, sound that is said comes down."""
    graph = ten.Graph()
    last = EXTENSIONS - 1
    graph.node("e0", lambda name: End("said", took))
    for i in range(1, last):
        graph.node(f"e{i}", Pass)
    graph.node(f"e{last}", lambda name: End("heard", took))
    for i in range(last):
        graph.connect(f"e{i}", f"e{i + 1}", audio_frame="heard")
        graph.connect(f"e{i + 1}", f"e{i}", audio_frame="said")
    graph.expose("audio_frame_in", "heard", "e0")
    graph.expose("audio_frame_in", "said", f"e{last}")
    return graph


def _frame(name: str) -> ten.AudioFrame:
    return ten.AudioFrame(
        name,
        {"sent": perf_counter()},
        sample_rate=16_000,
        bytes_per_sample=2,
        samples_per_channel=320,
        number_of_channels=1,
        line_size=640,
        buf=_SOUND,
    )


async def _pace(engine: ten.Engine, began: float, seconds: float) -> None:
    """Send a frame each way, `RATE` times a second."""
    for tick in range(int(seconds * RATE)):
        await trio.sleep_until(began + tick / RATE)
        await engine.send_audio_frame(_frame("heard"))
        await engine.send_audio_frame(_frame("said"))


async def _pace_all(engines: Sequence[ten.Engine], seconds: float) -> None:
    """The same for all, spread over the time from one frame to the next."""
    async with trio.open_nursery() as nursery:
        for index, engine in enumerate(engines):
            began = trio.current_time() + index / len(engines) / RATE
            nursery.start_soon(_pace, engine, began, seconds)


def percentile(sorted_figures: Sequence[float], percent: float) -> float:
    """The smallest figure that `percent` of them don't exceed."""
    return sorted_figures[min(len(sorted_figures) - 1, int(len(sorted_figures) * percent / 100))]


async def _sessions(run: Run, *, count: int, seconds: float) -> dict[str, float]:
    seconds = 0.2 if run.quick else seconds
    took: list[float] = []
    graph = session(took)
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(run.app.open_graph(graph)) for _ in range(count)]
        await trio.testing.wait_all_tasks_blocked()
        began, used = perf_counter(), thread_time()
        await _pace_all(engines, seconds)
        cpu = (thread_time() - used) / (perf_counter() - began)
    expected = int(seconds * RATE) * 2 * count
    if len(took) != expected:
        raise AssertionError(f"{len(took)} of {expected} frames have arrived")
    took.sort()
    return {
        "p50": percentile(took, 50) * 1_000,
        "p99": percentile(took, 99) * 1_000,
        "cpu": cpu * 100 / count,
    }


async def _beside_a_flood(run: Run) -> dict[str, float]:
    seconds = 0.2 if run.quick else 2.0
    took: list[float] = []
    quiet = session(took)
    flood = ten.Graph()
    for i in range(2):
        flood.node(f"f{i}", Flood)
        flood.connect(f"f{i}", f"f{1 - i}", data="x")
    flood.expose("data_in", "x", "f0")
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(run.app.open_graph(quiet)) for _ in range(QUIET)]
        await trio.testing.wait_all_tasks_blocked()
        # It never ends by itself; leaving the block closes it, whatever is on its way.
        async with run.app.open_graph(flood) as engine:
            for _ in range(64):
                await engine.send_data(ten.Data("x"))
            await _pace_all(opened, seconds)
    expected = int(seconds * RATE) * 2 * QUIET
    if len(took) != expected:
        raise AssertionError(f"{len(took)} of {expected} frames have arrived")
    took.sort()
    return {"p50": percentile(took, 50) * 1_000, "p99": percentile(took, 99) * 1_000}


SESSIONS_CASES = Several("sessions", partial(_sessions, count=SESSIONS, seconds=2.0))
FLOOD_CASES = Several("flood", _beside_a_flood)

CASES = [
    *SESSIONS_CASES.cases(
        "ms",
        {
            "p50": (f"a frame through {SESSIONS} voice sessions, median", ""),
            "p99": ("the same, 99 % are faster", ""),
            "cpu": ("a session's share of one core, timers included", "%"),
        },
        most_rounds=2,
    ),
    *FLOOD_CASES.cases(
        "ms",
        {
            "p50": (f"a frame in {QUIET} quiet sessions beside a flood", ""),
            "p99": ("the same, 99 % are faster", ""),
        },
        most_rounds=2,
    ),
]
