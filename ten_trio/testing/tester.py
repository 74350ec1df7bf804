"""One extension by itself: a test stands in for the rest of its graph."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from ..errors import CmdTimeout
from ..graphs import AppProperty, Graph
from ..messages import AudioFrame, Cmd, CmdResult, Data, Msg, VideoFrame
from ..runtime import Call, Engine, Extension, Limits, ShutdownReport, TenEnv, open_app
from .inbox import Inbox
from .mocks import HELD, Mock, answer
from .virtual_time import run_in_virtual_time

T = TypeVar("T")

TESTER: Final = "ten:test_extension"
"""The name of the node that the test is, for the extension under test."""


class ExtensionTester:
    """A test's side of an extension under test, as `open_tester` gives it.

    What the extension sends arrives here whatever its name and destinations, and what the test sends
    arrives there.  Commands from the extension are answered by mocks; without one, with an empty OK.

    Waits are bounded by `timeout` (seconds), or by `within` of the call.
    """

    def __init__(self, name: str, mocks: Mapping[str, Mock], timeout: float) -> None:
        self.name = name
        """The name of the extension under test; of several, that of the graph."""
        self.timeout = timeout
        self._mocks: dict[str, Any] = dict(mocks)
        self._cmds: Inbox[Cmd] = Inbox("command")
        self._data: Inbox[Data] = Inbox("data")
        self._audio_frames: Inbox[AudioFrame] = Inbox("audio frame")
        self._video_frames: Inbox[VideoFrame] = Inbox("video frame")
        # Set by `open_tester` before anybody else sees this object.
        self._env: TenEnv
        self._engine: Engine

    @property
    def extension(self) -> Extension:
        """The extension under test, if it is a single one."""
        return self.extension_of(self.name)

    def extension_of(self, name: str) -> Extension:
        """One of the extensions under test, by its name. Raises `KeyError`."""
        return self._engine._core.instances[name].extension

    @property
    def engine(self) -> Engine:
        """The graph that the two are."""
        return self._engine

    @property
    def report(self) -> ShutdownReport | None:
        """How the graph closed; None while it runs."""
        return self._engine.report

    # Sending ----------------------------------------------------------------------------------

    async def send_cmd(self, cmd: Cmd, *, within: float | None = None) -> CmdResult:
        """Send a command to the extension and wait for its result: the first ERROR, else the last OK.

        Raises `CmdTimeout`; the extension can see then that nobody waits any more.
        """
        seconds = self._seconds(within)
        with trio.move_on_after(seconds):
            return await self._env.send_cmd(cmd)
        raise CmdTimeout(f"{self.name!r} did not answer {cmd!r} within {seconds:g} s")

    def send_cmd_ex(self, cmd: Cmd) -> AbstractAsyncContextManager[Call]:
        """`async with tester.send_cmd_ex(cmd) as results: …` for every result, see `TenEnv`."""
        return self._env.send_cmd_ex(cmd)

    def start_cmd(self, cmd: Cmd) -> Call:
        """Send a command and return at once with a promise of its results."""
        return self._env.start_cmd(cmd)

    async def send_data(self, data: Msg) -> None:
        """Send data to the extension."""
        await self._env.send_data(data)

    async def send_audio_frame(self, frame: AudioFrame) -> None:
        """Send an audio frame to the extension."""
        await self._env.send_data(frame)

    async def send_video_frame(self, frame: VideoFrame) -> None:
        """Send a video frame to the extension."""
        await self._env.send_data(frame)

    # Answering --------------------------------------------------------------------------------

    def mock_cmd(self, name: str, mock: Mock = None) -> None:
        """From now on answer the commands of that name with `mock`.

        A mapping is the properties of an OK result, a list the results of a stream.  A function is
        called with the command and returns one of these, `cmd.ok(…)`, `cmd.error(…)` or None; it
        may be `async`, or an asynchronous generator of results.  It replaces an earlier mock.
        """
        self._mocks[name] = mock

    def hold_cmd(self, name: str) -> None:
        """Don't answer the commands of that name: the test does, with `return_result`."""
        self._mocks[name] = HELD

    async def return_result(self, result: CmdResult) -> bool:
        """Answer a command that is held. False if the extension doesn't wait for it any more."""
        return await self._env.return_result(result)

    # Expecting --------------------------------------------------------------------------------

    @property
    def cmds(self) -> tuple[Cmd, ...]:
        """Every command that the extension has sent."""
        return tuple(self._cmds.everything)

    @property
    def data(self) -> tuple[Data, ...]:
        """All the data that the extension has sent."""
        return tuple(self._data.everything)

    @property
    def audio_frames(self) -> tuple[AudioFrame, ...]:
        """Every audio frame that the extension has sent."""
        return tuple(self._audio_frames.everything)

    @property
    def video_frames(self) -> tuple[VideoFrame, ...]:
        """Every video frame that the extension has sent."""
        return tuple(self._video_frames.everything)

    async def expect_cmd(
        self,
        name: str | None = None,
        matching: Callable[[Cmd], object] | None = None,
        *,
        within: float | None = None,
    ) -> Cmd:
        """Wait for a command that no `expect_cmd` has returned yet; it is answered already, or held.

        Of those with that name (None: any) for which `matching` is true, the first; the others stay
        for later.  Raises `NotReceived`.
        """
        return await self._cmds.take(name, matching, self._seconds(within))

    async def expect_data(
        self,
        name: str | None = None,
        matching: Callable[[Data], object] | None = None,
        *,
        within: float | None = None,
    ) -> Data:
        """Wait for data, as `expect_cmd` does for a command."""
        return await self._data.take(name, matching, self._seconds(within))

    async def expect_audio_frame(
        self,
        name: str | None = None,
        matching: Callable[[AudioFrame], object] | None = None,
        *,
        within: float | None = None,
    ) -> AudioFrame:
        """Wait for an audio frame, as `expect_cmd` does for a command."""
        return await self._audio_frames.take(name, matching, self._seconds(within))

    async def expect_video_frame(
        self,
        name: str | None = None,
        matching: Callable[[VideoFrame], object] | None = None,
        *,
        within: float | None = None,
    ) -> VideoFrame:
        """Wait for a video frame, as `expect_cmd` does for a command."""
        return await self._video_frames.take(name, matching, self._seconds(within))

    async def assert_no_cmd(self, name: str | None = None, *, during: float = 0) -> None:
        """Check that no command of that name (None: of any) is there that no `expect_cmd` returned.

        First waits until the extension has nothing more to do without time going on, after `during`
        more seconds.  Raises `NotExpected`.
        """
        await self._check_none(self._cmds, name, during)

    async def assert_no_data(self, name: str | None = None, *, during: float = 0) -> None:
        """Check that there is no data, as `assert_no_cmd` does for commands."""
        await self._check_none(self._data, name, during)

    async def assert_no_audio_frame(self, name: str | None = None, *, during: float = 0) -> None:
        """Check that there is no audio frame, as `assert_no_cmd` does for commands."""
        await self._check_none(self._audio_frames, name, during)

    async def assert_no_video_frame(self, name: str | None = None, *, during: float = 0) -> None:
        """Check that there is no video frame, as `assert_no_cmd` does for commands."""
        await self._check_none(self._video_frames, name, during)

    async def settle(self) -> None:
        """Wait until every task waits: for time, a message, a thread or a socket."""
        from trio.testing import wait_all_tasks_blocked  # noqa: PLC0415 - it imports pytest

        await wait_all_tasks_blocked()

    async def stop(self) -> ShutdownReport:
        """Close the graph in order. What the extension sends while it stops can be expected after."""
        self._engine.stop()
        return await self._engine.wait_closed()

    async def _check_none(self, inbox: Inbox[Any], name: str | None, during: float) -> None:
        await trio.sleep(during)
        await self.settle()
        inbox.check_none(name)

    def _seconds(self, within: float | None) -> float:
        return self.timeout if within is None else within


