"""Wherever a stream of bytes is cut and whenever its connection moves: all of it arrives once, in order.

The clients here are raw: they know nothing but bytes. Pauses are turns of the scheduler, or last until
nothing else can run; the threads of graphs with a loop of their own interleave as they like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import pytest
import trio
from hypothesis import given, strategies as st

import ten_trio as ten
from property_tests.streams import (
    KINDS,
    Raw,
    Record,
    cut,
    encoded,
    message,
    raw,
    serving,
    start,
)
from ten_trio.network import MsgpackCodec, WireMsg, migration
from ten_trio.network.connection import Connection
from ten_trio.network.dialects import FrameDialect, StreamDialect
from ten_trio.network.migration import Target
from ten_trio.network.remotes import remotes_of
from ten_trio.runtime.engine import EngineCore

pytestmark = pytest.mark.slow

NOT_FOUND = "Graph not found."
LAST = 10_000
"""A command that is sent when everything else is on its way: its answer says that all has arrived."""
WRONG = 5_000
FIRSTS = ("start", *KINDS)
TRANSPORTS = ("tcp", "unix", "ws")


@attrs.frozen
class Story:
    """What one client sends."""

    kinds: tuple[str, ...]
    first: str = "start"
    """What makes the connection move: start_graph, or a message of some kind for the singleton."""
    wrong: int = 0
    """Commands for a graph that there isn't, before that."""
    tag: str = ""

    def messages(self) -> list[WireMsg]:
        """All but the last."""
        nowhere = ten.Loc("", "nowhere", "rec")
        found = [
            message("cmd", WRONG + index, self.tag, dest=nowhere) for index in range(self.wrong)
        ]
        kinds = list(enumerate(self.kinds))
        if self.first == "start":
            found.append(start())
        else:
            there = ten.Loc("", "single", "rec")
            found.append(message(self.first, LAST - 1, self.tag, dest=there))
        return found + [message(kind, number, self.tag) for number, kind in kinds]

    def expected(self, *kinds: str) -> list[int]:
        """The messages that arrive at the graph, of some kinds or all."""
        first = [] if self.first == "start" else [(LAST - 1, self.first)]
        all_of_them = [*first, *enumerate(self.kinds), (LAST, "cmd")]
        return [number for number, kind in all_of_them if kind in (kinds or KINDS)]

    def answers(self) -> list[tuple[str, int, str]]:
        """What comes back, in this order if no handler waits."""
        refused = [(str(WRONG + index), 1, NOT_FOUND) for index in range(self.wrong)]
        started = [("start", 0, "")] if self.first == "start" else []
        given = [(str(number), 0, f"{self.tag}{number}") for number in self.expected("cmd")]
        return refused + started + given


def check(story: Story, record: Record, client: Raw) -> None:
    """Everything has arrived, once and in order, and every command was answered once."""
    tag = story.tag
    assert record.of(tag, "cmd") == story.expected("cmd")
    assert record.of(tag, "data", "audio_frame") == story.expected("data", "audio_frame")
    if record.waits:
        assert sorted(client.answers) == sorted(story.answers())
    else:
        assert record.of(tag) == story.expected()
        assert client.answers == story.answers()


async def tell(uri: str, story: Story, cuts: list[int], pauses: list[int], record: Record) -> None:
    """Be one client."""
    data = encoded(story.messages())
    async with raw(uri) as client:
        await client.write(cut(data, [place % len(data) for place in cuts]), pauses)
        await client.send(encoded([message("cmd", LAST, story.tag)]))
        await client.until(str(LAST))
        if record.waits:  # the last command may have overtaken what was held up
            while len(client.answers) < len(story.answers()):
                assert await client.next() is not None, client.answers
            await record.wait_for_all(len(story.expected()), story.tag)
        check(story, record, client)


@pytest.fixture
def folder() -> Iterator[Path]:
    # That of pytest is too long for the name of a Unix socket.
    with TemporaryDirectory() as name:
        yield Path(name)


async def each_cut(
    transport: str,
    folder: Path,
    own_loop: bool,
    story: Story,
    places: Callable[[int], range],
    grace: float = 5,
) -> None:
    """The same story over and over, the bytes cut at another place each time."""
    size = len(encoded(story.messages()))
    with trio.fail_after(60):
        async with serving(transport, folder, own_loop, grace=grace) as app:
            for place in places(size):
                record = Record()
                with trio.fail_after(5):
                    await tell(app.uri, story, [place], [-1], record)


