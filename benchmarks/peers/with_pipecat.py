"""What pipecat takes for the same: runs by itself in an interpreter that has it, `python with_pipecat.py quick|full`.

Prints JSON.  It imports nothing of ten_trio, so that it also runs where that isn't installed.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from importlib.metadata import version
from time import perf_counter, process_time
from typing import Any

from loguru import logger  # type: ignore[import-not-found,unused-ignore]
from pipecat.frames.frames import (  # type: ignore[import-not-found,unused-ignore]
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.pipeline.pipeline import Pipeline  # type: ignore[import-not-found,unused-ignore]
from pipecat.pipeline.runner import PipelineRunner  # type: ignore[import-not-found,unused-ignore]
from pipecat.pipeline.task import PipelineTask  # type: ignore[import-not-found,unused-ignore]
from pipecat.processors.frame_processor import (  # type: ignore[import-not-found,unused-ignore]
    FrameDirection,
    FrameProcessor,
)

STAGES = 5
RATE = 50
QUEUED = 1_000
LEAN: dict[str, Any] = {
    "enable_rtvi": False,
    "enable_turn_tracking": False,
    "idle_timeout_secs": None,
    "check_dangling_tasks": False,
}


class Pass(FrameProcessor):  # type: ignore[misc,unused-ignore]
    """Sends on what it gets."""

    async def process_frame(self, frame: Any, direction: Any) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


class End(Pass):
    """Either end of a pipeline: calls back for each frame of sound that has come through."""

    def __init__(self, direction: Any, got: Any) -> None:
        super().__init__()
        self.direction = direction
        self.got = got
        self.started = asyncio.Event()

    async def process_frame(self, frame: Any, direction: Any) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, StartFrame):
            self.started.set()
        if isinstance(frame, InterruptionFrame) or (
            isinstance(frame, OutputAudioRawFrame) and direction is self.direction
        ):
            self.got(frame)


class Held(Pass):
    """Is held up by the first frame of sound."""

    async def process_frame(self, frame: Any, direction: Any) -> None:
        await FrameProcessor.process_frame(self, frame, direction)
        if isinstance(frame, OutputAudioRawFrame):
            await asyncio.sleep(3_600)
        await self.push_frame(frame, direction)


def sound() -> Any:
    """20 ms of it, with the moment at which it was made."""
    frame = OutputAudioRawFrame(audio=bytes(640), sample_rate=16_000, num_channels=1)
    frame.sent = perf_counter()
    return frame


class Session:
    """A pipeline that runs."""

    def __init__(self, stages: list[Any], got: Any) -> None:
        self.first = End(FrameDirection.UPSTREAM, got)
        self.last = End(FrameDirection.DOWNSTREAM, got)
        self.stages = [self.first, *stages, self.last]
        self.task = PipelineTask(Pipeline(self.stages), **LEAN)
        self.running = asyncio.ensure_future(PipelineRunner(handle_sigint=False).run(self.task))

    async def stop(self) -> None:
        """Cancel it."""
        await self.task.cancel()
        await asyncio.wait_for(self.running, 10)


async def hop(n: int) -> float:
    """Microseconds per hop with one frame on its way."""
    came = asyncio.Event()
    session = Session([Pass() for _ in range(STAGES - 2)], lambda frame: came.set())
    await session.last.started.wait()
    took = []
    for index in range(n + 20):
        came.clear()
        began = perf_counter()
        await session.first.push_frame(sound())
        await came.wait()
        if index >= 20:
            took.append(perf_counter() - began)
    await session.stop()
    return statistics.median(took) / (STAGES - 1) * 1e6


async def interruption(times: int) -> float:
    """Microseconds until an interruption has gone through, past frames that wait in each stage."""
    took = []
    for _ in range(times):
        came = asyncio.Event()
        held = [Held() for _ in range(STAGES)]
        session = Session(held, lambda frame, came=came: came.set())
        await session.last.started.wait()
        for stage in held:
            for _ in range(QUEUED // STAGES + 1):
                await stage.queue_frame(sound(), FrameDirection.DOWNSTREAM)
        await asyncio.sleep(0.05)
        began = perf_counter()
        await session.first.push_frame(InterruptionFrame())
        await asyncio.wait_for(came.wait(), 10)
        took.append(perf_counter() - began)
        await session.stop()
    return statistics.median(took) * 1e6


async def sessions(count: int, seconds: float) -> dict[str, float]:
    """Milliseconds from sending a frame to having it, with `count` sessions at their pace."""
    took: list[float] = []

    def got(frame: Any) -> None:
        if isinstance(frame, OutputAudioRawFrame):
            took.append(perf_counter() - frame.sent)

    opened = [Session([Pass() for _ in range(STAGES - 2)], got) for _ in range(count)]
    for session in opened:
        await session.last.started.wait()

    async def pace(session: Session, began: float) -> None:
        loop = asyncio.get_running_loop()
        for tick in range(int(seconds * RATE)):
            await asyncio.sleep(max(0.0, began + tick / RATE - loop.time()))
            await session.first.push_frame(sound())
            await session.last.push_frame(sound(), FrameDirection.UPSTREAM)

    began, used = perf_counter(), process_time()
    start = asyncio.get_running_loop().time()
    await asyncio.gather(
        *(pace(each, start + index / count / RATE) for index, each in enumerate(opened))
    )
    await asyncio.sleep(0.1)
    cpu = (process_time() - used) / (perf_counter() - began)
    for session in opened:
        await session.stop()
    took.sort()
    return {
        "sessions": count,
        "frames": len(took) / (int(seconds * RATE) * 2 * count),
        "p50": took[len(took) // 2] * 1e3,
        "p99": took[int(len(took) * 0.99)] * 1e3,
        "cpu": cpu * 100,
    }


async def main(full: bool) -> None:
    """Measure all, print it."""
    counts = (10, 25, 50, 100) if full else (5,)
    print(
        json.dumps(
            {
                "name": "pipecat",
                "version": version("pipecat-ai"),
                "hop": await hop(2_000 if full else 50),
                "interruption": await interruption(5 if full else 1),
                "sessions": [await sessions(n, 2.0 if full else 0.3) for n in counts],
            }
        )
    )


if __name__ == "__main__":
    logger.remove()
    asyncio.run(main(sys.argv[1:] == ["full"]))
