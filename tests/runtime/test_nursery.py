"""`env.nursery`: there from its first use, cancelled after on_stop, supervised."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import ten_trio as ten


class Uses(ten.Extension):
    """Calls a function with its env, for each message."""

    def __init__(self, use: Any) -> None:
        self.use = use

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(value=await self.use(env, cmd)))


def using(use: Any, **settings: Any) -> ten.Graph:
    graph = ten.Graph()
    graph.node("uses", lambda: Uses(use), **settings)
    return graph


CALL = ten.Cmd("x", dest="uses")


async def test_a_task_outlives_its_handler_and_ends_after_on_stop(autojump_clock: object) -> None:
    log = []

    async def task() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("task ends")

    class Tasks(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            env.nursery.start_soon(task)

        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep(1)
            log.append("on_stop")

        async def on_deinit(self, env: ten.TenEnv) -> None:
            log.append("on_deinit")

    graph = ten.Graph()
    graph.node("tasks", Tasks)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_data(ten.Data("x", dest="tasks"))
        await trio.testing.wait_all_tasks_blocked()
    assert log == ["on_stop", "task ends", "on_deinit"]


async def test_an_extension_without_tasks_has_no_nursery() -> None:
    async with ten.open_app() as app, app.open_graph(using(None)) as engine:
        assert engine._core.instances["uses"].env._nursery is None


async def test_start_gives_back_what_the_task_says() -> None:
    async def task(value: int, task_status: trio.TaskStatus[int]) -> None:
        await trio.lowlevel.checkpoint()
        task_status.started(value)
        await trio.sleep_forever()

    async def use(env: ten.TenEnv, _: ten.Cmd) -> int:
        value: int = await env.nursery.start(task, 5)
        assert len(env.nursery.child_tasks) == 1
        return value

    async with ten.open_app() as app, app.open_graph(using(use)) as engine:
        assert (await engine.send_cmd(CALL))["value"] == 5


async def test_a_task_that_fails_before_started_raises_there() -> None:
    async def task(task_status: trio.TaskStatus[int]) -> None:
        raise KeyError("on purpose")

    async def use(env: ten.TenEnv, _: ten.Cmd) -> bool:
        with pytest.RaisesGroup(KeyError, allow_unwrapped=True, flatten_subgroups=True):
            await env.nursery.start(task)
        return True

    async with ten.open_app() as app, app.open_graph(using(use)) as engine:
        assert (await engine.send_cmd(CALL)).ok


async def test_tasks_take_arguments_names_and_their_order() -> None:
    log = []

    async def task(*args: int) -> None:
        log.append((args, trio.lowlevel.current_task().name))
        done.set()

    async def use(env: ten.TenEnv, _: ten.Cmd) -> bool:
        env.nursery.start_soon(task, 1, 2, name="mine")
        return True

    done = trio.Event()
    async with ten.open_app() as app, app.open_graph(using(use)) as engine:
        await engine.send_cmd(CALL)
        await done.wait()
    assert log == [((1, 2), "mine")]


@pytest.mark.parametrize("how", ["start_soon", "start"])
async def test_in_a_task_a_send_is_an_ordinary_checkpoint(how: str) -> None:
    """A background task is nobody's handler, however it was started."""

    async def task(
        env: ten.TenEnv, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        task_status.started()
        with trio.testing.assert_checkpoints():
            await env.send_data(ten.Data("x", dest="uses"))
        with trio.testing.assert_checkpoints():
            assert not await env.send_data(ten.Data("to nobody"))
        done.set()

    async def use(env: ten.TenEnv, _: ten.Cmd) -> bool:
        if how == "start":
            await env.nursery.start(task, env)
        else:
            env.nursery.start_soon(task, env)
        with trio.testing.assert_no_checkpoints():
            await env.send_data(ten.Data("x", dest="uses"))
        return True

    done = trio.Event()
    async with ten.open_app() as app, app.open_graph(using(use)) as engine:
        assert (await engine.send_cmd(CALL)).ok
        await done.wait()


async def test_cancelling_its_scope_ends_the_tasks_and_is_no_failure() -> None:
    ended = []

    async def task() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)

    async def use(env: ten.TenEnv, _: ten.Cmd) -> bool:
        env.nursery.start_soon(task)
        await trio.testing.wait_all_tasks_blocked()
        env.nursery.cancel_scope.cancel()
        return True

    async with ten.open_app() as app, app.open_graph(using(use)) as engine:
        assert (await engine.send_cmd(CALL)).ok
        await trio.testing.wait_all_tasks_blocked()
        assert ended


async def test_a_failing_task_cancels_its_siblings() -> None:
    log = []

    async def sibling() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            log.append("cancelled")
            raise

    async def fail() -> None:
        raise KeyError("on purpose")

    async def use(env: ten.TenEnv, _: ten.Cmd) -> bool:
        env.nursery.start_soon(sibling)
        await trio.testing.wait_all_tasks_blocked()
        env.nursery.start_soon(fail)
        return True

    async with ten.open_app() as app, app.open_graph(using(use, on_error="isolate")) as engine:
        await engine.send_cmd(CALL)
        await trio.testing.wait_all_tasks_blocked()
    assert log == ["cancelled"]


async def test_after_on_stop_no_task_is_started() -> None:
    class Keeps(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            self.nursery = env.nursery

        async def on_deinit(self, env: ten.TenEnv) -> None:
            with pytest.raises(ten.EnvClosed, match=r"env\.nursery"):
                self.nursery.start_soon(trio.sleep_forever)
            with pytest.raises(ten.EnvClosed, match=r"env\.nursery"):
                await self.nursery.start(trio.sleep_forever)

    graph = ten.Graph()
    graph.node("keeps", Keeps)
    async with ten.open_app() as app, app.open_graph(graph):
        pass


async def test_a_task_that_was_just_started_runs_up_to_its_first_wait() -> None:
    log = []

    async def task() -> None:
        log.append("began")
        await trio.sleep_forever()

    class Late(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            env.nursery.start_soon(task)

    graph = ten.Graph()
    graph.node("late", Late)
    async with ten.open_app() as app, app.open_graph(graph):
        pass
    assert log == ["began"]
