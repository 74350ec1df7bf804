"""Step 6: the graph as a file. In it extensions go by the names of their addons."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

import ten_trio as ten
from ten_trio.graphs import to_mermaid

from . import step_2, step_3, step_4, step_5

FILE = Path(__file__).with_name("agent.json")

ADDONS: dict[str, type[ten.Extension]] = {
    "tutorial_dialogue": step_5.Dialogue,
    "tutorial_tools": step_2.Tools,
    "tutorial_tts": step_3.Tts,
    "tutorial_sink": step_3.Sink,
    "tutorial_source": step_4.Source,
    "tutorial_vad": step_4.Vad,
    "tutorial_asr": step_4.Asr,
}
for name, extension in ADDONS.items():
    ten.addon(name)(extension)


def to_file(graph: ten.Graph) -> str:
    """The JSON of a graph that was built from classes."""
    graph = graph.copy()
    for node in graph.nodes:
        node.addon = f"tutorial_{node.name}"
    return graph.to_json(indent=2) + "\n"


async def main() -> None:
    async with ten.open_app() as app, app.open_graph(FILE) as engine:
        async with engine.messages("sentence") as sentences:
            await engine.send_cmd(ten.Cmd("say", {"text": "weather in rome"}))
            print((await sentences.receive())["text"])
    print(to_mermaid(ten.Graph.from_json(FILE.read_text(encoding="utf-8"))), end="")


if __name__ == "__main__":
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
