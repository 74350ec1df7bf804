"""Testing a single extension: everything goes to the test, and from it, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import ten_trio as ten
from ten_trio.testing import (
    TESTER,
    ExtensionTester,
    NotExpected,
    NotReceived,
    open_tester,
    run_extension_test,
)


class Relay(ten.Extension):
    """Sends what it gets on: commands to an extension that isn't there, data to nowhere."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        asked = ten.Cmd("inner", {"of": cmd.name}, dest="somebody")
        async with env.send_cmd_ex(asked) as results:
            got = [result.get("n", result.detail) async for result in results]
        await env.return_result(cmd.ok(got=got))

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await env.send_data(data.clone())

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        await env.send_audio_frame(frame)

    async def on_video_frame(self, env: ten.TenEnv, frame: ten.VideoFrame) -> None:
        await env.send_video_frame(frame)


async def inner_results(mock: Any) -> Any:
    async with open_tester(Relay) as tester:
        tester.mock_cmd("inner", mock)
        return (await tester.send_cmd(ten.Cmd("go"))).unwrap()["got"]


# Redirection ----------------------------------------------------------------------------------


async def test_everything_goes_to_the_other_side() -> None:
    async with open_tester(Relay) as tester:
        await tester.send_data(ten.Data("text", {"n": 1}, dest="wherever"))
        await tester.send_audio_frame(ten.AudioFrame("pcm"))
        await tester.send_video_frame(ten.VideoFrame("picture"))
        assert (await tester.expect_data("text"))["n"] == 1
        frame = await tester.expect_audio_frame("pcm")
        assert frame.get_source().extension_name == "Relay"
        await tester.expect_video_frame()
        assert (len(tester.data), len(tester.audio_frames), len(tester.video_frames)) == (1, 1, 1)


