"""A running graph in the hands of cells: `Engine`, without `await`."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import trio

from ..errors import EngineClosed, GraphError, Problem
from ..messages.paths import MISSING
from ..runtime.calls import Call
from ..runtime.own_handle import OwnLoopEngine
from ..runtime.policies import ResultReturnPolicy
from .conversation import Conversation, conversation
from .counters import Counters, count, watch
from .displays import running_graph
from .latencies import Latencies, latencies
from .streams import NotebookCall, NotebookMessages

if TYPE_CHECKING:
    from ..graphs import FlatGraph, Graph
    from ..messages import AudioFrame, Cmd, CmdResult, Msg, VideoFrame
    from ..runtime import Engine, Explanation, ShutdownReport, Turn, TurnReport
    from ..runtime.engine import EngineCore
    from .recording import Recording
    from .thread import TrioThread

T = TypeVar("T")


class NotebookGraph:
    """A running graph. Every method blocks until it is done; interrupting the cell cancels that
    wait, and leaves the graph running. What takes `**options` takes those of `Engine`."""

    def __init__(self, thread: TrioThread, recording: Recording) -> None:
        self.thread = thread
        """Where its app runs."""
        self.recording = recording
        """What has happened in it."""
        self.definition: Graph | FlatGraph | None = None
        """As it was opened."""
        self.failures: list[BaseException] = []
        """Why it isn't running any more, if it didn't close in order."""
        self._untold: list[BaseException] = []
        self._engine: Engine | None = None
        self._ended = threading.Event()
        self._closed: trio.Event | None = None

    def __repr__(self) -> str:
        state = "failed" if self.failures else "running" if self.is_running else "closed"
        return f"<ten_trio.notebook.NotebookGraph {self.graph_id} {state}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return running_graph(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._ended.is_set():
            self.stop()

    # For the app that keeps it, in the thread ---------------------------------------------------

    def begin(self, engine: Engine, definition: Graph | FlatGraph) -> None:
        """It runs."""
        self._engine, self.definition = engine, definition
        self._closed = trio.Event()

    @property
    def has_begun(self) -> bool:
        """Whether it has ever run."""
        return self._engine is not None

    def fail(self, failure: BaseException) -> None:
        """It has failed, maybe before it ran."""
        if self.has_begun:
            self.failures.append(failure)
            self._untold.append(failure)

    def end(self) -> None:
        """It is closed."""
        self._ended.set()
        if self._closed is not None:
            self._closed.set()

    def request_close(self, reason: str, within: float | None) -> None:
        """Begin to close it, in so many seconds if that is less than its grace."""
        if self._engine is not None:
            _link(self._engine).request_close(reason, within)

    async def wait_ended(self) -> None:
        """Until it is closed."""
        if self._closed is not None:
            await self._closed.wait()

    def take_failures(self) -> list[BaseException]:
        """The failures that nobody has been shown."""
        untold, self._untold = self._untold, []
        return untold

    # What it is -------------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """The ordinary engine; for `NotebookApp.call`, since it may only be used in its own thread."""
        if self._engine is None:
            raise EngineClosed("the graph never ran")
        return self._engine

    @property
    def graph_id(self) -> str:
        """Its id."""
        return "" if self._engine is None else self._engine.graph_id

    @property
    def is_running(self) -> bool:
        """Whether it is open."""
        return not self._ended.is_set()

    @property
    def extensions(self) -> tuple[str, ...]:
        """The names of its extensions."""
        return self.engine.extensions

    @property
    def report(self) -> ShutdownReport | None:
        """How it has closed; None while it runs."""
        return None if self._engine is None or self.is_running else self._engine.report

    # Commands and data ------------------------------------------------------------------------

    def send_cmd(self, cmd: Cmd, **options: Any) -> CmdResult:
        """Send a command and wait for its result. Interrupted, the command is abandoned."""
        return self.ask(lambda engine: engine.send_cmd(cmd, **options))

    def results(self, cmd: Cmd, **options: Any) -> Iterator[CmdResult]:
        """`for result in graph.results(cmd): …`: every result, as it comes.

        Leaving the loop early abandons the rest.
        """
        call: Call = self.ask(partial(_enter, cmd, options))
        sent = NotebookCall(self, call)
        try:
            yield from sent
        finally:
            sent.cancel()

    def start_cmd(self, cmd: Cmd, **options: Any) -> NotebookCall:
        """Send a command and return at once; its results may be fetched in later cells."""

        async def start(engine: Engine) -> Call:
            return engine.start_cmd(cmd, **options)

        return NotebookCall(self, self.ask(start))

    def send_data(self, data: Msg, **options: Any) -> bool:
        """Send data or a frame, waiting for room. False if nothing in the graph takes it."""
        return self.ask(lambda engine: engine.send_data(data, **options))

    def send_audio_frame(self, frame: AudioFrame, **options: Any) -> bool:
        """`send_data` for an audio frame."""
        return self.send_data(frame, **options)

    def send_video_frame(self, frame: VideoFrame, **options: Any) -> bool:
        """`send_data` for a video frame."""
        return self.send_data(frame, **options)

    def return_result(self, result: CmdResult) -> bool:
        """Answer a command that came out of the graph."""
        return self.ask(lambda engine: engine.return_result(result))

    def messages(self, *names: str, capacity: int | None = None) -> NotebookMessages:
        """What the graph exposes to its host from now on, of these names or of any.

        Kept while no cell reads, at most `capacity` messages. `close()` it, or let the graph end it.
        """
        return NotebookMessages(self, names, capacity)

    # Turns ------------------------------------------------------------------------------------

    def new_turn(self, **options: Any) -> Turn:
        """Open a turn, for messages sent with `turn=`."""

        async def make(engine: Engine) -> Turn:
            return engine.new_turn(**options)

        return self.ask(make)

    def cancel_turn(self, turn: Turn | str, reason: str = "") -> TurnReport | None:
        """Cancel a turn, or that of an id."""
        return self.ask(lambda engine: engine.cancel_turn(turn, reason))

    # Looking and changing ---------------------------------------------------------------------

    def get_property(self, node: str, path: str = "", default: Any = MISSING) -> Any:
        """A property of one extension, or all. Raises `GraphError`, `PropertyNotFound`."""
        return self._in_graph(lambda core: _env(core, node).get_property(path, default))

    def set_property(self, node: str, path: str, value: Any) -> None:
        """Change a property of one extension, as it would itself; it sees that when it next looks.

        Raises `GraphError` if there is no such extension, `SchemaError` if the value doesn't fit.
        """
        self._in_graph(lambda core: _env(core, node).set_property(path, value))

    def add_extension(self, name: str, addon: Any, **options: Any) -> None:
        """Create one more extension and wait for its `on_start`; as `Engine.add_extension`."""
        self.ask(lambda engine: engine.add_extension(name, addon, **options))
        self._in_graph(self.recording.tap)

    def remove_extension(self, name: str) -> None:
        """Stop one extension in order and take it out, with its edges."""
        self.ask(lambda engine: engine.remove_extension(name))

    def connect(self, source: str, dest: str | Iterable[str], **kinds: Any) -> None:
        """Add edges, as `Graph.connect` describes them."""
        self.ask(lambda engine: engine.connect(source, dest, **kinds))

    def disconnect(self, source: str, dest: str | Iterable[str], **kinds: Any) -> None:
        """Take edges away."""
        self.ask(lambda engine: engine.disconnect(source, dest, **kinds))

    def explain(self) -> Explanation:
        """Who waits for what in it at this moment; also when it is stuck."""
        return self.ask(lambda engine: engine.explain())

    def counters(self) -> Counters:
        """What its extensions and edges have come to so far."""
        try:
            return count(self.ask(lambda engine: engine.stats()), self.recording)
        except EngineClosed:  # what was recorded is still there
            return count(None, self.recording)

    def watch(self, seconds: float | None = None, *, every: float = 0.5) -> None:
        """Show the counters, refreshed `every` so many seconds, for that long or until the graph ends.

        Interrupting the cell ends the watching, and nothing else.
        """
        watch(self.counters, self._ended, seconds, every)

    def conversation(
        self,
        *,
        kinds: Iterable[str] = (),
        names: Iterable[str] = (),
        turn: Turn | str = "",
        last: int = 60,
    ) -> Conversation:
        """Who sent what to whom, when, in which turn, as a sequence diagram."""
        turn_id = turn if isinstance(turn, str) else turn.id
        events = self.recording.events(kinds=kinds, names=names, turn=turn_id)
        order = [node.name for node in self.definition.nodes] if self.definition else ()
        return conversation(events, last, order)

    def latencies(self) -> Latencies:
        """How long commands took, and when in each turn each extension first sent something."""
        return latencies(self.recording.events())

    # The end ----------------------------------------------------------------------------------

    def stop(self) -> ShutdownReport | None:
        """Close it in order; how that went. Idempotent."""
        if not self._ended.is_set():
            try:
                self.thread.call(self._stop)
            except EngineClosed:
                if not self._ended.is_set():
                    raise
        self.raise_failure()
        return self.report

    async def _stop(self) -> None:
        self.request_close("stopped by its host", None)
        await self.wait_ended()

    def wait_closed(self) -> ShutdownReport | None:
        """Until it is closed, for whatever reason; how that went. Raises what it failed with."""
        if not self._ended.is_set():
            self.thread.call(self.wait_ended)
        self.raise_failure()
        return self.report

    # Inside -----------------------------------------------------------------------------------

    def raise_failure(self) -> None:
        """`EngineClosed`, from what it has failed with, if it has."""
        if self.failures:
            self._untold.clear()
            raise EngineClosed(f"graph {self.graph_id} has failed") from self.failures[0]

    def ask(self, async_fn: Callable[[Engine], Awaitable[T]]) -> T:
        """Await `async_fn(engine)` in the app's Trio run. Raises what it raises, or why that can't be."""
        self.raise_failure()
        engine = self.engine
        try:
            return self.thread.call(async_fn, engine)
        except EngineClosed:
            self.raise_failure()
            raise

    def _in_graph(self, fn: Callable[[EngineCore], T]) -> T:
        """Call `fn(core)` in the loop of the graph, which may be its own."""

        async def call() -> T:
            return fn(self.engine._core)

        async def cross(engine: Engine) -> T:
            return await (engine._ask(call) if isinstance(engine, OwnLoopEngine) else call())

        return self.ask(cross)


async def _enter(cmd: Cmd, options: Mapping[str, Any], engine: Engine) -> Call:
    """What `Engine.send_cmd_ex` enters with."""
    return engine.start_cmd(
        cmd, **{"policy": ResultReturnPolicy.EACH_OK_AND_ERROR, **dict(options)}
    )


def _link(engine: Engine) -> Any:
    return engine._link if isinstance(engine, OwnLoopEngine) else engine._core


def _env(core: EngineCore, node: str) -> Any:
    instance = core.instances.get(node)
    if instance is None:
        known = ", ".join(core.instances)
        raise GraphError([Problem("node", f"no extension {node!r}; there are: {known}")])
    return instance.env


__all__ = ["NotebookGraph"]
