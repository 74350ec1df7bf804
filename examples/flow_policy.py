"""Two cameras, three readers, and what each of them may miss: a flow policy for every edge.

    python -m examples.flow_policy

The recorder needs every frame, so the cameras wait for it. The preview shows what is newest. The
detector is slow, and looks at the latest frame of each camera, unless that is too old. Nobody is in
anybody's way, and the report says what was dropped, where, and why.
"""

from __future__ import annotations

import trio

import ten_trio as ten

FRAMES = 60


class Cameras(ten.Extension):
    """Two cameras that take turns, a frame every 10 ms."""

    async def on_start(self, env: ten.TenEnv) -> None:
        env.nursery.start_soon(self.film, env)

    async def film(self, env: ten.TenEnv) -> None:
        for number in range(FRAMES):
            content = {"number": number, "camera": "left" if number % 2 else "right"}
            await env.send_video_frame(ten.VideoFrame("frame", content))
            await trio.sleep(0.01)
        await env.send_data(ten.Data("the_end"))


class Reader(ten.Extension):
    """Takes its time over every frame."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.seen: list[int] = []

    async def on_video_frame(self, env: ten.TenEnv, frame: ten.VideoFrame) -> None:
        self.seen.append(frame["number"])
        await trio.sleep(self.seconds)

    async def on_stop(self, env: ten.TenEnv) -> None:
        print(
            f"[{env.name}] has seen {len(self.seen)} of {FRAMES} frames, the last: {self.seen[-1]}"
        )


def graph_of_readers() -> ten.Graph:
    graph = ten.Graph()
    graph.node("cameras", Cameras)
    graph.node("recorder", lambda: Reader(0.001))
    graph.node("preview", lambda: Reader(0.03))
    graph.node("detector", lambda: Reader(0.1))
    graph.connect(
        "cameras", "recorder", video_frame="frame",
        flow=ten.FlowPolicy(capacity=16, on_full="wait"),
    )  # fmt: skip
    graph.connect(
        "cameras", "preview", video_frame="frame",
        flow=ten.FlowPolicy(capacity=2, on_full="drop_oldest"),
    )  # fmt: skip
    graph.connect(
        "cameras", "detector", video_frame="frame",
        flow=ten.FlowPolicy(on_full="coalesce", key="camera", max_age_ms=150),
    )  # fmt: skip
    graph.expose("data_out", "the_end", "cameras")
    return graph


async def main() -> None:
    async with ten.open_app() as app, app.open_graph(graph_of_readers()) as engine:
        async with engine.messages("the_end") as messages:
            await messages.receive()
        for edge, flow in engine.flows.items():
            print(f"{edge}: {flow.sent} sent, {flow.queued} queued")
        await trio.sleep(0.3)  # the rest is still looked at
    assert engine.report is not None
    for edge, dropped in engine.report.dropped_by_edge.items():
        print(f"{edge}: {dropped}")


if __name__ == "__main__":
    trio.run(main)
