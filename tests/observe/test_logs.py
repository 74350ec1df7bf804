"""Configuring logs: what passes, where it goes, and that everything is put back afterwards."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ten_trio.errors import ConfigError
from ten_trio.observe import LogConfigError, LogLevel, TenLogger, configure_logs

RUNTIME = logging.getLogger("ten_trio.runtime.test")
TOP = logging.getLogger("ten_trio")


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test must leave the loggers as it found them."""
    monkeypatch.delenv("TEN_LOG_FORMATTER", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    root = logging.getLogger()
    before = (list(TOP.handlers), TOP.level, TOP.propagate, list(root.handlers), root.level)
    yield
    assert (list(TOP.handlers), TOP.level, TOP.propagate, list(root.handlers), root.level) == before


def handler(
    emitter: dict[str, Any] | Path,
    *matchers: dict[str, Any],
    formatter: str = "plain",
    colored: bool = False,
) -> dict[str, Any]:
    if isinstance(emitter, Path):
        emitter = {"type": "file", "config": {"path": str(emitter)}}
    return {
        "matchers": list(matchers) or [{"level": "debug"}],
        "formatter": {"type": formatter, "colored": colored},
        "emitter": emitter,
    }


def console(stream: str = "stderr") -> dict[str, Any]:
    return {"type": "console", "config": {"stream": stream}}


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def messages(path: Path) -> list[str]:
    """Return the messages in a JSON log."""
    return [json.loads(line)["message"] for line in lines(path)]


def problems_of(config: Any) -> dict[str, str]:
    with pytest.raises(LogConfigError) as caught:
        configure_logs(config)
    assert isinstance(caught.value, ConfigError)
    return {each.path: f"{each.message}; {each.hint}" for each in caught.value.problems}


# Formats


def test_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    with configure_logs({"handlers": [handler(console())]}):
        RUNTIME.info(
            "engine %s", "started", extra={"fields": {"nodes": 3, "name": "a b", "x": "y"}}
        )
    captured = capsys.readouterr()
    assert captured.out == ""
    pattern = (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z "
        rf"{os.getpid()}\({threading.get_native_id()}\) I ten:runtime "
        r'test_plain_line@test_logs\.py:\d+ engine started nodes=3 name="a b" x=y\n'
    )
    assert re.fullmatch(pattern, captured.err)


def test_timestamp_is_utc(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with configure_logs({"handlers": [handler(file)]}):
        record = RUNTIME.makeRecord("ten_trio", logging.INFO, "f.py", 1, "m", (), None)
        record.created = 1_000_000_000.25
        RUNTIME.handle(record)
    assert lines(file)[0].startswith("2001-09-09T01:46:40.250000Z ")


@pytest.mark.parametrize(
    ("level", "letter"),
    [(10, "D"), (15, "D"), (20, "I"), (30, "W"), (40, "E"), (50, "E")],
)
def test_level_letters(tmp_path: Path, level: int, letter: str) -> None:
    file = tmp_path / "log"
    with configure_logs({"handlers": [handler(file)]}):
        RUNTIME.log(level, "x")
    assert lines(file)[0].split(" ")[2] == letter


def test_colored_only_if_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with configure_logs({"handlers": [handler(console(), colored=True)]}):
        RUNTIME.error("red")
    assert "\x1b[31mE\x1b[0m ten:runtime" in capsys.readouterr().err
    with configure_logs({"handlers": [handler(console(), formatter="json", colored=True)]}):
        RUNTIME.error("red")
    assert "\x1b" not in capsys.readouterr().err


def test_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    logger = TenLogger("greeter")
    with configure_logs({"handlers": [handler(console("stdout"), formatter="json")]}):
        logger.log(LogLevel.WARN, "hällo\nworld", "audio", {"ms": 2.5, "ok": True, "who": None})
    captured = capsys.readouterr()
    assert captured.err == ""
    (line,) = captured.out.splitlines()
    content = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", content.pop("timestamp"))
    assert isinstance(content.pop("line"), int)
    assert content == {
        "level": "WARN",
        "category": "audio",
        "pid": os.getpid(),
        "tid": threading.get_native_id(),
        "function": "test_json_line",
        "file": "test_logs.py",
        "message": "[greeter] hällo\nworld",
        "ms": 2.5,
        "ok": True,
        "who": None,
    }


def test_json_fields_never_break_the_line_or_hide_standard_keys(tmp_path: Path) -> None:
    file = tmp_path / "log"
    endless: list[Any] = []
    endless.append(endless)
    fields = {
        "level": "mine",
        "nan": float("nan"),
        "bytes": b"x",
        "set": {1},
        "list": (1, {"a": [None]}),
        7: "seven",
        "endless": endless,
        "surrogate": "\udc80",
        "enum": LogLevel.INFO,
    }
    with configure_logs({"handlers": [handler(file, formatter="json")]}):
        RUNTIME.info("x", extra={"fields": fields})
    content = json.loads(lines(file)[0])
    assert content["level"] == "INFO"
    assert content["fields.level"] == "mine"
    assert content["nan"] == "nan"
    assert content["bytes"] == "b'x'"
    assert content["set"] == "{1}"
    assert content["list"] == [1, {"a": [None]}]
    assert content["7"] == "seven"
    assert content["surrogate"] == "\udc80"
    assert content["enum"] == 2
    assert "endless" in content


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("a=b", '"a=b"'),
        ("line\nbreak", r'"line\nbreak"'),
        ('quo"te', r'"quo\"te"'),
        ("\x1b[31m", r'"\u001b[31m"'),
        (1.5, "1.5"),
        (True, "true"),
        (None, "null"),
        ([1, "a"], '[1, "a"]'),
    ],
)
def test_plain_fields_are_quoted_where_needed(tmp_path: Path, value: object, text: str) -> None:
    file = tmp_path / "log"
    with configure_logs({"handlers": [handler(file)]}):
        RUNTIME.info("m", extra={"fields": {"k": value}})
    (line,) = lines(file)
    assert line.endswith(f" m k={text}")


