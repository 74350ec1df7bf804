"""A session of pipecat with two stages: the one that a script is about, and one that notes what comes through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from pipecat.frames.frames import DataFrame, Frame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner


@dataclass
class Numbered(DataFrame):
    number: int = 0


class Stage(FrameProcessor):
    def __init__(self, handle: Callable[[int], Awaitable[None]]) -> None:
        super().__init__()
        self.handle = handle

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, Numbered):
            await self.handle(frame.number)
        await self.push_frame(frame, direction)


class Session:
    def __init__(self, handle: Callable[[int], Awaitable[None]]) -> None:
        self.through: list[int] = []

        async def note(number: int) -> None:
            self.through.append(number)

        self.worker = PipelineWorker(Pipeline([Stage(handle), Stage(note)]))
        self.started = asyncio.Event()
        self.worker.event_handler("on_pipeline_started")(self.has_started)
        self.runner = WorkerRunner(handle_sigint=False)

    async def has_started(self, worker: object, frame: object) -> None:
        self.started.set()

    async def __aenter__(self) -> Self:
        await self.runner.add_workers(self.worker)
        self.running = asyncio.create_task(self.runner.run())
        await asyncio.wait_for(self.started.wait(), 60)
        return self

    async def __aexit__(self, *_: object) -> None:
        pass  # `tell` ends the process

    async def send(self, number: int) -> None:
        await self.worker.queue_frame(Numbered(number=number))

    async def end(self) -> None:
        await self.worker.stop_when_done()

    async def cancel(self) -> None:
        await self.worker.cancel()

    async def how_it_ended(self, patience: float) -> str:
        began = time.perf_counter()
        done, _ = await asyncio.wait([self.running], timeout=patience)
        if not done:
            return f"not ended after {patience:.0f} s"
        error = None if self.running.cancelled() else self.running.exception()
        return f"ended after {time.perf_counter() - began:.1f} s, raised: {error!r}"
