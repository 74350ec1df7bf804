"""In a real kernel: the stop button, crashes between cells, restarting, shutting down, Trio's runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ipykernel")
manager = pytest.importorskip("jupyter_client.manager")

pytestmark = [
    pytest.mark.slow,
    # Those of ipykernel, pyzmq and jupyter_client themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROOT = Path(__file__).parents[2]
PATIENCE = 60

SETUP = """
import time
import threading
from pathlib import Path
import trio
import ten_trio as ten
from ten_trio import notebook

class Echo(ten.Extension):
    async def on_cmd(self, env, cmd):
        if cmd.name == "never":
            await cmd.abandoned.wait()
            await env.send_data(ten.Data("told", {"what": "abandoned"}))
        elif cmd.name == "later":
            env.nursery.start_soon(self._crash)
            await env.return_result(cmd.ok())
        else:
            await env.return_result(cmd.ok(text="here"))

    async def on_data(self, env, data):
        await env.send_data(ten.Data("told", {"what": data["what"]}))

    async def _crash(self):
        await trio.sleep(0.05)
        raise KeyError("later")

class Says(ten.Extension):
    "Writes down its end."
    async def on_stop(self, env):
        await trio.sleep(0.01)
        with open(env["file"], "a") as file:
            print(env.name, "on_stop", file=file)
        if env.get("hangs", False):
            await trio.sleep_forever()
    async def on_deinit(self, env):
        with open(env["file"], "a") as file:
            print(env.name, "on_deinit", file=file)

graph = ten.Graph()
graph.node("echo", Echo)
for name in ("ask", "never", "later"):
    graph.expose("cmd_in", name, "echo")
graph.expose("data_in", "tell", "echo")
graph.expose("data_out", "told", "echo")
app = notebook.open_app()
running = app.open_graph(graph)
"""


class Kernel:
    """A kernel in a process of its own, and what its cells give out."""

    def __init__(self, folder: Path) -> None:
        self.manager, self.client = manager.start_new_kernel(cwd=str(folder))

    def run(self, code: str, *, interrupt: str = "") -> list[tuple[str, Any]]:
        """The outputs of a cell. The stop button is pressed at the first that is of kind `interrupt`."""
        sent = self.client.execute(code)
        outputs: list[tuple[str, Any]] = []
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != sent:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status":
                if content["execution_state"] == "idle":
                    return outputs
            elif kind == "stream":
                outputs.append((content["name"], content["text"]))
            elif kind == "error":
                outputs.append((kind, f"{content['ename']}: {content['evalue']}"))
            elif kind in ("execute_result", "display_data", "update_display_data"):
                outputs.append((kind, content["data"]))
            if interrupt and outputs and outputs[-1][0] == interrupt:
                interrupt = ""
                self.manager.interrupt_kernel()

    def value(self, code: str) -> Any:
        """What the last line of a cell shows as text; nothing else may come out of it."""
        outputs = self.run(code)
        assert [kind for kind, _ in outputs] == ["execute_result"], outputs
        return outputs[0][1]["text/plain"]

    def close(self) -> None:
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel()


@contextmanager
def opened(folder: Path) -> Iterator[Kernel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        kernel = Kernel(folder)
    try:
        yield kernel
    finally:
        kernel.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the kernel of `kernel` works."""
    return tmp_path_factory.mktemp("kernel")


@pytest.fixture(scope="module")
def kernel(folder: Path) -> Iterator[Kernel]:
    """One for all tests that leave it as it was: every one opens an app of its own."""
    with opened(folder) as kernel:
        yield kernel


@pytest.fixture
def own_kernel(tmp_path: Path) -> Iterator[Kernel]:
    with opened(tmp_path) as kernel:
        yield kernel


def test_the_stop_button_cancels_what_the_cell_waits_for(kernel: Kernel) -> None:
    assert kernel.run(SETUP) == []
    kernel.run("told = running.messages('told')")

    # A command: it is abandoned, and its extension learns of it.
    outputs = kernel.run("print('now'); running.send_cmd(ten.Cmd('never'))", interrupt="stdout")
    assert outputs == [("stdout", "now\n"), ("error", "KeyboardInterrupt: ")]
    assert kernel.value("next(told)['what']") == "'abandoned'"
    assert kernel.value("running.send_cmd(ten.Cmd('ask'))['text']") == "'here'"

    # A loop over messages: what comes afterwards is still there.
    outputs = kernel.run("print('now')\nfor each in told: print(each)", interrupt="stdout")
    assert outputs[-1] == ("error", "KeyboardInterrupt: ")
    kernel.run("_ = running.send_data(ten.Data('tell', {'what': 'after'}))")
    assert kernel.value("next(told)['what']") == "'after'"

    # The results of a command.
    outputs = kernel.run(
        "print('now')\nfor each in running.results(ten.Cmd('never')): print(each)",
        interrupt="stdout",
    )
    assert outputs[-1] == ("error", "KeyboardInterrupt: ")
    assert kernel.value("next(told)['what']") == "'abandoned'"

    # A graph that doesn't start: it is closed again.
    stuck = """
class Stuck(ten.Extension):
    async def on_start(self, env):
        print('now', flush=True)
        await trio.sleep_forever()
other = ten.Graph()
other.node("stuck", Stuck)
app.open_graph(other, grace=0.1)
"""
    outputs = kernel.run(stuck, interrupt="stdout")
    assert outputs[-1] == ("error", "KeyboardInterrupt: ")
    assert kernel.value("app.graphs == (running,)") == "True"

    # Watching, which ends in no other way.
    outputs = kernel.run("running.watch(every=0.05)", interrupt="display_data")
    assert {kind for kind, _ in outputs} <= {"display_data", "update_display_data"}
    assert kernel.value("running.send_cmd(ten.Cmd('ask'))['text']") == "'here'"
    assert kernel.value("running.is_running, len(app.close())") == "(True, 1)"
    assert (
        kernel.value("[t.name for t in threading.enumerate() if t.name.startswith('ten_trio')]")
        == "[]"
    )