async def test_the_extension_sees_the_test_as_the_sender() -> None:
    class Who(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.return_result(cmd.ok(who=cmd.get_source().extension_name or ""))

    async with open_tester(Who) as tester:
        assert (await tester.send_cmd(ten.Cmd("who")))["who"] == TESTER


async def test_timers_and_stop_graph_keep_their_meaning(autojump_clock: object) -> None:
    class Clock(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            (await env.send_cmd(ten.Timer(timer_id=1, timeout_us=2_000_000, times=1))).unwrap()

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.send_data(ten.Data("rang"))
            env.stop_graph()

    async with open_tester(Clock) as tester:
        began = trio.current_time()
        await tester.expect_data("rang")
        assert trio.current_time() - began == pytest.approx(2)
        await tester.engine.wait_closed()
        assert tester.report is not None


# Mocks ----------------------------------------------------------------------------------------


async def test_commands_without_a_mock_are_answered_and_recorded() -> None:
    async with open_tester(Relay) as tester:
        assert (await tester.send_cmd(ten.Cmd("go")))["got"] == [""]
        assert (await tester.expect_cmd("inner"))["of"] == "go"
        assert [cmd.name for cmd in tester.cmds] == ["inner"]


async def test_mocks_that_give_one_result() -> None:
    async def asynchronous(cmd: ten.Cmd) -> ten.CmdResult:
        await trio.lowlevel.checkpoint()
        return cmd.ok(n=3)

    assert await inner_results({"n": 1}) == [1]
    assert await inner_results(lambda cmd: cmd.ok(n=2)) == [2]
    assert await inner_results(asynchronous) == [3]
    assert await inner_results(lambda cmd: {"n": 4}) == [4]
    assert await inner_results(lambda cmd: None) == [""]
    assert await inner_results(lambda cmd: cmd.error("no")) == ["no"]


async def test_mocks_that_give_streams() -> None:
    async def says_which_is_final(cmd: ten.Cmd) -> AsyncIterator[ten.CmdResult]:
        yield cmd.partial(n=1)
        yield cmd.ok(n=2)
        raise AssertionError("not asked for more")

    async def does_not_say(cmd: ten.Cmd) -> AsyncIterator[dict[str, int]]:
        for n in (1, 2):
            yield {"n": n}

    def plain(cmd: ten.Cmd) -> Iterator[ten.CmdResult]:
        yield cmd.ok(n=1)
        yield cmd.ok(n=2)

    assert await inner_results([{"n": 1}, {"n": 2}]) == [1, 2]
    assert await inner_results([]) == [""]
    assert await inner_results(plain) == [1, 2]
    assert await inner_results(says_which_is_final) == [1, 2]
    assert await inner_results(does_not_say) == [1, 2, ""]


async def test_a_streaming_mock_takes_its_time(autojump_clock: object) -> None:
    async def slow(cmd: ten.Cmd) -> AsyncIterator[ten.CmdResult]:
        for n in range(3):
            await trio.sleep(50)
            yield cmd.partial(n=n)
        yield cmd.ok(n=3)

    began = trio.current_time()
    async with open_tester(Relay, mocks={"inner": slow}, timeout=1000) as tester:
        await tester.send_cmd(ten.Cmd("go"))
    assert trio.current_time() - began == pytest.approx(150)


async def test_a_streaming_mock_may_be_any_asynchronous_iterator() -> None:
    class Counts:
        def __init__(self) -> None:
            self.left = 2

        def __aiter__(self) -> Counts:
            return self

        async def __anext__(self) -> dict[str, int]:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return {"left": self.left}

    async with open_tester(Relay, mocks={"inner": Counts()}) as tester:
        results = [result async for result in tester.start_cmd(ten.Cmd("go"))]
    assert results[-1].ok


async def test_a_streaming_mock_ends_with_its_caller(autojump_clock: object) -> None:
    closed = trio.Event()

    async def endless(cmd: ten.Cmd) -> AsyncIterator[ten.CmdResult]:
        try:
            while True:
                await trio.sleep(1)
                yield cmd.partial(n=1)
        finally:
            closed.set()

    class Brief(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            async with env.send_cmd_ex(ten.Cmd("inner")) as results:
                await anext(results)

    async with open_tester(Brief, mocks={"inner": endless}):
        with trio.fail_after(10):
            await closed.wait()


async def test_mocks_are_there_before_the_extension_begins() -> None:
    class Eager(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            self.found = (await env.send_cmd(ten.Cmd("login")))["token"]

    async with open_tester(Eager, mocks={"login": {"token": "t"}}) as tester:
        assert isinstance(tester.extension, Eager)
        assert tester.extension.found == "t"


async def test_a_held_command_is_answered_by_the_test() -> None:
    async with open_tester(Relay) as tester:
        tester.hold_cmd("inner")
        call = tester.start_cmd(ten.Cmd("go"))
        inner = await tester.expect_cmd("inner")
        assert await tester.return_result(inner.ok(n=7))
        assert (await call.result())["got"] == [7]


async def test_a_mock_that_raises_fails_the_test() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(TypeError, match="neither a result nor several")):
        await inner_results(lambda cmd: 3)
    with pytest.RaisesGroup(pytest.RaisesExc(TypeError, match="neither a result nor properties")):
        await inner_results(lambda cmd: [3])


async def test_every_result_of_a_stream() -> None:
    class Count(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            for n in range(3):
                await env.return_result(cmd.partial(n=n))
            await env.return_result(cmd.ok(n=3))

    async with (
        open_tester(Count) as tester,
        tester.send_cmd_ex(ten.Cmd("count")) as results,
    ):
        assert [result["n"] async for result in results] == [0, 1, 2, 3]


# Expecting ------------------------------------------------------------------------------------


async def test_what_is_not_asked_for_stays() -> None:
    async with open_tester(Relay) as tester:
        for n in range(3):
            await tester.send_data(ten.Data("text", {"n": n}))
        await tester.send_data(ten.Data("other"))
        await tester.expect_data("other")
        assert (await tester.expect_data("text", lambda data: data["n"] == 2))["n"] == 2
        with pytest.raises(NotExpected, match=r"'text', \{'n': 0\}.* no data 'text' was expected"):
            await tester.assert_no_data("text")
        assert [(await tester.expect_data())["n"] for _ in range(2)] == [0, 1]
        await tester.assert_no_data()


async def test_an_expectation_fails_in_virtual_time(autojump_clock: object) -> None:
    async with open_tester(Relay, timeout=3600) as tester:
        await tester.send_data(ten.Data("text"))
        began = trio.current_time()
        with pytest.raises(
            NotReceived, match=r"data 'txt' did not come within 3600 s.*'text'"
        ) as e:
            await tester.expect_data("txt")
        assert e.value.code is ten.ErrorCode.TIMEOUT
        assert isinstance(e.value, AssertionError)
        assert trio.current_time() - began == pytest.approx(3600)
        with pytest.raises(
            NotReceived, match=r"^command did not come within 2 s; unread: nothing$"
        ):
            await tester.expect_cmd(within=2)


async def test_a_command_that_is_not_answered(autojump_clock: object) -> None:
    class Silent(ten.Extension):
        gone = False

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await cmd.abandoned.wait()
            self.gone = True

    async with open_tester(Silent) as tester:
        with pytest.raises(ten.CmdTimeout, match=r"'Silent' did not answer .*'ask'.* within 5 s"):
            await tester.send_cmd(ten.Cmd("ask"), within=5)
        await tester.settle()
        assert isinstance(tester.extension, Silent)
        assert tester.extension.gone


async def test_nothing_comes_for_a_while(autojump_clock: object) -> None:
    class Late(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            env.nursery.start_soon(self.later, env)

        async def later(self, env: ten.TenEnv) -> None:
            await trio.sleep(10)
            await env.send_data(ten.Data("late"))
            await env.send_audio_frame(ten.AudioFrame("late"))
            await env.send_video_frame(ten.VideoFrame("late"))
            await env.send_cmd(ten.Cmd("late"))

    async with open_tester(Late) as tester:
        checks = (
            tester.assert_no_data,
            tester.assert_no_cmd,
            tester.assert_no_audio_frame,
            tester.assert_no_video_frame,
        )
        await tester.assert_no_data(during=9)
        for check in checks:
            await check("late")
        await trio.sleep(1)
        for check in checks:
            await check("early")
            with pytest.raises(NotExpected):
                await check("late")


# Lifetimes ------------------------------------------------------------------------------------


async def test_last_words() -> None:
    class Polite(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            assert (await env.send_cmd(ten.Cmd("may_i"))).ok
            await env.send_data(ten.Data("stopping"))

        async def on_deinit(self, env: ten.TenEnv) -> None:
            await env.send_data(ten.Data("gone"))

    async with open_tester(Polite) as tester:
        report = await tester.stop()
        assert not report.grace_exhausted
        assert report.answered_with_error == report.dropped == 0
        assert [data.name for data in tester.data] == ["stopping", "gone"]
        await tester.expect_cmd("may_i")
        with pytest.raises(ten.EnvClosed):
            await tester.send_data(ten.Data("too late"))


async def test_an_extension_that_raises() -> None:
    class Broken(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            raise LookupError("lost")

    with pytest.RaisesGroup(pytest.RaisesExc(LookupError, match="lost")):
        async with open_tester(Broken) as tester:
            await tester.send_data(ten.Data("x"))
            await trio.sleep_forever()
    async with open_tester(Broken, on_error="isolate") as tester:
        await tester.send_data(ten.Data("x"))
        await tester.assert_no_data()


async def test_an_addon_that_is_not_there() -> None:
    with pytest.RaisesGroup(ten.AddonNotFound):
        async with open_tester("ten_trio_no_such_addon"):
            pass


async def test_properties_name_and_restart() -> None:
    class Fragile(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            if cmd.name == "break":
                raise ValueError("broken")
            await env.return_result(cmd.ok(greeting=env.get_property_string("greeting")))

    async with open_tester(
        lambda: Fragile(), name="pot", property={"greeting": "hi"}, on_error="restart"
    ) as tester:
        first = tester.extension
        assert first.name == "pot"
        assert not (await tester.send_cmd(ten.Cmd("break"))).ok
        assert (await tester.send_cmd(ten.Cmd("greet")))["greeting"] == "hi"
        assert tester.extension is not first


async def test_an_addon_of_an_app_folder(tmp_path: Path) -> None:
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "greeter.py").write_text(
        "import ten_trio as ten\n"
        "@ten.addon('greeter')\n"
        "class Greeter(ten.Extension):\n"
        "    async def on_start(self, env):\n"
        "        await env.send_data(ten.Data('hello'))\n"
    )
    async with open_tester("greeter", app=tmp_path) as tester:
        await tester.expect_data("hello")


# From synchronous code ------------------------------------------------------------------------


def test_a_synchronous_test_in_virtual_time() -> None:
    async def scenario(seconds: float) -> float:
        began = trio.current_time()
        async with open_tester(Relay) as tester:
            assert isinstance(tester, ExtensionTester)
            await trio.sleep(seconds)
            await tester.send_data(ten.Data("x"))
            await tester.expect_data("x")
            return trio.current_time() - began

    assert run_extension_test(scenario, 1e6) == pytest.approx(1e6)
    with pytest.raises(trio.TooSlowError):
        run_extension_test(trio.sleep_forever)


def test_a_synchronous_test_in_real_time() -> None:
    class Worker(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.return_result(cmd.ok(sum=await env.to_thread(sum, (1, 2))))

    async def scenario() -> int:
        async with open_tester(Worker) as tester:
            return int((await tester.send_cmd(ten.Cmd("add")))["sum"])

    assert run_extension_test(scenario, virtual_time=False) == 3