class _TestExtension(Extension):
    """The tester's node."""

    data_handlers = "concurrent"

    def __init__(self, tester: ExtensionTester) -> None:
        self._tester = tester

    async def on_configure(self, env: TenEnv) -> None:
        self._tester._env = env

    async def on_stop(self, env: TenEnv) -> None:
        # Stay reachable until those that are tested have said their last words.
        for name, life in tuple(env._instance.engine.lives.items()):
            if name != env.name:
                await life.done.wait()

    async def on_cmd(self, env: TenEnv, cmd: Cmd) -> None:
        self._tester._cmds.put(cmd)
        mock = self._tester._mocks.get(cmd.name)
        if mock is not HELD:
            await answer(env, cmd, mock)

    async def on_data(self, env: TenEnv, data: Data) -> None:
        self._tester._data.put(data)

    async def on_audio_frame(self, env: TenEnv, frame: AudioFrame) -> None:
        self._tester._audio_frames.put(frame)

    async def on_video_frame(self, env: TenEnv, frame: VideoFrame) -> None:
        self._tester._video_frames.put(frame)


@asynccontextmanager
async def open_tester(
    addon: str | Callable[..., Any],
    *,
    name: str = "",
    property: Mapping[str, Any] | None = None,
    mocks: Mapping[str, Mock] | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 - the bound of each wait in the block, not of this call
    app: str | Path | Mapping[str, Any] | AppProperty | None = None,
    limits: Limits | None = None,
    **settings: Any,
) -> AsyncGenerator[ExtensionTester, None]:
    """Run one extension for the length of a block, with the test in place of the rest of the graph.

    Enters when the extension has come back from `on_start`.  If it raises, the block is cancelled,
    and the exception comes out of it in an `ExceptionGroup`.  For virtual time, run the test with
    `run_extension_test`, or with pytest-trio's `autojump_clock`.

    Args:
        addon: An `Extension` class or factory, or the name of an addon.
        name: Of its node; by default what the addon is called.
        property: The properties of its node.
        mocks: See `ExtensionTester.mock_cmd`; these are there before the extension begins.
        timeout: How long each wait of the tester may take, in seconds.
        app: What `open_app` takes, for the app's folder and properties. Its graphs aren't started.
        limits: Of the app.
        settings: Of the node, such as `on_error="isolate"`.

    Raises:
        GraphError, AddonNotFound, StartTimeout: See `App.open_graph`.
    """
    called = name or _name_of(addon)
    tester = ExtensionTester(called, mocks or {}, timeout)
    graph = Graph()
    graph.node(TESTER, lambda: _TestExtension(tester), group="test_extension_group_1")
    graph.node(
        called, addon, group="test_extension_group_2", property=dict(property or {}), **settings
    )
    redirects = {TESTER: called, called: TESTER}
    async with (
        open_app(app, auto_start=False, limits=limits) as running,
        running.open_graph(graph, own_loop=False, redirects=redirects) as engine,
    ):
        tester._engine = engine
        yield tester


def run_extension_test(
    async_fn: Callable[..., Awaitable[T]], *args: Any, virtual_time: bool = True
) -> T:
    """Run `async_fn(*args)`, a test, from synchronous code; returns what it returns.

    In virtual time sleeping costs nothing, and a test that can't go on fails at once.  Threads
    (`env.to_thread`) and sockets work in real time, so a test that waits for them has to say
    `virtual_time=False`.
    """
    if virtual_time:
        return run_in_virtual_time(async_fn, *args)
    return trio.run(async_fn, *args)


def _name_of(addon: str | Callable[..., Any]) -> str:
    if isinstance(addon, str):
        return addon
    name = getattr(addon, "__name__", "")
    return name if name.isidentifier() else "extension"


__all__ = ["TESTER", "ExtensionTester", "open_tester", "run_extension_test"]