def test_a_crash_shows_itself_by_the_next_cell(kernel: Kernel) -> None:
    kernel.run(SETUP)
    outputs = kernel.run("_ = running.send_cmd(ten.Cmd('later'))")
    outputs += kernel.run("while running.is_running: time.sleep(0.01)")
    (banner,) = [content for kind, content in outputs if kind == "display_data"]
    assert "has failed in the background: KeyError: 'later'" in banner["text/plain"]
    assert "raise KeyError(&quot;later&quot;)" in banner["text/html"]
    # Once; and whoever uses the graph gets it again.
    ((kind, text),) = kernel.run("running.send_cmd(ten.Cmd('ask'))")
    assert kind == "error"
    assert text.startswith("EngineClosed: graph ")
    assert kernel.value("1 + 1") == "2"


def test_a_crash_while_no_cell_runs_shows_itself_before_the_next(
    kernel: Kernel, folder: Path
) -> None:
    kernel.run(SETUP)
    # Something outside of any cell waits for the crash.
    kernel.run(
        "threading.Thread(target=lambda: ("
        "running.thread.call(running.wait_ended), Path('crashed').touch()), daemon=True).start()"
    )
    outputs = kernel.run("_ = running.send_cmd(ten.Cmd('later'))")
    while not (folder / "crashed").exists():
        kernel.manager.client()  # something to do: there is nothing to wait for
    outputs += kernel.run("'the next cell'")
    kinds = [kind for kind, _ in outputs if kind != "stderr"]
    assert kinds == ["display_data", "execute_result"]


@pytest.mark.parametrize("end", ["restart", "shut down", "exit"])
@pytest.mark.parametrize("hangs", [False, True], ids=["in order", "one hangs"])
def test_the_end_of_the_kernel_closes_the_graph(
    own_kernel: Kernel, tmp_path: Path, end: str, hangs: bool
) -> None:
    kernel = own_kernel
    kernel.run(SETUP)
    kernel.run(
        f"""
ends = ten.Graph()
for name in ("one", "two"):
    ends.node(name, Says, property={{"file": "ends", "hangs": {hangs} and name == "one"}})
_ = app.open_graph(ends)
"""
    )
    finish: dict[str, Callable[[], object]] = {
        "restart": kernel.manager.restart_kernel,
        "shut down": kernel.manager.shutdown_kernel,
        "exit": lambda: leave(kernel),
    }
    finish[end]()
    lines = (tmp_path / "ends").read_text().splitlines()
    wanted = {"one on_stop", "two on_stop", "two on_deinit"}
    assert set(lines) == (wanted if hangs else wanted | {"one on_deinit"})


def leave(kernel: Kernel) -> None:
    """As `exit` in a cell does."""
    kernel.client.execute("exit")
    kernel.manager.provisioner.process.wait(PATIENCE)


def test_top_level_await_with_trio_s_runner(own_kernel: Kernel) -> None:
    kernel = own_kernel
    kernel.run("%autoawait trio")
    kernel.run(SETUP.replace("app = notebook.open_app()\nrunning = app.open_graph(graph)\n", ""))
    ordinary = """
async with ten.open_app() as ordinary, ordinary.open_graph(graph) as engine:
    result = await engine.send_cmd(ten.Cmd("ask"))
    async with engine.messages("told") as told:
        await engine.send_data(ten.Data("tell", {"what": "awaited"}))
        message = await told.receive()
result["text"], message["what"], engine.report.grace_exhausted
"""
    assert kernel.value(ordinary) == "('here', 'awaited', False)"
    # What lives between cells does so beside it.
    kernel.run("app = notebook.open_app(); running = app.open_graph(graph)")
    assert kernel.value("running.send_cmd(ten.Cmd('ask'))['text']") == "'here'"
    assert kernel.value("await trio.to_thread.run_sync(running.send_cmd, ten.Cmd('ask'))").endswith(
        "OK for 'ask')"
    )


def test_live_counters_are_updated_in_place(kernel: Kernel) -> None:
    kernel.run(SETUP)
    outputs = kernel.run("running.watch(0.2, every=0.05)")
    kinds = [kind for kind, _ in outputs]
    assert kinds[0] == "display_data"
    assert set(kinds[1:]) == {"update_display_data"}
    assert "extension" in outputs[-1][1]["text/html"]


def test_it_can_be_used_from_asyncio_cells(kernel: Kernel) -> None:
    kernel.run(SETUP)
    code = "import asyncio\n(await asyncio.to_thread(running.send_cmd, ten.Cmd('ask')))['text']"
    assert kernel.value(code) == "'here'"
