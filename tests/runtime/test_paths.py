"""Paths: the two tables, what is filed in them and when it is taken out, and who expires."""

from __future__ import annotations

from math import inf

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from ten_trio.runtime.instance import Instance
from ten_trio.runtime.paths import Expiry
from tests.runtime.acting import acting, opened, stream


@attrs.define(eq=False)
class Path:
    """What `Expiry` needs of a path."""

    id: int
    timeout: float
    log: list[tuple[int, float]]
    deadline: float = 0
    queue: dict[int, object] | None = None
    put_off: bool = False

    def expire(self) -> None:
        self.log.append((self.id, trio.current_time()))


async def test_paths_expire_in_the_order_of_their_deadlines(autojump_clock: MockClock) -> None:
    log: list[tuple[int, float]] = []
    async with trio.open_nursery() as nursery:
        expiry = Expiry(nursery.start_soon)
        for number, timeout in enumerate([3, 1, 3, 2, 1]):
            expiry.add(Path(number, timeout, log))
        await trio.sleep(0.5)
        expiry.add(Path(5, 0.25, log))
    assert log == [(5, 0.75), (1, 1), (4, 1), (3, 2), (0, 3), (2, 3)]
    assert expiry.expired == 6


async def test_one_task_watches_all_paths_and_ends_when_there_are_none(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        expiry = Expiry(nursery.start_soon)
        for round_ in range(2):
            for number in range(100):
                expiry.add(Path(number + 100 * round_, 1 + number % 3, []))
            await wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            await trio.sleep(10)
            assert not nursery.child_tasks


async def test_closing_ends_the_watch(autojump_clock: MockClock) -> None:
    log: list[tuple[int, float]] = []
    async with trio.open_nursery() as nursery:
        expiry = Expiry(nursery.start_soon)
        expiry.add(Path(1, 5, log))
        await trio.sleep(1)
        expiry.close()
        expiry.add(Path(2, 5, log))
    assert trio.current_time() == 1
    assert log == []


class Three:
    """caller → callee, open, with a look at their tables."""

    def __init__(self, engine: ten.Engine) -> None:
        self.caller: Instance = engine._core.instances["caller"]
        self.callee: Instance = engine._core.instances["callee"]

    def counts(self) -> tuple[int, int]:
        return len(self.caller.out_paths), len(self.callee.in_paths)


def graph(on_cmd: object) -> ten.Graph:
    graph = ten.Graph()
    graph.node("caller", ten.Extension)
    graph.node("callee", acting(on_cmd=on_cmd))  # type: ignore[arg-type]
    graph.connect("caller", "callee", cmd="go")
    return graph


async def test_a_path_lives_until_the_final_result() -> None:
    gate = trio.Event()

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.partial())
        await gate.wait()
        await env.return_result(cmd.ok())

    async with opened(graph(on_cmd)) as engine:
        tables = Three(engine)
        call = tables.caller.env.start_cmd(ten.Cmd("go"))
        assert tables.counts() == (1, 1)
        await wait_all_tasks_blocked()
        assert tables.counts() == (1, 1)
        gate.set()
        await call.result()
        assert tables.counts() == (0, 0)


async def test_an_error_that_is_not_final_ends_both_paths() -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        error = cmd.error("no")
        error.set_final(False)
        await env.return_result(error)

    async with opened(graph(on_cmd)) as engine:
        tables = Three(engine)
        await tables.caller.env.send_cmd(ten.Cmd("go"))
        assert tables.counts() == (0, 0)


async def test_a_stream_that_is_left_frees_its_paths_at_once() -> None:
    async with opened(graph(stream)) as engine:
        tables = Three(engine)
        async with tables.caller.env.send_cmd_ex(ten.Cmd("go", {"count": 100})) as results:
            async for _ in results:
                break
        assert tables.counts() == (0, 0)


async def test_ids_are_numbers_inside_and_text_outside() -> None:
    seen: list[ten.Cmd] = []

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        seen.append(cmd)
        await env.return_result(cmd.ok())

    async with opened(graph(on_cmd)) as engine:
        tables = Three(engine)
        for _ in range(2):
            await tables.caller.env.send_cmd(ten.Cmd("go"))
    first, second = seen
    assert isinstance(first.cmd_id, str)
    assert int(first.cmd_id, 16) < int(second.cmd_id, 16)


async def test_each_destination_has_an_id_of_its_own() -> None:
    ids: list[tuple[str, str]] = []

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        ids.append((cmd.cmd_id, cmd.parent_cmd_id))
        if cmd.name == "outer":
            await env.send_cmd(ten.Cmd("inner", dest=["a", "b"]))
        await env.return_result(cmd.ok())

    two = ten.Graph()
    for name in ("a", "b"):
        two.node(name, acting(on_cmd=on_cmd))
    async with opened(two) as engine:
        await engine.send_cmd(ten.Cmd("outer", dest="a"))
    outer, *inner = ids
    assert len({number for number, _ in ids}) == 3
    assert [parent for _, parent in inner] == [outer[0]] * 2


async def test_no_clock_runs_for_a_command_without_a_timeout(autojump_clock: MockClock) -> None:
    async with opened(graph(lambda env, cmd: cmd.abandoned.wait())) as engine:
        tables = Three(engine)
        call = tables.caller.env.start_cmd(ten.Cmd("go"), timeout=inf)
        with trio.move_on_after(1e9):
            await trio.sleep_forever()
        assert tables.counts() == (1, 1)
        call.cancel()


@pytest.mark.parametrize("count", [1, 1_000])
async def test_pending_commands_cost_no_tasks(count: int) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        pass

    async with opened(graph(on_cmd)) as engine:
        before = trio.lowlevel.current_statistics().tasks_living
        calls = [
            engine._core.instances["caller"].env.start_cmd(ten.Cmd("go")) for _ in range(count)
        ]
        await wait_all_tasks_blocked()
        # One watches the clock.
        assert trio.lowlevel.current_statistics().tasks_living <= before + 1
        for call in calls:
            call.cancel()