def test_tracebacks(tmp_path: Path) -> None:
    plain, as_json = tmp_path / "plain", tmp_path / "json"
    config = {"handlers": [handler(plain), handler(as_json, formatter="json")]}
    with configure_logs(config):
        try:
            raise KeyError("lost")
        except KeyError:
            RUNTIME.exception("failed")
        RUNTIME.info("with stack", stack_info=True)
    first, *rest = lines(plain)
    assert first.endswith(" failed")
    assert rest[0] == "Traceback (most recent call last):"
    assert "KeyError: 'lost'" in rest
    failed, with_stack = (json.loads(line) for line in lines(as_json))
    assert failed["exception"].endswith("KeyError: 'lost'")
    assert "test_tracebacks" in with_stack["exception"]


# Categories, the caller, the helper


def test_categories(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with configure_logs({"handlers": [handler(file, formatter="json")]}):
        RUNTIME.info("runtime")
        TOP.info("top")
        RUNTIME.info("own", extra={"category": "mine"})
        TenLogger("x").log(LogLevel.INFO, "extension")
        TenLogger("x").log(LogLevel.INFO, "extension", category="audio")
    found = [json.loads(line)["category"] for line in lines(file)]
    assert found == ["ten:runtime", "ten:runtime", "mine", "", "audio"]


def test_helper_names_its_caller_also_through_wrappers(tmp_path: Path) -> None:
    file = tmp_path / "log"
    logger = TenLogger("x")

    def log_info(message: str) -> None:
        logger.log(LogLevel.INFO, message, stacklevel=2)

    with configure_logs({"handlers": [handler(file)]}):
        logger.log(LogLevel.INFO, "direct")
        log_info("wrapped")
        line_number = sys._getframe().f_lineno
    here = "test_helper_names_its_caller_also_through_wrappers@test_logs.py"
    direct, wrapped = lines(file)
    assert f" {here}:{line_number - 2} [x] direct" in direct
    assert f" {here}:{line_number - 1} [x] wrapped" in wrapped


def test_helper_takes_messages_as_they_stand_and_both_kinds_of_levels(tmp_path: Path) -> None:
    file = tmp_path / "log"
    logger = TenLogger("x")
    with configure_logs({"handlers": [handler(file, {"level": "info"}, formatter="json")]}):
        assert not logger.is_enabled(LogLevel.DEBUG)
        assert logger.is_enabled(LogLevel.INFO)
        logger.log(LogLevel.DEBUG, "no")
        logger.log(LogLevel.INFO, "100 %s %d {x}")
        logger.log(LogLevel.ERROR, "ten")
        logger.log(logging.WARNING, "stdlib")
    assert messages(file) == ["[x] 100 %s %d {x}", "[x] ten", "[x] stdlib"]
    assert [json.loads(line)["level"] for line in lines(file)] == ["INFO", "ERROR", "WARN"]


# Matchers


@pytest.mark.parametrize(
    ("matchers", "passing"),
    [
        ([], ""),
        ([{"level": "debug"}], "db dr da ib ir ia wb wr wa eb er ea"),
        ([{"level": "off"}], ""),
        ([{"level": "warn"}], "wb wr wa eb er ea"),
        ([{"level": "error"}, {"level": "info"}], "ib ir ia wb wr wa eb er ea"),
        ([{"level": "info", "category": "ten:"}], "ir wr er"),
        ([{"level": "info"}, {"level": "error", "category": "audio"}], "ib ir wb wr eb er ea"),
        ([{"level": "error", "category": "audio"}, {"level": "info"}], "ib ir wb wr eb er ea"),
        ([{"level": "debug", "category": "a"}, {"level": "warn", "category": "audio"}], "wa ea"),
        (
            [{"level": "warn", "category": "audio"}, {"level": "debug", "category": "a"}],
            "da ia wa ea",
        ),
        ([{"level": "debug"}, {"level": "off", "category": "ten:"}], "db da ib ia wb wa eb ea"),
        ([{"level": "error", "category": ""}], "eb er ea"),
        ([{"level": "debug", "category": "udio"}], ""),
    ],
)
def test_matchers(tmp_path: Path, matchers: list[dict[str, str]], passing: str) -> None:
    file = tmp_path / "log"
    config = {**handler(file, formatter="json"), "matchers": matchers}
    with configure_logs({"handlers": [config]}):
        for letter, level in zip("diwe", (10, 20, 30, 40), strict=True):
            RUNTIME.log(level, f"{letter}b", extra={"category": ""})
            RUNTIME.log(level, f"{letter}r")
            RUNTIME.log(level, f"{letter}a", extra={"category": "audio_in"})
    assert " ".join(messages(file)) == passing


def test_handlers_decide_independently(tmp_path: Path) -> None:
    loud, quiet = tmp_path / "loud", tmp_path / "quiet"
    config = {
        "handlers": [
            handler(loud, {"level": "debug"}, formatter="json"),
            handler(quiet, {"level": "error"}, formatter="json"),
        ]
    }
    with configure_logs(config):
        RUNTIME.debug("d")
        RUNTIME.error("e")
    assert messages(loud) == ["d", "e"]
    assert messages(quiet) == ["e"]


def test_nobody_listening_is_cheap_to_find_out() -> None:
    with configure_logs({"handlers": [handler(console(), {"level": "off"})]}):
        assert not RUNTIME.isEnabledFor(logging.CRITICAL)
    with configure_logs({"handlers": []}):
        assert not RUNTIME.isEnabledFor(logging.CRITICAL)


# The default


def test_without_a_section_everything_goes_to_stderr_in_colour(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with configure_logs(None):
        RUNTIME.debug("hello")
    captured = capsys.readouterr()
    assert "\x1b[36mD\x1b[0m" in captured.err
    assert captured.err.endswith("hello\n")
    assert captured.out == ""


def test_default_format_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEN_LOG_FORMATTER", "json")
    with configure_logs(None):
        RUNTIME.debug("hello")
    assert json.loads(capsys.readouterr().err)["message"] == "hello"
    # What is configured isn't overridden.
    with configure_logs({"handlers": [handler(console())]}):
        RUNTIME.debug("hello")
    assert not capsys.readouterr().err.startswith("{")
    monkeypatch.setenv("TEN_LOG_FORMATTER", "xml")
    assert 'unknown value "xml"' in problems_of(None)["TEN_LOG_FORMATTER"]


def test_no_color(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with configure_logs(None):
        RUNTIME.debug("hello")
    assert "\x1b" not in capsys.readouterr().err


def test_as_a_library_logs_go_where_the_host_sends_them(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        TenLogger("x").log(LogLevel.INFO, "to the host")
    assert [record.getMessage() for record in caplog.records] == ["[x] to the host"]
    assert any(isinstance(each, logging.NullHandler) for each in TOP.handlers)


# Sessions


def test_host_sees_nothing_while_configured_and_everything_afterwards(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    mine = logging.StreamHandler(io.StringIO())
    TOP.addHandler(mine)
    TOP.setLevel(logging.WARNING)
    try:
        with configure_logs({"handlers": [handler(tmp_path / "log")]}):
            RUNTIME.info("private")
            RUNTIME.error("private")
            assert mine not in TOP.handlers
        assert mine in TOP.handlers
        assert TOP.level == logging.WARNING
        assert TOP.propagate
        RUNTIME.info("too low")
        RUNTIME.error("public")
        assert mine.stream.getvalue() == "public\n"
    finally:
        TOP.removeHandler(mine)
        TOP.setLevel(logging.NOTSET)
    assert [record.getMessage() for record in caplog.records] == ["public"]


def test_state_is_put_back_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        with configure_logs({"handlers": [handler(tmp_path / "log")]}):
            raise ZeroDivisionError
    # The autouse fixture compares the loggers.


@pytest.mark.parametrize("first_to_close", [0, 1])
def test_overlapping_sessions_in_any_order(tmp_path: Path, first_to_close: int) -> None:
    files = [tmp_path / "zero", tmp_path / "one"]
    sessions = [configure_logs({"handlers": [handler(file, formatter="json")]}) for file in files]
    sessions[0].__enter__()
    RUNTIME.info("a")
    sessions[1].__enter__()
    RUNTIME.info("b")
    sessions[first_to_close].close()
    RUNTIME.info("c")
    sessions[1 - first_to_close].close()
    RUNTIME.info("d")
    expected = {0: (["a"], ["b", "c"]), 1: (["a", "c"], ["b"])}[first_to_close]
    assert (messages(files[0]), messages(files[1])) == expected


def test_a_session_is_good_for_one_use(tmp_path: Path) -> None:
    session = configure_logs({"handlers": [handler(tmp_path / "log")]})
    with session:
        with pytest.raises(RuntimeError, match="entered once"):
            session.__enter__()
    session.close()
    with pytest.raises(RuntimeError, match="entered once"):
        session.__enter__()
    never_entered = configure_logs({"handlers": [handler(tmp_path / "log")]})
    never_entered.close()


def test_files_are_closed_at_the_end(tmp_path: Path) -> None:
    with configure_logs({"handlers": [handler(tmp_path / "log")]}) as session:
        (kept,) = TOP.handlers
        assert isinstance(kept, logging.FileHandler)
        stream = kept.stream
        RUNTIME.info("x")
    assert stream.closed
    # A thread that still holds the handler, and a late SIGHUP, don't open it again.
    session.reopen()
    kept.handle(logging.makeLogRecord({"name": "ten_trio", "msg": "late", "levelno": 40}))
    assert kept.stream is None
    assert len(lines(tmp_path / "log")) == 1


# Emitters


def test_console_writes_to_the_stream_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    with configure_logs({"handlers": [handler(console("stdout"))]}):
        swapped = io.StringIO()
        monkeypatch.setattr(sys, "stdout", swapped)
        RUNTIME.info("x")
        assert swapped.getvalue().endswith(" x\n")
        monkeypatch.setattr(sys, "stdout", None)
        RUNTIME.info("nowhere to go")


def test_console_that_cannot_say_it_all_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    with configure_logs({"handlers": [handler(console("stdout"))]}):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
        RUNTIME.info("grüß")
        assert raw.getvalue().endswith(b" gr\\xfc\\xdf\n")


def test_a_broken_console_does_not_break_the_code_that_logs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with configure_logs({"handlers": [handler(console("stdout"))]}):
        monkeypatch.setattr(sys, "stdout", Broken())
        RUNTIME.info("x")
    assert "Broken pipe" in capsys.readouterr().err


def test_files_are_appended_to_and_folders_made(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "log"
    for message in ("one", "two"):
        with configure_logs({"handlers": [handler(file, formatter="json")]}):
            RUNTIME.info(message)
    assert messages(file) == ["one", "two"]


def test_lines_are_in_the_file_when_the_call_returns(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with configure_logs({"handlers": [handler(file, formatter="json")]}):
        RUNTIME.info("now")
        assert messages(file) == ["now"]


def test_rotation(tmp_path: Path) -> None:
    file, moved = tmp_path / "logs" / "log", tmp_path / "old"
    config = {"handlers": [handler(file, formatter="json"), handler(console(), {"level": "off"})]}
    with configure_logs(config) as session:
        RUNTIME.info("before")
        file.rename(moved)
        RUNTIME.info("still the old file")
        file.parent.rmdir()
        session.reopen()
        assert not file.exists()
        RUNTIME.info("after")
    assert messages(moved) == ["before", "still the old file"]
    assert messages(file) == ["after"]


def test_a_file_that_cannot_be_reopened_does_not_break_the_code_that_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "log"
    with configure_logs({"handlers": [handler(file)]}) as session:
        file.unlink()
        file.mkdir()
        session.reopen()
        RUNTIME.info("lost")
        assert "IsADirectoryError" in capsys.readouterr().err
        file.rmdir()
        RUNTIME.info("back")
    assert lines(file)[0].endswith(" back")


def test_reopening_while_other_threads_log_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "log"

    def work(number: int) -> None:
        for index in range(100):
            RUNTIME.info(f"{number}-{index}")

    with configure_logs({"handlers": [handler(file, formatter="json")]}) as session:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            session.reopen()
        for thread in threads:
            thread.join()
    assert sorted(messages(file)) == sorted(f"{n}-{i}" for n in range(4) for i in range(100))


# Wrong configurations


def test_more_than_five_handlers_are_refused() -> None:
    five = {"handlers": [handler(console())] * 5}
    with configure_logs(five):
        assert len(TOP.handlers) == 5
    six = {"handlers": [handler(console())] * 6}
    assert "at most 5 handlers, found 6" in problems_of(six)["ten.log.handlers"]


def test_all_problems_at_once_with_their_paths(tmp_path: Path) -> None:
    found = problems_of(
        {
            "handlers": [
                {
                    "matchers": [{"level": "inof"}, {"category": 1}, {"level": 3, "catgory": "x"}],
                    "formatter": {"type": "xml", "colored": "yes"},
                    "emitter": {"type": "consol", "config": {}},
                },
                {"matchers": {}, "formatter": {}, "emitter": {"type": "console"}},
                {
                    "matchers": [],
                    "emitter": {"type": "console", "config": {"stream": "out"}},
                },
                handler({"type": "file", "config": {"path": ""}}),
                "file",
            ],
            "level": "debug",
        }
    )
    start = "ten.log.handlers"
    assert 'did you mean "info"' in found[f"{start}[0].matchers[0].level"]
    assert 'did you mean "category"' in found[f"{start}[0].matchers[2].catgory"]
    assert set(found) == {
        "ten.log.level",
        f"{start}[0].matchers[0].level",
        f"{start}[0].matchers[1]",
        f"{start}[0].matchers[1].category",
        f"{start}[0].matchers[2].level",
        f"{start}[0].matchers[2].catgory",
        f"{start}[0].formatter.type",
        f"{start}[0].formatter.colored",
        f"{start}[0].emitter.type",
        f"{start}[1].matchers",
        f"{start}[1].formatter",
        f"{start}[1].emitter",
        f"{start}[2]",
        f"{start}[2].emitter.config.stream",
        f"{start}[3].emitter.config.path",
        f"{start}[4]",
    }


@pytest.mark.parametrize(
    "config", [{}, [], ["level"], "debug", {"handlers": {}}, {"handlers": None}]
)
def test_wrong_shapes(config: object) -> None:
    (path,) = problems_of(config)
    assert path in ("ten.log", "ten.log.handlers")


@pytest.mark.parametrize("wrong", ["x", 3, [], None])
def test_each_part_of_a_handler_has_to_be_an_object(wrong: object) -> None:
    good = handler(console())
    whole = {"matchers": [wrong], "formatter": wrong, "emitter": wrong}
    start = "ten.log.handlers[0]"
    for part, value in whole.items():
        at = f"{start}.{part}" + ("[0]" if part == "matchers" else "")
        assert list(problems_of({"handlers": [{**good, part: value}]})) == [at]
    del good["matchers"]
    (problem,) = problems_of({"handlers": [good]}).values()
    assert "matchers" in problem


def test_a_wrong_configuration_opens_no_file(tmp_path: Path) -> None:
    file = tmp_path / "log"
    problems_of({"handlers": [handler(file), handler(console(), {"level": "?"})]})
    assert not file.exists()


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = {
        "handlers": [
            handler(tmp_path),
            handler(tmp_path / "good"),
            handler(tmp_path / "file" / "log"),
            handler({"type": "file", "config": {"path": "nul\x00"}}),
        ]
    }
    found = problems_of(config)
    assert set(found) == {f"ten.log.handlers[{index}].emitter.config.path" for index in (0, 2, 3)}
    assert str(tmp_path) in found["ten.log.handlers[0].emitter.config.path"]


def test_what_is_not_supported_says_so(tmp_path: Path) -> None:
    encryption = {"enabled": True, "algorithm": "AES-CTR", "params": {"key": "k", "nonce": "n"}}
    found = problems_of(
        {
            "handlers": [
                handler({"type": "otlp", "config": {"endpoint": "http://x", "protocol": "grpc"}}),
                handler({"type": "file", "config": {"path": "x", "encryption": encryption}}),
                handler({"type": "console", "config": {"stream": "stdout", "encryption": {}}}),
            ]
        }
    )
    start = "ten.log.handlers"
    assert set(found) == {
        f"{start}[0].emitter.type",
        f"{start}[1].emitter.config.encryption",
        f"{start}[2].emitter.config.encryption",
    }
    assert '"otlp" is not supported' in found[f"{start}[0].emitter.type"]
    assert "encrypted logs are not supported" in found[f"{start}[1].emitter.config.encryption"]
    off = {"stream": "stderr", "encryption": {"enabled": False}}
    with configure_logs({"handlers": [handler({"type": "console", "config": off})]}):
        pass


# As it once was ------------------------------------------------------------------------------------


def test_a_level_instead_of_handlers(tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    with configure_logs({"level": 3, "file": str(file)}):
        logger = logging.getLogger("ten_trio.runtime")
        logger.debug("too small")
        logger.info("large enough")
    (line,) = lines(file)
    assert line.endswith("large enough")


def test_what_is_wrong_with_a_level_instead_of_handlers() -> None:
    hint = "2 is debug, 3 info, 4 warn, 5 error"
    assert problems_of({"level": 9}) == {"ten.log.level": f"no such level: 9; {hint}"}
    assert list(problems_of({"level": "info"})) == ["ten.log.level"]
    assert list(problems_of({"level": 3, "fil": "x"})) == ["ten.log.fil"]
    assert list(problems_of({"level": 3, "file": ""})) == ["ten.log.file"]
