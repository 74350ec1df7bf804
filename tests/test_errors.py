"""Errors: their codes, their texts, what else they are, and that they survive pickling."""

from __future__ import annotations

import pickle

import pytest

from ten_trio import errors
from ten_trio.errors import CmdFailed, ErrorCode, GraphError, Problem, SchemaError, TenError
from ten_trio.messages import Cmd

FAMILY = {
    "InvalidJson": (2, TenError),
    "InvalidArgument": (3, ValueError),
    "InvalidLocation": (3, errors.InvalidArgument),
    "InvalidPath": (3, errors.InvalidArgument),
    "InvalidType": (4, TypeError),
    "PropertyTypeError": (1, TypeError),
    "PropertyRangeError": (1, ValueError),
    "PropertyNotFound": (100_000, KeyError),
    "EnvClosed": (6, TenError),
    "EngineClosed": (6, errors.EnvClosed),
    "NotConnected": (7, TenError),
    "ConnectFailed": (1, TenError),
    "StartTimeout": (8, TenError),
    "CmdTimeout": (8, TenError),
    "SchemaError": (1, TenError),
    "MessageLocked": (1, TenError),
    "WrongThread": (1, TenError),
    "WrongTiming": (1, TenError),
    "UnknownCommand": (1, TenError),
    "AlreadyAnswered": (1, TenError),
    "HandlerLeak": (1, TenError),
    "AddonNotFound": (1, TenError),
    "ConfigError": (1, TenError),
    "MissingVariable": (1, errors.ConfigError),
    "MissingExtra": (1, TenError),
    "QueueFull": (1, TenError),
    "SendRefused": (1, TenError),
}


@pytest.mark.parametrize("name", FAMILY)
def test_family(name: str) -> None:
    code, base = FAMILY[name]
    kind = getattr(errors, name)
    error = kind("what's wrong")
    assert isinstance(error, TenError)
    assert isinstance(error, base)
    assert error.code == code
    assert isinstance(error.code, ErrorCode)
    assert str(error) == "what's wrong"
    assert str(kind()) == ""


@pytest.mark.parametrize("name", FAMILY)
def test_pickling(name: str) -> None:
    error = getattr(errors, name)("text", code=ErrorCode.TIMEOUT)
    error.add_note("a note")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == "text"
    assert again.code is ErrorCode.TIMEOUT
    assert again.__notes__ == ["a note"]


def test_everything_is_covered() -> None:
    kinds = {
        name
        for name in errors.__all__
        if isinstance(getattr(errors, name), type) and issubclass(getattr(errors, name), TenError)
    }
    assert kinds == set(FAMILY) | {"TenError", "GraphError", "CmdFailed"}


def test_code_of_one_error() -> None:
    assert TenError("x").code is ErrorCode.GENERIC
    assert TenError("x", code=ErrorCode.INVALID_JSON).code is ErrorCode.INVALID_JSON
    assert TenError("x").code is ErrorCode.GENERIC


def test_places() -> None:
    assert pickle.loads(pickle.dumps(SchemaError("x", path="a.b"))).path == "a.b"
    error = errors.ConfigError("x", file="property.json", path="ten.log")
    again = pickle.loads(pickle.dumps(error))
    assert (again.file, again.path) == ("property.json", "ten.log")


def test_graph_error() -> None:
    problem = Problem("nodes[3].addon", "unknown addon 'x'", "did you mean 'y'?")
    assert str(problem) == "nodes[3].addon: unknown addon 'x'; did you mean 'y'?"
    assert str(Problem("", "empty")) == "empty"
    error = GraphError([problem, Problem("a", "b")])
    assert error.code is ErrorCode.INVALID_GRAPH
    assert str(error).splitlines() == [str(problem), "a: b"]
    again = pickle.loads(pickle.dumps(error))
    assert again.problems == error.problems
    assert str(again) == str(error)
    assert GraphError("text").problems == (Problem("", "text"),)
    assert GraphError(problem).problems == (problem,)
    assert str(GraphError()) == "invalid graph"


def test_cmd_failed() -> None:
    error = CmdFailed(Cmd("greet").error("no voice"))
    assert str(error) == "command 'greet' failed: no voice"
    assert str(CmdFailed(Cmd("greet").error())) == "command 'greet' failed"
    again = pickle.loads(pickle.dumps(error))
    assert again.result.detail == "no voice"
    assert str(again) == str(error)
