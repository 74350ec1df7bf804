"""Commands by name, their answers, and the commands to the runtime."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ten_trio.errors import (
    CmdFailed,
    ErrorCode,
    InvalidArgument,
    InvalidJson,
    InvalidType,
    PropertyNotFound,
    PropertyRangeError,
    TenError,
)
from ten_trio.messages import (
    EMPTY_LOC,
    CloseApp,
    Cmd,
    CmdResult,
    Loc,
    MsgType,
    StartGraph,
    StatusCode,
    StopGraph,
    Timeout,
    Timer,
    TriggerLifeCycle,
)

SPECIAL = {
    "ten:start_graph": StartGraph,
    "ten:stop_graph": StopGraph,
    "ten:close_app": CloseApp,
    "ten:timer": Timer,
    "ten:trigger_life_cycle": TriggerLifeCycle,
}


@pytest.mark.parametrize("name", SPECIAL)
def test_create_special(name: str) -> None:
    cmd = Cmd.create(name)
    assert type(cmd) is SPECIAL[name]
    assert cmd.name == name
    # A plain command of that name would do nothing, silently.
    with pytest.raises(InvalidArgument, match="its own class"):
        Cmd(name)


@pytest.mark.parametrize("name", ["greet", "", "with spaces", "ten:other", "ten"])
def test_create_plain(name: str) -> None:
    cmd = Cmd.create(name)
    assert type(cmd) is Cmd
    assert cmd.name == name


def test_create_refused() -> None:
    for name in ("ten:result", "ten:timeout"):
        with pytest.raises(InvalidArgument):
            Cmd.create(name)
    with pytest.raises(TenError) as caught:
        Cmd.create(None)  # type: ignore[arg-type]
    assert caught.value.code is ErrorCode.GENERIC


def received() -> Cmd:
    """Return a command as its executor sees it."""
    cmd = Cmd("greet", seq_id="7")
    cmd._id = 0x1F
    cmd._path = SimpleNamespace(abandoned="the event", is_abandoned=False)
    cmd._src = Loc("", "g", "caller")
    cmd._turn = "the turn"
    return cmd


@pytest.mark.parametrize(
    "make",
    [
        lambda cmd: CmdResult.create(StatusCode.OK, cmd),
        lambda cmd: cmd.ok(),
        lambda cmd: cmd.partial(),
        lambda cmd: cmd.error(),
    ],
)
def test_what_a_result_takes_over(make: Any) -> None:
    cmd = received()
    result = make(cmd)
    assert type(result) is CmdResult
    assert result.name == "ten:result"
    assert result.cmd_id == cmd.cmd_id == "1f"
    assert result.seq_id == "7"
    assert (result.original_cmd_name, result.original_cmd_type) == ("greet", MsgType.CMD)
    assert result._path is cmd._path
    assert result._turn == "the turn"
    assert result.get_dests() == [cmd.get_source()]
    assert result.get_source() == EMPTY_LOC
    assert not result.is_completed


def test_where_a_result_comes_from() -> None:
    cmd = received()
    cmd.set_dest("me")
    assert cmd.ok().get_source() == Loc("", "", "me")
    cmd.set_dests(["me", "too"])
    assert cmd.ok().get_source() == EMPTY_LOC
    assert Cmd("never sent").ok().get_dests() == []


def test_answers() -> None:
    cmd = received()
    ok = cmd.ok({"a": 1}, b=[2])
    assert ok.ok
    assert ok.get_status_code() is StatusCode.OK
    assert ok.is_final
    assert ok.properties == {"a": 1, "b": [2]}
    assert ok.unwrap() is ok
    assert ok.detail == ""
    partial = cmd.partial(text="x")
    assert partial.ok
    assert not partial.is_final
    assert partial["text"] == "x"
    partial.set_final(True)
    assert partial.is_final
    with pytest.raises(InvalidType):
        partial.set_final(1)  # type: ignore[arg-type]
    error = cmd.error("no voice", code=5)
    assert not error.ok
    assert error.status is StatusCode.ERROR
    assert error.is_final
    assert error.detail == "no voice"
    assert error["code"] == 5
    with pytest.raises(CmdFailed, match="'greet' failed: no voice") as caught:
        error.unwrap()
    assert caught.value.result is error
    assert len(cmd.error()) == 0
    error["detail"] = 5
    assert error.detail == ""
    with pytest.raises(InvalidType):
        cmd.ok(a=object())
    with pytest.raises(InvalidArgument):
        cmd.ok({"ten": 1})


def test_results_are_independent() -> None:
    cmd = received()
    first, second = cmd.ok(), cmd.ok()
    first["a"] = 1
    assert len(second) == 0
    assert len(cmd) == 0


def test_status_codes() -> None:
    assert {code.name: code.value for code in StatusCode} == {"INVALID": -1, "OK": 0, "ERROR": 1}
    assert CmdResult().status is StatusCode.INVALID
    assert CmdResult.create(1, received()).status is StatusCode.ERROR  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="5"):
        CmdResult(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument):
        CmdResult.create(StatusCode.OK, CmdResult())  # type: ignore[arg-type]
    assert not CmdResult().ok
    made = CmdResult(StatusCode.ERROR, {"detail": "x"}, is_final=False, seq_id="1", dest="e")
    assert (made.detail, made.is_final, made.seq_id) == ("x", False, "1")


def test_ids() -> None:
    cmd = Cmd("x")
    assert cmd.cmd_id == cmd.parent_cmd_id == cmd.seq_id == ""
    cmd._id = 2**128 - 1
    assert cmd.cmd_id == "f" * 32


def test_abandoned() -> None:
    cmd = received()
    assert cmd.abandoned == "the event"
    assert not cmd.is_abandoned
    cmd._path.is_abandoned = True
    assert cmd.is_abandoned
    own = Cmd("x")
    assert not own.is_abandoned
    with pytest.raises(InvalidArgument):
        _ = own.abandoned


# Commands to the runtime ----------------------------------------------------------------------------


def test_start_graph() -> None:
    cmd = StartGraph()
    assert cmd.predefined_graph_name == cmd.graph_json == ""
    assert cmd.long_running_mode is cmd.sync_stop_before_deinit is False
    assert cmd.graph is None
    cmd.set_predefined_graph_name("g")
    cmd.set_graph_from_json('{"nodes": "checked later"}')
    cmd.set_long_running_mode(True)
    cmd.set_sync_stop_before_deinit(True)
    assert cmd.predefined_graph_name == "g"
    assert cmd.graph_json == '{"nodes": "checked later"}'
    assert cmd.long_running_mode is cmd.sync_stop_before_deinit is True
    with pytest.raises(InvalidJson, match="line 1"):
        cmd.set_graph_from_json("{nodes}")
    assert cmd.graph_json.startswith("{")
    for bad in ({"long_running_mode": 1}, {"predefined_graph_name": 5}, {"graph_json": 5}):
        wrong: Any = bad
        with pytest.raises(InvalidType):
            StartGraph(**wrong)
    graph = object()
    built = StartGraph({"a": 1}, graph=graph, predefined_graph_name="g", dest=Loc(""))
    assert built.clone().graph is graph
    assert built._shell().graph is graph
    assert built["a"] == 1


def test_stop_graph() -> None:
    assert StopGraph().get_graph_id() == ""
    cmd = StopGraph(graph_id="g")
    assert cmd.get_graph_id() == cmd.graph_id == "g"
    with pytest.raises(InvalidType):
        cmd.set_graph_id(None)  # type: ignore[arg-type]


def test_timer() -> None:
    cmd = Timer()
    assert (cmd.timer_id, cmd.timeout_us, cmd.times) == (0, 0, 0)
    assert (Timer.FOREVER, Timer.CANCEL) == (0, -1)
    for low, high, set_it in (
        (0, 2**32 - 1, cmd.set_timer_id),
        (0, 2**64 - 1, cmd.set_timeout_us),
        (-(2**31), 2**31 - 1, cmd.set_times),
    ):
        set_it(low)
        set_it(high)
        for beyond in (low - 1, high + 1):
            with pytest.raises(PropertyRangeError):
                set_it(beyond)
        for wrong in (1.0, "1", True, None):
            with pytest.raises(InvalidType):
                set_it(wrong)  # type: ignore[arg-type]
    with pytest.raises(PropertyRangeError):
        Timer(timer_id=-1)


def test_timeout_and_trigger() -> None:
    assert Timeout(timer_id=3).get_timer_id() == 3
    with pytest.raises(PropertyRangeError):
        Timeout(timer_id=2**32)
    cmd = TriggerLifeCycle()
    assert cmd.get_stage() == ""
    cmd.set_stage("start")
    assert cmd.get_stage() == cmd.stage == "start"
    with pytest.raises(InvalidType):
        cmd.set_stage(1)  # type: ignore[arg-type]


def test_commands_to_the_runtime_are_answered_like_others() -> None:
    result = StartGraph().ok(graph_id="g")
    assert result.original_cmd_type is MsgType.START_GRAPH
    assert result.original_cmd_name == "ten:start_graph"


def test_what_is_missing_in_an_error_result_says_that_it_is_one() -> None:
    error, ok = Cmd("ask").error("no such city"), Cmd("ask").ok()
    with pytest.raises(PropertyNotFound, match=r"\(an ERROR: no such city\): no property 'text'"):
        error["text"]
    with pytest.raises(PropertyNotFound, match=r"CmdResult 'ten:result': no property 'text'"):
        ok["text"]
