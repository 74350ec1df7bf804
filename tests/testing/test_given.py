"""`trio_given`: virtual time, explored schedules, and everything `given` is used with."""

from __future__ import annotations

import subprocess
import sys

import pytest
import trio
import trio.testing
from hypothesis import Phase, example, settings, strategies as st

from ten_trio.testing import trio_given

many = settings(max_examples=100, database=None)


def test_schedules_differ_between_examples() -> None:
    seen = set()

    @many
    @trio_given(st.none())
    async def race(_nothing: None) -> None:
        order: list[int] = []

        async def finish(number: int) -> None:
            await trio.lowlevel.checkpoint()
            order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(finish, number)
        seen.add(tuple(order))

    race()
    assert len(seen) > 5


def test_without_strategies_only_the_schedule_varies() -> None:
    seen = set()

    @many
    @trio_given()
    async def race() -> None:
        order: list[str] = []

        async def finish(name: str) -> None:
            await trio.lowlevel.checkpoint()
            order.append(name)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(finish, "a")
            nursery.start_soon(finish, "b")
        seen.add(tuple(order))

    race()
    assert seen == {("a", "b"), ("b", "a")}


def test_a_failing_schedule_is_replayed() -> None:
    outcomes: list[bool] = []

    @settings(max_examples=200, database=None, phases=[Phase.generate, Phase.shrink])
    @trio_given(st.integers())
    async def depends_on_order(_number: int) -> None:
        order: list[int] = []

        async def finish(number: int) -> None:
            await trio.lowlevel.checkpoint()
            order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(finish, number)
        outcomes.append(order[0] == 3)
        assert order[0] != 3

    # Had the last run, which replays the smallest failure, gone otherwise, this would be Flaky.
    with pytest.raises(AssertionError) as caught:
        depends_on_order()
    assert outcomes[-1]
    assert any("task schedule" in note for note in caught.value.__notes__)


@trio_given(st.floats(min_value=0, max_value=1e6))
async def test_time_is_virtual_and_starts_anew(delay: float) -> None:
    start = trio.current_time()
    assert isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)
    await trio.sleep(delay)
    assert trio.current_time() - start == pytest.approx(delay)


def test_a_deadlock_fails_at_once() -> None:
    @settings(max_examples=1, database=None)
    @trio_given(st.none())
    async def stuck(_nothing: None) -> None:
        await trio.sleep_forever()

    with pytest.raises(trio.TooSlowError):
        stuck()


@pytest.fixture(scope="module")
def word() -> str:
    return "from a fixture"


@trio_given(st.integers(), st.text())
async def test_positional_strategies_fill_the_last_parameters(
    word: str, number: int, text: str
) -> None:
    assert word == "from a fixture"
    assert (type(number), type(text)) == (int, str)


@pytest.mark.parametrize("factor", [1, 2])
@trio_given(number=st.integers(0, 5), data=st.data())
async def test_named_strategies_parameters_and_data(
    factor: int, number: int, data: st.DataObject
) -> None:
    assert factor * number <= data.draw(st.integers(min_value=10))


def test_examples_are_run_as_written() -> None:
    seen = []

    @settings(phases=[Phase.explicit])
    @example(number=41)
    @example(number=42)
    @trio_given(number=st.integers())
    async def remember(number: int) -> None:
        seen.append(number)

    remember()
    assert sorted(seen) == [41, 42]


def test_ellipsis_is_taken_from_the_annotation() -> None:
    seen = []

    @settings(max_examples=5, database=None)
    @trio_given(flag=...)
    async def remember(flag: bool) -> None:
        seen.append(flag)

    remember()
    assert {type(flag) for flag in seen} == {bool}


def test_what_it_refuses() -> None:
    async def ok(number: int) -> None: ...

    def sync(number: int) -> None: ...

    with pytest.raises(TypeError, match="by position or by name"):
        trio_given(st.none(), number=st.none())
    with pytest.raises(TypeError, match="async def"):
        trio_given(st.none())(sync)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="2 strategies for 1 parameters"):
        trio_given(st.none(), st.none())(ok)


def test_importing_the_package_imports_no_test_library() -> None:
    program = (
        "import sys, ten_trio.testing\n"
        "assert 'trio_given' in dir(ten_trio.testing)\n"
        "print(sorted({'hypothesis', 'pytest'} & set(sys.modules)))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        __import__("ten_trio.testing").testing.nothing  # noqa: B018