@pytest.mark.parametrize("own_loop", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_at_every_byte(transport: str, own_loop: bool, folder: Path) -> None:
    # Each sort of message comes before and after the first that is for the graph.
    story = Story(("data", "cmd", "audio_frame", "cmd"), wrong=1)
    step = 3 if transport == "unix" else 1  # it is TCP's code
    trio.run(each_cut, transport, folder, own_loop, story, lambda size: range(0, size, step))


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("own_loop", [False, True], ids=["shared", "own"])
def test_a_message_for_a_singleton_at_every_byte(first: str, own_loop: bool, folder: Path) -> None:
    story = Story(("cmd", "data"), first=first)
    trio.run(each_cut, "tcp", folder, own_loop, story, lambda size: range(0, size, 2))


places = st.integers(0, 1_000_000)
pauses = st.lists(st.sampled_from([0, 0, 0, 1, 2, 5, -1]), min_size=1, max_size=8)
kinds = st.sampled_from(KINDS)
lengths = st.sampled_from([0, 1, 5, 30, 300])
stories = st.builds(
    Story,
    lengths.flatmap(lambda size: st.lists(kinds, min_size=size // 2, max_size=size).map(tuple)),
    first=st.sampled_from(FIRSTS),
    wrong=st.integers(0, 3),
)
clients = st.lists(
    st.tuples(stories, st.lists(places, max_size=20), pauses), min_size=1, max_size=3
)
waiting = st.one_of(st.just(()), st.lists(st.integers(0, 40), max_size=8).map(tuple))


async def tell_all(
    transport: str,
    folder: Path,
    own_loop: bool,
    plan: list[tuple[Story, list[int], list[int]]],
    waits: tuple[int, ...],
) -> None:
    with trio.fail_after(20):
        async with serving(transport, folder, own_loop) as app:
            record = Record(waits)
            async with trio.open_nursery() as nursery:
                for index, (story, cuts, pauses) in enumerate(plan):
                    # They use the same seq_ids, so an answer for another one would be noticed.
                    story = attrs.evolve(story, tag="abc"[index])
                    nursery.start_soon(tell, app.uri, story, cuts, pauses, record)


@pytest.mark.parametrize("own_loop", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("transport", TRANSPORTS)
@given(plan=clients, waits=waiting)
def test_any_cuts_and_pauses(
    transport: str,
    own_loop: bool,
    plan: list[tuple[Story, list[int], list[int]]],
    waits: tuple[int, ...],
) -> None:
    with TemporaryDirectory() as folder:
        trio.run(tell_all, transport, Path(folder), own_loop, plan, waits)


async def leave(
    transport: str, folder: Path, own_loop: bool, story: Story, cuts: list[int], half: bool
) -> None:
    """Close right after the last byte."""
    data = encoded([*story.messages(), message("data", LAST, story.tag)])
    with trio.fail_after(20):
        async with serving(transport, folder, own_loop) as app:
            record = Record()
            async with raw(app.uri) as client:
                await client.write(cut(data, [place % len(data) for place in cuts]), [0, 1])
                if half and client.half_close is not None:
                    await client.half_close()
                else:
                    await client.aclose()
                await record.wait_for(LAST, story.tag)
            # Nothing waits for their answers, so commands may not have begun. What has, has in order.
            commands = record.of(story.tag, "cmd")
            assert commands == [number for number in story.expected("cmd") if number in commands]
            assert len(commands) == len(set(commands))
            flow = [*story.expected("data", "audio_frame"), LAST]
            assert record.of(story.tag, "data", "audio_frame") == flow


one_way = st.builds(
    Story,
    st.lists(st.sampled_from(("data", "audio_frame")), max_size=60).map(tuple),
    first=st.sampled_from(("data", "audio_frame")),
)


@pytest.mark.parametrize("own_loop", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("transport", TRANSPORTS)
@given(story=one_way, cuts=st.lists(places, max_size=5), half=st.booleans())
def test_closed_right_after_the_last_byte(
    transport: str, own_loop: bool, story: Story, cuts: list[int], half: bool
) -> None:
    with TemporaryDirectory() as folder:
        trio.run(leave, transport, Path(folder), own_loop, story, cuts, half)


@pytest.mark.parametrize("own_loop", [False, True], ids=["shared", "own"])
@given(
    story=stories.filter(lambda story: story.first != "start"), cuts=st.lists(places, max_size=5)
)
def test_commands_and_then_the_end(own_loop: bool, story: Story, cuts: list[int]) -> None:
    with TemporaryDirectory() as folder:
        trio.run(leave, "tcp", Path(folder), own_loop, story, cuts, True)


# Would any of this be noticed? ------------------------------------------------------------------

Enter = Callable[[Connection, Target, EngineCore], None]


def _without_the_rest(enter: Enter) -> Enter:
    def bad(connection: Connection, target: Target, core: EngineCore) -> None:
        limits = core.boundary.settings.codec  # type: ignore[attr-defined]
        framed = isinstance(connection.dialect, FrameDialect)
        new = FrameDialect(limits) if framed else StreamDialect(MsgpackCodec(limits))
        connection.dialect = new
        enter(connection, target, core)

    return bad


def _first_one_twice(enter: Enter) -> Enter:
    def bad(connection: Connection, target: Target, core: EngineCore) -> None:
        codec = MsgpackCodec()
        codec.receive_data(encoded([target.first]))
        again = codec.next_message()
        assert again is not None
        enter(connection, target, core)
        remotes_of(core)._remotes[connection.uri].receive(again)

    return bad


def _first_one_late(enter: Enter) -> Enter:
    def bad(connection: Connection, target: Target, core: EngineCore) -> None:
        remotes = remotes_of(core)
        remote = remotes.accept(connection, False, target.starts)

        async def late() -> None:
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            remote.receive(target.first)

        core.start_soon(late)
        core.start_soon(remotes.serve, remote, connection)

    return bad


def _first_one_never(enter: Enter) -> Enter:
    def bad(connection: Connection, target: Target, core: EngineCore) -> None:
        remotes = remotes_of(core)
        remote = remotes.accept(connection, False, target.starts)
        core.start_soon(remotes.serve, remote, connection)

    return bad


@pytest.mark.parametrize("own_loop", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize(
    "spoil", [_without_the_rest, _first_one_twice, _first_one_late, _first_one_never]
)
def test_a_fault_is_noticed(
    spoil: Callable[[Enter], Enter], own_loop: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "_enter", spoil(migration._enter))
    story = Story(("data", "cmd", "audio_frame", "cmd"), first="cmd")
    with pytest.raises(AssertionError):
        trio.run(each_cut, "tcp", folder, own_loop, story, lambda _: range(1), 0.1)
